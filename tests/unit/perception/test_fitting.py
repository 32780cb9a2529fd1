"""A morphable model fitted to landmarks: what it was made with is found again."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from facefactor.geometry.rotations import geodesic_distance, rotation_matrix
from facefactor.perception.fitting import fit_landmarks
from facefactor.perception.head_pose import MEAN_FACE

POSES = torch.tensor([[0.0, 0, 0], [25, -10, 5], [-40, 8, -12]], dtype=torch.float64)


@pytest.fixture(scope="module")
def model():
    """The mean face's 68 points, ten random people's modes and six expressions."""
    random = torch.Generator().manual_seed(0)
    modes = 0.03 * torch.randn(16, 68, 3, generator=random, dtype=torch.float64)
    return SimpleNamespace(
        neutral=MEAN_FACE,
        identity=modes[:10],
        expression=3 * modes[10:],
        landmarks68=torch.arange(68),
    )


@pytest.fixture(scope="module")
def made(model):
    """Three turned faces in pixels, and their coefficients."""
    random = torch.Generator().manual_seed(1)
    identity = torch.randn(3, 10, generator=random, dtype=torch.float64)
    expression = torch.rand(3, 6, generator=random, dtype=torch.float64).clamp(max=0.6)
    return photos_of(model, identity, expression), identity, expression


def photos_of(model, identity, expression):
    points = (
        model.neutral
        + torch.einsum("nk,kvc->nvc", identity, model.identity)
        + torch.einsum("nk,kvc->nvc", expression, model.expression)
    )
    turned = points @ rotation_matrix(POSES).mT
    return 40 * turned[..., :2] * torch.tensor([1.0, -1.0]) + torch.tensor([64.0, 70.0])


def objective(model, fit, face, landmarks, coefficients):
    """What a fit makes small, one landmark and one coefficient after the other."""
    eyes = (model.neutral[45] - model.neutral[36]).norm() * fit.scale[face]
    total = 0.0
    for place in range(68):
        point = model.neutral[place].clone()
        for value, mode in zip(coefficients, [*model.identity, *model.expression], strict=True):
            point += value * mode[place]
        x, y, _ = fit.scale[face] * (fit.rotation[face] @ point)
        seen = torch.stack([x, -y]) + fit.shift[face]
        weight = 0.3 if place < 17 else 1.0
        total += weight * float((seen - landmarks[face, place]).square().sum() / (0.02 * eyes) ** 2)
    for number, value in enumerate(coefficients):
        total += float(value / (1.0 if number < 10 else 0.3)) ** 2
    return total


def test_pose_and_landmarks_are_found_again(model, made):
    landmarks, _, _ = made
    fit = fit_landmarks(landmarks, model)
    assert geodesic_distance(fit.rotation, rotation_matrix(POSES)).max() < 3
    assert fit.error.max() < 0.015
    assert torch.all((fit.expression >= 0) & (fit.expression <= 1))
    points = (
        model.neutral
        + torch.einsum("nk,kvc->nvc", fit.identity, model.identity)
        + torch.einsum("nk,kvc->nvc", fit.expression, model.expression)
    )
    away = (fit.project(points)[..., :2] - landmarks)[:, 17:].norm(dim=2).mean(dim=1)
    eyes = (model.neutral[45] - model.neutral[36]).norm() * fit.scale
    torch.testing.assert_close(away / eyes, fit.error)


def test_coefficients_are_the_least_of_the_objective(model, made):
    """No coefficient moved a little either way, within its bounds, makes it smaller."""
    landmarks, _, _ = made
    fit = fit_landmarks(landmarks, model)
    face = 1
    # the camera is fitted once more after the last shape, so the two agree but for little
    found = torch.cat([fit.identity[face], fit.expression[face]])
    least = objective(model, fit, face, landmarks, found)
    for number in range(16):
        for step in (-0.1, 0.1):
            moved = found.clone()
            moved[number] += step
            if number >= 10 and not 0 <= moved[number] <= 1:
                continue
            assert objective(model, fit, face, landmarks, moved) > least, (number, step)


def test_the_mean_face_has_no_coefficients(model):
    zero = torch.zeros(3, 10, dtype=torch.float64), torch.zeros(3, 6, dtype=torch.float64)
    fit = fit_landmarks(photos_of(model, *zero), model)
    assert fit.identity.abs().max() < 1e-3 and fit.expression.abs().max() < 1e-3
    assert geodesic_distance(fit.rotation, rotation_matrix(POSES)).max() < 0.01
    torch.testing.assert_close(fit.scale, torch.full_like(fit.scale, 40), atol=0.01, rtol=0)
    assert fit.error.max() < 1e-4


def test_size_and_place_of_the_picture_do_not_matter(model, made):
    landmarks, _, _ = made
    fit, other = fit_landmarks(landmarks, model), fit_landmarks(3 * landmarks - 50, model)
    torch.testing.assert_close(other.identity, fit.identity, atol=1e-6, rtol=0)
    torch.testing.assert_close(other.rotation, fit.rotation, atol=1e-6, rtol=0)
    torch.testing.assert_close(other.scale, 3 * fit.scale)
    torch.testing.assert_close(other.shift, 3 * fit.shift - 50)


def test_a_face_without_landmarks_is_nan_and_the_others_are_as_alone(model, made):
    landmarks, _, _ = made
    holed = landmarks.clone()
    holed[1, 30, 0] = torch.nan
    fit, alone = fit_landmarks(holed, model), fit_landmarks(landmarks[2:], model)
    for name in ("rotation", "scale", "shift", "identity", "expression", "error"):
        assert getattr(fit, name)[1].isnan().all(), name
        torch.testing.assert_close(getattr(fit, name)[2:], getattr(alone, name))
    assert fit_landmarks(landmarks[:0], model).rotation.shape == (0, 3, 3)
    with pytest.raises(ValueError, match="must be"):
        fit_landmarks(landmarks[:, :67], model)


def test_jaw_points_on_the_outline_are_told_from_points_of_the_skin(shared):
    """Heads of ICT-FaceKit turned 40 degrees, the far jaw marked where its outline is."""
    with np.load(shared / "models3d" / "ict_facekit_face.npz") as file:
        head = SimpleNamespace(
            neutral=torch.from_numpy(file["neutral"]).double(),
            identity=torch.from_numpy(file["identity"][:20]).double(),
            expression=torch.from_numpy(file["expression"][:10]).double(),
            landmarks68=torch.from_numpy(file["landmarks68"]).long(),
        )
    pose = torch.tensor([[40.0, 0, 0], [-40, 0, 0]], dtype=torch.float64)
    turned = head.neutral @ rotation_matrix(pose).mT
    marked = turned[:, head.landmarks68].clone()
    for jaw in range(17):
        level = (head.neutral[:, 1] - head.neutral[head.landmarks68[jaw], 1]).abs() < 0.5
        if jaw < 7:  # the image's left is far at a yaw of 40
            marked[0, jaw, 0] = turned[0, level, 0].min()
        elif jaw > 9:
            marked[1, jaw, 0] = turned[1, level, 0].max()
    landmarks = 5 * marked[..., :2] * torch.tensor([1.0, -1.0])
    errors = {
        jaw: geodesic_distance(
            fit_landmarks(landmarks, head, jaw).rotation, rotation_matrix(pose)
        ).max()
        for jaw in ("model", "outline")
    }
    assert errors["outline"] < 1.5 < errors["model"]
