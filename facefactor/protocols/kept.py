"""One protocol run, measured once: asked again, its tables and pictures come from the disk.

What is kept is found by what decides it: the weights, the protocol, the photos with their labels,
the seed, the morphable model. Which commit measured it does not count; `fresh` measures anew. A run
that is killed leaves nothing, one that ended is there.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from facefactor.checkpoints import packaged_weights, read_header, weights_file
from facefactor.data.poses import read_poses
from facefactor.data.readers import READERS
from facefactor.data.records import DataError, FaceRecord, split_hash
from facefactor.evaluation.tables import Confusion, ResultTable, Score
from facefactor.files import WriteError, atomic_path, file_hash
from facefactor.perception.instruments import find_weights
from facefactor.perception.packaged import INSTRUMENTS, packaged_instrument
from facefactor.perception.state_dicts import InstrumentError
from facefactor.protocols import evaluate

_FORMAT = 4  # part of every key: raise it when protocols would give other figures for the same
_CLASSIFIER = "ipdfer"  # a model that serves as an instrument
_INDEPENDENT = "mobilefacenet"

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Run:
    """One protocol on some data sets, of one weights file."""

    model: str  # as the user names it
    protocol: str  # a key of `protocols.PROTOCOLS`
    folders: tuple[tuple[str, Path], ...] = ()  # reader, folder
    morphable: Path | None = None  # file of a morphable model, for faces that are rendered

    def __str__(self) -> str:
        names = ", ".join(name for name, _ in self.folders) or "rendered faces"
        return f"{self.protocol} of {self.model} on {names}"


@dataclass(frozen=True)
class Kept:
    """What a run gave."""

    tables: tuple[ResultTable, ...]
    pictures: tuple[Path, ...]  # PNGs on disk
    seconds: float  # that it took when it was measured


def measure(run: Run, seed: int, cache: Path, fresh: bool = False) -> Kept:
    """What `evaluate` gives for a run, from `cache`/results where it was measured before.

    Raises:
        FaceFactorError: what `evaluate` raises; nothing is kept then.
    """
    decided = _decided(run, seed)
    text = json.dumps(decided, sort_keys=True)
    home = cache / "results" / hashlib.sha256(text.encode()).hexdigest()[:24]
    if not fresh and (kept := _read(home)) is not None:
        return kept
    temporary = home.with_name(f".{uuid.uuid4().hex[:12]}")
    begun = time.monotonic()
    try:
        datasets = [f"{name}={folder}" for name, folder in run.folders]
        tables = evaluate(
            run.model,
            [run.protocol],
            datasets,
            temporary,
            seed,
            cache,
            morphable=run.morphable,
        )
        seconds = time.monotonic() - begun
        with atomic_path(temporary / "run.json") as file:
            about = decided | {"seconds": round(seconds, 1), "instruments": _used(tables)}
            file.write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
        _put(temporary, home)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    kept = _read(home)
    if kept is None:
        raise WriteError(f"{home}: what was just written cannot be read; check the disk")
    return kept


def table_from_dict(values: Mapping[str, Any]) -> ResultTable:
    """A table as `ResultTable.to_dict` and JSON left it; what is NaN there has no value."""
    confusion = values["confusion"]
    scores: list[dict[str, Any]] = [
        {name: None if value != value else value for name, value in score.items()}
        for score in values["scores"]
    ]
    return ResultTable(
        **{
            **values,
            "scores": tuple(Score(**score) for score in scores),
            "instruments": tuple(values["instruments"]),
            "confusion": confusion
            and Confusion(
                tuple(confusion["classes"]), tuple(tuple(row) for row in confusion["counts"])
            ),
        }
    )


def _decided(run: Run, seed: int) -> dict[str, Any]:
    """All that decides what comes out, in plain types; it is not to hold where things lie."""
    weights = weights_file(run.model)
    return {
        "format": _FORMAT,
        "weights": read_header(weights).sha256,
        "settings": _digest(weights.parent / "settings.json"),  # what the weights learnt from
        "protocol": run.protocol,
        "data": {name: _photos(name, folder) for name, folder in run.folders},
        "seed": seed,
        "morphable": None if run.morphable is None else _digest(run.morphable),
    }


def _photos(name: str, folder: Path) -> str:
    """Names the photos of a data set, their labels and the bytes they take."""
    records = _records(name, folder)
    size = sum(path.stat().st_size for path in {record.path for record in records})
    return f"{split_hash(records)} {size}"


def _records(name: str, folder: Path) -> list[FaceRecord]:
    if name == "poses":
        return read_poses(folder)[0]
    if name not in READERS:
        raise DataError(f"no reader is called {name!r}; there are poses, {', '.join(READERS)}")
    return READERS[name](folder)


def _used(tables: list[ResultTable]) -> dict[str, str | None]:
    """The networks that took part, with the hashes of their files; of pictures alone, all."""
    now = _instruments_now()
    named = {name for table in tables for name in table.instruments}
    if "recogniser" in named:
        named.add(_INDEPENDENT)  # it takes part too wherever it is at hand
    return {name: now[name] for name in sorted(now) if name in named or not tables}


def _instruments_now() -> dict[str, str | None]:
    files: dict[str, Path | None] = {}
    for name in INSTRUMENTS:
        try:
            files[name] = packaged_instrument(name)
        except InstrumentError:
            files[name] = None
    try:
        files[_INDEPENDENT] = find_weights(_INDEPENDENT)
    except InstrumentError:
        files[_INDEPENDENT] = None
    packaged = {file.stem: file for file in packaged_weights()}
    files[_CLASSIFIER] = packaged.get(_CLASSIFIER)
    return {name: None if file is None else _digest(file) for name, file in files.items()}


def _digest(file: Path) -> str | None:
    """SHA-256 of a file; None where there is none."""
    return file_hash(file) if file.is_file() else None


def _put(temporary: Path, home: Path) -> None:
    try:
        if home.exists():
            shutil.rmtree(home)
        temporary.rename(home)
    except OSError as error:
        raise WriteError(f"{home}: cannot be written ({error.strerror or error})") from error


def _read(home: Path) -> Kept | None:
    """What is kept there; None where there is nothing, or another instrument saw it."""
    if not (home / "run.json").is_file():
        return None
    about = json.loads((home / "run.json").read_text(encoding="utf-8"))
    now = _instruments_now()
    if any(now.get(name) != digest for name, digest in about["instruments"].items()):
        logger.info("%s: measured with other instruments than there are now; again", home.name)
        return None
    file, tables = home / "results.json", []
    if file.is_file():
        tables = json.loads(file.read_text(encoding="utf-8"))
    return Kept(
        tuple(table_from_dict(values) for values in tables),
        tuple(sorted(home.glob("*.png"))),
        about["seconds"],
    )
