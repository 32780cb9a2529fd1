"""Where the pixels of a photo go when its codes change: with the vertices of its mesh.

The paper redraws a face; at 64 pixels that is a blur. An edited photo keeps its own pixels instead:
the mesh of the codes before and that of the codes after are laid over the square a face is cut to,
and what a vertex showed there moves along with it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from facefactor.geometry.flow import extend_flow
from facefactor.geometry.rasteriser import interpolate, rasterise
from facefactor.geometry.uv_grid import grid_triangles
from facefactor.perception.align import crop_points

FINER = 4  # pixels of a flow in one of the square's: a nose that hides a cheek has a sharp edge


def mesh_flow(before: Tensor, after: Tensor, size: int) -> Tensor:
    """Backward flow (N, 2, size, size), of `geometry.flow`: what vertices showed at `before` is
    seen where they are at `after`. Around the mesh it fades to 0 towards the picture's edge.

    Args:
        before, after: (N, 9375, 3) points of the grid in the picture, of `in_square`.
    """
    raster = rasterise(after, grid_triangles().to(after.device), (size, size))
    shift_px = interpolate(raster, (before - after)[..., :2])
    return extend_flow(shift_px * (2 / (size - 1)), raster.mask)


def in_square(
    vertices: Tensor, rotation: Tensor, landmarks: Tensor, like: Tensor, crop: str, size: int
) -> Tensor:
    """Where a square crop shows heads: (N, V, 3) pixels, y down, z to the camera.

    The mean of eyes, nose tip and corners of the mouth lies where the crop has it. The scale is
    that at which these five points of `like`, a head and its rotation, are as far from their mean
    as the crop's are: of two heads that are compared it has to be the same.

    Args:
        vertices: (N, V, 3) cm.
        rotation: (N, 3, 3).
        landmarks: (68,) vertices.
        like: (N, 5, 3) of `five_points`.
    """
    goal = torch.as_tensor(crop_points(crop, size)).to(vertices)
    down = vertices.new_tensor([1, -1, 1])
    turned = vertices @ rotation.mT * down
    spread = (like - like.mean(dim=1, keepdim=True))[..., :2]
    wanted = goal - goal.mean(dim=0)
    # least squares, scale alone: the square is level and so is the head in it, but for its roll
    scale = (spread * wanted).sum(dim=(1, 2)) / spread.square().sum(dim=(1, 2))
    shift = torch.zeros_like(like[:, :1])
    shift[..., :2] = goal.mean(dim=0)
    middle = five_points(vertices, rotation, landmarks).mean(dim=1, keepdim=True)
    return scale[:, None, None] * (turned - middle) + shift


def five_points(vertices: Tensor, rotation: Tensor, landmarks: Tensor) -> Tensor:
    """Eyes, nose tip and corners of the mouth of turned heads, y down: (N, 5, 3) cm."""
    turned = vertices @ rotation.mT * vertices.new_tensor([1, -1, 1])
    marks = turned[:, landmarks]
    eyes = [marks[:, part].mean(dim=1) for part in (slice(36, 42), slice(42, 48))]
    return torch.stack([*eyes, marks[:, 30], marks[:, 48], marks[:, 54]], dim=1)
