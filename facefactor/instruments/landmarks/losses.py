"""The wing loss (Feng et al., "Wing Loss for Robust Facial Landmark Localisation", CVPR 2018)."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def wing_loss(predicted: Tensor, truth: Tensor, width: float, curvature: float) -> Tensor:
    """Mean over coordinates of known faces (Eq. 5 of the paper).

        wing(x) = w log(1 + |x| / e)  if |x| < w,  else |x| - C,  C = w - w log(1 + w / e)

    Small errors pull with up to w / e times the strength of large ones, which would be equal under
    L1 and weaker under L2: the last pixel counts.

    Args:
        predicted, truth: (N, 68, 2), one unit; a face whose truth has a NaN takes no part.
        width: w, up to where errors are small, same unit; curvature: e, same unit.

    Returns:
        Scalar, float32, in that unit; 0, with a gradient of 0, where no face is known.
    """
    known = known_faces(truth)
    if not known.any():
        return 0.0 * predicted.float().sum()
    away = (predicted[known].float() - truth[known].float()).abs()
    beyond = width - width * math.log1p(width / curvature)  # C: the two branches meet
    near = width * torch.log1p(away / curvature)
    return torch.where(away < width, near, away - beyond).mean()


def known_faces(truth: Tensor) -> Tensor:
    """Which of the landmarks (N, 68, 2) are all there; bool (N,)."""
    return truth.isfinite().flatten(1).all(dim=1)
