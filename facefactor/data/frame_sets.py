"""Frame sets: cropped frames of clips, one person a clip. Where clips lie; what is told of frames.

`facefactor data prepare` writes `person/video/clip/000001.jpg` and so on, beside them an
`index.csv` with a line a frame, and one of all clips in the folder at the top.
"""

from __future__ import annotations

import csv
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from facefactor.data.labels import csv_rows
from facefactor.data.listing import existing_folder, is_video
from facefactor.data.records import DataError, FaceRecord
from facefactor.files import atomic_path

INDEX, ABOUT = "index.csv", "about.json"
POINTS = tuple(
    f"{point}_{axis}"
    for point in ("right_eye", "left_eye", "nose", "right_mouth", "left_mouth")
    for axis in "xy"
)
COLUMNS = (
    "file",  # the picture, from the top folder on; with an error the clip, from the folder of clips
    "frame",  # of the clip, from 0
    "time_s",  # of the frame, from the clip's first
    *("left", "top", "right", "bottom", "confidence"),  # the box, in pixels of the clip's frame
    *POINTS,  # in pixels of the picture, centres at integers; "right" is the person's
    "error",
)


def list_voxceleb(folder: Path | str) -> list[str]:
    """The clips of `person/video/clip.mp4`, as paths from `folder` on, in their order.

    Only names are read. `folder` is the one of the people; VoxCeleb2 calls it `dev/mp4`.

    Raises:
        DataError: no such folder, no clips, a clip elsewhere, one whose name is not UTF-8, or two
            that differ in suffix alone.
    """
    top = existing_folder(folder)
    clips = sorted(_videos(top))
    if not clips:
        raise DataError(f"{top}: no clips person/video/clip.mp4 in it")
    stems = set()
    for clip in clips:
        if clip.count("/") != 2:
            raise DataError(f"{top / clip}: expected person/video/clip.mp4 below {top}")
        if clip.encode("utf-8", "ignore").decode() != clip:
            raise DataError(f"{ascii(str(top / clip))}: its name is not UTF-8; rename it")
        stem = os.path.splitext(clip)[0]
        if stem in stems:
            raise DataError(f"{top / clip}: there is another clip of this name; take one out")
        stems.add(stem)
    return clips


def _videos(top: Path) -> Iterator[str]:
    for place, _, names in os.walk(top, followlinks=True):
        within = os.path.relpath(place, top)
        yield from (Path(within, name).as_posix() for name in names if is_video(name))


CLIP_READERS: Mapping[str, Callable[[Path | str], list[str]]] = {"voxceleb": list_voxceleb}


def write_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write rows with some of COLUMNS.

    Raises:
        WriteError: when the file system refuses.
    """
    with atomic_path(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)


def join_indexes(indexes: Sequence[Path], output: Path) -> None:
    """Write the lines of several indexes as one, in the order given."""
    with atomic_path(output) as temporary, open(temporary, "wb") as whole:
        for number, index in enumerate(indexes):
            with open(index, "rb") as file:
                head = file.readline()
                whole.write(b"" if number else head)
                shutil.copyfileobj(file, whole)


def read_frame_sets(folder: Path | str) -> list[FaceRecord]:
    """The frames of a folder that `facefactor data prepare` made; a frame's subject is its person.

    Their points are known, so no detector has to look for faces again.
    """
    top = existing_folder(folder)
    records = []
    for line, row in csv_rows(top / INDEX, COLUMNS):
        if row["error"]:
            continue
        person, *_ = parts = row["file"].split("/")
        try:
            numbers = [float(row[name]) for name in POINTS]
        except ValueError as error:
            raise DataError(
                f"{top / INDEX}, line {line}: {error}; run data prepare again"
            ) from error
        points = tuple(zip(numbers[::2], numbers[1::2], strict=True))
        clip = "/".join(parts[:-1])
        records.append(FaceRecord(top / row["file"], person, points=points, clip=clip))
    if not records:
        raise DataError(f"{top / INDEX}: no frames in it, only errors")
    return records
