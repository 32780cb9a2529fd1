"""Errors of what is said of faces in three dimensions: the right answer, known errors, floors."""

import dataclasses

import pytest
import torch

from facefactor.evaluation.solids import (
    SolidFaces,
    frontal_mean_face,
    lighting_scores,
    mean_of_truths,
    rotation_scores,
    shape_scores,
    solid_errors,
    sphere_normals,
)
from facefactor.geometry.lighting import directional_lighting, harmonic_basis
from facefactor.geometry.rotations import rotation_matrix

MARKS = torch.arange(68)


def turned(*yaws: float) -> torch.Tensor:
    return rotation_matrix(torch.tensor([[yaw, 0.0, 0.0] for yaw in yaws]))


@pytest.fixture
def truth() -> SolidFaces:
    """Two faces, turned by 20 degrees either way, whose eyes are 9 cm apart."""
    random = torch.Generator().manual_seed(0)
    shape = torch.randn(2, 80, 3, generator=random)
    shape[:, 45] = shape[:, 36] + torch.tensor([9.0, 0, 0])
    mask = torch.zeros(2, 1, 8, 8, dtype=torch.bool)
    mask[:, :, 2:6, 2:6] = True
    ahead = torch.tensor([0.0, 0, 1]).view(1, 3, 1, 1)
    light = directional_lighting(torch.tensor([-40.0, 40]), torch.zeros(2), ambient=0.5)
    normals = (turned(20.0, -20.0) @ ahead.view(3, 1)).view(2, 3, 1, 1)
    return SolidFaces(normals * mask, mask, turned(20.0, -20.0), shape, light)


def test_the_truth_has_no_error(truth):
    table = solid_errors(truth, truth, MARKS, "made")
    for score in table.scores:
        if "below" in score.metric or "overlap" in score.metric:
            assert score.value == 100, score.metric
        else:
            assert score.value == pytest.approx(0, abs=1e-3), score.metric
    assert table.n == 2 and table.dataset == "made"


def test_what_needs_no_photo(truth):
    mean = truth.shape.mean(dim=0)
    frontal = solid_errors(frontal_mean_face(truth, mean), truth, MARKS, "made")
    constant = solid_errors(mean_of_truths(truth), truth, MARKS, "made")
    for table in (frontal, constant):  # either way by 20 degrees: the mean looks ahead
        assert table["rotation"] == pytest.approx(20, abs=1e-3)
        assert table["normals"] == pytest.approx(20, abs=1e-3)
        assert table["normals, pixels below 20°"] in (0, 50, 100)
        assert table["normals, faces below 25°"] == 100
    assert frontal["mask, overlap (intersection over union)"] == 25  # 16 of 64 pixels
    assert constant["mask, overlap (intersection over union)"] == 100
    by_hand = 10 * (truth.shape[0] - truth.shape[1]).norm(dim=1) / 2  # mm to the mean of two
    for table in (frontal, constant):
        assert table["mesh, all vertices"] == pytest.approx(by_hand.mean().item(), rel=1e-5)
        assert table["mesh, 68 landmarks"] == pytest.approx(by_hand[:68].mean().item(), rel=1e-5)


def test_the_mean_of_a_pixel_is_of_the_faces_that_have_it(truth):
    seen = truth.mask.clone()
    seen[1, :, :4] = False
    part = dataclasses.replace(truth, mask=seen, normals=truth.normals * seen)
    mean = mean_of_truths(part).normals
    torch.testing.assert_close(mean[0, :, 2, 2], truth.normals[0, :, 2, 2])
    torch.testing.assert_close(mean[1, :, 5, 2], torch.tensor([0.0, 0, 1]), atol=1e-6, rtol=0)
    assert mean[0, :, 0, 0].tolist() == [0, 0, 0]


def test_rotations_by_hand():
    mean, median = rotation_scores(turned(10.0, 0.0, -5.0), turned(0.0, 0.0, 25.0))
    assert mean.value == pytest.approx(40 / 3, abs=1e-4)
    assert mean.spread == pytest.approx(((100 + 900) / 3 - (40 / 3) ** 2) ** 0.5, abs=1e-4)
    assert median.value == pytest.approx(10, abs=1e-4)
    half_turn = rotation_matrix(torch.tensor([[0.0, 0.0, 180.0]]))
    assert rotation_scores(half_turn, turned(0.0))[0].value == pytest.approx(180, abs=1e-3)


def test_shapes_in_millimetres_and_eye_distances(truth):
    told = truth.shape + torch.tensor([0.0, 0.09, 0])
    told[:, 68:] += torch.tensor([0.0, 0, 100])  # no landmarks
    marks, of_eyes, vertices = shape_scores(told, truth.shape, MARKS)
    assert marks.value == pytest.approx(0.9, abs=1e-4) and marks.unit == "mm"
    assert of_eyes.value == pytest.approx(1, abs=1e-4) and of_eyes.unit == "%"
    assert vertices.value == pytest.approx((68 * 0.9 + 12 * 1000.0004) / 80, rel=1e-4)


def test_how_bright_a_light_is_does_not_matter(truth):
    for score in lighting_scores(0.3 * truth.lighting, truth.lighting):
        assert score.value == pytest.approx(0, abs=1e-4)
    black = lighting_scores(torch.zeros_like(truth.lighting), truth.lighting)
    assert black[1].value == pytest.approx(100)
    negative = lighting_scores(-truth.lighting, truth.lighting)  # not made bright by a minus
    assert negative[0].value == pytest.approx(black[0].value)


def test_lights_against_a_search_for_the_scale():
    random = torch.Generator().manual_seed(3)
    told, truth = torch.rand(2, 9, generator=random), torch.rand(2, 9, generator=random)
    truth[:, 0] += 2
    basis = harmonic_basis(sphere_normals()[None])[0]
    on_sphere, coefficients = [], []
    for mine, right in zip(told, truth, strict=True):
        tried = torch.linspace(0, 6, 6001)
        off = (tried[:, None] * (mine @ basis) - right @ basis).square().mean(dim=1).sqrt()
        on_sphere.append(100 * off.min() / (right @ basis).mean())
        best = tried[off.argmin()]
        coefficients.append(100 * (best * mine - right).norm() / right.norm())
    found = lighting_scores(told, truth)
    assert found[0].value == pytest.approx(sum(on_sphere).item() / 2, rel=1e-3)
    assert found[1].value == pytest.approx(sum(coefficients).item() / 2, rel=1e-3)


def test_the_sphere_is_seen_from_the_front():
    normals = sphere_normals(64)
    assert normals[2].min() > 0
    torch.testing.assert_close(normals.norm(dim=0), torch.ones(normals.shape[1]))
    torch.testing.assert_close(normals.mean(dim=1)[:2], torch.zeros(2), atol=1e-5, rtol=0)
    assert normals[1, 0] > 0.9 and normals[1, -1] < -0.9  # y is up, rows go down
    assert normals.shape[1] / 64**2 == pytest.approx(torch.pi / 4, abs=0.01)


def test_what_is_no_answer(truth):
    with pytest.raises(ValueError, match="rotations told are"):
        rotation_scores(truth.rotation[:1], truth.rotation)
    with pytest.raises(ValueError, match="lights told hold NaN"):
        lighting_scores(truth.lighting * torch.nan, truth.lighting)
