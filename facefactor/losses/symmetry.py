"""How far a face is from its mirror image."""

from __future__ import annotations

from torch import Tensor


def symmetry_loss(faces: Tensor) -> Tensor:
    """Mean absolute difference between the left half and the mirrored right half.

    Args:
        faces: (N, C, H, W) upright aligned faces; the axis of symmetry is the middle column.

    Returns:
        Scalar, in the units of the pixels; 0 for a face that is its own mirror image. An odd
        middle column is its own mirror and is left out.
    """
    half = faces.shape[-1] // 2
    left, right = faces[..., :half], faces.flip(-1)[..., :half]
    return (left - right).abs().mean()
