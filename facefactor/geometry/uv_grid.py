"""A morphable face on a regular grid of its texture chart: 125 rows of 75 vertices.

That is 9,375 vertices, the count of Neuro-Tensorial, whose triangles follow from the two numbers.
Row 0 is the top of the face (the chart's largest v), column 0 its left in an image of a face that
looks at the camera (the smallest u: the subject's right); vertex = row * columns + column. The
paper does not say how its mesh is laid out. Rows are the many because eyes, brows and lips are
narrow from top to bottom: vertices of ICT-FaceKit's front lie 0.65 mm beside a grid laid this way,
0.90 mm beside one of 75 rows. Both counts are odd: the middle column is the line of symmetry.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from facefactor.geometry.morphable import MorphableModel
from facefactor.geometry.rasteriser import rasterise

ROWS, COLUMNS = 125, 75


@dataclass(frozen=True, eq=False)
class ChartPoints:
    """K points of a chart, each by the vertices it lies between."""

    corners: Tensor  # (K, 3) int64
    shares: Tensor  # (K, 3) sum 1
    inside: Tensor  # (K,) bool; False: on an edge of the chart, to which it may have been moved

    def __call__(self, attributes: Tensor) -> Tensor:
        """What vertices have, at the points: (..., V, C) -> (..., K, C)."""
        return torch.einsum("...kjc,kj->...kc", attributes[..., self.corners, :], self.shares)


def grid_triangles(rows: int = ROWS, columns: int = COLUMNS) -> Tensor:
    """(2 (rows - 1) (columns - 1), 3) int64, counter-clockwise seen from outside.

    The diagonals mirror each other about the middle column, as faces do.
    """
    first = torch.arange(rows * columns).view(rows, columns)[:-1, :-1]
    upper_left, upper_right = first, first + 1
    lower_left, lower_right = first + columns, first + columns + 1
    falling = [upper_left, lower_left, lower_right], [upper_left, lower_right, upper_right]
    rising = [upper_left, lower_left, upper_right], [upper_right, lower_left, lower_right]
    left = torch.arange(columns - 1) < (columns - 1) // 2
    halves = [
        torch.where(left, torch.stack(one), torch.stack(other))
        for one, other in zip(falling, rising, strict=True)
    ]
    return torch.stack(halves, dim=-1).permute(1, 2, 3, 0).reshape(-1, 3)


def grid_uv(uv: Tensor, rows: int = ROWS, columns: int = COLUMNS) -> Tensor:
    """(rows * columns, 2) texture coordinates of the grid over the box around a chart (V, 2)."""
    (left, bottom), (right, top) = uv.amin(dim=0).tolist(), uv.amax(dim=0).tolist()
    v, u = torch.meshgrid(
        torch.linspace(top, bottom, rows), torch.linspace(left, right, columns), indexing="ij"
    )
    return torch.stack([u, v], dim=-1).reshape(-1, 2).to(uv)


def locate_grid(
    uv: Tensor, triangles: Tensor, rows: int = ROWS, columns: int = COLUMNS
) -> ChartPoints:
    """Where the grid's points lie on a chart of uv (V, 2) and triangles (T, 3).

    A point of no triangle (beyond the outline, in the holes of eyes and mouth) is moved to the
    nearest point of the chart, which is on an edge of one triangle alone. Grid cells over a narrow
    hole close it; those beyond the outline have no area. Where a chart overlaps itself, the first
    triangle counts.

    Raises:
        ValueError: a chart without area; fewer than two rows or columns.
    """
    low, high = uv.amin(dim=0), uv.amax(dim=0)
    if min(rows, columns) < 2 or not (high > low).all() or not len(triangles):
        raise ValueError(
            f"no grid of {rows} x {columns} over a chart of {len(triangles)} triangles"
        )
    # The rasteriser finds the triangle under each point: points are pixels, and v is up, y down.
    across = (uv[:, 0] - low[0]) / (high[0] - low[0]) * (columns - 1)
    down = (high[1] - uv[:, 1]) / (high[1] - low[1]) * (rows - 1)
    points = torch.stack([across, down, torch.zeros_like(down)], dim=-1)[None]
    raster = rasterise(points, _towards_camera(points[0], triangles), (rows, columns))
    corners, shares = raster.corners.view(-1, 3), raster.barycentric.view(-1, 3)
    inside = raster.mask.view(-1)
    outside = torch.nonzero(~inside)[:, 0]
    ends, share = _nearest_on(uv, _outline(triangles), grid_uv(uv, rows, columns)[outside])
    corners[outside] = torch.cat([ends, ends[:, :1]], dim=1)
    shares[outside] = torch.stack([1 - share, share, torch.zeros_like(share)], dim=1)
    return ChartPoints(corners, shares, inside)


def resample(model: MorphableModel, rows: int = ROWS, columns: int = COLUMNS) -> MorphableModel:
    """The same face, all its modes too, on the grid; shapes change by less than a cell's size.

    Texture coordinates are the regular grid's own, also where a point was moved. A landmark is the
    vertex nearest to the original one on the chart: up to half a cell beside it, and on the same
    lip or lid, which on a closed mouth or eye the nearest in space need not be.
    """
    points = locate_grid(model.uv, model.triangles, rows, columns)
    from_landmarks = torch.cdist(
        model.uv[model.landmarks68], points(model.uv)
    )  # (68, rows * columns)
    return replace(
        model,
        neutral=points(model.neutral),
        identity=points(model.identity),
        expression=points(model.expression),
        triangles=grid_triangles(rows, columns).to(model.triangles.device),
        uv=grid_uv(model.uv, rows, columns),
        landmarks68=from_landmarks.argmin(dim=1),
    )


def _towards_camera(points: Tensor, triangles: Tensor) -> Tensor:
    """Triangles wound so that the rasteriser draws all: charts may be mirrored in places."""
    first, second, third = (points[corner] for corner in triangles.unbind(dim=1))
    side, other = second - first, third - first
    away = side[:, 0] * other[:, 1] - side[:, 1] * other[:, 0] > 0
    return torch.where(away[:, None], triangles.flip(1), triangles)


def _outline(triangles: Tensor) -> Tensor:
    """(B, 2) edges that belong to one triangle alone."""
    sides = torch.cat([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
    edges, count = torch.unique(sides.sort(dim=1).values, dim=0, return_counts=True)
    return edges[count == 1]


def _nearest_on(uv: Tensor, edges: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
    """The nearest of edges (B, 2) to each point (K, 2), and how far along it: (K, 2) and (K,)."""
    start = uv[edges[:, 0]]
    along = uv[edges[:, 1]] - start
    length = along.square().sum(dim=1).clamp(min=torch.finfo(uv.dtype).tiny)
    share = (((points[:, None] - start) * along).sum(dim=2) / length).clamp(0, 1)  # (K, B)
    away = (start + share[..., None] * along - points[:, None]).square().sum(dim=2)
    nearest = away.argmin(dim=1)
    return edges[nearest], share.gather(1, nearest[:, None])[:, 0]
