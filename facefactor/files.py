"""Files that are written whole or not at all, and arrays that are read without running anything."""

from __future__ import annotations

import hashlib
import os
import uuid
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facefactor.errors import FaceFactorError


class WriteError(FaceFactorError, OSError):
    """A file could not be written: disk full, no permission, a folder in the way."""


def file_version(path: Path) -> tuple[int, int]:
    """Bytes, and the time of the last change in ns: what changes with a file; (-1, -1) if it is
    missing."""
    try:
        status = path.stat()
    except OSError:
        return -1, -1
    return status.st_size, status.st_mtime_ns


def file_hash(path: Path) -> str:
    """SHA-256 of what a file holds, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """A temporary path beside `path`, with its suffix, that becomes `path` if the block ends well.

    Missing parent folders are created. When the block raises, the temporary file is removed and
    whatever was at `path` before is still there. A killed process leaves at most a hidden file.

    Raises:
        WriteError: for any OSError of the block, the folder or the renaming, naming `path`.
    """
    check_target(path)
    # A link stays a link: what it points to is replaced.
    target = Path(path).resolve() if Path(path).is_symlink() else Path(path)
    # Not mkstemp, whose files are readable by their owner only; and not the whole old name, which
    # may already be as long as the file system allows.
    temporary = target.with_name(f".{uuid.uuid4().hex[:12]}{target.suffix}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        os.replace(temporary, target)
    except FaceFactorError:
        raise
    except OSError as error:
        reason = error.strerror or str(error)
        raise WriteError(
            f"{path}: cannot be written ({reason}); check the free space and the permissions "
            "of its folder"
        ) from error
    finally:
        # Also after KeyboardInterrupt; after a good end there is nothing left to remove.
        _remove(temporary)


def check_target(path: str | Path) -> None:
    """Refuse what no file can be written to, before anything is done for it.

    Raises:
        WriteError: `path` is there and no file.
    """
    target = Path(path)
    if target.exists() and not target.is_file():
        # os.replace would happily put a file in the place of a device such as /dev/null.
        kind = "a folder" if target.is_dir() else "not a regular file"
        raise WriteError(f"{path}: is {kind}; give the name of a file to write")


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError:
        pass  # the error that brought us here says more than this one


def read_arrays(
    path: Path, names: Iterable[str], error: type[FaceFactorError]
) -> dict[str, NDArray[Any]]:
    """Those of the named arrays that an .npz holds; nothing is unpickled.

    Raises:
        error: the file is no .npz of plain arrays, or is cut off.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in names if name in file}
    except (ValueError, OSError, EOFError, TypeError, zipfile.BadZipFile) as reason:
        raise error(f"{path}: not an .npz of plain arrays ({reason})") from reason
