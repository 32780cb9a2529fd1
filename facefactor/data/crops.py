"""Cut every face of a data set once, and keep the result on disk."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from facefactor.data.found_points import FoundPoints
from facefactor.data.records import DataError, FaceRecord, Points
from facefactor.files import WriteError, atomic_path, file_version
from facefactor.images import Photo, face_to_photo, read_frames, read_photo
from facefactor.perception.align import align, crop_points

# Photo -> faces with `.points` (5, 2), the largest first.
Detect: TypeAlias = Callable[[Photo], Sequence[Any]]

_FORMAT = 1  # part of every key: raise it when the same inputs would give other pixels


@dataclass(frozen=True, eq=False)
class CroppedFaces:
    """The faces that could be cut, with their records, and why the others could not."""

    faces: NDArray[np.uint8]  # (N, S, S, 3) RGB; read-only and on disk where a cache was given
    records: list[FaceRecord]  # N, in the order given
    failures: list[tuple[Path, str]]


def crop_faces(
    records: Sequence[FaceRecord],
    crop: str,
    size: int,
    cache: Path | None,
    detect: Detect | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> CroppedFaces:
    """The face of each record in a named crop; a photo that fails is a failure, not the end.

    Args:
        crop: a key of `perception.align.CROPS`.
        size: side of the crops S, pixels.
        cache: folder for the crops. Called again with the same files (by name, size and time of
            change), points, crop and size, they come from there at once. None: kept in memory.
        detect: a face detector's `detect`, asked for records that have no points of their own.
        progress: called with (done, total) after each photo.

    Raises:
        DataError: no records; a record without points and no `detect`; no face could be cut.
    """
    _check(records, detect is not None)
    if cache is None:
        rows: list[Photo] = []
        attempts = _cut_all(records, crop, size, detect, None, progress)
        reasons = _keep(attempts, rows.append, records)
        return _cropped(np.stack(rows), records, reasons)

    key = _key(records, crop, size, detect is not None)
    pixels, index = cache / f"{key}.npy", cache / f"{key}.json"
    if not (pixels.is_file() and index.is_file()):
        # Other crops and sizes of the same photos are cut without looking for faces again.
        with FoundPoints(cache) if detect else nullcontext() as found:
            attempts = _cut_all(records, crop, size, detect, found, progress)
            _write(pixels, index, records, size, attempts)
    listed = json.loads(index.read_text(encoding="utf-8"))
    faces = np.load(pixels, mmap_mode="r", allow_pickle=False)
    return _cropped(faces, records, {int(i): reason for i, reason in listed["failures"].items()})


def detector_for(records: Sequence[FaceRecord]) -> Detect | None:
    """A face detector, if some data set does not tell where its faces are."""
    if all(record.points is not None for record in records):
        return None
    from facefactor.perception.mtcnn import FaceDetector  # its networks: only where needed

    return FaceDetector().detect


def _check(records: Sequence[FaceRecord], can_detect: bool) -> None:
    if not records:
        raise DataError("there are no records to cut faces from")
    for record in records:
        if record.points is None and not can_detect:
            raise DataError(
                f"{record.path} comes from no aligned data set, so its face must be found; "
                "give a face detector (detect=...)"
            )


def _cut_all(
    records: Sequence[FaceRecord],
    crop: str,
    size: int,
    detect: Detect | None,
    found: FoundPoints | None,
    progress: Callable[[int, int], None] | None,
) -> Iterator[Photo | str]:
    """For each record its face (S, S, 3), or why there is none."""
    for done, record in enumerate(records, start=1):
        try:
            yield cut_face(record, crop, size, detect, found)
        except WriteError:  # of what was found: no fault of the photo
            raise
        except (ValueError, OSError) as error:  # ImageError is a ValueError
            yield str(error)
        if progress is not None:
            progress(done, len(records))


def _keep(
    attempts: Iterable[Photo | str], keep: Callable[[Photo], object], records: Sequence[FaceRecord]
) -> dict[int, str]:
    """Hand each face on; why the others failed, by the record's position."""
    reasons: dict[int, str] = {}
    for position, attempt in enumerate(attempts):
        if isinstance(attempt, str):
            reasons[position] = attempt
        else:
            keep(attempt)
    if len(reasons) == len(records):
        raise DataError(f"no face could be cut from {len(records)} photos; {reasons[0]}")
    return reasons


def _cropped(
    faces: NDArray[np.uint8], records: Sequence[FaceRecord], reasons: dict[int, str]
) -> CroppedFaces:
    kept = [record for position, record in enumerate(records) if position not in reasons]
    failures = [(records[position].path, reason) for position, reason in reasons.items()]
    return CroppedFaces(faces[: len(kept)], kept, failures)


def _write(
    pixels: Path,
    index: Path,
    records: Sequence[FaceRecord],
    size: int,
    attempts: Iterable[Photo | str],
) -> None:
    """The two files of the cache; the index last, as it vouches for both."""
    shape = (len(records), size, size, 3)
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    with atomic_path(pixels) as temporary:
        # Written, not memory-mapped: on a full disk that is an error, and not a killed process.
        with temporary.open("wb") as file:
            np.lib.format.write_array_header_2_0(file, header)
            start = file.tell()
            reasons = _keep(attempts, lambda face: file.write(face.tobytes()), records)
            file.truncate(start + math.prod(shape))  # rows without a face: a hole in the file
    with atomic_path(index) as temporary:
        temporary.write_text(json.dumps({"failures": reasons}), encoding="utf-8")


def cut_face(
    record: FaceRecord,
    crop: str,
    size: int,
    detect: Detect | None,
    found: FoundPoints | None = None,
) -> Photo:
    """The face (size, size, 3) of one record in a named crop.

    Args:
        detect: a face detector's `detect`; needed where the record has no points of its own.
        found: what detectors found before, asked first and told what is new.

    Raises:
        ValueError, OSError: the photo cannot be read, or has no face; names the file.
    """
    photo = read_photo(record.path) if record.frame is None else _read_frame(record)
    points = record.points
    if points is None and detect is not None:
        look = partial(_look, detect, photo)
        points = look() if found is None else found.find(record, look)
    if points is None:
        raise ValueError(f"{record.path}: no face found")
    face, _ = align(photo, points, crop, size, stretch=record.stretch)
    return face_to_photo(face)[0]


def _look(detect: Detect, photo: Photo) -> Points | None:
    """The points of the largest face; None where there is none."""
    faces = detect(photo)
    if not faces:
        return None
    return tuple((float(x), float(y)) for x, y in faces[0].points)


def _read_frame(record: FaceRecord) -> Photo:
    photo = next(islice(read_frames(record.path), record.frame, None), None)
    if photo is None:
        raise ValueError(f"{record.path}: ends before frame {record.frame}; copy it again")
    return np.ascontiguousarray(np.rot90(photo, -record.quarter_turns))


def _key(records: Sequence[FaceRecord], crop: str, size: int, detected: bool) -> str:
    digest = hashlib.sha256()
    template = crop_points(crop, size).tolist()  # a changed template is another crop
    digest.update(repr((_FORMAT, crop, template, size, detected)).encode())
    for record in records:
        version = file_version(record.path)  # missing: a failure, tried again once it is there
        identity = (str(record.path.absolute()), version, record.points, record.stretch)
        digest.update(repr(identity).encode())
        if record.frame is not None:
            digest.update(repr((record.frame, record.quarter_turns)).encode())
    return digest.hexdigest()[:24]
