"""The z-buffer: by hand, against a slow literal one, and on shapes whose pictures are known."""

from fractions import Fraction

import pytest
import torch

from facefactor.geometry import rasteriser
from facefactor.geometry.lighting import directional_lighting
from facefactor.geometry.projection import project
from facefactor.geometry.rasteriser import (
    interpolate,
    normal_map,
    rasterise,
    render,
    vertex_normals,
)
from facefactor.geometry.rotations import rotation_matrix


def one(points):
    """A single mesh, as float64 points (1, V, 3)."""
    return torch.tensor(points, dtype=torch.float64).reshape(1, -1, 3)


def faces(*triangles):
    return torch.tensor(triangles).reshape(-1, 3)


def turned_to_camera(points, triangles):
    """The same triangles, wound so that all are drawn: counter-clockwise where y is up."""
    corners = points[0][triangles]
    side, other = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    away = side[:, 0] * other[:, 1] - side[:, 1] * other[:, 0] > 0  # y is down
    return torch.where(away[:, None], triangles.flip(1), triangles)


def random_soup(count, reach, seed=0):
    """Triangles that share no corners, over and beyond a picture of `reach` pixels."""
    random = torch.Generator().manual_seed(seed)
    points = (
        1.6 * torch.rand(1, 3 * count, 3, generator=random, dtype=torch.float64) - 0.3
    ) * reach
    triangles = torch.arange(3 * count).reshape(-1, 3)
    return points, turned_to_camera(points, triangles)


def sphere(rings=60, around=120):
    """A unit ball: vertices (V, 3), which are also its normals, and triangles seen from outside."""
    polar = torch.linspace(0, torch.pi, rings, dtype=torch.float64)[:, None]
    angle = torch.arange(around, dtype=torch.float64) * 2 * torch.pi / around
    vertices = torch.stack(
        [polar.sin() * angle.sin(), polar.cos().expand(rings, around), polar.sin() * angle.cos()],
        dim=-1,
    )
    upper = torch.arange((rings - 1) * around)
    row, column = upper // around, upper % around
    beside = row * around + (column + 1) % around
    triangles = torch.cat(
        [
            torch.stack([upper, upper + around, beside], 1),
            torch.stack([beside, upper + around, beside + around], 1),
        ]
    )
    return vertices.reshape(-1, 3), triangles


def literal(points, triangles, height, width):
    """Triangle by triangle, pixel by pixel, in exact arithmetic on the same grid of corners."""
    steps = rasteriser._STEPS
    shown, nearest = torch.full((height, width), -1), {}
    shares_at = torch.zeros(height, width, 3, dtype=torch.float64)
    for index, corners in enumerate(triangles.tolist()):
        xy = [[round(value * steps) for value in points[0, c, :2].tolist()] for c in corners]
        depth = [Fraction(points[0, c, 2].item()) for c in corners]
        for row in range(height):
            for column in range(width):
                areas, own = [], True
                for corner in range(3):
                    (ax, ay), (bx, by) = xy[(corner + 1) % 3], xy[(corner + 2) % 3]
                    dx, dy = bx - ax, by - ay
                    area = dy * (column * steps - ax) - dx * (row * steps - ay)
                    left_or_top = dy > 0 or (dy == 0 and dx < 0)
                    own &= area > 0 or (area == 0 and left_or_top)
                    areas.append(area)
                if not own:
                    continue
                shares = [Fraction(area, sum(areas)) for area in areas]
                z = sum(s * d for s, d in zip(shares, depth, strict=True))
                if (row, column) not in nearest or z > nearest[row, column]:
                    nearest[row, column] = z
                    shown[row, column] = index
                    shares_at[row, column] = one([float(s) for s in shares])[0, 0]
    return shown, shares_at


def test_a_hand_worked_triangle():
    """Right angle at (1, 1), legs of 3 pixels; the long side from (1, 4) to (4, 1) is not its own.

    At (2, 2): 1/3 of the way along both legs.
    """
    points = one([[1, 1, 5], [1, 4, 5], [4, 1, 8]])
    raster = rasterise(points, faces([0, 1, 2]), (6, 7))
    expected = torch.full((6, 7), -1)
    expected[1, 1:4] = expected[2, 1:3] = expected[3, 1:2] = 0
    assert torch.equal(raster.triangle[0], expected)
    assert raster.mask.shape == (1, 1, 6, 7) and raster.mask.sum() == 6
    third = torch.full((3,), 1 / 3, dtype=torch.float64)
    torch.testing.assert_close(raster.barycentric[0, 2, 2], third)
    torch.testing.assert_close(raster.barycentric[0, 1, 2], one([2 / 3, 0, 1 / 3])[0, 0])
    assert raster.corners[0, 2, 2].tolist() == [0, 1, 2]
    depth = interpolate(raster, points[..., 2:])
    assert depth[0, 0, 2, 2].item() == pytest.approx(6)
    assert depth[0, 0, 5, 5].item() == 0


@pytest.mark.parametrize("seed", [0, 1])
def test_agreement_with_the_literal_version(seed):
    points, triangles = random_soup(25, 14, seed)
    raster = rasterise(points, triangles, (12, 14))
    shown, shares = literal(points, triangles, 12, 14)
    assert len(shown.unique()) > 10
    assert torch.equal(raster.triangle[0], shown)
    torch.testing.assert_close(raster.barycentric[0], shares, rtol=0, atol=1e-12)


def test_agreement_where_edges_run_through_pixel_centres():
    """Corners on whole and half pixels: half of all decisions are ties. Depth by order of the mesh
    alone where triangles are level: the first wins."""
    points, triangles = random_soup(30, 10, seed=3)
    points = (2 * points).round() / 2
    points[..., 2] = 0
    triangles = turned_to_camera(points, triangles)
    raster = rasterise(points, triangles, (10, 10))
    shown, _ = literal(points, triangles, 10, 10)
    assert torch.equal(raster.triangle[0], shown)


def test_in_parts_and_at_once_are_the_same(monkeypatch):
    points, triangles = random_soup(300, 40)
    at_once = rasterise(points, triangles, (40, 40))
    monkeypatch.setattr(rasteriser, "_FRAGMENTS_AT_ONCE", 3000)
    in_parts = rasterise(points, triangles, (40, 40))
    assert torch.equal(at_once.triangle, in_parts.triangle)
    assert torch.equal(at_once.barycentric, in_parts.barycentric)


def test_shared_edges_belong_to_exactly_one_triangle():
    """A bent square cut into 2 x 12 x 12 triangles, its inner corners anywhere, many of them on
    pixel centres: counted triangle by triangle, every pixel inside is covered once."""
    random = torch.Generator().manual_seed(0)
    row, column = torch.meshgrid(torch.arange(13), torch.arange(13), indexing="ij")
    points = torch.stack([column * 2, row * 2, 0 * row], dim=-1).double()
    jitter = torch.rand(13, 13, 2, generator=random).double() - 0.5
    jitter[::3] = 0
    points[1:-1, 1:-1, :2] += jitter[1:-1, 1:-1]
    corner = (13 * row + column)[:-1, :-1].flatten()
    cells = torch.stack([corner, corner + 13, corner + 1, corner + 14], dim=1)
    triangles = torch.cat([cells[:, [0, 1, 2]], cells[:, [2, 1, 3]]])
    points = points.reshape(1, -1, 3)
    covered = torch.zeros(26, 26, dtype=torch.int64)
    for triangle in triangles:
        covered += rasterise(points, triangle[None], (26, 26)).mask[0, 0]
    expected = torch.zeros_like(covered)
    expected[:24, :24] = 1  # its right and lower sides are not its own
    assert torch.equal(covered, expected)
    assert torch.equal(rasterise(points, triangles, (26, 26)).mask[0, 0].long(), expected)


def test_the_nearer_surface_wins_whatever_the_order():
    near = [[0, 0, 3], [0, 9, 3], [9, 0, 3]]
    far = [[0, 0, -2], [0, 9, -2], [9, 0, -2]]
    for points, winner in (([near, far], 0), ([far, near], 1)):
        raster = rasterise(one(points), faces([0, 1, 2], [3, 4, 5]), (9, 9))
        assert set(raster.triangle.unique().tolist()) == {-1, winner}


def test_surfaces_cut_each_other_where_they_meet():
    """One level at z = 0, one that rises with x through it at x = 4.5; also below zero."""
    for shift in (0, -100):
        level = [[0, 0, shift], [0, 40, shift], [40, 0, shift]]
        rising = [[0, 0, shift - 4.5], [0, 40, shift - 4.5], [40, 0, shift + 35.5]]
        raster = rasterise(one([level, rising]), faces([0, 1, 2], [3, 4, 5]), (10, 10))
        assert (raster.triangle[0, :, :5] == 0).all() and (raster.triangle[0, :, 5:] == 1).all()


def test_triangles_turned_away_and_without_area_leave_no_trace():
    points = one([[0, 0, 0], [0, 9, 0], [9, 0, 0], [3, 3, 9], [6, 6, 9]])
    behind = faces([0, 1, 2])
    raster = rasterise(points, faces([0, 2, 1], [0, 0, 1], [0, 3, 4], [0, 1, 2]), (9, 9))
    alone = rasterise(points, behind, (9, 9))
    assert torch.equal(raster.mask, alone.mask)
    assert (raster.triangle[raster.triangle >= 0] == 3).all()
    assert not rasterise(points, faces([0, 2, 1], [3, 3, 3]), (9, 9)).mask.any()


def test_an_empty_mesh_and_an_empty_batch():
    nothing = torch.zeros(0, 3, dtype=torch.int64)
    points = torch.zeros(2, 0, 3)
    raster = rasterise(points, nothing, (4, 5))
    assert raster.triangle.shape == (2, 4, 5) and not raster.mask.any()
    assert torch.equal(normal_map(raster, points, nothing), torch.zeros(2, 3, 4, 5))
    batch = rasterise(torch.zeros(0, 3, 3), faces([0, 1, 2]), (4, 5))
    assert batch.mask.shape == (0, 1, 4, 5)


def test_triangles_far_outside_are_cut_at_the_border():
    """One that holds the whole picture inside, and four that lie beyond each of its sides."""
    huge = one([[-5000, -5000, 1], [-5000, 9000, 1], [9000, -5000, 1]])
    assert (rasterise(huge, faces([0, 1, 2]), (20, 30)).triangle == 0).all()
    small = one([[0, 0, 0], [0, 3, 0], [3, 0, 0]])
    for x, y in ((-4, 5), (31, 5), (5, -4), (5, 21), (1e9, 0), (0, -1e30)):
        moved = small + one([x, y, 0])
        assert not rasterise(moved, faces([0, 1, 2]), (20, 30)).mask.any()


def test_half_a_pixel_at_the_border_counts_by_its_centre():
    """The picture's first centre is at 0 and its last at width - 1."""
    corner = one([[-0.4, -0.4, 0], [-0.4, 0.9, 0], [0.9, -0.4, 0]])
    raster = rasterise(corner, faces([0, 1, 2]), (3, 3))
    assert raster.mask[0, 0].nonzero().tolist() == [[0, 0]]
    opposite = 2 - corner
    opposite[..., 2] = 0
    raster = rasterise(opposite, faces([0, 1, 2]), (3, 3))
    assert raster.mask[0, 0].nonzero().tolist() == [[2, 2]]


def test_meshes_of_a_batch_do_not_see_each_other():
    first, triangles = random_soup(20, 16, seed=5)
    second = first * torch.tensor([0.8, 1.1, -1.0])
    both = rasterise(torch.cat([first, second]), triangles, (16, 16))
    for number, points in enumerate((first, second)):
        alone = rasterise(points, triangles, (16, 16))
        assert torch.equal(both.triangle[number], alone.triangle[0])
        assert torch.equal(both.corners[number], alone.corners[0])
    colours = torch.rand(2, first.shape[1], 4).double()
    pictures = interpolate(both, colours)
    assert pictures.shape == (2, 4, 16, 16)
    alone = interpolate(rasterise(second, triangles, (16, 16)), colours[1])
    torch.testing.assert_close(pictures[1:], alone)


def test_a_linear_attribute_is_linear_in_the_picture():
    """Corners on the raster's own grid, so that nothing is rounded: x comes back as the column."""
    points, triangles = random_soup(6, 30, seed=2)
    points[..., :2] = (points[..., :2] * 8).round() / 8
    triangles = turned_to_camera(points, triangles)
    raster = rasterise(points, triangles, (30, 30))
    x, y = interpolate(raster, points[..., :2])[0]
    row, column = torch.nonzero(raster.mask[0, 0]).unbind(1)
    assert len(row) > 100
    torch.testing.assert_close(x[row, column], column.double())
    torch.testing.assert_close(y[row, column], row.double())


def test_gradients_reach_the_attributes():
    points, triangles = random_soup(8, 6, seed=4)
    raster = rasterise(points, triangles, (6, 6))
    colours = torch.rand(1, points.shape[1], 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda c: interpolate(raster, c), colours)
    assert torch.autograd.gradcheck(lambda p: vertex_normals(p, triangles), points.requires_grad_())


def test_projection_by_hand():
    """The subject's left is at the image's right, up is towards row 0, near keeps its sign."""
    vertices = one([[1, 0, 0], [0, 1, 0], [0, 0, 1]])
    scale = torch.tensor([10.0]).double()
    shift = one([50, 60, 0])[0, :, :2]
    frontal = project(vertices, torch.eye(3).double()[None], scale, shift)
    assert frontal[0].tolist() == [[60, 60, 0], [50, 50, 0], [50, 60, 10]]
    to_the_left = rotation_matrix(torch.tensor([[90.0, 0, 0]]).double())  # of the image
    profile = project(vertices[0], to_the_left, scale, shift)
    torch.testing.assert_close(profile[0, 2], one([40, 60, 0])[0, 0], rtol=0, atol=1e-9)


def test_normals_of_a_hand_worked_roof():
    """Two triangles that meet at a right angle along an edge, of areas 1/2 and 1."""
    vertices = one([[0, 0, 0], [0, 1, 0], [-1, 0, 0], [0, 0, -2]])
    normals = vertex_normals(vertices, faces([0, 1, 2], [0, 3, 1]))[0]
    torch.testing.assert_close(normals[2], one([0, 0, 1])[0, 0])
    torch.testing.assert_close(normals[3], one([1, 0, 0])[0, 0])
    ridge = one([2, 0, 1])[0, 0] / 5**0.5
    torch.testing.assert_close(normals[0], ridge)
    torch.testing.assert_close(normals[1], ridge)
    lonely = vertex_normals(one([[1, 2, 3], [4, 5, 6]]), torch.zeros(0, 3, dtype=torch.int64))
    assert torch.equal(lonely, torch.zeros(1, 2, 3).double())


@pytest.fixture(scope="module")
def ball():
    """A ball of 50 pixels around (64, 60), turned anyhow; and where its normals truly point."""
    vertices, triangles = sphere()
    rotation = rotation_matrix(torch.tensor([[25.0, 40.0, -10.0]]).double())
    centre = one([64, 60, 0])[0, :, :2]
    points = project(vertices, rotation, torch.tensor([50.0]).double(), centre)
    row, column = torch.meshgrid(torch.arange(128.0), torch.arange(128.0), indexing="ij")
    x, y = (column.double() - 64) / 50, (60 - row.double()) / 50
    truth = torch.stack([x, y, (1 - x**2 - y**2).clamp(min=0).sqrt()])
    return points, triangles, truth


def test_a_ball_has_the_normals_of_a_ball(ball):
    points, triangles, truth = ball
    raster = rasterise(points, triangles, (128, 128))
    normals = normal_map(raster, points, triangles)[0]
    mask = raster.mask[0, 0]
    lengths = torch.linalg.vector_norm(normals, dim=0)
    torch.testing.assert_close(lengths, mask.double())
    inside = truth[:2].square().sum(0) < 0.98**2
    assert mask[inside].all()  # no holes
    assert not mask[truth[:2].square().sum(0) > 1].any()
    error = torch.rad2deg(torch.arccos((normals * truth).sum(0)[inside].clamp(-1, 1)))
    assert error.mean() < 0.15 and error.max() < 1.5


def test_only_the_near_side_of_a_ball_is_seen(ball):
    points, triangles, _ = ball
    raster = rasterise(points, triangles, (128, 128))
    depth = interpolate(raster, points[..., 2:])
    assert depth.min() >= 0 and depth.max().item() == pytest.approx(50, abs=0.1)


def test_light_from_the_left_brightens_the_left(ball):
    points, triangles, truth = ball
    raster = rasterise(points, triangles, (128, 128))
    albedo = torch.full((points.shape[1], 3), 0.8).double() * torch.tensor([1, 0.5, 0.25])
    angles = torch.tensor([[-60.0, 0.0], [60.0, 0.0], [0.0, 60.0]]).double()
    left, right, above = (
        render(raster, points, triangles, albedo, directional_lighting(a[None], e[None], 0.1))[0]
        for a, e in angles
    )
    assert left.shape == (3, 128, 128)
    assert left[0, 60, 30] > 0.6 > 0.2 > left[0, 60, 98]
    assert right[0, 60, 98] > 0.6 > 0.2 > right[0, 60, 30]
    assert above[0, 26, 64] > 0.6 > 0.2 > above[0, 94, 64]
    assert (left[:, ~raster.mask[0, 0]] == 0).all()  # black outside
    seen = left[:, 60, 40]
    torch.testing.assert_close(seen, seen[0] * torch.tensor([1, 0.5, 0.25]).double())


def test_a_render_stays_within_0_and_1(ball):
    points, triangles, _ = ball
    raster = rasterise(points, triangles, (128, 128))
    glaring = 3 * directional_lighting(*torch.tensor([[90.0], [0.0]]).double())
    white = torch.ones(points.shape[1], 3).double()
    face = render(raster, points, triangles, white, glaring)
    assert face.min() == 0 and face.max() == 1


@pytest.mark.parametrize(
    ("points", "triangles", "message"),
    [
        (torch.zeros(4, 3), faces([0, 1, 2]), r"points must be \(N, V, 3\), got \(4, 3\)"),
        (torch.zeros(1, 4, 2), faces([0, 1, 2]), r"points must be \(N, V, 3\)"),
        (torch.zeros(1, 4, 3), torch.zeros(2, 4).long(), r"triangles must be \(T, 3\)"),
        (torch.zeros(1, 4, 3), torch.zeros(2, 3), r"triangles must be \(T, 3\) whole numbers"),
        (torch.zeros(1, 4, 3), faces([0, 1, 4]), "name vertices 0 to 4, but there are 4"),
        (torch.zeros(1, 4, 3), faces([-1, 1, 2]), "name vertices -1 to 2"),
        (torch.full((1, 4, 3), torch.nan), faces([0, 1, 2]), "found NaN or infinity"),
    ],
)
def test_what_is_no_mesh_is_refused(points, triangles, message):
    with pytest.raises(ValueError, match=message):
        rasterise(points, triangles, (8, 8))
