"""Labels of a fitted morphable model, on rendered heads of which everything is known."""

import numpy as np
import pytest
import torch

from facefactor.data import kept_parts
from facefactor.data.pseudolabels import pseudo_labels, unpack_normals
from facefactor.geometry.lighting import directional_lighting, shading
from facefactor.geometry.morphable import MorphableModel
from facefactor.geometry.projection import project
from facefactor.geometry.rasteriser import normal_map, rasterise, render
from facefactor.geometry.rotations import geodesic_distance, rotation_matrix
from tests.made_heads import egg_model

SIZE = 64
POSES = torch.tensor([[0.0, 0, 0], [30, -8, 5], [-20, 10, 0]])


@pytest.fixture(scope="module")
def model() -> MorphableModel:
    return egg_model()


@pytest.fixture(scope="module")
def made(model):
    """Three turned heads under three lights: pictures, landmarks in shares, normals, light."""
    random = torch.Generator().manual_seed(1)
    shapes = model.vertices(
        0.5 * torch.randn(3, 5, generator=random), 0.5 * torch.rand(3, 3, generator=random)
    )
    points = project(
        shapes, rotation_matrix(POSES), torch.full((3,), 24.0), torch.full((3, 2), 31.5)
    )
    raster = rasterise(points, model.triangles, (SIZE, SIZE))
    light = 0.8 * directional_lighting(
        torch.tensor([-50.0, 0, 50]), torch.tensor([10.0, 40, 0]), ambient=0.3
    )
    albedo = torch.full((len(model.neutral), 3), 0.6)
    pictures = render(raster, points, model.triangles, albedo, light)
    faces = (255 * pictures).round().byte().permute(0, 2, 3, 1).contiguous().numpy()
    landmarks = (points[:, model.landmarks68, :2].numpy() + 0.5) / SIZE
    return faces, landmarks.astype(np.float32), normal_map(raster, points, model.triangles), light


def test_labels_are_those_the_faces_were_made_with(model, made, tmp_path):
    faces, landmarks, normals, light = made
    labels = pseudo_labels(faces, landmarks, model, tmp_path)
    rotation = torch.from_numpy(labels.rotation)
    assert geodesic_distance(rotation, rotation_matrix(POSES)).max() < 3
    np.testing.assert_allclose(labels.scale * SIZE, 24, rtol=0.03)
    np.testing.assert_allclose(labels.shift * SIZE - 0.5, 31.5, atol=0.7)
    assert labels.error.max() < 0.02
    found, mask = unpack_normals(labels.packed_normals)
    assert found.shape == (3, 3, SIZE, SIZE) and set(mask.unique().tolist()) == {0.0, 1.0}
    both = (mask[:, 0] > 0) & (normals.norm(dim=1) > 0)
    cosine = (found * normals).sum(dim=1)[both].clamp(-1, 1)
    assert torch.rad2deg(cosine.acos()).mean() < 6
    overlap = both.sum() / ((mask[:, 0] > 0) | (normals.norm(dim=1) > 0)).sum()
    assert overlap > 0.93
    # light up to its strength, which no photo tells from albedo, and as far as it shows in front
    inside = both & (torch.arange(SIZE)[:, None] > 24)  # below the brows
    for row in range(3):
        told, true = (
            shading(normals[row : row + 1], lights[row : row + 1])[0, 0][inside[row]]
            for lights in (torch.from_numpy(labels.light), light)
        )
        assert torch.corrcoef(torch.stack([told, true]))[0, 1] > 0.97
        assert (told / told.mean() - true / true.mean()).abs().mean() < 0.06


def test_mirrored_light_is_told_from_light(model, made, tmp_path):
    """x is the fourth coefficient: light from the image's left is negative in it."""
    faces, landmarks, _, light = made
    found = pseudo_labels(faces, landmarks, model, tmp_path).light[:, 3]
    assert found[0] < 0 < found[2] and light[0, 3] < 0 < light[2, 3]


def test_normals_survive_their_bytes():
    normals = torch.nn.functional.normalize(torch.randn(1, 3, 50, 50), dim=1)
    packed = (128 + 127 * normals).round().byte().permute(0, 2, 3, 1).numpy()
    found, mask = unpack_normals(packed)
    assert mask.min() == 1
    assert torch.rad2deg((found * normals).sum(dim=1).clamp(-1, 1).acos()).max() < 0.4


def test_a_killed_run_goes_on_with_the_parts_it_has(model, made, tmp_path, monkeypatch):
    monkeypatch.setattr(kept_parts, "_PART", 1)
    faces, landmarks, _, _ = made
    told = []
    whole = pseudo_labels(
        faces, landmarks, model, tmp_path, progress=lambda done, total: told.append((done, total))
    )
    assert told == [(1, 3), (2, 3), (3, 3)]
    first, *others = sorted(tmp_path.glob("*.npz"))
    kept = {path: path.stat().st_mtime_ns for path in others}
    first.unlink()
    again = pseudo_labels(faces, landmarks, model, tmp_path)
    assert first.is_file()
    assert {path: path.stat().st_mtime_ns for path in others} == kept
    np.testing.assert_array_equal(again.identity, whole.identity)
    np.testing.assert_array_equal(again.packed_normals, whole.packed_normals)


def test_a_face_without_landmarks_is_unknown(model, made, tmp_path):
    faces, landmarks, _, _ = made
    holed = landmarks.copy()
    holed[1] = np.nan
    labels = pseudo_labels(faces, holed, model, tmp_path)
    assert np.isnan(labels.rotation[1]).all() and np.isnan(labels.light[1]).all()
    assert not labels.packed_normals[1].any() and not np.isnan(labels.light[[0, 2]]).any()
    assert np.isnan(pseudo_labels(faces[1:2], holed[1:2], model, tmp_path).error).all()
    with pytest.raises(ValueError, match="3 faces, but landmarks of 2"):
        pseudo_labels(faces, holed[:2], model, tmp_path)
