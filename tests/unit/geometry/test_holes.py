"""Holes of a mesh closed: nothing is left open, nothing overlaps, all modes go along."""

import pytest
import torch

from facefactor.geometry.holes import close_holes
from facefactor.geometry.morphable import MorphableModel, read_morphable
from facefactor.geometry.uv_grid import grid_triangles, grid_uv
from tests.made_heads import egg_model


@pytest.fixture(scope="module")
def sheet() -> MorphableModel:
    """A flat square of 10 x 10 cells; of its cells one and, elsewhere, two neighbours are gone."""
    uv = grid_uv(torch.tensor([[0.0, 0.0], [1.0, 1.0]]), 11, 11)
    flat = torch.cat([uv, torch.zeros(121, 1)], dim=1)
    triangles = grid_triangles(11, 11)
    middles = uv[triangles].mean(dim=1)
    gone = ((middles - torch.tensor([0.25, 0.75])).abs() < 0.05).all(dim=1)
    gone |= ((middles - torch.tensor([0.6, 0.35])).abs() < torch.tensor([0.1, 0.05])).all(dim=1)
    assert int(gone.sum()) == 2 + 4
    random = torch.Generator().manual_seed(0)
    return MorphableModel(
        neutral=flat,
        identity=torch.randn(2, 121, 3, generator=random),
        expression=torch.randn(1, 121, 3, generator=random),
        expression_names=("a",),
        triangles=triangles[~gone],
        uv=uv,
        landmarks68=torch.zeros(68, dtype=torch.int64),
    )


def signed_areas(points: torch.Tensor, triangles: torch.Tensor) -> torch.Tensor:
    first, second, third = points[triangles].unbind(dim=1)
    one, other = second - first, third - first
    return (one[:, 0] * other[:, 1] - one[:, 1] * other[:, 0]) / 2


def test_a_square_with_holes_is_whole_again(sheet):
    """Areas that are all positive and sum to 1 leave nothing open and nothing twice."""
    closed = close_holes(sheet)
    assert sorted(len(rim) for rim in closed.rims) == [4, 6]
    before = signed_areas(sheet.uv, sheet.triangles)
    torch.testing.assert_close(before.sum(), torch.tensor(0.97))
    areas = signed_areas(closed.model.uv, closed.model.triangles)
    assert (areas > 0).all()
    torch.testing.assert_close(areas.sum(), torch.tensor(1.0))


def test_own_vertices_stay_and_added_ones_are_means_of_the_rim(sheet):
    closed = close_holes(sheet)
    model, count = closed.model, len(sheet.neutral)
    for name in ("neutral", "identity", "expression", "uv"):
        whole, own = getattr(model, name), getattr(sheet, name)
        assert torch.equal(whole[..., :count, :], own), name
        for rim, fill in zip(closed.rims, closed.fills, strict=True):
            assert len(fill) == 4 * len(rim) + 1
            mean = own[..., rim, :].mean(dim=-2)
            torch.testing.assert_close(whole[..., fill[-1], :], mean)
            # the first ring is close to the rim: at 0.92 of the way out
            nearest = mean + 0.92 * (own[..., rim[2], :] - mean)
            torch.testing.assert_close(whole[..., fill[2], :], nearest)
    assert len(model.neutral) == count + sum(len(fill) for fill in closed.fills)


def test_a_face_without_holes_is_as_it_was():
    egg = egg_model()
    closed = close_holes(egg)
    assert closed.rims == () and closed.fills == ()
    assert torch.equal(closed.model.neutral, egg.neutral)
    assert torch.equal(closed.model.triangles, egg.triangles)


def test_the_outline_is_the_longest_border_not_that_of_most_vertices():
    """A ring: 20 vertices around a small hole, each of them beside one of four far corners."""
    turn = 2 * torch.pi * torch.arange(20) / 20
    inner = torch.stack([turn.cos(), turn.sin(), torch.zeros(20)], dim=1)
    corners = torch.tensor([[9.0, 9, 0], [-9, 9, 0], [-9, -9, 0], [9, -9, 0]])
    near = (torch.arange(20) // 5).tolist()  # the corner of the quarter
    triangles = [[number, 20 + near[number], (number + 1) % 20] for number in range(20)]
    triangles += [[(5 * k + 5) % 20, 20 + k, 20 + (k + 1) % 4] for k in range(4)]
    vertices = torch.cat([inner, corners])
    ring = MorphableModel(
        neutral=vertices,
        identity=torch.zeros(1, 24, 3),
        expression=torch.zeros(1, 24, 3),
        expression_names=("a",),
        triangles=torch.tensor(triangles),
        uv=vertices[:, :2],
        landmarks68=torch.zeros(68, dtype=torch.int64),
    )
    assert (signed_areas(ring.uv, ring.triangles) > 0).all()
    (rim,) = close_holes(ring).rims
    assert sorted(rim.tolist()) == list(range(20))


def test_eyes_and_mouth_of_ict_facekit(shared):
    model = read_morphable(shared / "models3d" / "ict_facekit_face.npz")
    closed = close_holes(model)
    marks = model.neutral[model.landmarks68]
    places = [marks[36:42].mean(0), marks[42:48].mean(0), marks[60:68].mean(0)]
    centres = torch.stack([closed.model.neutral[fill[-1]] for fill in closed.fills])
    assert len(centres) == 3
    away = torch.cdist(torch.stack(places), centres)
    assert sorted(away.argmin(dim=1).tolist()) == [0, 1, 2] and away.amin(dim=1).max() < 1.0
