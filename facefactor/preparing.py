"""A tree of clips -> sets of cropped frames, one person a clip, to train on.

Clips do not depend on one another. Each leaves an index of its frames, written last: a clip that
has one is not done again.
"""

from __future__ import annotations

import csv
import json
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from facefactor.data.frame_sets import (
    ABOUT,
    CLIP_READERS,
    COLUMNS,
    INDEX,
    POINTS,
    join_indexes,
    write_rows,
)
from facefactor.data.labels import csv_rows
from facefactor.engines import cores, do_all
from facefactor.errors import FaceFactorError
from facefactor.files import WriteError, atomic_path
from facefactor.following import Follower
from facefactor.geometry.similarity import apply_affine
from facefactor.images import Photo, face_to_photo, write_image
from facefactor.outcomes import Outcome, Progress
from facefactor.perception.align import CROPS, Placement, cut, place
from facefactor.perception.mtcnn import DetectedFace
from facefactor.videos import VideoError, read_timed_frames

_WORTH_A_PROCESS = 4  # clips; starting one takes as long as cutting these


@dataclass(frozen=True)
class Cutting:
    """How frames are taken and cut."""

    rate: float = 6.0  # frames a second; all where the clip has fewer
    crop: str = "facecycle"  # a key of `perception.align.CROPS`
    size: int = 128  # side of the crop, pixels
    margin: float = 0.25  # of it, more on each side: other crops find room

    @property
    def border(self) -> int:
        """The margin in pixels."""
        return round(self.margin * self.size)


def prepare_clips(
    folder: Path | str,
    output: Path,
    reader: str = "voxceleb",
    cutting: Cutting | None = None,
    progress: Progress | None = None,
    workers: int | None = 1,
    engine: str = "local",
) -> Outcome:
    """Write the frames of every clip into `output`, and their index (`data.frame_sets`).

    The person of a clip has its largest face at first, and is followed as `following.Follower`
    does; frames without this face are left out. Called again it does the clips that are missing. A
    clip that fails is a line of `failed.csv`, and is tried again when its folder is removed.

    Args:
        reader: how `folder` is laid out, a key of `data.frame_sets.CLIP_READERS`.
        progress: called with clips done and clips in all.
        workers, engine: see `engines.do_all`.

    Raises:
        DataError: the folder is not what the reader expects.
        FaceFactorError: an unknown reader or crop, or `output` lies in `folder` or was begun with
            another folder or cutting.
        WriteError: when the file system refuses; what was cut stays.
    """
    if reader not in CLIP_READERS:
        raise FaceFactorError(
            f"no reader is called {reader!r}; there are {', '.join(CLIP_READERS)}"
        )
    how = cutting or Cutting()
    _check(how)
    clips = CLIP_READERS[reader](folder)
    _begin(Path(folder), output, {**asdict(how), "reader": reader})
    missing = [clip for clip in clips if not _index(output, clip).is_file()]
    if engine == "local":
        enough = max(1, len(missing) // _WORTH_A_PROCESS)
        workers = min(cores() if workers is None else workers, enough)
    done = len(clips) - len(missing)
    for _ in do_all(_ClipCutter(Path(folder), output, how), missing, workers, engine):
        done += 1
        if progress:
            progress(done, len(clips))
    index = output / INDEX
    join_indexes([_index(output, clip) for clip in clips], index)
    frames, failed = 0, {}
    for _, row in csv_rows(index, COLUMNS):
        frames += not row["error"]
        if row["error"]:
            failed[row["file"]] = row["error"]
    _write_failed(output / "failed.csv", failed)
    return Outcome((index,) if frames else (), failed)


@dataclass(frozen=True)
class _ClipCutter:
    """Makes the frame set of any clip, in any process."""

    folder: Path
    output: Path
    how: Cutting

    def __call__(self, clip: str) -> None:
        index, path = _index(self.output, clip), self.folder / clip
        if index.is_file():
            return
        rows: list[dict[str, Any]] = []
        error = ""
        try:
            for number, time_s, photo, face in _followed(path, self.how.rate):
                picture = index.with_name(f"{len(rows) + 1:06d}.jpg")
                square, points = _cut(photo, face, self.how)
                write_image(picture, square)
                name = picture.relative_to(self.output).as_posix()
                rows.append(_row(name, number, time_s, face, points))
        except VideoError as broken:
            error = str(broken)
        if not rows and not error:
            error = f"{path}: no face found in any frame"
        write_rows(index, [*rows, {"file": clip, "error": error}] if error else rows)


def _followed(path: Path, rate: float) -> Iterator[tuple[int, float, Photo, DetectedFace]]:
    """Number, time in seconds, frame and face, `rate` times a second where the person is found."""
    follower, taken = Follower(), 0
    for number, (photo, time_s) in enumerate(read_timed_frames(path)):
        if time_s * rate < taken - 1e-6:
            continue
        taken = math.floor(time_s * rate + 1e-6) + 1
        face = follower.find(photo)
        if face is not None:
            yield number, time_s, photo, face


def _cut(photo: Photo, face: DetectedFace, how: Cutting) -> tuple[Photo, Any]:
    """The crop with its margin (S, S, 3), and the five points in it (5, 2)."""
    to_crop = place(face.points, how.crop, how.size).to_crop.copy()
    to_crop[:, 2] += how.border
    placement = Placement(to_crop, how.size + 2 * how.border)
    return face_to_photo(cut(photo, placement))[0], apply_affine(to_crop, face.points)


def _row(name: str, number: int, time_s: float, face: DetectedFace, points: Any) -> dict[str, Any]:
    return {
        "file": name,
        "frame": number,
        "time_s": f"{time_s:.3f}",
        **{
            side: f"{value:.1f}"
            for side, value in zip(("left", "top", "right", "bottom"), face.box, strict=True)
        },
        "confidence": f"{face.confidence:.4f}",
        **{at: f"{value:.2f}" for at, value in zip(POINTS, points.flatten().tolist(), strict=True)},
    }


def _index(output: Path, clip: str) -> Path:
    return output / os.path.splitext(clip)[0] / INDEX


def _check(how: Cutting) -> None:
    if how.crop not in CROPS:
        raise FaceFactorError(f"no crop is called {how.crop!r}; there are {', '.join(CROPS)}")
    if how.rate <= 0 or how.size < 16 or how.margin < 0:
        raise FaceFactorError(
            f"{how.rate:g} frames a second of {how.size} pixels with a margin of {how.margin:g}; "
            "above 0, at least 16 and at least 0 are needed"
        )


def _begin(folder: Path, output: Path, note: Mapping[str, Any]) -> None:
    """Check that `output` is new, or was begun with the same note; leave it there."""
    if output.resolve().is_relative_to(folder.resolve()):
        raise FaceFactorError(f"{output}: lies among the clips; name a folder outside of {folder}")
    told = output / ABOUT
    text = json.dumps({**note, "folder": str(folder.resolve())}, indent=1) + "\n"
    if told.is_file():
        if told.read_text(encoding="utf-8") == text:
            return
        raise FaceFactorError(
            f"{output}: was begun with another folder or other settings (see {ABOUT}); name a new "
            "folder"
        )
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise WriteError(f"{output}: holds something else; name a new folder")
    with atomic_path(told) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _write_failed(path: Path, failed: Mapping[str, str]) -> None:
    with atomic_path(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("clip", "error"), *failed.items()])
