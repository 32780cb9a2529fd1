"""What is computed of many faces: once, in parts, and kept on disk.

A killed run goes on with the parts that are missing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facefactor.data.records import DataError
from facefactor.files import atomic_path, read_arrays

_PART = 256  # rows a file


def kept_in_parts(
    inputs: Sequence[NDArray[Any]],
    folder: Path,
    name: Callable[..., str],
    compute: Callable[..., Mapping[str, NDArray[Any]]],
    arrays: Sequence[str],
    progress: Callable[[int, int], None] | None = None,
    save: Callable[..., None] = np.savez,
    kinds: Mapping[str, np.dtype[Any]] | None = None,
) -> dict[str, NDArray[Any]]:
    """What `compute` makes of the inputs; what `folder` holds already is read.

    Args:
        inputs: each (N, ...), N > 0.
        folder: for files of 256 rows each.
        name: of the file (without its suffix) of so many rows of each input. It must follow from
            their contents, and from all else that decides what is computed.
        compute: these rows -> arrays of as many rows each.
        arrays: the names of those arrays.
        progress: called with (done, N).
        save: writes named arrays to an open file, as `np.savez` does.
        kinds: what a row of an array is, where that is known before it is computed:
            `np.dtype((np.uint8, (64, 64, 3)))`. A file that holds anything else is damaged.

    Returns:
        Each of `arrays`, with N rows.

    Raises:
        DataError: a file in `folder` is damaged.
    """
    folder.mkdir(parents=True, exist_ok=True)
    count, parts = len(inputs[0]), []
    for start in range(0, count, _PART):
        # copies: rows of a file on disk may be read-only
        rows = [np.array(column[start : start + _PART]) for column in inputs]
        path = folder / f"{name(*rows)}.npz"
        if path.is_file():
            part: Mapping[str, NDArray[Any]] = _read(path, arrays, len(rows[0]), kinds or {})
        else:
            part = compute(*rows)
            with atomic_path(path) as temporary, temporary.open("wb") as file:
                save(file, **part)
        parts.append(part)
        if progress is not None:
            progress(start + len(rows[0]), count)
    return {name: np.concatenate([part[name] for part in parts]) for name in arrays}


def _read(
    path: Path, arrays: Sequence[str], rows: int, kinds: Mapping[str, np.dtype[Any]]
) -> dict[str, NDArray[Any]]:
    found = read_arrays(path, arrays, DataError)
    for name in arrays:
        if name not in found:
            raise DataError(f"{path}: no array {name!r} in it; remove the file")
        shape = found[name].shape
        kind = np.dtype((found[name].dtype, shape[1:]))
        if shape[:1] != (rows,) or kind != kinds.get(name, kind):
            raise DataError(f"{path}: does not hold the {name} it is named after; remove it")
    return found
