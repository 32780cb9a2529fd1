"""How a face comes of normals, albedo and light, and how it is put before its background.

Normals have x to the image's right, y up and z to the camera. Light is nine numbers, or three
times nine: those of red, then those of green, then those of blue.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

_LEAST_DEPTH_SQUARED = 1e-4  # of a normal's z: the root's slope is infinite at 0


def harmonic_basis(normals: Tensor) -> Tensor:
    """Nine real spherical harmonics with the attenuation of a Lambertian surface folded in.

    Of (1, y, z, x, xy, yz, z^2, xz, x^2 - y^2), in this order; others have others.

    Args:
        normals: (N, 3, H, W) unit vectors.

    Returns:
        (N, 9, H, W).
    """
    x, y, z = normals.unbind(dim=1)
    return torch.stack(
        [
            torch.full_like(x, 0.886227),
            2 * 0.511664 * y,
            2 * 0.511664 * z,
            2 * 0.511664 * x,
            2 * 0.429043 * x * y,
            2 * 0.429043 * y * z,
            0.743152 * z.square() - 0.247708,
            2 * 0.429043 * x * z,
            0.429043 * (x.square() - y.square()),
        ],
        dim=1,
    )


def shading(normals: Tensor, lighting: Tensor) -> Tensor:
    """Light that a surface sends back, per unit of albedo.

    Args:
        normals: (N, 3, H, W) unit vectors.
        lighting: (N, 9), or (N, 27) for each colour its own.

    Returns:
        (N, 1 or 3, H, W); below 0 where the nine numbers describe no real light.
    """
    by_colour = lighting.reshape(len(lighting), -1, 9)  # (N, 1 or 3, 9)
    return torch.einsum("nck,nkhw->nchw", by_colour, harmonic_basis(normals))


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
