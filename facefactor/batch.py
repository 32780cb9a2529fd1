"""Photos, folders and videos -> a table of codes or expressions, one row a face or error."""

from __future__ import annotations

import csv as csv_module
import json
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from torch import Tensor

from facefactor.errors import FaceFactorError
from facefactor.face_expressions import (
    POSE,
    ExpressionModel,
    Squares,
    cut_squares,
    read_expressions,
)
from facefactor.factors import Factors, ModelSpec
from facefactor.files import atomic_path
from facefactor.outcomes import Outcome
from facefactor.perception.landmarks import LandmarkNetwork
from facefactor.streams import Progress, Row, read_rows, seen_faces

ROWS_A_GROUP = 512  # rows held in memory, and of a Parquet row group

_PLACE = (
    ("file", pa.string()),
    ("frame", pa.int64()),
    ("face", pa.int32()),
    *((name, pa.float32()) for name in ("left", "top", "right", "bottom", "confidence")),
)
_ERROR = ("error", pa.string())

Writer = Callable[[Path, Iterable[Row], pa.Schema], int]  # returns the number of faces written


class Encoder(Protocol):
    """What gives codes: a model, or a graph of one."""

    @property
    def spec(self) -> ModelSpec: ...

    def encode(self, faces: Tensor) -> Factors: ...


def encode_files(
    model: Encoder,
    files: Sequence[Path],
    output: Path,
    which: str,
    about: Mapping[str, str],
    csv: bool = False,
    progress: Progress | None = None,
) -> Outcome:
    """Write the codes of every face to `output` (.parquet, .csv or .npz).

    Columns: file, frame, face, left, top, right, bottom, confidence, error, and one column of
    float32 lists per factor. Parquet and CSV are written as rows come, so memory stays flat; .npz,
    and a CSV beside another table, are for small runs. An error is a row with the error and no
    codes.

    Args:
        which: see `photo_edits.read_faces`.
        about: told in the metadata of the table: model, its hash and licence.
    """
    writers = {".parquet": _write_parquet, ".csv": _write_csv, ".npz": _write_npz}
    write = _writer(output, "codes", writers)
    codes = [
        (name, pa.list_(pa.float32(), int(np.prod(factor.shape))))
        for name, factor in model.spec.factors.items()
    ]
    schema = _schema([*_PLACE, _ERROR, *codes], about)

    def encode(squares: list[Tensor]) -> list[Row]:
        encoded = model.encode(torch.cat(squares)).codes
        flat = {name: code.flatten(1).float().numpy() for name, code in encoded.items()}
        return [{name: code[index] for name, code in flat.items()} for index in range(len(squares))]

    failed: dict[str, str] = {}
    stream = seen_faces(files, which, lambda face: face.cut(model.spec)[0], failed, progress)
    rows: Iterable[Row] = read_rows(stream, encode)
    written = [output]
    if csv and output.suffix.lower() != ".csv":
        rows, beside = list(rows), output.with_suffix(".csv")
        _write_csv(beside, rows, schema)
        written.append(beside)
    faces = write(output, rows, schema)
    return Outcome(tuple(written) if faces else (), failed)


def express_files(
    model: ExpressionModel,
    files: Sequence[Path],
    output: Path | None,
    which: str,
    about: Mapping[str, str],
    landmarks: LandmarkNetwork | None = None,
    show: Callable[[Row], None] | None = None,
    progress: Progress | None = None,
) -> Outcome:
    """Write expression and head pose of every face to `output` (.json, .csv or .parquet).

    Columns: file, frame, face, left, top, right, bottom, confidence, expression, probability, one
    for each class with its probability, yaw_deg, pitch_deg, roll_deg, error. All are written as
    rows come, so memory stays flat. An error is a row with the error and nothing else.

    Args:
        output: None writes nothing; `show` has the rows, and the `done` of the outcome are then the
            inputs with a face.
        which: see `photo_edits.read_faces`.
        about: told in the metadata of a Parquet table.
        landmarks: what head poses are read from; None leaves them empty.
        show: called with each row as it comes, all columns there.
    """
    writers = {".json": _write_json, ".csv": _write_csv, ".parquet": _write_parquet}
    write = None if output is None else _writer(output, "expressions", writers)
    numbers = ("probability", *model.classes, *POSE)
    schema = _schema(
        [*_PLACE, ("expression", pa.string()), *((n, pa.float32()) for n in numbers), _ERROR], about
    )

    def express(squares: list[Squares]) -> list[Row]:
        return [told.to_dict() for told in read_expressions(model, squares, landmarks)]

    failed: dict[str, str] = {}
    done: dict[Path, None] = {}

    def rows() -> Iterator[Row]:
        cut = partial(cut_squares, spec=model.spec)
        for row in read_rows(seen_faces(files, which, cut, failed, progress), express):
            if row["error"] is None:
                done[Path(row["file"])] = None
            whole = {name: row.get(name) for name in schema.names}
            if show:
                show(whole)
            yield whole

    if write is None or output is None:
        for _ in rows():
            pass
        return Outcome(tuple(done), failed)
    write(output, rows(), schema)
    return Outcome((output,) if done else (), failed)


def _schema(fields: Iterable[tuple[str, pa.DataType]], about: Mapping[str, str]) -> pa.Schema:
    return pa.schema(list(fields), metadata={"facefactor": json.dumps(dict(about))})


def _writer(output: Path, what: str, writers: Mapping[str, Writer]) -> Writer:
    """The writer for the suffix of `output`; FaceFactorError where there is none."""
    suffix = output.suffix.lower()
    if suffix not in writers:
        raise FaceFactorError(f"{output}: {what} are written as {', '.join(writers)}, not {suffix}")
    return writers[suffix]


def _write_parquet(path: Path, rows: Iterable[Row], schema: pa.Schema) -> int:
    """Number of faces written."""
    faces = 0
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


def _write_csv(path: Path, rows: Iterable[Row], schema: pa.Schema) -> int:
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
        for row in rows:
            flat = {name: row.get(name) for name in plain}
            for name, columns in wide.items():
                if name in row:
                    flat |= dict(zip(columns, row[name].tolist(), strict=True))
            writer.writerow(flat)
            faces += row["error"] is None
    return faces


def _is_list(field: pa.Field) -> bool:
    return bool(pa.types.is_fixed_size_list(field.type))


def _write_json(path: Path, rows: Iterable[Row], schema: pa.Schema) -> int:
    """A list with a line for each row, all columns in each, null where there is nothing."""
    faces, before = 0, "\n"
    with atomic_path(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
        file.write("[")
        for row in rows:
            whole = {name: row.get(name) for name in schema.names}
            file.write(before + json.dumps(whole, ensure_ascii=False, allow_nan=False))
            faces, before = faces + (row["error"] is None), ",\n"
        file.write("\n]\n")
    return faces


def _write_npz(path: Path, rows: Iterable[Row], schema: pa.Schema) -> int:
    """Arrays of the rows with a face; the errors as `failed_file` and `failed_error`."""
    every = list(rows)
    good = [row for row in every if row["error"] is None]
    bad = [row for row in every if row["error"] is not None]
    arrays: dict[str, Any] = {
        name: np.array([row[name] for row in good])
        for name in schema.names
        if name not in ("frame", "error")
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
