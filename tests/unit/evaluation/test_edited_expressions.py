"""Figures of edited expressions, worked out by hand and on ideal and useless edits."""

from __future__ import annotations

import pytest
import torch

from facefactor.evaluation.edited_expressions import (
    Seen,
    edit_scores,
    frechet_distance,
    strength_scores,
)

FACES = torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(0))
# three faces that look at three axes; three others, turned by 60 degrees from them
AXES = torch.eye(3)
TURNED = 0.5 * AXES + 0.75**0.5 * AXES.roll(1, 0)


def test_frechet_distance_by_hand():
    """Means 0 and 3, variances 2 and 8: 3^2 + (sqrt 2 - sqrt 8)^2."""
    first, second = torch.tensor([[-1.0], [1.0]]), torch.tensor([[1.0], [5.0]])
    assert frechet_distance(first, second) == pytest.approx(11)
    assert frechet_distance(second, first) == pytest.approx(11)


def test_frechet_distance_of_more_dimensions():
    """Of independent numbers it is the sum of theirs; of a set and itself 0."""
    random = torch.Generator().manual_seed(0)
    codes = torch.randn(50, 4, generator=random)
    assert frechet_distance(codes, codes) == pytest.approx(0, abs=1e-4)
    assert frechet_distance(codes, codes + 2) == pytest.approx(4 * 2**2, rel=1e-5)
    assert frechet_distance(codes, 3 * codes) == pytest.approx(
        float(4 * codes.var(dim=0).sum() + 4 * codes.mean(dim=0).square().sum()), rel=1e-4
    )


def scores(edited, found, wanted=(0, 1, 2)):
    seen = Seen({"recogniser": AXES}, torch.eye(3))
    true_photos = Seen({"recogniser": TURNED}, torch.eye(3))
    real = {"recogniser": AXES}
    made = edit_scores(edited, FACES, found, seen, true_photos, torch.tensor(wanted), real)
    return {score.metric: score.value for score in made}


def test_an_ideal_edit():
    found = scores(FACES, Seen({"recogniser": AXES}, torch.eye(3)))
    assert found["PSNR, the true photo"] == 100 and found["SSIM, the true photo"] == 1
    assert found["Frechet distance from real faces, recogniser"] == pytest.approx(0, abs=1e-6)
    assert found["called the wanted expression, ipdfer"] == 100
    assert found["similarity to the photo, recogniser"] == pytest.approx(1)
    assert found["similarity of photo and true photo, recogniser"] == pytest.approx(0.5)
    assert found["share of that kept, recogniser"] == pytest.approx(200)


def test_an_edit_of_little_use():
    """One of three is called as it should be; who it was is lost to half."""
    likely = torch.tensor([[0.2, 0.5, 0.3], [0.1, 0.6, 0.3], [0.5, 0.4, 0.1]])
    found = scores(1 - FACES, Seen({"recogniser": TURNED}, likely))
    assert found["PSNR, the true photo"] < 10
    assert found["Frechet distance from real faces, recogniser"] > 0.01
    assert found["called the wanted expression, ipdfer"] == pytest.approx(100 / 3)
    assert found["probability of the wanted expression, ipdfer"] == pytest.approx(30)
    assert found["similarity to the photo, recogniser"] == pytest.approx(0.5)
    assert found["share of that kept, recogniser"] == pytest.approx(100)


def test_strengths_by_hand():
    likely = torch.tensor([[0.0, 0.2, 0.4], [0.1, 0.1, 0.0]])
    found = {score.metric: score.value for score in strength_scores(likely, (0.0, 0.5, 1.4))}
    assert found["probability at strength 0.5, ipdfer"] == pytest.approx(15)
    assert found["probability at strength 1.4, ipdfer"] == pytest.approx(20)
    assert found["higher at the higher strength"] == pytest.approx(50)  # all of three, and none
