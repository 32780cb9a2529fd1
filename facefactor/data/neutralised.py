"""Faces beside the same faces without expression: what LEED learns from (Sec. 3.4).

Some data sets photographed them, a morphable model renders them, and for any other photo another
model draws them: once, in parts kept on disk; a killed run goes on with the parts that are missing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from kornia.augmentation import ColorJiggle, RandomAffine
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from facefactor.data.kept_parts import kept_in_parts
from facefactor.data.records import FaceRecord
from facefactor.data.rendered import RenderedPairs
from facefactor.data.same_session import find_expressions
from facefactor.data.samples import NeutralisedBatch, rows_of_step
from facefactor.data.scenes import without_expression
from facefactor.data.synthetic import FaceRenderer
from facefactor.images import photos_to_faces

_TOGETHER = 32  # faces the neutraliser is given at once
# Powers of red, green and blue that give grey skin its colours, from and to: black and white stay.
_TINT = ((0.65, 0.95, 1.0), (1.0, 1.05, 1.5))
_GREY = 1.5 / 255  # channels of a grey photo are no farther apart
_FORMAT = b"1"  # part of every name: raise it when the same inputs would give other faces


def find_neutrals(faces: NDArray[np.uint8], records: Sequence[FaceRecord]) -> NDArray[np.int64]:
    """(N,) row of the photo that shows each face without its expression; -1 where there is none.

    A photo that is called neutral is its own, of whomever it is.

    Args:
        faces: (N, S, S, 3).
        records: N of them.
    """
    shown = find_expressions(faces, records)
    return np.array(
        [
            rows.get("neutral", row if records[row].expression == "neutral" else -1)
            for row, rows in enumerate(shown)
        ],
        np.int64,
    )


def draw_neutrals(
    faces: NDArray[np.uint8],
    neutralise: Callable[[Tensor], Tensor],
    key: str,
    folder: Path,
    progress: Callable[[int, int], None] | None = None,
) -> NDArray[np.uint8]:
    """The neutral face of each face; what `folder` holds already is read.

    Args:
        faces: (N, S, S, 3) RGB crops.
        neutralise: faces (n, 3, S, S) in [0, 1] -> the same people's neutral faces, likewise.
        key: what tells `neutralise` from any other, the hash of its weights.
        folder: for files of 256 faces each, named by their contents and `key`.
        progress: called with (done, N).

    Returns:
        (N, S, S, 3), rounded to 256 values.

    Raises:
        ValueError: no faces, or `neutralise` gives other shapes or what is no picture.
        DataError: a file in `folder` is damaged.
    """
    if not len(faces):
        raise ValueError("no faces to neutralise")

    def name(part: NDArray[np.uint8]) -> str:
        digest = hashlib.sha256(_FORMAT + key.encode() + repr(part.shape).encode())
        digest.update(part.tobytes())
        return f"neutral-{digest.hexdigest()[:24]}"

    def compute(part: NDArray[np.uint8]) -> dict[str, NDArray[np.uint8]]:
        return {"neutrals": _draw(part, neutralise)}

    kinds = {"neutrals": np.dtype((np.uint8, faces.shape[1:]))}
    return kept_in_parts((faces,), folder, name, compute, ["neutrals"], progress, kinds=kinds)[
        "neutrals"
    ]


class NeutralisedFaces(Dataset[NeutralisedBatch]):
    """Batch number `step` of faces with their neutral faces; every face once an epoch, in random
    order.

    A face and its neutral face are mirrored, moved and recoloured a little, both alike: they are to
    differ by the expression only. Half of the grey photos are tinted, as people with several
    expressions were mostly photographed in grey: else colours would tell who has one.

    Args:
        faces, neutrals: (N, S, S, 3) uint8.
    """

    def __init__(
        self, faces: NDArray[np.uint8], neutrals: NDArray[np.uint8], batch_size: int, seed: int
    ) -> None:
        if len(faces) != len(neutrals):
            raise ValueError(f"{len(faces)} faces, but {len(neutrals)} neutral ones")
        if len(faces) < batch_size:
            raise ValueError(f"{len(faces)} faces are fewer than a batch of {batch_size}")
        self.faces = faces
        self.neutrals = neutrals
        self.batch_size = batch_size
        self.seed = seed
        self.move = RandomAffine(
            degrees=3, translate=(0.02, 0.02), scale=(0.95, 1.05), padding_mode="border", p=1.0
        )
        self.jitter = ColorJiggle(0.1, 0.1, 0.1, 0.02, p=0.8)

    def __getitem__(self, step: int) -> NeutralisedBatch:
        rows = rows_of_step(step, len(self.faces), self.batch_size, self.seed)
        draw = np.random.default_rng((self.seed, 1, step))
        mirrored = draw.random(len(rows)) < 0.5
        pairs = np.concatenate([self.faces[rows], self.neutrals[rows]], axis=3)  # (n, S, S, 6)
        pairs[mirrored] = pairs[mirrored, :, ::-1]
        powers = draw.uniform(*_TINT, size=(len(rows), 3))
        powers[draw.random(len(rows)) < 0.5] = 1.0  # these stay as they are
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(draw.integers(2**62)))
            moved = self.move(
                _tinted(photos_to_faces(pairs), torch.from_numpy(powers).float())
            )  # six channels, one motion
            tall = torch.cat(torch.split(moved, 3, dim=1), dim=2)  # (n, 3, 2S, S), one light
            changed = self.jitter(tall).clamp(0, 1)
        faces, neutrals = changed.chunk(2, dim=2)
        return NeutralisedBatch(faces.contiguous(), neutrals.contiguous())


class RenderedNeutralised(Dataset[NeutralisedBatch]):
    """Batch number `step` of rendered faces, each with the same face without its expression.

    Args:
        people: as of `RenderedPairs`, which says what is seen.
    """

    def __init__(self, renderer: FaceRenderer, people: int, batch_size: int, seed: int) -> None:
        self.pairs = RenderedPairs(renderer, people, batch_size, seed, without_expression)

    def __getitem__(self, step: int) -> NeutralisedBatch:
        return NeutralisedBatch(*self.pairs[step])


def _tinted(pairs: Tensor, powers: Tensor) -> Tensor:
    """Pairs (N, 6, S, S) in [0, 1], those of two grey photos with channels to these (N, 3)."""
    photos = pairs.view(len(pairs), 2, 3, *pairs.shape[2:])
    apart = photos.diff(dim=2).abs().flatten(1).amax(dim=1)
    tinted = pairs ** torch.cat([powers, powers], dim=1)[:, :, None, None]
    return torch.where((apart < _GREY)[:, None, None, None], tinted, pairs)


def _draw(faces: NDArray[np.uint8], neutralise: Callable[[Tensor], Tensor]) -> NDArray[np.uint8]:
    drawn = []
    with torch.inference_mode():
        for given in torch.split(photos_to_faces(faces), _TOGETHER):
            neutral = neutralise(given).float()
            if neutral.shape != given.shape or not neutral.isfinite().all():
                raise ValueError(
                    f"the neutraliser makes {tuple(neutral.shape)} of {tuple(given.shape)}, or "
                    "numbers that are not finite"
                )
            drawn.append((255 * neutral.clamp(0, 1)).round().byte())
    return torch.cat(drawn).permute(0, 2, 3, 1).contiguous().numpy()
