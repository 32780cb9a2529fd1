"""Light as nine spherical harmonics: normals and coefficients give shading.

Normals and directions have x to the image's right (the subject's left, for a face that looks at the
camera), y up and z out of the image. `lighting` holds the coefficients of the light that falls in:
nine, for (1, y, z, x, xy, yz, z^2, xz, x^2 - y^2) in this order, or three times nine, those of red,
green and blue one after the other. What a matt surface makes of each of them (Lambert's cosine: pi,
2 pi / 3 and pi / 4 for the three orders) is folded into the basis, as in Neural Face Editing (Shu
et al., 2017) and Ramamoorthi & Hanrahan (2001).
"""

from __future__ import annotations

import torch
from torch import Tensor

# Of the attenuated harmonics. Exact to the digits printed, but for 0.743152: that is as Neural Face
# Editing has it and Neuro-Tensorial follows; 0.743125 would be right, 2.7e-5 less.
_CONSTANT = 0.886227
_LINEAR = 2 * 0.511664
_PRODUCT = 2 * 0.429043
_SQUARE, _SQUARE_SHIFT = 0.743152, 0.247708
_DIFFERENCE = 0.429043


def harmonic_basis(normals: Tensor) -> Tensor:
    """Shading by each of the nine lights at coefficient 1: (N, 3, ...) unit normals -> (N, 9, ...).

    A polynomial, so other lengths than 1 are taken as they are.
    """
    x, y, z = normals.unbind(dim=1)
    return torch.stack(
        [
            torch.full_like(x, _CONSTANT),
            _LINEAR * y,
            _LINEAR * z,
            _LINEAR * x,
            _PRODUCT * x * y,
            _PRODUCT * y * z,
            _SQUARE * z.square() - _SQUARE_SHIFT,
            _PRODUCT * x * z,
            _DIFFERENCE * (x.square() - y.square()),
        ],
        dim=1,
    )


def lighting_matrix(lighting: Tensor) -> Tensor:
    """The symmetric M of shading = h^T M h with h = (x, y, z, 1): (..., 9) -> (..., 4, 4)."""
    one, y, z, x, xy, yz, zz, xz, xx_yy = lighting.unbind(dim=-1)
    linear, product = _LINEAR / 2, _PRODUCT / 2  # each stands on both sides of the diagonal
    rows = [
        [_DIFFERENCE * xx_yy, product * xy, product * xz, linear * x],
        [product * xy, -_DIFFERENCE * xx_yy, product * yz, linear * y],
        [product * xz, product * yz, _SQUARE * zz, linear * z],
        [linear * x, linear * y, linear * z, _CONSTANT * one - _SQUARE_SHIFT * zz],
    ]
    return torch.stack([torch.stack(row, dim=-1) for row in rows], dim=-2)


def shading(normals: Tensor, lighting: Tensor) -> Tensor:
    """How bright white skin would be: albedo times this is the face.

    Args:
        normals: (N, 3, H, W), or any other axes after the second.
        lighting: (N, 9) for grey light, (N, 27) for coloured.

    Returns:
        (N, 1, H, W) or (N, 3, H, W); not clamped: nine harmonics overshoot, and sharp light is a
        little below 0 where it does not reach.

    Raises:
        ValueError: lighting of another shape, which could otherwise be mistaken for a colour.
    """
    if lighting.ndim != 2 or lighting.shape[1] not in (9, 27):
        raise ValueError(f"lighting must be (N, 9) or (N, 27), got {tuple(lighting.shape)}")
    colours = lighting.reshape(-1, lighting.shape[1] // 9, 9)  # (N, 1 or 3, 9)
    return torch.einsum("nck,nk...->nc...", colours, harmonic_basis(normals))


def light_direction(azimuth_deg: Tensor, elevation_deg: Tensor) -> Tensor:
    """Unit vectors (..., 3) that point to the light, from two angles of any one shape.

    Azimuth 0 is the camera's side, 90 the image's right, -90 its left, 180 behind the face;
    elevation 90 is straight above.
    """
    azimuth, elevation = torch.deg2rad(azimuth_deg), torch.deg2rad(elevation_deg)
    level = elevation.cos()
    return torch.stack([azimuth.sin() * level, elevation.sin(), azimuth.cos() * level], dim=-1)


def directional_lighting(
    azimuth_deg: Tensor, elevation_deg: Tensor, ambient: float = 0.0
) -> Tensor:
    """Coefficients (..., 9) of one distant light, and the same light from all sides beside it.

    The distant light is the part of orders 0 to 2 of a point on the sphere, scaled so that its
    shading approximates max(0, cosine between normal and direction): 17/16 where it falls straight
    on, 1/16 (not 0) straight behind.

    Args:
        azimuth_deg, elevation_deg: as for `light_direction`.
        ambient: what is added to the shading everywhere.
    """
    x, y, z = light_direction(azimuth_deg, elevation_deg).unbind(dim=-1)
    # The harmonics themselves at the direction: the basis before Lambert's cosine attenuates it.
    one = torch.full_like(x, 0.282095)
    linear, product, square, difference = 0.488603, 1.092548, 0.315392, 0.546274
    harmonics = [
        one + ambient / _CONSTANT,
        linear * y,
        linear * z,
        linear * x,
        product * x * y,
        product * y * z,
        square * (3 * z.square() - 1),
        product * x * z,
        difference * (x.square() - y.square()),
    ]
    return torch.stack(harmonics, dim=-1)
