"""Descriptors of a face that nobody trained: what FaceCycle's Tables 1 to 3 call HoG and LBP.

Both are of grey faces of 100x100 pixels; the paper gives their lengths only, 3,240 and 1,450, from
which cells and bins follow.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

_SIZE = 100  # pixels
_LUMINANCE = (0.299, 0.587, 0.114)
_ORIENTATIONS, _HOG_CELL = 10, 10  # 9x9 blocks of 2x2 cells of 10 directions: 3,240
_HYSTERESIS, _TINY = 0.2, 1e-5  # of "L2-Hys": the most a number may be; added to lengths
_LBP_CELL = 20  # 5x5 cells of 58 patterns: 1,450
_PATTERNS = 58
# The 59 classes of scikit-image's "nri_uniform": 58 patterns of at most one arc of ones, of which
# the two that have no edge, none and all, come first and last, then all others. The descriptor of
# 58 takes the two for one.
_NO_ARC, _ALL_ARC = 0, 57


def hog(faces: Tensor) -> Tensor:
    """Histograms of oriented gradients (Dalal and Triggs, 2005) of faces (N, 3 or 1, S, S) in
    [0, 1]: (N, 3240), each block of length 1 or less."""
    from skimage.feature import hog as describe  # slow to import

    cells = _SIZE // _HOG_CELL
    found = [
        describe(
            face,
            orientations=_ORIENTATIONS,
            pixels_per_cell=(_HOG_CELL, _HOG_CELL),
            # One block of all cells: their histograms, over one number. Blocks of four are made
            # below, for all faces at once: the library takes two thirds of its time for that.
            cells_per_block=(cells, cells),
            block_norm="L1",
        ).reshape(cells, cells, _ORIENTATIONS)
        for face in _grey(faces)
    ]
    blocks = sliding_window_view(np.stack(found), (2, 2), axis=(1, 2))
    whole = np.moveaxis(blocks, 3, 5).reshape(len(faces), (cells - 1) ** 2, -1)
    described = _of_length_one(np.minimum(_of_length_one(whole), _HYSTERESIS))
    return torch.from_numpy(described).flatten(1).float()


def _of_length_one(blocks: NDArray[np.float64]) -> NDArray[np.float64]:
    return blocks / np.sqrt((blocks**2).sum(axis=-1, keepdims=True) + _TINY**2)


def lbp(faces: Tensor) -> Tensor:
    """Histograms of local binary patterns (Ojala et al., 2002) of faces (N, 3 or 1, S, S) in
    [0, 1]: (N, 1450), those of each cell summing to 1."""
    from skimage.feature import local_binary_pattern

    found = []
    for face in _grey(faces):
        levels = (255 * face).round().astype(np.uint8)
        found_there = local_binary_pattern(levels, 8, 1, "nri_uniform")  # type: ignore[no-untyped-call]
        patterns = found_there.astype(np.int64)
        patterns[patterns == _ALL_ARC] = _NO_ARC
        patterns[patterns > _ALL_ARC] -= 1
        found.append(_histograms(patterns))
    return torch.from_numpy(np.stack(found)).float()


def _histograms(patterns: NDArray[np.int64]) -> NDArray[np.float64]:
    """Of classes (100, 100): the share of each in each cell, (1450,)."""
    cells = _SIZE // _LBP_CELL
    apart = patterns.reshape(cells, _LBP_CELL, cells, _LBP_CELL).swapaxes(1, 2)
    counted = [np.bincount(cell, minlength=_PATTERNS) for cell in apart.reshape(cells**2, -1)]
    return np.concatenate(counted) / _LBP_CELL**2


def _grey(faces: Tensor) -> NDArray[np.float32]:
    """(N, 100, 100)."""
    if faces.shape[1] == 3:
        faces = (faces * faces.new_tensor(_LUMINANCE).view(3, 1, 1)).sum(dim=1, keepdim=True)
    sized = F.interpolate(faces.float(), (_SIZE, _SIZE), mode="bilinear", antialias=True)
    grey: NDArray[np.float32] = sized[:, 0].numpy()
    return grey


DESCRIPTORS: dict[str, Callable[[Tensor], Tensor]] = {"HoG": hog, "LBP": lbp}  # as papers say
