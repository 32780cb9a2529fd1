"""What the process does with memory that tensors have left."""

from __future__ import annotations

import ctypes
import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8  # M_* of glibc's malloc.h
_LARGE = 2**31 - 1  # bytes, the most a C int tells


def keep_freed_memory() -> None:
    """Keep what is freed for the next tensor, in place of giving it back to the system.

    glibc gives large blocks back at once and asks for new ones, of which the system then fills
    every page with zeros: of a network on a CPU that is half of the time or more. The process keeps
    the most memory that it ever needed, for all its threads together. For processes of our own,
    before they make tensors; a user's own MALLOC_* variables stand, and where there is no glibc
    nothing happens.
    """
    if any(name.startswith("MALLOC_") or name == "GLIBC_TUNABLES" for name in os.environ):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, _LARGE)
        mallopt(_TRIM_THRESHOLD, _LARGE)
        mallopt(_ARENA_MAX, 1)  # what one thread has freed is there for all


@contextmanager
def all_is_kept() -> Iterator[None]:
    """Nothing that is made in the block is looked through for garbage, then or later.

    For what a process makes once, to its end: Python would look through all of it again and again
    while large packages are imported, a third of the time.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
