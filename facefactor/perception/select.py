"""Which of the faces in a photo is meant: the largest, all, one by number, one like another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from facefactor.errors import FaceFactorError
from facefactor.perception.mtcnn import DetectedFace

Similarity = Callable[[DetectedFace], float]


class NoFaceError(FaceFactorError, ValueError):
    """The photo has no such face."""


class FaceChoiceError(FaceFactorError, ValueError):
    """The choice of a face is not understood."""


def select_faces(
    faces: Sequence[DetectedFace],
    which: str = "largest",
    similarity: Similarity | None = None,
    photo_name: str = "photo",
) -> list[DetectedFace]:
    """The faces that `which` asks for, at least one.

    Args:
        which: "largest"; "all", largest first; a number in order of size, "0" being the largest;
            "like:FILE", the one most similar to the face in FILE.
        similarity: for "like:FILE", how alike a face is to that in FILE; higher is more.
        photo_name: the photo's name in errors.

    Raises:
        NoFaceError: there is no face, or fewer than the number asked for.
        FaceChoiceError: `which` is none of the above.
    """
    number = _check(which, similarity)
    by_size = sorted(faces, key=lambda face: face.area, reverse=True)
    if not by_size:
        raise NoFaceError(
            f"{photo_name}: no face found; use a photo where the face is upright, sharp and at "
            "least 20 pixels wide"
        )
    if which == "all":
        return by_size
    if similarity is not None and reference_file(which) is not None:
        return [max(by_size, key=similarity)]
    if number >= len(by_size):
        raise NoFaceError(
            f"{photo_name}: face {number} was asked for, but there are {len(by_size)}; choose 0 "
            f"(the largest) to {len(by_size) - 1}"
        )
    return [by_size[number]]


def reference_file(which: str) -> Path | None:
    """FILE of "like:FILE", whose face is looked for; None for any other choice."""
    file = which.removeprefix("like:")
    return Path(file) if file not in ("", which) else None


def _check(which: str, similarity: Similarity | None) -> int:
    """The number of the face asked for, 0 where it is not a number; ValueError if unreadable."""
    if which in ("largest", "all"):
        return 0
    if reference_file(which) is not None:
        if similarity is None:
            raise FaceChoiceError(f"{which!r} needs a similarity to compare faces by")
        return 0
    if which.isascii() and which.isdigit():
        return int(which)
    raise FaceChoiceError(
        f"face {which!r} is not understood; say largest, all, a number from 0 (the largest), or "
        "like:FILE"
    )
