"""How a face comes of normals, albedo and shading, and how it is put before its background.

Normals have x to the image's right, y up and z to the camera. Shading is `geometry.lighting`'s.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

_LEAST_DEPTH_SQUARED = 1e-4  # of a normal's z: the root's slope is infinite at 0


def facing_normals(xy: Tensor) -> Tensor:
    """Normals of surfaces seen by the camera, z >= 0, from their x and y.

    Args:
        xy: (N, 2, H, W); values outside of [-1, 1] are cut, and have no gradient.

    Returns:
        (N, 3, H, W), of length 1 where x^2 + y^2 <= 1, longer elsewhere (see `unit_norm_loss`).
    """
    xy = F.hardtanh(xy)
    depth = (1 - xy.square().sum(dim=1, keepdim=True)).relu()
    return torch.cat([xy, (depth + _LEAST_DEPTH_SQUARED).sqrt()], dim=1)


def light_up(albedo: Tensor, shade: Tensor) -> Tensor:
    """The lit face (N, 3, H, W), albedo times shading, cut to [0, 1]."""
    return (albedo * shade).clamp(0, 1)


def compose(face: Tensor, mask: Tensor, background: Tensor) -> Tensor:
    """M face + (1 - M) background, cut to [0, 1]; all (N, 1 or 3, H, W)."""
    return (mask * face + (1 - mask) * background).clamp(0, 1)
