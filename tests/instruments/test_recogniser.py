"""Training the recogniser: its terms, who is trained by them, the schedule, what is saved."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from facefactor import checkpoints
from facefactor.factors import ModelSpec
from facefactor.instruments.recogniser.recipe import PRESETS, TermWeights, build, stages
from facefactor.instruments.recogniser.training import Schedule
from facefactor.losses.identity import cosine_distance, relational_loss
from facefactor.losses.maps import map_distance
from facefactor.losses.margin import margin_softmax
from facefactor.nn.resnet import IResNet18
from facefactor.perception.recognition import MobileFaceNet, embed, load_recogniser

TINY = replace(
    PRESETS["small"], width=0.125, code_size=12, people=5, images=80, warm_up_images=8, batch_size=8
)


class Batch(NamedTuple):
    faces: Tensor
    subject: Tensor


def silence(module):
    """Lightning's log needs a trainer; a step alone has none."""
    module.log = lambda *args, **kwargs: None
    module.log_dict = lambda *args, **kwargs: None
    return module


@pytest.fixture
def batch() -> Batch:
    """Eight faces of coarse patches, half of known people."""
    random = torch.Generator().manual_seed(0)
    patches = torch.rand(8, 3, 7, 7, generator=random)
    faces = nn.functional.interpolate(patches, size=112)
    return Batch(faces, torch.tensor([0, -1, 4, 4, -1, -1, 2, -1]))


@pytest.fixture
def module():
    torch.manual_seed(0)
    (stage,) = stages(TINY, build(TINY), MobileFaceNet(code_size=10, width=0.25))
    return silence(stage.module())


def logged(module, batch: Batch) -> dict[str, float]:
    terms: dict[str, float] = {}
    module.log_dict = lambda found: terms.update({name: float(x) for name, x in found.items()})
    module.training_step(batch, 0)
    return terms


def descend(module, batch: Batch, steps: int) -> list[float]:
    configured = module.configure_optimizers()
    optimizer, schedule = configured["optimizer"], configured["lr_scheduler"]["scheduler"]
    losses = []
    for _ in range(steps):
        loss = module.training_step(batch, 0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
    return losses


def test_student_map_and_directions_learn_and_the_teacher_does_not(module, batch):
    module.train()
    before = copy.deepcopy(module.teacher.state_dict())
    module.training_step(batch, 0).backward()
    for name, weight in module.named_parameters():
        if name.startswith("teacher."):
            assert weight.grad is None, name
        else:
            assert weight.grad is not None and weight.grad.isfinite().all(), name
            # the bias before the last normalisation is taken off again by it
            assert weight.grad.abs().max() > 0 or name == "model.conv3.bias", name
    descend(module, batch, 2)
    for name, value in module.teacher.state_dict().items():  # its running statistics, too
        assert torch.equal(value, before[name]), name


def test_a_few_steps_on_one_batch_lower_the_loss(module, batch):
    losses = descend(module.train(), batch, 8)
    assert losses[-1] < 0.9 * losses[0]


def test_terms_are_what_they_say(module, batch):
    terms = logged(module, batch)
    with torch.no_grad():
        codes, maps = module.model.codes_and_maps(batch.faces)
        embeddings, targets = module.teacher.network.codes_and_maps(batch.faces)
        pairs = zip(module.map_to_teacher, maps, targets, strict=True)
        missed = sum(map_distance(project(own), target) for project, own, target in pairs)
        expected = {
            "loss/cosine": 1.0 * cosine_distance(module.to_teacher(codes), embeddings),
            "loss/relational": 20.0 * relational_loss(codes, embeddings),
            "loss/maps": 1.0 * missed / 3,
            "loss/margin": 0.05
            * margin_softmax(codes, module.centres, batch.subject, margin=0.2, scale=32.0),
        }
    assert terms == pytest.approx({name: float(x) for name, x in expected.items()}, rel=1e-4)


def test_imitating_itself_costs_nothing(batch):
    torch.manual_seed(0)
    recipe = replace(TINY, weights=TermWeights(cosine=1.0, relational=1.0, maps=0.0, margin=0.0))
    model = build(recipe).eval()
    (stage,) = stages(recipe, model, copy.deepcopy(model))
    module = silence(stage.module()).eval()
    nn.init.eye_(module.to_teacher.weight)
    terms = logged(module, batch)
    assert terms == pytest.approx({"loss/cosine": 0.0, "loss/relational": 0.0}, abs=1e-6)


def test_a_batch_of_strangers_trains_by_the_teacher_alone(module, batch):
    strangers = batch._replace(subject=torch.full((8,), -1))
    assert logged(module, strangers)["loss/margin"] == 0
    module.training_step(strangers, 0).backward()
    assert module.centres.grad is None or module.centres.grad.abs().max() == 0
    assert module.model.conv1[0].weight.grad.abs().max() > 0


def test_more_people_than_the_recipe_says_are_refused(module, batch):
    with pytest.raises(ValueError, match="people"):
        module.training_step(batch._replace(subject=torch.full((8,), 5)), 0)


def test_a_bfloat16_step_is_near_the_exact_one(module, batch):
    exact = module.training_step(batch, 0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = module.training_step(batch, 0)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, exact, rtol=0.1, atol=0)
    loss.backward()
    assert all(w.grad.isfinite().all() for w in module.model.parameters())


def test_paper_needs_no_teacher_and_small_does(batch):
    torch.manual_seed(0)
    recipe = replace(PRESETS["paper"], network="mobilefacenet", width=0.125, people=5)
    (stage,) = stages(recipe, build(recipe), None)
    module = silence(stage.module())
    assert set(logged(module, batch)) == {"loss/margin"}
    with pytest.raises(ValueError, match="imitates a teacher and none is given"):
        stages(TINY, build(TINY), None)


def test_maps_are_of_a_mobilefacenet():
    """Its blocks end at three scales; other networks have other blocks."""
    model = build(TINY).eval()
    _, maps = model.codes_and_maps(torch.rand(1, 3, 112, 112))
    assert [tuple(x.shape[1:]) for x in maps] == [(8, 28, 28), (16, 14, 14), (16, 7, 7)]
    recipe = replace(TINY, network="iresnet18")
    (stage,) = stages(recipe, build(recipe), model)
    with pytest.raises(TypeError, match=r"set weights\.maps to 0"):
        stage.module()


def test_published_settings():
    recipe = PRESETS["paper"]
    assert isinstance(build(recipe), IResNet18)
    assert (recipe.margin, recipe.scale, recipe.weight_decay) == (0.5, 64.0, 5e-4)
    (stage,) = stages(recipe, build(replace(recipe, network="mobilefacenet")), None)
    assert (stage.steps, stage.batch_size, stage.samples) == (32_000, 512, "labelled")
    schedule = stage.module().schedule
    assert (schedule.optimiser, schedule.rate, schedule.steps) == ("sgd", 0.1, 32_000)
    steps = (0, 19_999, 20_000, 27_999, 28_000, 31_999)
    factors = [schedule.factor(step) for step in steps]
    assert factors == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])


def test_small_costs_what_its_recipe_says():
    model = build(PRESETS["small"]).eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        codes = model(torch.rand(1, 3, 112, 112))
    assert codes.shape == (1, 512)
    assert 63e6 < counter.get_total_flops() / 2 < 64e6
    assert 0.54e6 < sum(weight.numel() for weight in model.parameters()) < 0.55e6


def test_the_rate_rises_and_falls_as_a_cosine():
    schedule = Schedule("adamw", 1.0, 0.0, steps=24, warm_up=4, drops=())
    rates = [schedule.factor(step) for step in range(24)]
    assert rates[:5] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert rates[14] == pytest.approx(0.5)  # half way through what is left
    assert rates[9] == pytest.approx((1 + math.cos(math.pi / 4)) / 2)
    assert 0 < rates[-1] < 0.01
    assert rates[4:] == sorted(rates[4:], reverse=True)


def test_the_optimiser_follows_the_schedule_and_shrinks_matrices_only(module):
    configured = module.configure_optimizers()
    schedule = configured["lr_scheduler"]["scheduler"]
    assert configured["lr_scheduler"]["interval"] == "step"
    assert schedule.get_last_lr()[0] == pytest.approx(2e-3)  # a warm-up of one step
    matrices, rest = configured["optimizer"].param_groups
    assert (matrices["weight_decay"], rest["weight_decay"]) == (0.05, 0.0)
    assert all(w.ndim > 1 for w in matrices["params"]) and all(w.ndim <= 1 for w in rest["params"])
    trained = [w for w in module.parameters() if w.requires_grad]
    assert len(matrices["params"]) + len(rest["params"]) == len(trained)


def test_what_is_saved_is_what_is_loaded(tmp_path, batch):
    torch.manual_seed(0)
    model = build(TINY).eval()
    header = checkpoints.CheckpointHeader(
        "recogniser", "small", {}, ModelSpec("recogniser", "arcface", 112, 3, {})
    )
    path = tmp_path / "recogniser.safetensors"
    checkpoints.save(path, model.state_dict(), header, dtype="float16")
    with torch.inference_mode():
        again = embed(load_recogniser(path), batch.faces)
        torch.testing.assert_close(again, embed(model, batch.faces), rtol=0, atol=1e-2)
