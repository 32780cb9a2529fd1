"""Angular errors worked by hand."""

import math

import pytest
import torch

from facefactor.evaluation.normals import angular_error, normals_scores


def leaning(degrees: float) -> list[float]:
    """A unit normal that leans to the right."""
    return [math.sin(math.radians(degrees)), 0.0, math.cos(math.radians(degrees))]


def normals(angles: list[float]) -> torch.Tensor:
    """A picture (1, 3, 1, W) of normals that lean by so many degrees."""
    return torch.tensor([leaning(angle) for angle in angles]).T.reshape(1, 3, 1, -1)


@pytest.mark.parametrize("degrees", [0.0, 0.001, 30.0, 90.0, 135.0, 180.0])
def test_known_angles(degrees):
    found = angular_error(normals([degrees]), normals([0.0]))
    assert found.item() == pytest.approx(degrees, rel=1e-4, abs=1e-5)


def test_length_does_not_matter():
    found = angular_error(7 * normals([30.0]), 0.1 * normals([-15.0]))
    assert found.item() == pytest.approx(45, abs=1e-4)


def test_shares_of_faces_and_of_pixels_by_hand():
    """Faces of mean errors 10 and 33 degrees, of two pixels each; a third pixel does not count."""
    told = torch.cat([normals([10.0, 10.0, 90.0]), normals([22.0, 44.0, 90.0])])
    truth = normals([0.0, 0.0, 0.0]).expand(2, -1, -1, -1)
    mask = torch.tensor([True, True, False]).expand(2, 1, 1, 3)
    found = {score.metric: score for score in normals_scores(told, truth, mask)}
    assert found["normals"].value == pytest.approx(21.5, abs=1e-4)
    assert found["normals"].spread == pytest.approx(11.5, abs=1e-4)
    of_faces = [found[f"normals, faces below {angle}°"].value for angle in (20, 25, 30, 35, 40)]
    of_pixels = [found[f"normals, pixels below {angle}°"].value for angle in (20, 25, 30, 35, 40)]
    assert of_faces == [50, 50, 50, 100, 100]
    assert of_pixels == [50, 75, 75, 75, 75]


def test_faces_count_alike_however_large_they_are():
    told = torch.cat([normals([0.0, 0.0, 0.0]), normals([30.0, 0.0, 0.0])])
    mask = torch.tensor([[True, True, True], [True, False, False]]).view(2, 1, 1, 3)
    found = normals_scores(told, normals([0.0] * 3).expand(2, -1, -1, -1), mask)
    assert found[0].value == pytest.approx(15, abs=1e-4)  # 7.5 over pixels


def test_a_pixel_of_which_nothing_is_said_faces_the_camera():
    truth, mask = normals([25.0, 0.0]), torch.ones(1, 1, 1, 2, dtype=torch.bool)
    (score, *_) = normals_scores(torch.zeros_like(truth), truth, mask)
    assert score.value == pytest.approx(12.5, abs=1e-4)


def test_what_is_no_measurement():
    truth, mask = normals([0.0]), torch.ones(1, 1, 1, 1, dtype=torch.bool)
    with pytest.raises(ValueError, match="every face needs a pixel"):
        normals_scores(truth, truth, ~mask)
    with pytest.raises(ValueError, match="NaN"):
        normals_scores(torch.full_like(truth, torch.nan), truth, mask)
    with pytest.raises(ValueError, match="must be"):
        normals_scores(truth, truth, mask[:, 0])
