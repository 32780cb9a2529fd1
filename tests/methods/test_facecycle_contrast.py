"""MoCo with FaceCycle's encoder: its loss by hand, its queue, what learns and what follows."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from facefactor import checkpoints
from facefactor.data.samples import LabelledBatch
from facefactor.methods.facecycle.contrast import Contrast, contrast_loss, view
from facefactor.methods.facecycle.recipe import PRESETS, build, stages
from facefactor.methods.facecycle.training import ContrastStage
from facefactor.protocols.subject import model_title
from facefactor.training.train import train
from tests.made_folders import write_celeba
from tests.methods.test_contract import silence

TINY = replace(PRESETS["small-moco"], width=8, half=8, quarter=8, full=8, code_size=16)


def stage(keys: int = 12, momentum: float = 0.9, temperature: float = 0.07) -> ContrastStage:
    torch.manual_seed(0)
    made = ContrastStage(build(TINY), Contrast(80, keys, momentum, temperature), steps=10)
    silence(made)
    return made.train()


def batch(count: int = 8) -> LabelledBatch:
    unknown = torch.full((count,), -1)
    return LabelledBatch(torch.rand(count, 3, 64, 64), unknown, unknown, torch.empty(count, 68, 2))


def test_the_loss_by_hand():
    """A key that is found among three others at right angles; and one that is like all others."""
    axes = torch.eye(4)
    found = contrast_loss(axes[:1], axes[:1], axes[1:], temperature=0.5)
    assert found.item() == pytest.approx(math.log(1 + 3 * math.exp(-2)), rel=1e-6)
    same = axes[:1].expand(2, 4)
    assert contrast_loss(same, same, same, 0.07).item() == pytest.approx(math.log(3), rel=1e-5)


def test_only_the_encoder_of_queries_learns():
    made = stage()
    torch.autograd.backward(made.training_step(batch(), 0))
    for name, weight in made.model.named_parameters():
        assert (weight.grad is not None) == name.startswith("expression_encoder."), name


def test_keys_come_from_an_encoder_that_follows():
    """Eq. 2, after the queries' encoder has moved away."""
    made = stage()
    key, query = made.model.identity_encoder, made.model.expression_encoder
    for one, other in zip(key.parameters(), query.parameters(), strict=True):
        assert torch.equal(one, other)
    with torch.no_grad():
        for weight in query.parameters():
            weight += 1.0
    before = [weight.clone() for weight in key.parameters()]
    made.training_step(batch(), 0)
    for old, one, other in zip(before, key.parameters(), query.parameters(), strict=True):
        torch.testing.assert_close(one.data, 0.9 * old + 0.1 * other.data)


def test_the_oldest_keys_leave_the_queue():
    """Twelve places and eight keys a step: the second step begins at the ninth and goes round."""
    made = stage(keys=12)
    first = made.queue.clone()
    made.training_step(batch(), 0)
    second = made.queue.clone()
    assert (second[:8] != first[:8]).any(1).all() and torch.equal(second[8:], first[8:])
    made.training_step(batch(), 1)
    changed = (made.queue != second).any(1)
    assert changed.tolist() == [True] * 4 + [False] * 4 + [True] * 4
    torch.testing.assert_close(made.queue.norm(dim=1), torch.ones(12))


def test_keys_keep_their_places():
    """They are encoded in groups of random faces, and come back in the order of the faces."""
    made = stage().eval()  # then a code does not depend on its group
    images = made.model.to_images(torch.rand(8, 3, 64, 64))
    together = made.model.identity_encoder(images)
    torch.testing.assert_close(made._encode_keys(images), together)


def test_a_view_is_a_part_of_its_face():
    """Of faces whose red rises to the right and whose green rises downwards."""
    torch.manual_seed(0)
    ramp = torch.linspace(0, 1, 64)
    red, green = ramp.expand(64, 64), ramp[:, None].expand(64, 64)
    faces = torch.stack([red, green, torch.full((64, 64), 0.5)]).expand(200, 3, 64, 64)
    seen = view(faces)
    assert seen.shape == faces.shape and 0 <= seen.min() and seen.max() <= 1
    grey = (seen.std(dim=1) < 1e-6).flatten(1).all(dim=1)
    assert 0.1 < grey.float().mean() < 0.3
    coloured = seen[~grey]
    rises = (coloured[:, 0, 32, 48] - coloured[:, 0, 32, 16]) > 0
    assert 0.35 < rises.float().mean() < 0.65  # mirrored, half of them
    assert (coloured[:, 1, 48, 32] > coloured[:, 1, 16, 32]).all()  # never upside down
    assert not torch.equal(seen[0], seen[1])


def test_it_learns_to_tell_photos_apart():
    """Of 256 faces of one colour each; none is in the queue when it is asked for."""
    torch.manual_seed(1)
    faces = torch.rand(256, 3, 1, 1).expand(256, 3, 64, 64)
    made = stage(keys=64, momentum=0.99, temperature=0.2)
    optimizer = torch.optim.SGD(made.model.expression_encoder.parameters(), lr=0.05, momentum=0.9)
    losses = []
    for step in range(50):
        shown = faces.roll(-32 * step, dims=0)[:32]
        loss = made.training_step(batch(32)._replace(faces=shown), step)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        losses.append(loss.item())
    assert sum(losses[-10:]) < 0.95 * sum(losses[2:12])  # once the queue holds no random codes


def test_the_recipe_is_one_stage_that_needs_no_instrument():
    (only,) = stages(PRESETS["paper-moco"], build(TINY), None)
    assert only.name == "contrast" and only.samples == "labelled"
    assert only.steps == 40 * 2 * 299_085 // 128
    assert PRESETS["paper-moco"].contrast.keys == 65_536


def test_from_photos_to_weights_that_tables_call_moco(tmp_path):
    folder = tmp_path / "CelebA"
    write_celeba(folder, 24, of_each=2)
    changes = {"width": "8", "half": "8", "quarter": "8", "full": "8", "code_size": "16"}
    changes |= {"batch_size": "8", "contrast.images": "16", "contrast.keys": "8"}
    path = train(
        "facecycle", {"celeba": folder}, tmp_path / "run", "small-moco", changes, cache=tmp_path
    )
    header = checkpoints.read_header(path)
    assert header.seen == {"contrast": 16} and model_title(header) == "moco"
    codes = checkpoints.build_model(path).encode(torch.rand(2, 3, 64, 64))
    assert codes["expression"].shape == (2, 16)
