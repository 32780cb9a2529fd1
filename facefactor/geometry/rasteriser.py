"""A z-buffer: which triangle of a mesh each pixel shows, and maps made from that.

    points = projection.project(vertices, rotation, scale, translation)
    raster = rasterise(points, triangles, (128, 128))
    normals, face = normal_map(raster, points, triangles), raster.mask

Two frames. Heads have x to the subject's left, y up and z out of the face; turned by a rotation of
`geometry.rotations`, they have x to the image's right, y up and z to the camera. Points in the
image have x right and y *down* in pixels, whose centres lie at integers: (0, 0) is the middle of
the upper left pixel. Their z stays as it is, in pixels: larger is nearer.

Triangles are wound counter-clockwise, seen from outside. Those turned away are neither drawn nor
do they hide what lies behind them: of a closed surface a nearer one always does.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from facefactor.geometry.lighting import shading

# Corners are put on a grid of this many steps a pixel. Which side of an edge a pixel lies on is
# then exact in float64 up to 2^14 pixels from the origin, so triangles that share an edge never
# both have a pixel on it, nor neither.
_STEPS = 1024
_FRAGMENTS_AT_ONCE = 2**20  # pairs of triangle and pixel; bounds the memory to some 150 MB
_EMPTY = torch.iinfo(torch.int64).min
_LOW = 2**32 - 1


@dataclass(frozen=True, eq=False)
class Raster:
    """What each pixel of N pictures shows of a mesh of T triangles."""

    triangle: Tensor  # (N, H, W) int64, -1 where there is none
    corners: Tensor  # (N, H, W, 3) int64, the triangle's three vertices; 0 where there is none
    barycentric: Tensor  # (N, H, W, 3) their shares at the pixel's centre, sum 1; 0 where none

    @property
    def mask(self) -> Tensor:
        """(N, 1, H, W) bool: the mesh is seen here."""
        return self.triangle[:, None] >= 0


@torch.no_grad()
def rasterise(points: Tensor, triangles: Tensor, size: tuple[int, int]) -> Raster:
    """The nearest triangle under each pixel's centre; the first of the mesh among equally near.

    A centre on an edge belongs to the triangle to the right of it or below it. Triangles without
    area, turned away or outside of the picture leave no trace. No gradient reaches `points`;
    `interpolate` passes those of attributes on.

    Args:
        points: (N, V, 3) floating point, as of `projection.project`.
        triangles: (T, 3) vertices of each, the same for all N; T may be 0.
        size: height and width in pixels.

    Raises:
        ValueError: other shapes, NaN or infinity in points, vertices that are not there.
    """
    _check(points, triangles)
    height, width = size
    corners = triangles.long().T  # (3, T)
    x, y = ((points[..., axis].double() * _STEPS).round()[:, corners] for axis in (0, 1))
    box = _boxes(x, y, height, width)
    count = (box[1] - box[0] + 1).clamp(min=0) * (box[3] - box[2] + 1).clamp(min=0)
    shown = torch.nonzero(count * (_twice_area(x, y) > 0)).T  # (2, K): picture and triangle
    picture, triangle = shown
    x, y = x[picture, :, triangle].T, y[picture, :, triangle].T  # (3, K)
    z = points[..., 2].double()[picture, corners[:, triangle]]
    edges = _edges(x, y)  # (3 edges, 3, K)
    count, box = count[picture, triangle], box[:, picture, triangle]

    nearest = torch.full((len(points) * height * width,), _EMPTY, device=points.device)
    depth = (edges * (z / _twice_area(x, y))[:, None]).sum(dim=0)  # (3, K): a plane over the pixels
    for part in _parts(count):
        which, column, row = _fragments(part, count, box)
        inside = _covered(edges, which, column, row)
        which, column, row = which[inside], column[inside], row[inside]
        z_here = depth[0, which] * column + depth[1, which] * row + depth[2, which]
        pixel = (picture[which] * height + row) * width + column
        nearest.scatter_reduce_(0, pixel, _sortable(z_here, which), "amax")

    pixel = torch.nonzero(nearest != _EMPTY)[:, 0]
    which = _LOW - (nearest[pixel] & _LOW)
    column, row = pixel % width, pixel // width % height
    shares = edges[:, 0, which] * column + edges[:, 1, which] * row + edges[:, 2, which]
    shares = (shares / shares.sum(dim=0)).to(points.dtype)
    return Raster(
        _spread(triangle[which], pixel, (len(points), height, width), -1),
        _spread(corners[:, triangle[which]].T, pixel, (len(points), height, width, 3), 0),
        _spread(shares.T, pixel, (len(points), height, width, 3), 0),
    )


def interpolate(raster: Raster, attributes: Tensor) -> Tensor:
    """What vertices have, at the pixels: (N, V, C) or (V, C) -> (N, C, H, W); 0 off the mesh.

    Linear in the attributes, and gradients reach them.
    """
    seen = raster.triangle >= 0
    corners, shares = raster.corners[seen], raster.barycentric[seen]  # (K, 3)
    if attributes.ndim == 2:
        values = attributes[corners]
    else:
        values = attributes[torch.nonzero(seen)[:, :1], corners]  # (K, 3, C)
    values = (shares.to(values)[..., None] * values).sum(dim=1)
    picture = values.new_zeros(*seen.shape, values.shape[-1])
    return picture.index_put(torch.nonzero(seen).unbind(1), values).movedim(-1, 1)


def vertex_normals(vertices: Tensor, triangles: Tensor) -> Tensor:
    """Unit normals (..., V, 3), each the mean of its triangles' normals weighted by their areas.

    Zero for a vertex of no triangle, or of none with an area. Vertices (..., V, 3) of any frame
    whose y is up; those of `projection.project` have it down.
    """
    first, second, third = (vertices[..., corner, :] for corner in triangles.long().unbind(dim=1))
    twice_area = torch.linalg.cross(second - first, third - first)
    normals = torch.zeros_like(vertices)
    for corner in triangles.long().unbind(dim=1):
        normals = normals.index_add(-2, corner, twice_area)
    return F.normalize(normals, dim=-1, eps=torch.finfo(vertices.dtype).tiny)


def normal_map(raster: Raster, points: Tensor, triangles: Tensor) -> Tensor:
    """Unit normals at the pixels, x right, y up, z to the camera: (N, 3, H, W); 0 off the mesh.

    Smooth: vertex normals of the projected points (N, V, 3), interpolated.
    """
    upright = points * points.new_tensor([1, -1, 1])
    normals = interpolate(raster, vertex_normals(upright, triangles))
    return F.normalize(normals, dim=1)


def render(
    raster: Raster, points: Tensor, triangles: Tensor, albedo: Tensor, lighting: Tensor
) -> Tensor:
    """Matt faces under light, on black: (N, 3, H, W) in [0, 1], clamp(albedo * shading).

    Args:
        albedo: (V, 3) or (N, V, 3) RGB of the vertices in [0, 1].
        lighting: (N, 9) or (N, 27), of `lighting`, in the camera's frame.
    """
    shaded = shading(normal_map(raster, points, triangles), lighting)
    return (interpolate(raster, albedo) * shaded).clamp(0, 1)


def _check(points: Tensor, triangles: Tensor) -> None:
    if points.ndim != 3 or points.shape[-1] != 3:
        raise ValueError(f"points must be (N, V, 3), got {tuple(points.shape)}")
    if triangles.ndim != 2 or triangles.shape[1] != 3 or triangles.is_floating_point():
        raise ValueError(
            f"triangles must be (T, 3) whole numbers, got {tuple(triangles.shape)} of "
            f"{triangles.dtype}"
        )
    if not points.isfinite().all():
        raise ValueError("points must be finite numbers; found NaN or infinity")
    if len(triangles) and not 0 <= int(triangles.min()) <= int(triangles.max()) < points.shape[1]:
        raise ValueError(
            f"triangles name vertices {int(triangles.min())} to {int(triangles.max())}, but there "
            f"are {points.shape[1]} of them"
        )


def _twice_area(x: Tensor, y: Tensor) -> Tensor:
    """Of triangles with corners along the last axis but one; positive if turned to the camera."""
    (x0, x1, x2), (y0, y1, y2) = x.unbind(dim=-2), y.unbind(dim=-2)
    return (y1 - y0) * (x2 - x0) - (x1 - x0) * (y2 - y0)  # y is down


def _boxes(x: Tensor, y: Tensor, height: int, width: int) -> Tensor:
    """First and last column, first and last row of pixels that may be inside: (4, N, T) int64."""
    (x0, x1, x2), (y0, y1, y2) = x.unbind(dim=1), y.unbind(dim=1)
    bounds = [
        (torch.minimum(torch.minimum(x0, x1), x2) / _STEPS).ceil().clamp(0, width),
        (torch.maximum(torch.maximum(x0, x1), x2) / _STEPS).floor().clamp(-1, width - 1),
        (torch.minimum(torch.minimum(y0, y1), y2) / _STEPS).ceil().clamp(0, height),
        (torch.maximum(torch.maximum(y0, y1), y2) / _STEPS).floor().clamp(-1, height - 1),
    ]
    return torch.stack(bounds).long()


def _edges(x: Tensor, y: Tensor) -> Tensor:
    """(3, 3, K) a, b, c with a column + b row + c positive inside of the edge across each corner.

    At a pixel inside, the three are in proportion to its barycentric coordinates.
    """
    start_x, start_y = x.roll(-1, 0), y.roll(-1, 0)
    right, down = x.roll(-2, 0) - start_x, y.roll(-2, 0) - start_y
    return torch.stack([down * _STEPS, -right * _STEPS, right * start_y - down * start_x], dim=1)


def _parts(count: Tensor) -> Iterator[Tensor]:
    """Consecutive triangles with about as many fragments together as are handled at once."""
    part = (count.cumsum(0) - 1) // _FRAGMENTS_AT_ONCE
    sizes = torch.unique_consecutive(part, return_counts=True)[1].tolist()
    yield from torch.split(torch.arange(len(count), device=count.device), sizes)


def _fragments(part: Tensor, count: Tensor, box: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Triangle, column and row of every pixel in the boxes of some triangles; (F,) int64 each."""
    count = count[part]
    which = part.repeat_interleave(count)
    before = (count.cumsum(0) - count).repeat_interleave(count)
    number = torch.arange(len(which), device=which.device) - before
    left, right, top, _ = box[:, which]
    row = torch.div(number, right - left + 1, rounding_mode="floor")
    return which, left + number - row * (right - left + 1), top + row


def _covered(edges: Tensor, which: Tensor, column: Tensor, row: Tensor) -> Tensor:
    """Whether each pixel is inside of its triangle, (F,); on an edge: if that is left or top."""
    inside = torch.ones_like(which, dtype=torch.bool)
    for a, b, c in edges:
        # Whole numbers all: adding 1 turns "not outside" into "inside".
        own = (a > 0) | ((a == 0) & (b > 0))
        inside &= a[which] * column + b[which] * row + (c + own)[which] > 0
    return inside


def _sortable(depth: Tensor, which: Tensor) -> Tensor:
    """int64 that sort as depth does, rounded to float32, and downwards by `which` among equals."""
    bits = depth.float().view(torch.int32)
    # The bits of floats are in the order of the floats, but those of negative ones in reverse.
    ordered = torch.where(bits < 0, bits ^ 0x7FFFFFFF, bits).long()
    return ordered * (_LOW + 1) + (_LOW - which)


def _spread(values: Tensor, pixel: Tensor, shape: tuple[int, ...], elsewhere: int) -> Tensor:
    """Values (K, ...) of some pixels as a picture of `shape`."""
    picture = values.new_full((shape[0] * shape[1] * shape[2], *shape[3:]), elsewhere)
    picture[pixel] = values
    return picture.view(shape)
