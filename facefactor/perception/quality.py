"""How good a photo of a face is: sharpness, and whether dark glasses cover the eyes."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from facefactor.perception.align import crop_points

# Patches of the crop, in shares of its side: upper and lower edge, half the width.
_UNDER_EYE = (0.5, 0.56, 0.085)
_CHEEK = (0.625, 0.695, 0.065)


def sharpness(faces: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Variance of the Laplacian over the variance of the brightness, from the brows to the chin.

    A ratio, so brightness and contrast of a photo do not count; a face of one colour has 0, white
    noise 20 (the kernel's squares: 4 * 4 + 4 * 1).

    Args:
        faces: (N, S, S, 3) RGB, crop "arcface".

    Returns:
        (N,)
    """
    size = faces.shape[1]
    rows, columns = slice(round(0.35 * size), round(0.9 * size)), slice(size // 5, -(size // 5))
    found = np.zeros(len(faces), np.float32)
    for row, face in enumerate(faces):
        grey = cv2.cvtColor(face, cv2.COLOR_RGB2GRAY).astype(np.float32)
        edges = cv2.Laplacian(grey, cv2.CV_32F, ksize=1)[rows, columns]
        contrast = grey[rows, columns].var()
        found[row] = edges.var() / contrast if contrast > 0 else 0.0
    return found


def brightness_under_eyes(faces: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Brightness just under an eye over that of the cheek below, of the eye where it is more.

    About 1 on a bare face, whatever the skin, and far less where dark glasses cover both eyes.

    Args:
        faces: (N, S, S, 3) RGB, crop "arcface": it is known where the eyes are.

    Returns:
        (N,)
    """
    size = faces.shape[1]
    grey = faces.mean(axis=3)
    ratios = []
    for eye in crop_points("arcface", size)[:2, 0]:
        under, cheek = (
            np.median(
                grey[:, _span(low, high, size), _span(eye / size - half, eye / size + half, size)],
                axis=(1, 2),
            )
            for low, high, half in (_UNDER_EYE, _CHEEK)
        )
        ratios.append((under + 5) / (cheek + 5))  # 5 of 255: near black a ratio says nothing
    return np.max(ratios, axis=0).astype(np.float32)


def _span(low: float, high: float, size: int) -> slice:
    """Pixels from share to share of a side."""
    return slice(round(low * size), round(high * size))
