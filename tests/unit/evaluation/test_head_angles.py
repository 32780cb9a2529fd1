"""Agreement of angles, and reprojection, worked by hand."""

import pytest
import torch

from facefactor.evaluation.head_angles import agreement_scores, reprojection_scores


def named(scores):
    return {score.metric: score for score in scores}


def test_an_offset_is_told_from_disagreement():
    reference = torch.tensor([[0.0, 10, 0], [20, 0, 1], [-20, 5, 2]])
    measured = reference + torch.tensor([0.0, -8, 0])
    measured[:, 0] += torch.tensor([3.0, -3, 0])
    found = named(agreement_scores(measured, reference))
    assert found["yaw: difference"].value == pytest.approx(2)
    assert found["yaw: offset"].value == pytest.approx(0)
    assert found["yaw: difference without offset"].value == pytest.approx(2)
    assert found["pitch: difference"].value == pytest.approx(8)
    assert found["pitch: offset"].value == pytest.approx(-8)
    assert found["pitch: difference without offset"].value == pytest.approx(0)
    assert found["pitch: correlation"].value == pytest.approx(1)
    # x = 3, 17, -20 (mean 0) and y = 0, 20, -20: 740 / sqrt(698 * 800)
    assert found["yaw: correlation"].value == pytest.approx(740 / (698 * 800) ** 0.5)


def test_an_answer_that_never_changes_has_no_correlation():
    reference = torch.tensor([[0.0, 0, 0], [10, 4, 6]])
    found = named(agreement_scores(reference.mean(dim=0).expand(2, 3), reference))
    assert found["yaw: difference without offset"].value == pytest.approx(5)
    assert not any("correlation" in name for name in found)


def test_angles_that_cannot_be_compared():
    angles = torch.zeros(2, 3)
    with pytest.raises(ValueError, match="2 or more"):
        agreement_scores(angles[:1], angles[:1])
    with pytest.raises(ValueError, match="NaN"):
        agreement_scores(angles * torch.nan, angles)


def test_reprojection_in_eye_distances_and_pixels():
    """Eyes are 0.5 apart; of one face the jaw is 0.1 off, of the other all is 0.02 off."""
    marks = torch.zeros(2, 68, 2)
    marks[:, 45, 0] = 0.5
    projected = marks.clone()
    projected[0, :17, 1] += 0.1
    projected[1, :, 0] += 0.02
    found = named(reprojection_scores(projected, marks, 64))
    jaw = 0.1 * 17 / 68
    assert found["landmarks"].value == pytest.approx(100 * (jaw + 0.02) / 2 / 0.5)
    assert found["landmarks, without jaw"].value == pytest.approx(100 * 0.02 / 2 / 0.5)
    assert found["landmarks, in pixels"].value == pytest.approx(64 * (jaw + 0.02) / 2)
    assert found["landmarks, without jaw, in pixels"].value == pytest.approx(64 * 0.01)
    assert found["landmarks, in pixels"].unit == "px of 64"
    exact = named(reprojection_scores(marks, marks, 64))
    assert all(score.value == 0 for score in exact.values())


def test_landmarks_that_cannot_be_compared():
    marks = torch.zeros(1, 68, 2)
    with pytest.raises(ValueError, match="68, 2"):
        reprojection_scores(marks[:, :5], marks[:, :5], 64)
    with pytest.raises(ValueError, match="NaN"):
        reprojection_scores(marks * torch.nan, marks, 64)
