"""Photos, folders and videos -> a stream of the faces in them; a bad file is a row of it too.

Memory stays flat: of a photo or frame only what a network takes is kept, for a batch of faces.
"""

from __future__ import annotations

import glob
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch

from facefactor.errors import FaceFactorError
from facefactor.following import Reading, read_film
from facefactor.images import IMAGE_SUFFIXES
from facefactor.outcomes import Progress
from facefactor.photo_edits import PhotoFace, read_faces
from facefactor.videos import VIDEO_SUFFIXES

BATCH = 32  # faces read by a network together

Row = dict[str, Any]
Cut = TypeVar("Cut")  # what a network takes of a face


@dataclass(frozen=True, eq=False)
class Seen(Generic[Cut]):
    """A face, or the reason why there is none.

    `row` has file, frame (None in photos), face (its number by size) and error; with a face also
    left, top, right, bottom (pixels) and confidence.
    """

    row: Row
    cut: Cut | None


def list_inputs(inputs: Sequence[str]) -> list[Path]:
    """Files behind photos, videos, folders (with sub-folders) and patterns, in a stable order.

    Raises:
        FaceFactorError: an input that is nothing, or a folder without photos or videos.
    """
    found: list[Path] = []
    for text in inputs:
        path = Path(text)
        if path.is_dir():
            known = IMAGE_SUFFIXES | VIDEO_SUFFIXES
            files = sorted(p for p in path.rglob("*") if p.suffix.lower() in known and p.is_file())
            if not files:
                raise FaceFactorError(f"{text}: no photos or videos in this folder")
            found += files
        elif path.exists() or not glob.has_magic(text):
            found.append(path)  # a missing file is that file's error, not the run's
        else:
            matches = sorted(Path(match) for match in glob.glob(text, recursive=True))
            if not matches:
                raise FaceFactorError(f"{text}: nothing matches this pattern")
            found += matches
    return list(dict.fromkeys(found))


def seen_faces(
    files: Sequence[Path],
    which: str,
    cut: Callable[[PhotoFace], Cut],
    failed: MutableMapping[str, str],
    progress: Progress | None = None,
) -> Iterator[Seen[Cut]]:
    """The faces of `files`, one after the other.

    Args:
        which: see `photo_edits.read_faces`; in a video one face is followed, see
            `following.Follower`.
        cut: what to keep of a face; its photo is let go of.
        failed: gets file -> error of each file that could not be read, or not to its end, or has
            no face.
        progress: called with files done and files in all.
    """
    for done, file in enumerate(files):
        for seen in _faces_of(file, which, cut):
            if seen.cut is None and seen.row["frame"] is None:
                failed[str(file)] = seen.row["error"]
            yield seen
        if progress:
            progress(done + 1, len(files))


def read_rows(
    stream: Iterable[Seen[Cut]], read: Callable[[list[Cut]], Sequence[Mapping[str, Any]]]
) -> Iterator[Row]:
    """The rows of the stream, those with a face extended by what `read` says of it.

    Args:
        read: of what was cut, one mapping each; is called with up to `BATCH` of them.
    """
    waiting: list[Seen[Cut]] = []
    for seen in stream:
        waiting.append(seen)
        if len(waiting) == BATCH:  # errors count, too: a dark film must not fill the memory
            yield from _extended(waiting, read)
            waiting = []
    yield from _extended(waiting, read)


def _extended(
    waiting: Sequence[Seen[Cut]], read: Callable[[list[Cut]], Sequence[Mapping[str, Any]]]
) -> Iterator[Row]:
    cuts = [seen.cut for seen in waiting if seen.cut is not None]
    with torch.inference_mode():
        said = iter(read(cuts) if cuts else [])
    for seen in waiting:
        yield seen.row if seen.cut is None else seen.row | dict(next(said))


def _faces_of(file: Path, which: str, cut: Callable[[PhotoFace], Cut]) -> Iterator[Seen[Cut]]:
    if file.suffix.lower() in VIDEO_SUFFIXES and file.is_file():
        faces_of = _faces_of_clip
    else:
        faces_of = _faces_of_photo
    try:
        yield from faces_of(file, which, cut)
    except (FaceFactorError, ValueError) as error:  # what was read before stays
        yield _failure(file, None, str(error))


def _faces_of_photo(file: Path, which: str, cut: Callable[[PhotoFace], Cut]) -> Iterator[Seen[Cut]]:
    for number, face in enumerate(read_faces(file, which)):
        yield Seen(_row(file, None, number, face), cut(face))


def _faces_of_clip(file: Path, which: str, cut: Callable[[PhotoFace], Cut]) -> Iterator[Seen[Cut]]:
    reading = Reading()
    for index, frame in enumerate(read_film(file, which, reading)):
        if not frame.faces:
            yield _failure(file, index, f"{file}, frame {index}: no face found")
        for number, face in enumerate(frame.faces):
            try:
                yield Seen(_row(file, index, number, face), cut(face))
            except ValueError as error:
                yield _failure(file, index, f"{file}, frame {index}: {error}")
    if reading.error is not None:
        yield _failure(file, None, reading.error)


def _row(file: Path, frame: int | None, number: int, face: PhotoFace) -> Row:
    box = map(float, face.found.box)
    return {
        "file": _printable(str(file)),
        "frame": frame,
        "face": number,
        **dict(zip(("left", "top", "right", "bottom"), box, strict=True)),
        "confidence": float(face.found.confidence),
        "error": None,
    }


def _failure(file: Path, frame: int | None, error: str) -> Seen[Any]:
    name, reason = _printable(str(file)), _printable(error)
    return Seen({"file": name, "frame": frame, "face": None, "error": reason}, None)


def _printable(text: str) -> str:
    """Names of files need not be UTF-8, tables must; what is not becomes a question mark."""
    return text.encode("utf-8", "replace").decode("utf-8")
