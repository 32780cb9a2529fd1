"""Weak perspective: heads turned, scaled and shifted into an image, and how they were."""

from __future__ import annotations

import torch
from torch import Tensor


def project(vertices: Tensor, rotation: Tensor, scale: Tensor, translation: Tensor) -> Tensor:
    """Weak perspective: turn, scale, drop no depth, shift: points in the image (N, V, 3), pixels.

        x = s (R v)_x + t_x,   y = -s (R v)_y + t_y,   z = s (R v)_z

    Args:
        vertices: (N, V, 3) or (V, 3), of heads.
        rotation: (N, 3, 3), of `rotations.rotation_matrix`.
        scale: (N,) pixels per unit of the vertices, positive.
        translation: (N, 2) where the vertices' origin is seen, x right and y down.
    """
    turned = scale[:, None, None] * (vertices @ rotation.mT)
    x, y, z = turned.unbind(dim=-1)
    return torch.stack([translation[:, :1] + x, translation[:, 1:] - y, z], dim=-1)


def fit_projection(
    vertices: Tensor, image: Tensor, weights: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """The rotation, scale and translation that `project` takes vertices to an image with.

    The best affine map from one to the other (least squares) is split by its singular values: the
    orthonormal factor is the rotation, the mean of the values the scale. Exact where the model is.

    Args:
        vertices: (N, P, 3), or (1, P, 3) of one head in all images.
        image: (N, P, 2), y down.
        weights: (P,) of the points, positive; None: all alike.

    Returns:
        (N, 3, 3), (N,) and (N, 2). Points on one line leave the rotation undetermined.
    """
    weights = image.new_ones(image.shape[1]) if weights is None else weights
    share = (weights / weights.sum())[:, None]
    down = image.new_tensor([1, -1])
    centre, target = ((x * share).sum(dim=1, keepdim=True) for x in (vertices, image))
    source = (vertices - centre) * share.sqrt()
    seen = (image - target) * share.sqrt() * down
    affine = seen.mT @ torch.linalg.pinv(source).mT  # (N, 2, 3)
    left, values, right = torch.linalg.svd(affine, full_matrices=False)
    x_row, y_row = (left @ right).unbind(dim=1)
    rotation = torch.stack([x_row, y_row, torch.linalg.cross(x_row, y_row)], dim=1)
    scale = values.mean(dim=1)
    turned = (centre @ rotation.mT)[:, 0, :2] * down
    return rotation, scale, target[:, 0] - scale[:, None] * turned
