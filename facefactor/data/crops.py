"""Cut every face of a data set once, and keep the result on disk."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facefactor.data.records import DataError, FaceRecord
from facefactor.perception.align import align, crop_points

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
    detect: Callable[[NDArray[np.uint8]], Sequence[Any]] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> CroppedFaces:
    """The face of each record in a named crop; a photo that fails is a failure, not the end.

    Args:
        crop: a key of `perception.align.CROPS`.
        size: side of the crops S, pixels.
        cache: folder for the crops. Called again with the same files (by name, size and time of
            change), points, crop and size, they come from there at once. None: kept in memory.
        detect: photo (H, W, 3) uint8 RGB -> faces with `.points` (5, 2), the largest first; asked
            for records that have no points of their own.
        progress: called with (done, total) after each photo.

    Raises:
        DataError: no records; a record without points and no `detect`; no face could be cut.
    """
    _check(records, detect is not None)
    if cache is None:
        faces = np.empty((len(records), size, size, 3), np.uint8)
        kept, failures = _fill(faces, records, crop, size, detect, progress)
        return CroppedFaces(faces[: len(kept)], [records[i] for i in kept], failures)

    key = _key(records, crop, size, detect is not None)
    pixels, index = cache / f"{key}.npy", cache / f"{key}.json"
    if not (pixels.is_file() and index.is_file()):
        cache.mkdir(parents=True, exist_ok=True)
        _write(pixels, index, records, crop, size, detect, progress)
    listed = json.loads(index.read_text(encoding="utf-8"))
    faces = np.load(pixels, mmap_mode="r", allow_pickle=False)
    return CroppedFaces(
        faces,
        [records[i] for i in listed["kept"]],
        [(Path(path), reason) for path, reason in listed["failures"]],
    )


def _check(records: Sequence[FaceRecord], can_detect: bool) -> None:
    if not records:
        raise DataError("there are no records to cut faces from")
    for record in records:
        if record.points is None and not can_detect:
            raise DataError(
                f"{record.path} comes from no aligned data set, so its face must be found; "
                "give a face detector (detect=...)"
            )


def _write(
    pixels: Path,
    index: Path,
    records: Sequence[FaceRecord],
    crop: str,
    size: int,
    detect: Callable[[NDArray[np.uint8]], Sequence[Any]] | None,
    progress: Callable[[int, int], None] | None,
) -> None:
    """Both files under temporary names, then renamed; the index last, as it vouches for both."""
    with tempfile.TemporaryDirectory(dir=pixels.parent, prefix=".cutting-") as folder:
        whole = Path(folder) / "all.npy"
        shape = (len(records), size, size, 3)
        faces = np.lib.format.open_memmap(whole, mode="w+", dtype=np.uint8, shape=shape)
        kept, failures = _fill(faces, records, crop, size, detect, progress)
        faces.flush()
        if len(kept) < len(records):
            whole = Path(folder) / "kept.npy"
            np.save(whole, faces[: len(kept)])
        listed = Path(folder) / "index.json"
        entries = {"kept": kept, "failures": [(str(path), reason) for path, reason in failures]}
        listed.write_text(json.dumps(entries), encoding="utf-8")
        os.replace(whole, pixels)
        os.replace(listed, index)


def _fill(
    faces: NDArray[np.uint8],
    records: Sequence[FaceRecord],
    crop: str,
    size: int,
    detect: Callable[[NDArray[np.uint8]], Sequence[Any]] | None,
    progress: Callable[[int, int], None] | None,
) -> tuple[list[int], list[tuple[Path, str]]]:
    """Cut faces into the first rows; the records kept, by position, and the failures."""
    kept: list[int] = []
    failures: list[tuple[Path, str]] = []
    for position, record in enumerate(records):
        try:
            faces[len(kept)] = _cut(record, crop, size, detect)
            kept.append(position)
        except (ValueError, OSError) as error:  # ImageError is a ValueError
            failures.append((record.path, str(error)))
        if progress is not None:
            progress(position + 1, len(records))
    if not kept:
        path, reason = failures[0]
        raise DataError(f"no face could be cut from {len(records)} photos; {path}: {reason}")
    return kept, failures


def _cut(
    record: FaceRecord,
    crop: str,
    size: int,
    detect: Callable[[NDArray[np.uint8]], Sequence[Any]] | None,
) -> NDArray[np.uint8]:
    """(S, S, 3) RGB."""
    photo = _read(record.path)
    points: Any = record.points
    if points is None and detect is not None:
        found = detect(photo)
        if not found:
            raise ValueError("no face found")
        points = found[0].points
    face, _ = align(photo, points, crop, size, stretch=record.stretch)
    pixels: NDArray[np.uint8] = face[0].permute(1, 2, 0).mul(255).round().byte().numpy()
    return pixels


def _read(path: Path) -> NDArray[np.uint8]:
    from PIL import Image, ImageOps

    with Image.open(path) as image:
        return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))


def _key(records: Sequence[FaceRecord], crop: str, size: int, detected: bool) -> str:
    digest = hashlib.sha256()
    template = crop_points(crop, size).tolist()  # a changed template is another crop
    digest.update(repr((_FORMAT, crop, template, size, detected)).encode())
    for record in records:
        try:
            status = record.path.stat()
            version = (status.st_size, status.st_mtime_ns)
        except OSError:
            version = (-1, -1)  # missing: becomes a failure, and is tried again once it is there
        identity = (str(record.path.absolute()), version, record.points, record.stretch)
        digest.update(repr(identity).encode())
    return digest.hexdigest()[:24]
