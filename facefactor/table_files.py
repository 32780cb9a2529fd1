"""Rows -> table files: Parquet, CSV, JSON, .npz; an error is a row of them, too."""

from __future__ import annotations

import csv
import json
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from facefactor.errors import FaceFactorError
from facefactor.files import atomic_path

ROWS_A_GROUP = 512  # rows held in memory, and of a Parquet row group

Row = dict[str, Any]
Rows: TypeAlias = Iterable[pa.RecordBatch]
# Writes rows with the columns of a schema to a path and returns how many have a face, that is, no
# `error`; WriteError when the file system refuses.
Writer = Callable[[Path, Rows, pa.Schema], int]


def table_schema(fields: Iterable[tuple[str, pa.DataType]], about: Mapping[str, str]) -> pa.Schema:
    """Names and types of the columns, and what a table tells of its making, `about`."""
    return pa.schema(list(fields), metadata={"facefactor": json.dumps(dict(about))})


def writer_for(output: Path, what: str, writers: Mapping[str, Writer]) -> Writer:
    """The writer for the suffix of `output`; FaceFactorError where there is none."""
    suffix = output.suffix.lower()
    if suffix not in writers:
        raise FaceFactorError(f"{output}: {what} are written as {', '.join(writers)}, not {suffix}")
    return writers[suffix]


def write_parquet(path: Path, rows: Rows, schema: pa.Schema) -> int:
    """In groups of ROWS_A_GROUP rows."""
    faces, waiting = 0, to_table([], schema)
    with atomic_path(path) as temporary, pq.ParquetWriter(temporary, schema) as writer:
        for batch in rows:
            faces += batch["error"].null_count
            waiting = pa.concat_tables([waiting, pa.Table.from_batches([batch], schema)])
            if len(waiting) >= ROWS_A_GROUP:
                writer.write_table(waiting[:ROWS_A_GROUP])
                waiting = waiting[ROWS_A_GROUP:]
        writer.write_table(waiting)
    return faces


def to_table(rows: Sequence[Row], schema: pa.Schema) -> pa.Table:
    """Rows with some of the columns of `schema`; the others are null."""
    columns = {name: [row.get(name) for row in rows] for name in schema.names}
    return pa.table(columns, schema=schema)


def write_csv(path: Path, rows: Rows, schema: pa.Schema) -> int:
    """A list of numbers becomes a column for each, all of them last."""
    lists = {field.name: field.type.list_size for field in schema if _is_list(field)}
    plain = [name for name in schema.names if name not in lists]
    wide = {name: [f"{name}_{index}" for index in range(size)] for name, size in lists.items()}
    faces = 0
    with atomic_path(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [*plain, *(c for names in wide.values() for c in names)])
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


def write_json(path: Path, rows: Rows, schema: pa.Schema) -> int:
    """A list with a line for each row, all columns in each, null where there is nothing."""
    faces, before = 0, "\n"
    with atomic_path(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
        file.write("[")
        for row in _by_one(rows):
            file.write(before + json.dumps(row, ensure_ascii=False, allow_nan=False))
            faces, before = faces + (row["error"] is None), ",\n"
        file.write("\n]\n")
    return faces


def write_npz(path: Path, rows: Rows, schema: pa.Schema) -> int:
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
