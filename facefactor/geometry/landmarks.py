"""The 68 landmarks of iBUG: their order, and what a mirror does to it.

0-16 the jaw from the image's left to its right, 17-26 the brows, 27-35 the nose, 36-47 the eyes,
48-59 the outer and 60-67 the inner line of the lips.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

Points = TypeVar("Points", NDArray[np.float32], Tensor)

# Landmark i of a mirror image is landmark MIRRORED[i] of the face.
MIRRORED = (
    *range(16, -1, -1),
    *range(26, 16, -1),
    *(27, 28, 29, 30), *range(35, 30, -1),
    *(45, 44, 43, 42, 47, 46), *(39, 38, 37, 36, 41, 40),
    *range(54, 47, -1), *range(59, 54, -1),
    *range(64, 59, -1), *(67, 66, 65),
)  # fmt: skip


def mirror_landmarks(points: Points) -> Points:
    """Landmarks (..., 68, 2) of the mirror images of faces; x in shares of the side."""
    mirrored = points[..., list(MIRRORED), :]
    mirrored[..., 0] = 1 - mirrored[..., 0]
    return mirrored
