"""The small recogniser: its shapes, its batches, and that it learns what can be learnt."""

import numpy as np
import pytest
import torch

from facefactor.data.patches import centre_patches, training_patches
from facefactor.evaluation import two_branches
from facefactor.evaluation.two_branches import (
    TwoBranches,
    batches_of_people,
    class_probabilities,
    random_patches,
    train_two_branches,
)

PATTERNS = np.random.default_rng(5).integers(0, 100, (3, 4, 4))


def drawn_faces(people, seed):
    """Three expressions of each person, (3 people, 64, 64): a pattern, and the person's noise."""
    random = np.random.default_rng(seed)
    own = random.integers(0, 100, (people, 1, 16, 16)).repeat(4, axis=2).repeat(4, axis=3)
    faces = own + PATTERNS.repeat(16, axis=1).repeat(16, axis=2)
    return faces.reshape(-1, 64, 64).astype(np.uint8)


@pytest.fixture(autouse=True)
def small_batches(monkeypatch):
    monkeypatch.setattr(two_branches, "BATCH", 18)


def train(with_metric, steps, seed=0):
    faces = drawn_faces(12, seed=1)
    patches = torch.from_numpy(training_patches(faces))
    classes, subjects = torch.arange(36) % 3, torch.arange(36) // 3
    return train_two_branches(patches, classes, subjects, 4, with_metric, seed, steps)


def test_shapes_and_size():
    network = TwoBranches(7).eval()
    logits, codes = network(torch.randn(2, 60, 60))
    assert logits.shape == (2, 7) and codes.shape == (2, 64)
    assert 0.8e6 < sum(weight.numel() for weight in network.parameters()) < 1.2e6
    probabilities = class_probabilities(network, torch.randn(5, 60, 60))
    torch.testing.assert_close(probabilities.sum(dim=1), torch.ones(5))


@pytest.mark.parametrize("with_metric", [False, True])
def test_it_learns_expressions_of_people_it_has_not_seen(with_metric):
    network = train(with_metric, steps=18)
    assert not network.training
    asked = torch.from_numpy(centre_patches(drawn_faces(8, seed=2)))
    said = class_probabilities(network, asked).argmax(dim=1)
    assert (said == torch.arange(24) % 3).float().mean() > 0.8


def test_the_metric_branch_is_trained_only_with_its_loss():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        begun = TwoBranches(4)
    alone, both = train(False, steps=2), train(True, steps=2)
    for name, start in begun.embed.named_parameters():
        assert alone.embed.get_parameter(name).equal(start)
        assert not both.embed.get_parameter(name).equal(start)
    assert alone.reference == begun.reference != both.reference
    first = "shared.0.weight"
    assert not alone.get_parameter(first).equal(both.get_parameter(first))


def test_the_same_seed_gives_the_same_network_and_the_callers_randomness_stays():
    torch.manual_seed(3)
    state = torch.get_rng_state()
    with torch.inference_mode():
        first = train(True, steps=2)
    assert torch.get_rng_state().equal(state)
    again, other = train(True, steps=2), train(True, steps=2, seed=1)
    weight = "classify.2.weight"
    assert first.get_parameter(weight).equal(again.get_parameter(weight))
    assert not first.get_parameter(weight).equal(other.get_parameter(weight))


def test_each_face_comes_once_a_pass_and_people_stay_together():
    subjects = torch.tensor([4, 7, 4, 7, 7, 9, 4, 9])
    batches = batches_of_people(subjects, 3)
    seen = torch.cat([next(batches) for _ in range(16)]).view(6, 8)
    for one_pass in seen:
        assert one_pass.sort().values.equal(torch.arange(8))
        people = subjects[one_pass]
        assert (people[1:] != people[:-1]).sum() == 2  # three people, two changes
    assert len({tuple(one_pass.tolist()) for one_pass in seen}) == 6


def test_random_patches_are_the_ten_of_their_face():
    patches = torch.randn(3, 5, 4, 4)
    rows = torch.tensor([2, 0]).repeat(100)
    ten = torch.cat([patches, patches.flip(-1)], dim=1)  # (3, 10, 4, 4)
    found = random_patches(patches, rows)
    equal = (found[:, None] == ten[rows]).flatten(2).all(dim=2)  # (200, 10)
    assert equal.sum(dim=1).eq(1).all()  # one of its own face's ten, and each comes
    assert equal.any(dim=0).all()
