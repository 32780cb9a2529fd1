"""Photos, folders and videos -> a table of codes, one row a face; a bad file is a row too."""

from __future__ import annotations

import csv as csv_module
import glob
import json
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray

from facefactor.errors import FaceFactorError
from facefactor.factors import FaceModel, ModelSpec
from facefactor.files import atomic_path
from facefactor.images import IMAGE_SUFFIXES
from facefactor.outcomes import Outcome
from facefactor.photo_edits import PhotoFace, read_faces
from facefactor.videos import VIDEO_SUFFIXES, read_frames

ROWS_A_GROUP = 512  # rows held in memory, and of a Parquet row group
BATCH = 32  # faces encoded together

Row = dict[str, Any]


@dataclass(frozen=True, eq=False)
class _Seen:
    """A face, or the reason why there is none, with where it comes from."""

    file: str
    frame: int | None
    number: int | None  # of the face in its photo, by size
    face: PhotoFace | None
    error: str | None = None


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


def encode_files(
    model: FaceModel,
    files: Sequence[Path],
    output: Path,
    which: str,
    about: Mapping[str, str],
    csv: bool = False,
    progress: Callable[[int, int | None], None] | None = None,
) -> Outcome:
    """Write the codes of every face to `output` (.parquet, .csv or .npz).

    Columns: file, frame, face, left, top, right, bottom, confidence, error, and one column of
    float32 lists per factor. Parquet is written a row group at a time, so memory stays flat; the
    other two are for small runs. An error is a row with the error and no codes.

    Args:
        which: see `photo_edits.read_faces`.
        about: told in the metadata of the table: model, its hash and licence.
    """
    suffix = output.suffix.lower()
    writers = {".parquet": _write_parquet, ".csv": _write_csv, ".npz": _write_npz}
    if suffix not in writers:
        raise FaceFactorError(f"{output}: codes are written as {', '.join(writers)}, not {suffix}")
    failed: dict[str, str] = {}
    rows = _encode(model, _watch(files, which, model, progress, failed))
    written = [output]
    if csv and suffix != ".csv":
        beside = output.with_suffix(".csv")
        kept = list(rows)
        _write_csv(beside, kept, model.spec, about)
        rows, written = iter(kept), [output, beside]
    faces = writers[suffix](output, rows, model.spec, about)
    return Outcome(tuple(written) if faces else (), failed)


def _watch(
    files: Sequence[Path],
    which: str,
    model: FaceModel,
    progress: Callable[[int, int | None], None] | None,
    failed: dict[str, str],
) -> Iterator[_Seen]:
    for done, file in enumerate(files):
        for seen in _faces_of(file, which, model):
            if seen.error is not None and seen.frame is None:
                failed[seen.file] = seen.error
            yield seen
        if progress:
            progress(done + 1, len(files))


def _faces_of(file: Path, which: str, model: FaceModel) -> Iterator[_Seen]:
    name = str(file)
    if file.suffix.lower() in VIDEO_SUFFIXES and file.is_file():
        try:
            for index, frame in enumerate(read_frames(file)):
                yield from _faces_in(name, index, frame, which, model)
        except (FaceFactorError, ValueError) as error:  # what was read before stays
            yield _Seen(name, None, None, None, str(error))
    else:
        yield from _faces_in(name, None, file, which, model)


def _faces_in(
    name: str, frame: int | None, source: Path | NDArray[np.uint8], which: str, model: FaceModel
) -> Iterator[_Seen]:
    try:
        for number, face in enumerate(read_faces(source, which, model)):
            yield _Seen(name, frame, number, face)
    except (FaceFactorError, ValueError) as error:
        yield _Seen(name, frame, None, None, str(error))


@torch.inference_mode()
def _encode(model: FaceModel, stream: Iterable[_Seen]) -> Iterator[Row]:
    """Rows in the order of the faces; codes are computed for `BATCH` faces at a time."""
    waiting: list[_Seen] = []
    for seen in stream:
        waiting.append(seen)
        if sum(one.face is not None for one in waiting) == BATCH:
            yield from _rows(model, waiting)
            waiting = []
    yield from _rows(model, waiting)


def _rows(model: FaceModel, seen: Sequence[_Seen]) -> Iterator[Row]:
    faces = [one.face for one in seen if one.face is not None]
    codes: dict[str, NDArray[np.float32]] = {}
    if faces:
        crops = torch.cat([face.cut(model.spec)[0] for face in faces])
        encoded = model.encode(crops).codes
        codes = {name: code.flatten(1).float().numpy() for name, code in encoded.items()}
    position = 0
    for one in seen:
        row: Row = {"file": one.file, "frame": one.frame, "face": one.number, "error": one.error}
        if one.face is not None:
            box = map(float, one.face.found.box)
            row |= dict(zip(("left", "top", "right", "bottom"), box, strict=True))
            row["confidence"] = float(one.face.found.confidence)
            row |= {name: code[position] for name, code in codes.items()}
            position += 1
        yield row


def _schema(spec: ModelSpec, about: Mapping[str, str]) -> pa.Schema:
    plain = [
        ("file", pa.string()),
        ("frame", pa.int64()),
        ("face", pa.int32()),
        *[(name, pa.float32()) for name in ("left", "top", "right", "bottom", "confidence")],
        ("error", pa.string()),
    ]
    codes = [
        (name, pa.list_(pa.float32(), int(np.prod(factor.shape))))
        for name, factor in spec.factors.items()
    ]
    return pa.schema([*plain, *codes], metadata={"facefactor": json.dumps(dict(about))})


def _write_parquet(
    path: Path, rows: Iterable[Row], spec: ModelSpec, about: Mapping[str, str]
) -> int:
    """Number of faces written."""
    schema, faces = _schema(spec, about), 0
    with atomic_path(path) as temporary, pq.ParquetWriter(temporary, schema) as writer:
        group: list[Row] = []
        for row in rows:
            group.append(row)
            faces += row["error"] is None
            if len(group) == ROWS_A_GROUP:
                writer.write_table(_table(group, schema))
                group = []
        writer.write_table(_table(group, schema))
    return faces


def _table(rows: Sequence[Row], schema: pa.Schema) -> pa.Table:
    columns = {name: [row.get(name) for row in rows] for name in schema.names}
    return pa.table(columns, schema=schema)


def _write_csv(path: Path, rows: Iterable[Row], spec: ModelSpec, about: Mapping[str, str]) -> int:
    sizes = {name: int(np.prod(factor.shape)) for name, factor in spec.factors.items()}
    plain = [name for name in _schema(spec, about).names if name not in sizes]
    wide = {name: [f"{name}_{index}" for index in range(size)] for name, size in sizes.items()}
    faces = 0
    with atomic_path(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv_module.DictWriter(
            file, [*plain, *(c for names in wide.values() for c in names)]
        )
        writer.writeheader()
        for row in rows:
            flat = {name: row.get(name) for name in plain}
            for name, columns in wide.items():
                if name in row:
                    flat |= dict(zip(columns, row[name].tolist(), strict=True))
            writer.writerow(flat)
            faces += row["error"] is None
    return faces


def _write_npz(path: Path, rows: Iterable[Row], spec: ModelSpec, about: Mapping[str, str]) -> int:
    """Arrays of the rows with a face; the errors as `failed_file` and `failed_error`."""
    every = list(rows)
    good = [row for row in every if row["error"] is None]
    bad = [row for row in every if row["error"] is not None]
    arrays: dict[str, Any] = {
        name: np.array([row[name] for row in good])
        for name in ("file", "face", "left", "top", "right", "bottom", "confidence", *spec.factors)
    }
    arrays["frame"] = np.array([-1 if row["frame"] is None else row["frame"] for row in good])
    arrays["failed_file"] = np.array([row["file"] for row in bad], dtype=str)
    arrays["failed_error"] = np.array([row["error"] for row in bad], dtype=str)
    arrays["about"] = np.array(json.dumps(dict(about)))
    with atomic_path(path) as temporary:
        _save_arrays(temporary, arrays)
    return len(good)


def _save_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """What `numpy.savez` does; that has no place for an array called "file"."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w") as member:
                np.lib.format.write_array(member, array, allow_pickle=False)
