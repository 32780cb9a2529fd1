"""Distances of faces of one person and of two, against every two compared literally."""

from itertools import combinations

import pytest
import torch
from torch.nn import functional

from facefactor.evaluation.consistency import neutral_consistency

PEOPLE = ["ann", "ann", "ben", "cat", "cat"]


def made_faces(size=6):
    return torch.rand(5, 3, size, size, generator=torch.Generator().manual_seed(0))


def literal(images):
    """Ratio of the mean distances, and how often two people differ more than one does."""
    flat = images.flatten(2)
    flat = (flat - flat.mean(2, keepdim=True)) / flat.std(2, keepdim=True)
    same, different = [], []
    for one, other in combinations(range(len(images)), 2):
        distance = (flat[one] - flat[other]).square().mean().sqrt().item()
        (same if PEOPLE[one] == PEOPLE[other] else different).append(distance)
    more = sum(large > small for large in different for small in same)
    ratio = (sum(different) / len(different)) / (sum(same) / len(same))
    return ratio, 100 * more / (len(same) * len(different))


def test_every_two_are_compared_once():
    neutral, faces = made_faces().square(), made_faces()
    found = neutral_consistency(neutral, faces, PEOPLE, "made")
    for label, images in (("neutral faces", neutral), ("photos", faces)):
        ratio, auc = literal(images)
        assert found[f"{label}: different / same"] == pytest.approx(ratio, rel=1e-5)
        assert found[f"{label}: AUC"] == pytest.approx(auc)


def test_large_faces_are_compared_at_64_pixels():
    large, small = (
        made_faces(90),
        functional.interpolate(made_faces(90), (64, 64), mode="bilinear", antialias=True),
    )
    found = neutral_consistency(large, small, PEOPLE, "made")
    assert found["neutral faces: AUC"] == found["photos: AUC"]
    assert found["photos: different / same"] == pytest.approx(literal(small)[0], rel=1e-5)


def test_one_person_alone_tells_nothing():
    with pytest.raises(ValueError, match="two photos of one person and photos of two people"):
        neutral_consistency(made_faces()[:2], made_faces()[:2], ["ann", "ann"], "made")
