"""Photos, folders and videos -> a table of codes or expressions, one row a face or error.

A table is made in parts: the rows of some files each, by whichever process, written as they fill.
The parts lie in a folder beside the table until it is whole, so a killed run goes on from there.
"""

from __future__ import annotations

import csv as csv_module
import json
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Generic, TypeAlias, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from torch import Tensor

from facefactor.engines import cores, do_all
from facefactor.errors import FaceFactorError
from facefactor.face_expressions import (
    POSE,
    ExpressionModel,
    Squares,
    cut_squares,
    read_expressions,
)
from facefactor.factors import FaceModel, ModelSpec
from facefactor.files import atomic_path
from facefactor.outcomes import Outcome
from facefactor.parts import PartsError, begin_parts, files_hash, part_path, remove_parts
from facefactor.perception.landmarks import LandmarkNetwork
from facefactor.photo_edits import PhotoFace
from facefactor.streams import BATCH, Progress, Row, read_rows, seen_faces
from facefactor.videos import VIDEO_SUFFIXES

ROWS_A_GROUP = 512  # rows held in memory, and of a Parquet row group
FILES_A_PART = BATCH  # photos; with a face each a part is one batch. A video is a part of its own
# Starting a process takes as long as reading this many photos.
_WORTH_A_PROCESS = 100

_PLACE = (
    ("file", pa.string()),
    ("frame", pa.int64()),
    ("face", pa.int32()),
    *((name, pa.float32()) for name in ("left", "top", "right", "bottom", "confidence")),
)
_ERROR = ("error", pa.string())
_FAILED = "failed"  # in the metadata of a part: file -> error, JSON

Cut = TypeVar("Cut")
Rows: TypeAlias = Iterable[pa.RecordBatch]
Writer = Callable[[Path, Rows, pa.Schema], int]  # returns the number of faces written


def encode_files(
    model: FaceModel,
    files: Sequence[Path],
    output: Path,
    which: str,
    about: Mapping[str, str],
    csv: bool = False,
    progress: Progress | None = None,
    workers: int | None = 1,
    engine: str = "local",
    restart: bool = False,
) -> Outcome:
    """Write the codes of every face to `output` (.parquet, .csv or .npz).

    Columns: file, frame, face, left, top, right, bottom, confidence, error, and one column of
    float32 lists per factor. Parquet and CSV are written row by row, so memory stays flat; .npz is
    for small runs. An error is a row with the error and no codes.

    A run that was killed goes on when called again; see `parts`. Rows and their order do not depend
    on workers and engine, up to rounding.

    Args:
        which: see `photo_edits.read_faces`.
        about: told in the metadata of the table: model, its hash and licence.
        csv: write a CSV beside another table, too.
        workers, engine: see `engines.do_all`; for a few photos no processes are started.
        restart: drop what an unfinished run has left.

    Raises:
        PartsError: an unfinished run has left parts made from other inputs, weights or options.
        EngineError: a worker process was killed, or there is no such engine.
    """
    writers = {".parquet": _write_parquet, ".csv": _write_csv, ".npz": _write_npz}
    write = _writer(output, "codes", writers)
    codes = [
        (name, pa.list_(pa.float32(), int(np.prod(factor.shape))))
        for name, factor in model.spec.factors.items()
    ]
    schema = _schema([*_PLACE, _ERROR, *codes], about)
    cut, read = partial(_cut_square, spec=model.spec), partial(_encode, model)
    outputs = {output: write}
    if csv and output.suffix.lower() != ".csv":
        outputs[output.with_suffix(".csv")] = _write_csv
    note = {**about, "face": which}
    make = _PartMaker(
        begin_parts(output, _note(files, note, schema), restart), which, cut, read, schema
    )
    return _write_tables(make, files, outputs, progress, workers, engine)


def express_files(
    model: ExpressionModel,
    files: Sequence[Path],
    output: Path | None,
    which: str,
    about: Mapping[str, str],
    landmarks: LandmarkNetwork | None = None,
    show: Callable[[Row], None] | None = None,
    progress: Progress | None = None,
    workers: int | None = 1,
    engine: str = "local",
    restart: bool = False,
) -> Outcome:
    """Write expression and head pose of every face to `output` (.json, .csv or .parquet).

    Columns: file, frame, face, left, top, right, bottom, confidence, expression, probability, one
    for each class with its probability, yaw_deg, pitch_deg, roll_deg, error. All are written row by
    row, so memory stays flat. An error is a row with the error and nothing else.

    Args:
        output: None writes nothing and works in this process; the `done` of the outcome are then
            the inputs with a face.
        which: see `photo_edits.read_faces`.
        about: told in the metadata of a Parquet table.
        landmarks: what head poses are read from; None leaves them empty.
        show: called with each row, all columns there: as it comes where nothing is written,
            otherwise as it is written.
        workers, engine, restart: see `encode_files`.

    Raises:
        As `encode_files`.
    """
    numbers = ("probability", *model.classes, *POSE)
    schema = _schema(
        [*_PLACE, ("expression", pa.string()), *((n, pa.float32()) for n in numbers), _ERROR], about
    )
    cut, read = partial(cut_squares, spec=model.spec), partial(_express, model, landmarks)
    if output is None:
        return _show_rows(files, which, cut, read, schema, show, progress)
    writers = {".json": _write_json, ".csv": _write_csv, ".parquet": _write_parquet}
    write = _writer(output, "expressions", writers)
    note = {**about, "face": which, "head poses": landmarks is not None}
    make = _PartMaker(
        begin_parts(output, _note(files, note, schema), restart), which, cut, read, schema
    )
    return _write_tables(make, files, {output: write}, progress, workers, engine, show)


def _cut_square(face: PhotoFace, spec: ModelSpec) -> Tensor:
    return face.cut(spec)[0]


def _encode(model: FaceModel, squares: Sequence[Tensor]) -> list[Row]:
    encoded = model.encode(torch.cat(list(squares))).codes
    flat = {name: code.flatten(1).float().numpy() for name, code in encoded.items()}
    return [{name: code[index] for name, code in flat.items()} for index in range(len(squares))]


def _express(
    model: ExpressionModel, landmarks: LandmarkNetwork | None, squares: Sequence[Squares]
) -> list[Row]:
    return [told.to_dict() for told in read_expressions(model, squares, landmarks)]


def _show_rows(
    files: Sequence[Path],
    which: str,
    cut: Callable[[PhotoFace], Cut],
    read: Callable[[list[Cut]], Sequence[Row]],
    schema: pa.Schema,
    show: Callable[[Row], None] | None,
    progress: Progress | None,
) -> Outcome:
    failed: dict[str, str] = {}
    done: dict[Path, None] = {}
    for row in read_rows(seen_faces(files, which, cut, failed, progress), read):
        if row["error"] is None:
            done[Path(row["file"])] = None
        if show:
            show({name: row.get(name) for name in schema.names})
    return Outcome(tuple(done), failed)


# Parts


@dataclass(frozen=True, eq=False)
class _Part:
    number: int
    files: tuple[Path, ...]


@dataclass(frozen=True, eq=False)
class _PartMaker(Generic[Cut]):
    """Makes any part of one table, in any process; its files decide it and nothing else."""

    folder: Path
    which: str
    cut: Callable[[PhotoFace], Cut]
    read: Callable[[list[Cut]], Sequence[Row]]
    schema: pa.Schema

    def __call__(self, part: _Part) -> int:
        """Write it; the number of files read."""
        path = part_path(self.folder, part.number)
        if path.is_file():  # by a process that was lost before it could tell
            return len(part.files)
        failed: dict[str, str] = {}
        rows = read_rows(seen_faces(part.files, self.which, self.cut, failed), self.read)
        with atomic_path(path) as temporary, pq.ParquetWriter(temporary, self.schema) as writer:
            group: list[Row] = []
            for row in rows:
                group.append(row)
                if len(group) == ROWS_A_GROUP:
                    writer.write_table(_table(group, self.schema))
                    group = []
            writer.write_table(_table(group, self.schema))
            writer.add_key_value_metadata({_FAILED: json.dumps(failed)})
        return len(part.files)


def _write_tables(
    make: _PartMaker[Any],
    files: Sequence[Path],
    outputs: Mapping[Path, Writer],
    progress: Progress | None,
    workers: int | None,
    engine: str,
    show: Callable[[Row], None] | None = None,
) -> Outcome:
    """Make the parts that are not there yet, and of all of them the tables."""
    parts = list(_parts(files))
    paths = [part_path(make.folder, part.number) for part in parts]
    missing = [part for part, path in zip(parts, paths, strict=True) if not path.is_file()]
    done = len(files) - sum(len(part.files) for part in missing)
    if engine == "local":
        workers = min(cores() if workers is None else workers, _worth(missing))
    for count in do_all(make, missing, workers, engine):
        done += count
        if progress:
            progress(done, len(files))
    faces = 0
    for number, (output, write) in enumerate(outputs.items()):
        faces = write(output, _read(paths, make.schema, None if number else show), make.schema)
    failed = _failed(paths)
    remove_parts(make.folder)
    return Outcome(tuple(outputs) if faces else (), failed)


def _parts(files: Iterable[Path]) -> Iterator[_Part]:
    """Files in their order, up to FILES_A_PART photos or one video together."""
    number = 0
    photos: list[Path] = []
    for file in files:
        video = file.suffix.lower() in VIDEO_SUFFIXES
        if photos and (video or len(photos) == FILES_A_PART):
            yield _Part(number, tuple(photos))
            number, photos = number + 1, []
        if video:
            yield _Part(number, (file,))
            number += 1
        else:
            photos.append(file)
    if photos:
        yield _Part(number, tuple(photos))


def _worth(parts: Sequence[_Part]) -> int:
    """How many processes have enough to do."""
    videos = sum(part.files[0].suffix.lower() in VIDEO_SUFFIXES for part in parts)
    photos = sum(len(part.files) for part in parts) - videos
    return max(1, videos + photos // _WORTH_A_PROCESS)


def _note(files: Sequence[Path], about: Mapping[str, Any], schema: pa.Schema) -> dict[str, Any]:
    """All that decides a table."""
    columns = [f"{field.name}: {field.type}" for field in schema]
    return {**about, "files": len(files), "inputs": files_hash(files), "columns": columns}


def _read(
    paths: Sequence[Path], schema: pa.Schema, show: Callable[[Row], None] | None
) -> Iterator[pa.RecordBatch]:
    for path in paths:
        for batch in _opened(path).iter_batches(ROWS_A_GROUP):
            if show:
                for row in batch.to_pylist():
                    show(row)
            yield batch.cast(schema)


def _failed(paths: Iterable[Path]) -> dict[str, str]:
    failed: dict[str, str] = {}
    for path in paths:
        failed |= json.loads(_opened(path).metadata.metadata[_FAILED.encode()])
    return failed


def _opened(path: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise PartsError(f"{path}: cannot be read ({error}); start anew with --restart") from error


# Tables


def _schema(fields: Iterable[tuple[str, pa.DataType]], about: Mapping[str, str]) -> pa.Schema:
    return pa.schema(list(fields), metadata={"facefactor": json.dumps(dict(about))})


def _writer(output: Path, what: str, writers: Mapping[str, Writer]) -> Writer:
    """The writer for the suffix of `output`; FaceFactorError where there is none."""
    suffix = output.suffix.lower()
    if suffix not in writers:
        raise FaceFactorError(f"{output}: {what} are written as {', '.join(writers)}, not {suffix}")
    return writers[suffix]


def _write_parquet(path: Path, rows: Rows, schema: pa.Schema) -> int:
    """Number of faces written."""
    faces, waiting = 0, _table([], schema)
    with atomic_path(path) as temporary, pq.ParquetWriter(temporary, schema) as writer:
        for batch in rows:
            faces += batch["error"].null_count
            waiting = pa.concat_tables([waiting, pa.Table.from_batches([batch], schema)])
            if len(waiting) >= ROWS_A_GROUP:
                writer.write_table(waiting[:ROWS_A_GROUP])
                waiting = waiting[ROWS_A_GROUP:]
        writer.write_table(waiting)
    return faces


def _table(rows: Sequence[Row], schema: pa.Schema) -> pa.Table:
    columns = {name: [row.get(name) for row in rows] for name in schema.names}
    return pa.table(columns, schema=schema)


def _write_csv(path: Path, rows: Rows, schema: pa.Schema) -> int:
    """A list of numbers becomes a column for each, all of them last."""
    lists = {field.name: field.type.list_size for field in schema if _is_list(field)}
    plain = [name for name in schema.names if name not in lists]
    wide = {name: [f"{name}_{index}" for index in range(size)] for name, size in lists.items()}
    faces = 0
    with atomic_path(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv_module.DictWriter(
            file, [*plain, *(c for names in wide.values() for c in names)]
        )
        writer.writeheader()
        for row in _by_one(rows):
            flat = {name: row[name] for name in plain}
            for name, columns in wide.items():
                if row[name] is not None:
                    flat |= dict(zip(columns, row[name], strict=True))
            writer.writerow(flat)
            faces += row["error"] is None
    return faces


def _by_one(rows: Rows) -> Iterator[Row]:
    return (row for batch in rows for row in batch.to_pylist())


def _dtype(column: pa.DataType) -> Any:
    """Of numpy, for the values of a column or those in its lists."""
    if pa.types.is_string(column):
        return str
    return (column.value_type if pa.types.is_fixed_size_list(column) else column).to_pandas_dtype()


def _is_list(field: pa.Field) -> bool:
    return bool(pa.types.is_fixed_size_list(field.type))


def _write_json(path: Path, rows: Rows, schema: pa.Schema) -> int:
    """A list with a line for each row, all columns in each, null where there is nothing."""
    faces, before = 0, "\n"
    with atomic_path(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
        file.write("[")
        for row in _by_one(rows):
            file.write(before + json.dumps(row, ensure_ascii=False, allow_nan=False))
            faces, before = faces + (row["error"] is None), ",\n"
        file.write("\n]\n")
    return faces


def _write_npz(path: Path, rows: Rows, schema: pa.Schema) -> int:
    """Arrays of the rows with a face; the errors as `failed_file` and `failed_error`."""
    every = list(_by_one(rows))
    good = [row for row in every if row["error"] is None]
    bad = [row for row in every if row["error"] is not None]
    arrays: dict[str, Any] = {
        field.name: np.array([row[field.name] for row in good], _dtype(field.type))
        for field in schema
        if field.name not in ("frame", "error")
    }
    arrays["frame"] = np.array([-1 if row["frame"] is None else row["frame"] for row in good])
    arrays["failed_file"] = np.array([row["file"] for row in bad], dtype=str)
    arrays["failed_error"] = np.array([row["error"] for row in bad], dtype=str)
    arrays["about"] = np.array(schema.metadata[b"facefactor"].decode())
    with atomic_path(path) as temporary:
        _save_arrays(temporary, arrays)
    return len(good)


def _save_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """What `numpy.savez` does; that has no place for an array called "file"."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w") as member:
                np.lib.format.write_array(member, array, allow_pickle=False)
