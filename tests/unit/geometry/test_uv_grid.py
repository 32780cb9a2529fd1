"""Resampling to the grid of the chart: its order, what is exact on it, and what lies outside."""

import pytest
import torch

from facefactor.geometry.morphable import MorphableModel, read_morphable
from facefactor.geometry.projection import project
from facefactor.geometry.rasteriser import interpolate, rasterise, vertex_normals
from facefactor.geometry.uv_grid import (
    COLUMNS,
    ROWS,
    grid_triangles,
    grid_uv,
    locate_grid,
    resample,
)

SQUARE = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
HALVES = torch.tensor([[0, 1, 2], [2, 1, 3]])


def chart_with_a_hole():
    """The unit square in 10 x 10 cells, without the two cells in the middle of its fifth row."""
    row, column = torch.meshgrid(torch.arange(11), torch.arange(11), indexing="ij")
    uv = torch.stack([column / 10, row / 10], dim=-1).reshape(-1, 2)
    first = (11 * row + column)[:-1, :-1].flatten()
    keep = torch.ones(10, 10, dtype=torch.bool)
    keep[4, 4:6] = False
    first = first[keep.flatten()]
    triangles = torch.cat(
        [
            torch.stack([first, first + 1, first + 11], 1),
            torch.stack([first + 11, first + 1, first + 12], 1),
        ]
    )
    return uv, triangles


def test_the_papers_count():
    assert ROWS * COLUMNS == 9375
    triangles = grid_triangles()
    assert triangles.shape == (2 * 124 * 74, 3)
    assert triangles.min() == 0 and triangles.max() == 9374


def test_triangles_of_the_smallest_grid():
    """0 1 2
    3 4 5: the left cell is cut from upper left to lower right, the right one as its mirror."""
    triangles = grid_triangles(2, 3)
    assert {tuple(t) for t in triangles.tolist()} == {(0, 3, 4), (0, 4, 1), (1, 4, 2), (2, 4, 5)}


def test_triangles_cover_the_grid_once_and_face_outwards():
    rows, columns = 6, 9
    row, column = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    flat = torch.stack([column, -row, 0 * row], dim=-1).reshape(-1, 3).double()
    triangles = grid_triangles(rows, columns)
    first, second, third = flat[triangles].unbind(1)
    area = torch.linalg.cross(second - first, third - first)[:, 2] / 2
    torch.testing.assert_close(area, torch.full_like(area, 0.5))
    assert area.sum() == (rows - 1) * (columns - 1)
    mirrored = triangles.div(columns, rounding_mode="floor") * columns
    mirrored += columns - 1 - triangles % columns
    assert {frozenset(t) for t in mirrored.tolist()} == {frozenset(t) for t in triangles.tolist()}


def test_rows_go_down_and_columns_to_the_right():
    uv = grid_uv(SQUARE * torch.tensor([0.5, 1.0]) + 0.25, 3, 2)
    expected = [[0.25, 1.25], [0.75, 1.25], [0.25, 0.75], [0.75, 0.75], [0.25, 0.25], [0.75, 0.25]]
    torch.testing.assert_close(uv, torch.tensor(expected))


@pytest.mark.parametrize("mirrored", [False, True])
def test_what_is_linear_on_the_chart_comes_back(mirrored):
    triangles = HALVES.flip(1) if mirrored else HALVES
    points = locate_grid(SQUARE, triangles, 5, 9)
    torch.testing.assert_close(points.shares.sum(1), torch.ones(45))
    torch.testing.assert_close(points(SQUARE), grid_uv(SQUARE, 5, 9), rtol=0, atol=2e-4)
    several = torch.stack([SQUARE, 2 * SQUARE])
    torch.testing.assert_close(points(several)[1], 2 * points(SQUARE))


def test_points_in_a_hole_go_to_its_edge():
    """The hole is u from 0.4 to 0.6, v from 0.4 to 0.5; of 21 x 21 points, three are inside."""
    uv, triangles = chart_with_a_hole()
    points = locate_grid(uv, triangles, 21, 21)
    wanted, found = grid_uv(uv, 21, 21).view(21, 21, 2), points(uv).view(21, 21, 2)
    moved = (found - wanted).norm(dim=2)
    assert moved[11, 9:12].tolist() == pytest.approx([0.05] * 3, abs=1e-5)  # v = 0.45
    torch.testing.assert_close(found[11, 9:12, 0], wanted[11, 9:12, 0].clamp(0.4, 0.6))
    moved[11, 9:12] = 0
    assert moved.max() < 1e-4
    assert not points.inside.view(21, 21)[11, 9:12].any()


def test_points_beyond_the_outline_go_to_the_nearest_edge():
    """A triangle fills half of its box: of the other half, each point drops onto the long side."""
    corner = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    points = locate_grid(corner, torch.tensor([[0, 1, 2]]), 5, 5)
    u, v = grid_uv(corner, 5, 5).unbind(1)
    beyond = ((u + v - 1) / 2).clamp(min=0)
    expected = torch.stack([u - beyond, v - beyond], dim=1)
    torch.testing.assert_close(points(corner), expected, rtol=0, atol=1e-3)
    assert torch.equal(points.inside, (u + v < 0.99) & (v > 0))  # the lower side is not its own


def test_a_chart_without_area_is_refused():
    for uv, triangles, rows in (
        (SQUARE * torch.tensor([1.0, 0.0]), HALVES, 5),
        (SQUARE, HALVES[:0], 5),
        (SQUARE, HALVES, 1),
    ):
        with pytest.raises(ValueError, match="no grid of"):
            locate_grid(uv, triangles, rows, 5)


def test_all_modes_are_resampled_alike():
    """A model whose shape is its chart: every mode of the grid is what it was, at the grid."""
    uv, triangles = chart_with_a_hole()
    flat = torch.cat([uv, uv[:, :1] * 0], dim=1)
    model = MorphableModel(
        neutral=flat,
        identity=torch.stack([flat, -flat, 3 * flat]),
        expression=torch.stack([flat * torch.tensor([0.0, 1.0, 0.0])] * 2),
        expression_names=("a", "b"),
        triangles=triangles,
        uv=uv,
        landmarks68=torch.arange(68) + 40,
    )
    grid = resample(model, 21, 11)
    assert grid.expression_names == ("a", "b")
    assert torch.equal(grid.triangles, grid_triangles(21, 11))
    coefficients = torch.tensor([[1.0, 2.0, 0.5]]), torch.tensor([[1.0, 0.5]])
    before, after = model.vertices(*coefficients), grid.vertices(*coefficients)
    points = locate_grid(uv, triangles, 21, 11)
    torch.testing.assert_close(after, points(before))
    # Every vertex of the model is one of the grid here, so landmarks stay where they were.
    landmarks = after[:, grid.landmarks68]
    torch.testing.assert_close(landmarks, before[:, model.landmarks68], rtol=0, atol=2e-3)


@pytest.fixture(scope="module")
def both(shared):
    model = read_morphable(shared / "models3d" / "ict_facekit_face.npz")
    return model, resample(model)


def test_the_real_face_keeps_its_shape(both):
    """Seen from the front: the same depth at the same pixel, no holes, eyes and mouth closed."""
    model, grid = both
    assert grid.neutral.shape == (9375, 3) and grid.identity.shape == (100, 9375, 3)
    frontal = torch.eye(3)[None], torch.tensor([4.0]), torch.tensor([[64.0, 60.0]])
    depths, masks = [], []
    for each in (model, grid):
        points = project(each.neutral, *frontal)
        raster = rasterise(points, each.triangles, (128, 128))
        depths.append(interpolate(raster, points[..., 2:])[0, 0] / 4)  # centimetres
        masks.append(raster.mask[0, 0])
    both_seen = masks[0] & masks[1]
    assert masks[0].sum() > 6000 and (masks[0] & ~masks[1]).sum() < 0.01 * masks[0].sum()
    assert (depths[0] - depths[1])[both_seen].abs().median() < 0.02
    assert (masks[1] & ~masks[0]).sum() > 20  # the eyes, which the model leaves open
    assert masks[1][20:100, 45:85].all()


def test_the_real_face_keeps_its_landmarks_when_it_moves(both):
    model, grid = both
    assert len(grid.landmarks68.unique()) == 68
    weights = model.expression_weights({"jawOpen": 1.0, "mouthSmile_R": 0.7})
    person = torch.randn(1, 100, generator=torch.Generator().manual_seed(0)) / 2
    shapes = [each.vertices(person, weights)[0, each.landmarks68] for each in both]
    error = (shapes[0] - shapes[1]).norm(dim=1)
    assert error.mean() < 0.2 and error.max() < 0.5  # centimetres; a cell is 0.25 by 0.4
    outward = vertex_normals(grid.neutral, grid.triangles)[grid.landmarks68[30]]
    assert outward[2] > 0.8  # the tip of the nose
    assert grid.neutral.view(ROWS, COLUMNS, 3)[:, COLUMNS // 2, 0].abs().max() < 1e-4
    assert (grid.neutral.view(ROWS, COLUMNS, 3)[60, :10, 0] < 0).all()
