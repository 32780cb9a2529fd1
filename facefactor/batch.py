"""Photos, folders and videos -> a table of codes or expressions, one row a face or error.

A table is made in parts: the rows of some files each, by whichever process, written as they fill.
The parts lie in a folder beside the table until it is whole, so a killed run goes on from there.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from facefactor.engines import cores, do_all
from facefactor.face_expressions import (
    POSE,
    ExpressionModel,
    Squares,
    cut_squares,
    read_expressions,
)
from facefactor.factors import Factors, ModelSpec, encode_codes
from facefactor.files import atomic_path
from facefactor.outcomes import Outcome, Progress
from facefactor.parts import PartsError, begin_parts, files_hash, part_path, remove_parts
from facefactor.perception.landmarks import LandmarkNetwork
from facefactor.photo_edits import PhotoFace
from facefactor.streams import BATCH, Row, read_rows, seen_faces
from facefactor.table_files import (
    ROWS_A_GROUP,
    Writer,
    table_schema,
    to_table,
    write_csv,
    write_json,
    write_npz,
    write_parquet,
    writer_for,
)
from facefactor.videos import VIDEO_SUFFIXES

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
    writers = {".parquet": write_parquet, ".csv": write_csv, ".npz": write_npz}
    write = writer_for(output, "codes", writers)
    codes = [
        (name, pa.list_(pa.float32(), int(np.prod(factor.shape))))
        for name, factor in model.spec.factors.items()
    ]
    schema = table_schema([*_PLACE, _ERROR, *codes], about)
    cut, read = partial(_cut_square, spec=model.spec), partial(_encode, model)
    outputs = {output: write}
    if csv and output.suffix.lower() != ".csv":
        outputs[output.with_suffix(".csv")] = write_csv
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
    schema = table_schema(
        [*_PLACE, ("expression", pa.string()), *((n, pa.float32()) for n in numbers), _ERROR], about
    )
    cut, read = partial(cut_squares, spec=model.spec), partial(_express, model, landmarks)
    if output is None:
        return _show_rows(files, which, cut, read, schema, show, progress)
    writers = {".json": write_json, ".csv": write_csv, ".parquet": write_parquet}
    write = writer_for(output, "expressions", writers)
    note = {**about, "face": which, "head poses": landmarks is not None}
    make = _PartMaker(
        begin_parts(output, _note(files, note, schema), restart), which, cut, read, schema
    )
    return _write_tables(make, files, {output: write}, progress, workers, engine, show)


def _cut_square(face: PhotoFace, spec: ModelSpec) -> Tensor:
    return face.cut(spec)[0]


def _encode(model: Encoder, squares: Sequence[Tensor]) -> list[Row]:
    encoded = encode_codes(model, torch.cat(list(squares))).codes
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
                    writer.write_table(to_table(group, self.schema))
                    group = []
            writer.write_table(to_table(group, self.schema))
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
    inputs = {"files": len(files), "inputs": files_hash(files), "files a part": FILES_A_PART}
    return {**about, **inputs, "columns": columns}


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
