"""Do two faces belong to one person? By the packaged recogniser and its measured threshold."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from facefactor.perception.align import align
from facefactor.perception.packaged import packaged_instrument, packaged_recogniser
from facefactor.perception.recognition import embed
from facefactor.perception.state_dicts import InstrumentError
from facefactor.photo_edits import PhotoFace

_KEY = "verification"  # of the metadata of the recogniser's file
_KINDS: dict[str, Callable[[Any], Any]] = {
    "threshold": float,
    "false_match_rate": float,
    "false_non_match_rate": float,
    "measured_on": str,
    "pairs": int,
}


@dataclass(frozen=True)
class MeasuredThreshold:
    """The cosine at and above which two faces count as one person's, and how often that is wrong.

    Rates are shares in [0, 1].
    """

    threshold: float
    false_match_rate: float  # of pairs of two people, taken for one
    false_non_match_rate: float  # of pairs of one person, taken for two
    measured_on: str  # data set
    pairs: int


@dataclass(frozen=True)
class Verification:
    """What the faces of two photos have in common."""

    first: str  # names of the photos
    second: str
    similarity: float  # cosine of the embeddings, in [-1, 1]
    measured: MeasuredThreshold | None  # None: nobody measured a threshold for these weights

    @property
    def same_person(self) -> bool | None:
        """Whether it is one person, as far as the threshold tells; None without one."""
        return None if self.measured is None else self.similarity >= self.measured.threshold

    def to_dict(self) -> dict[str, Any]:
        """Flat, the same keys whatever is known; None for what is not."""
        known = asdict(self.measured) if self.measured else {}
        return {
            "first": self.first,
            "second": self.second,
            "similarity": self.similarity,
            "same_person": self.same_person,
            **{field.name: known.get(field.name) for field in fields(MeasuredThreshold)},
        }


@torch.inference_mode()
def verify_faces(first: PhotoFace, second: PhotoFace) -> Verification:
    """Compare two faces.

    Raises:
        InstrumentError: the packaged recogniser is not there or not readable.
    """
    recogniser = packaged_recogniser()
    squares = [
        align(face.photo, face.found.points, recogniser.crop, recogniser.image_size)[0]
        for face in (first, second)
    ]
    left, right = embed(recogniser, torch.cat(squares))  # as the threshold is measured: no mirror
    similarity = float((left @ right).clamp(-1, 1))  # unit lengths are so but for rounding
    measured = read_threshold(packaged_instrument("recogniser"))
    return Verification(first.name, second.name, similarity, measured)


@cache
def read_threshold(path: Path) -> MeasuredThreshold | None:
    """The threshold a recogniser's file (safetensors) says was measured for it; None if none was.

    Its metadata have it as JSON under "verification", with the fields of `MeasuredThreshold`.

    Raises:
        InstrumentError: what is there is no such thing.
    """
    with safe_open(str(path), framework="pt") as file:
        text = (file.metadata() or {}).get(_KEY)
    if text is None:
        return None
    try:
        told = json.loads(text)
        read = {name: kind(told[name]) for name, kind in _KINDS.items()}
        _check(read)
    except (ValueError, TypeError, KeyError) as error:
        raise InstrumentError(
            f"{path}: the threshold in its metadata lacks or misstates {error}; install facefactor "
            "again"
        ) from error
    return MeasuredThreshold(**read)


def _check(read: dict[str, Any]) -> None:
    for name, low in (("threshold", -1), ("false_match_rate", 0), ("false_non_match_rate", 0)):
        if not low <= read[name] <= 1:  # NaN is not, either
            raise ValueError(f"{name}: {read[name]} is not from {low} to 1")
