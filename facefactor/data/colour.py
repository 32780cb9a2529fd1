"""The colours of one photo given to another; needs numpy only."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def match_colour(face: NDArray[np.uint8], like: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """`face` with the mean and standard deviation per channel of `like`, both (S, S, 3) uint8."""
    wanted, given = like.astype(np.float32), face.astype(np.float32)
    gain = wanted.std(axis=(0, 1)) / np.maximum(given.std(axis=(0, 1)), 1)
    matched = (given - given.mean(axis=(0, 1))) * gain + wanted.mean(axis=(0, 1))
    return np.clip(np.rint(matched), 0, 255).astype(np.uint8)
