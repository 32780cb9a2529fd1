"""What codes reach that learnt nothing of faces: the floor under every probe and verification.

A method's figure means something by its distance from these, not from chance.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils.extmath import randomized_svd
from torch import Tensor, nn
from torch.nn import functional as F

from facefactor.images import photos_to_faces

MAX_COMPONENTS = 1024  # of `pixel_floor`: thousands take minutes to fit
_SIDE = 48  # pixels that components need at least; the strong ones of more are as smooth

Encode = Callable[[Tensor], Tensor]  # faces (N, 3, S, S) in [0, 1] -> codes (N, ...)


@dataclass(frozen=True, eq=False)
class PixelPCA:
    """Principal components of raw pixels; called with faces it gives their coordinates.

    Of faces of 96 pixels or more a pixel is the mean of 2 x 2, or of more: P <= S a side.
    """

    mean: Tensor  # (C*P*P,)
    components: Tensor  # (D, C*P*P), orthonormal, the strongest first

    @property
    def title(self) -> str:
        """What tables call it."""
        return f"pixel PCA, {len(self.components)}"

    def __call__(self, faces: Tensor) -> Tensor:
        """(N, C, S, S) faces in [0, 1] -> (N, D) codes, in pixel values."""
        return (_pixels(faces) - self.mean) @ self.components.T


def fit_pixel_pca(faces: NDArray[np.uint8], size: int, seed: int = 0) -> PixelPCA:
    """The `size` strongest components of training faces (N, S, S, C) uint8.

    Fit on training faces only. Takes 4 bytes a pixel value at once: 0.6 GB for 12,000 RGB faces at
    64 or 128 pixels.
    """
    if len(faces) <= size:
        raise ValueError(f"{size} components need more than {size} faces, got {len(faces)}")
    pixels = encode_faces(_pixels, faces).numpy()
    mean = pixels.mean(axis=0)
    pixels -= mean
    # two rounds explain as much as four to a thousandth, in half the time
    _, _, components = randomized_svd(
        pixels, size, n_iter=2, power_iteration_normalizer="QR", random_state=seed
    )
    components = np.ascontiguousarray(components, dtype=np.float32)
    return PixelPCA(torch.from_numpy(mean), torch.from_numpy(components))


def pixel_floor(faces: NDArray[np.uint8], size: int, seed: int = 0) -> PixelPCA:
    """The floor beside codes of `size` numbers: as many components, but no more than
    `MAX_COMPONENTS`, nor than half of the training faces (N, S, S, C) it is fit on."""
    return fit_pixel_pca(faces, min(size, MAX_COMPONENTS, len(faces) // 2), seed)


@torch.inference_mode()
def encode_faces(encode: Encode, faces: NDArray[np.uint8], batch: int = 32) -> Tensor:
    """The codes (N, D) of faces (N, S, S, C) uint8, a batch at a time."""
    return torch.cat(
        [
            encode(photos_to_faces(faces[start : start + batch])).flatten(1).float().cpu()
            for start in range(0, len(faces), batch)
        ]
    )


def _pixels(faces: Tensor) -> Tensor:
    """(N, C, S, S) -> (N, C*P*P)."""
    return F.avg_pool2d(faces, max(1, faces.shape[-1] // _SIDE)).flatten(1)


def encode_untrained(
    build: Callable[[], nn.Module], faces: NDArray[np.uint8], seed: int, batch: int = 32
) -> Tensor:
    """The codes (N, D) of an encoder as `build` initialises it under a seed, in eval mode.

    The caller's random state is left as it was.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder = build().eval()
    return encode_faces(encoder, faces, batch)


def majority_class(labels: Sequence[str], classes: Sequence[str]) -> str:
    """The most frequent label, of equals the first in `classes`.

    Raises:
        ValueError: no labels, or one that is not among the classes.
    """
    if not labels:
        raise ValueError("there are no labels to find the most frequent of")
    if unknown := sorted(set(labels) - set(classes)):
        raise ValueError(f"{unknown[0]!r} is not among the classes {', '.join(classes)}")
    count = Counter(labels)
    return max(classes, key=lambda name: count[name])  # max keeps the first of equals


def one_answer(name: str, classes: Sequence[str], count: int) -> Tensor:
    """Scores (count, K) of a classifier that says `name` whatever it sees."""
    scores = torch.zeros(count, len(classes))
    scores[:, list(classes).index(name)] = 1
    return scores
