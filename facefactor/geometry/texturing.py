"""The texture of a mesh, taken from a picture that shows it."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from facefactor.geometry.rasteriser import interpolate, rasterise, vertex_normals

_GRAZING, _FACING = (
    0.15,
    0.4,
)  # cosines of skin and view: unseen up to the first, seen from the other
_DEPTH_SIDE = 256  # pixels of the depth map
_BEHIND = 3.0  # of its pixels that skin may lie behind another and still be that
_GREY = 128.0  # where nothing is seen at all


def bake_texture(
    picture: NDArray[np.uint8], points: Tensor, triangles: Tensor, uv: Tensor, side: int
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """What a picture shows of a mesh, on the mesh's chart.

    Args:
        picture: (H, W, 3) RGB; should show the mesh with no more pixels than the texture has, as it
            is sampled without averaging.
        points: (V, 3) the vertices in the picture, as of `rasteriser.project`: x, y in its pixels,
            y down, z to the camera at the same scale.
        triangles: (T, 3), counter-clockwise seen from outside.
        uv: (V, 2) in [0, 1], v up; the chart may be mirrored.

    Returns:
        The texture (side, side, 3), v = 1 at the upper edge of row 0, and how far each of its
        pixels was seen (side, side), 0 to 1. What was not seen (turned away, hidden, beyond the
        picture) has one colour, the median of what was: nothing is made up.
    """
    # The chart is drawn as if it were a picture; one winding of each triangle faces the viewer.
    flat = torch.stack([side * uv[:, 0] - 0.5, side * (1 - uv[:, 1]) - 0.5, 0 * uv[:, 0]], dim=1)
    both = torch.cat([triangles, triangles.flip(1)])
    chart = rasterise(flat[None], both, (side, side))
    outwards = vertex_normals(points * points.new_tensor([1, -1, 1]), triangles)
    x, y, _ = places = interpolate(chart, points)[0]
    facing = F.normalize(interpolate(chart, outwards), dim=1)[0, 2]

    height, width = picture.shape[:2]
    seen = ((facing - _GRAZING) / (_FACING - _GRAZING)).clamp(0, 1)
    seen = seen * (x >= -0.5) * (x <= width - 0.5) * (y >= -0.5) * (y <= height - 0.5)
    seen = seen * _in_front(places, points, triangles) * chart.mask[0, 0]
    weight = seen.float().numpy()[..., None]
    colour = cv2.remap(
        picture,
        x.float().numpy(),
        y.float().numpy(),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    ).astype(np.float32)
    clear = colour[weight[..., 0] > 0.5]
    elsewhere = np.median(clear, axis=0) if len(clear) else np.float32(_GREY)
    texture = np.rint(weight * colour + (1 - weight) * elsewhere)
    return texture.astype(np.uint8), weight[..., 0]


def _in_front(places: Tensor, points: Tensor, triangles: Tensor) -> Tensor:
    """Whether nothing of the mesh hides points of it: places (3, H, W) -> (H, W) bool."""
    low = points.amin(dim=0)
    extent = (points.amax(dim=0) - low)[:2].max().clamp(min=torch.finfo(points.dtype).tiny)
    scale = (_DEPTH_SIDE - 1) / extent
    mesh = (scale * (points - low))[None]
    raster = rasterise(mesh, triangles, (_DEPTH_SIDE, _DEPTH_SIDE))
    depth = interpolate(raster, mesh[..., 2:])[0, 0]
    depth = depth.masked_fill(~raster.mask[0, 0], -torch.inf)
    x, y, z = scale * (places - low[:, None, None])
    column, row = (axis.round().long().clamp(0, _DEPTH_SIDE - 1) for axis in (x, y))
    return depth[row, column] - z < _BEHIND
