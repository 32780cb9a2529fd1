"""The finished parts of a table that is being made: what a killed run does not have to do again.

They lie in a folder beside the table, `codes.parquet.parts/`, which goes when the table is whole.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from facefactor.errors import FaceFactorError
from facefactor.files import atomic_path, check_target, file_version

_ABOUT = "about.json"


class PartsError(FaceFactorError):
    """The parts beside a table are of another run, or cannot be read."""


def begin_parts(output: Path, note: Mapping[str, Any], restart: bool = False) -> Path:
    """The folder of the parts of `output`; those that an earlier run left there stay.

    Args:
        note: all that decides the table; JSON.
        restart: drop what is there.

    Raises:
        PartsError: what is there was made from another note.
        WriteError: the folder, or `output`, cannot be written.
    """
    check_target(output)
    folder = output.with_name(f"{output.name}.parts")
    told = folder / _ABOUT
    if restart:
        remove_parts(folder)
    if told.is_file():
        _compare(folder, json.loads(told.read_text(encoding="utf-8")), note)
    else:
        with atomic_path(told) as temporary:
            temporary.write_text(json.dumps(dict(note), indent=1) + "\n", encoding="utf-8")
    return folder


def remove_parts(folder: Path) -> None:
    """Remove the parts and, if nothing else is in it, their folder."""
    if folder.is_dir():
        for file in folder.iterdir():
            if file.suffix in (".json", ".parquet"):
                file.unlink()
        if not any(folder.iterdir()):
            folder.rmdir()


def part_path(folder: Path, number: int) -> Path:
    """Where part `number`, from 0, is once it is whole."""
    return folder / f"{number:06d}.parquet"


def files_hash(files: Sequence[Path]) -> str:
    """Of the names, sizes and times of change of files, in their order; hexadecimal."""
    digest = hashlib.sha256()
    for file in files:
        digest.update(repr((str(file), file_version(file))).encode())
    return digest.hexdigest()


def _compare(folder: Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    changed = sorted(name for name in {*before, *now} if before.get(name) != now.get(name))
    if changed:
        raise PartsError(
            f"{folder}: holds parts of a run that was not finished and differs in "
            f"{', '.join(changed)}; give its command again to finish it, or say --restart to drop "
            "them"
        )
