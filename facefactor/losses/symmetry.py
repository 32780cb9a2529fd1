"""How far a face is from its mirror image."""

from __future__ import annotations

import kornia.filters
import torch
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


def laplacian(images: Tensor) -> Tensor:
    """Half of how far each pixel's eight neighbours are, on average, above it; (N, C, H, W), float.

    Constant light and, but for the outermost pixels (beyond which the image is mirrored), light
    that changes evenly across the face give 0, so `symmetry_loss` of this compares what a face is
    made of rather than how it is lit.
    """
    with torch.autocast(images.device.type, enabled=False):  # neighbours differ in the last bits
        return kornia.filters.laplacian(images.float(), 3)
