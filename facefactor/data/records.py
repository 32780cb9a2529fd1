"""What is known about one photo of a data set, and splits that keep people apart."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from facefactor.errors import FaceFactorError
from facefactor.factors import EXPRESSIONS

Split = Literal["train", "valid", "test"]
Points = tuple[tuple[float, float], ...]  # (x, y) in the photo's pixels

# The order in which each data set numbers its classes, from its first number on. "rafdb" starts
# at 1; the others at 0. "ferplus" is the order of its vote columns; "ckplus" that of its label
# files, where no sequence has the number 0, as all begin neutral.
EXPRESSION_ORDER: dict[str, tuple[str, ...]] = {
    "rafdb": ("surprise", "fear", "disgust", "happiness", "sadness", "anger", "neutral"),
    "fer2013": ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral"),
    "ferplus": (
        "neutral",
        "happiness",
        "surprise",
        "sadness",
        "anger",
        "disgust",
        "fear",
        "contempt",
    ),
    "affectnet": EXPRESSIONS,
    "ckplus": (
        "neutral",
        "anger",
        "contempt",
        "disgust",
        "fear",
        "happiness",
        "sadness",
        "surprise",
    ),
}


class DataError(FaceFactorError, ValueError):
    """A data set on disk that is not what its layout promises."""


@dataclass(frozen=True)
class FaceRecord:
    """One photo or frame on disk, and what its data set says about it."""

    path: Path
    subject: str | None = None  # who it is; None: unknown
    expression: str | None = None  # one of EXPRESSIONS; None: unknown, or not agreed upon
    # Right eye (image left), left eye, nose, right and left mouth corner: (x, y) in the photo's
    # pixels, centres at integers. None: the faces are not aligned, a detector has to find them.
    points: Points | None = None
    stretch: bool = False  # the data set's alignment stretched faces; undo it by an affine map
    clip: str | None = None  # frames of one clip show one person
    frame: int | None = None  # where `path` is a film: which of its frames, from 0
    quarter_turns: int = 0  # clockwise, that make that frame upright
    split: Split | None = None  # where the data set itself puts it
    frontal: bool | None = None  # taken from straight ahead; None: unknown
    glasses: bool | None = None  # None: unknown
    # Where the light comes from, as the data set counts: azimuth and elevation in degrees, both 0
    # from the camera. None: unknown, or from all around.
    light: tuple[float, float] | None = None


def of_split(records: Iterable[FaceRecord], split: Split) -> list[FaceRecord]:
    """The records that the data set itself puts on one side of its split."""
    return [record for record in records if record.split == split]


def labelled(records: Iterable[FaceRecord]) -> list[FaceRecord]:
    """The records with an expression."""
    return [record for record in records if record.expression is not None]


def split_by_subject(
    records: Sequence[FaceRecord], fractions: Sequence[float], seed: int
) -> list[list[FaceRecord]]:
    """Parts of the records such that no subject is in two of them.

    A subject's part follows from its name and the seed alone, so neither the order of the records
    nor adding other people moves it. Part sizes are therefore only near the fractions.

    Args:
        fractions: expected share of the subjects in each part; positive, summing to 1.

    Raises:
        DataError: a record has no subject.
        ValueError: the fractions do not sum to 1.
    """
    if any(share <= 0 for share in fractions) or abs(sum(fractions) - 1) > 1e-9:
        raise ValueError(f"fractions must be positive and sum to 1, got {list(fractions)}")
    parts: list[list[FaceRecord]] = [[] for _ in fractions]
    for record in records:
        if record.subject is None:
            raise DataError(f"{record.path} has no subject; it cannot be split by subject")
        parts[_part(record.subject, fractions, seed)].append(record)
    return parts


def check_disjoint(train: Iterable[FaceRecord], test: Iterable[FaceRecord]) -> None:
    """Raise DataError if somebody is on both sides; without subjects, if a photo is.

    A person seen in training makes every figure on the test side too good.
    """
    training = list(train)
    subjects = {record.subject: record for record in training if record.subject is not None}
    paths = {record.path for record in training}
    for record in test:
        other = subjects.get(record.subject) if record.subject is not None else None
        if other is not None:
            raise DataError(
                f"subject {record.subject} is on both sides: {other.path} is for training, "
                f"{record.path} for testing; split by subject (split_by_subject)"
            )
        if record.path in paths:
            raise DataError(f"{record.path} is on both sides of the split")


def split_hash(records: Iterable[FaceRecord]) -> str:
    """Twelve hex digits that name this set of photos and labels, wherever it lies on disk.

    Order does not matter; paths count from the deepest folder that holds all records.
    """
    rows = list(records)
    root = _common_folder([record.path for record in rows])
    lines = sorted(
        "\t".join(
            [
                record.path.relative_to(root).as_posix()
                + ("" if record.frame is None else f"#{record.frame}"),
                record.subject or "",
                record.expression or "",
            ]
        )
        for record in rows
    )
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:12]


def _part(subject: str, fractions: Sequence[float], seed: int) -> int:
    digest = hashlib.sha256(f"{seed}\t{subject}".encode()).digest()
    position = int.from_bytes(digest[:8], "big") / 2**64  # uniform in [0, 1)
    bound = 0.0
    for part, share in enumerate(fractions):
        bound += share
        if position < bound:
            return part
    return len(fractions) - 1  # rounding of the sum


def _common_folder(paths: Sequence[Path]) -> Path:
    if not paths:
        return Path()
    common = list(paths[0].parent.parts)
    for path in paths:
        shared = 0
        for mine, theirs in zip(common, path.parent.parts, strict=False):
            if mine != theirs:
                break
            shared += 1
        del common[shared:]
    return Path(*common)
