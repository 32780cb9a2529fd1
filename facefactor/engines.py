"""Many independent pieces of work: done here, by several processes, or on a Ray cluster."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from importlib import import_module
from typing import Any, Literal, TypeVar, get_args

import cv2
import torch
from threadpoolctl import threadpool_limits

from facefactor.errors import FaceFactorError
from facefactor.memory import keep_freed_memory

_BLOCKS = 1000  # of pieces, for Ray: what is done again where a process is lost is one of them

Engine = Literal["local", "ray"]
Piece = TypeVar("Piece")
Done = TypeVar("Done")


class EngineError(FaceFactorError):
    """An engine that is not there, or lost a process; says what to do."""


def do_all(
    work: Callable[[Piece], Done],
    pieces: Sequence[Piece],
    workers: int | None = 1,
    engine: str = "local",
) -> Iterator[Done]:
    """What `work` gives for each piece, in whatever order they are finished.

    Args:
        work: is sent to each process once, pieces and answers each time, so all of them pickle;
            tensors of `work` go through shared memory. A piece must not depend on others, and may
            be done twice where a process is lost.
        workers: processes, each with a single thread; 1 works here and starts none, None is as many
            as there are cores (of the whole cluster with Ray). More than one need a script to have
            `if __name__ == "__main__"`. Ray has at least one, so nothing works here.
        engine: "local" or "ray"; Ray starts a cluster here unless RAY_ADDRESS names one, whose
            machines must see the same files under the same names, the folder this runs in too.

    Raises:
        EngineError: no such engine, Ray is not installed, or a local process was killed.
    """
    if engine not in get_args(Engine):
        raise EngineError(
            f"no engine is called {engine!r}; there are {', '.join(get_args(Engine))}"
        )
    if engine == "ray" and pieces:
        return _on_ray(work, pieces, workers)
    count = min(cores() if workers is None else workers, len(pieces))
    return map(work, pieces) if count < 2 else _by_processes(work, pieces, count)


def cores() -> int:
    """Those this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


_work: Callable[[Any], Any]  # of this process, where it is a worker


def _begin(work: Callable[[Any], Any]) -> None:
    """Several processes with several threads each would wait for one another."""
    global _work
    keep_freed_memory()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    threadpool_limits(1)  # of NumPy and scikit-learn
    _work = work


def _by_processes(
    work: Callable[[Piece], Done], pieces: Sequence[Piece], count: int
) -> Iterator[Done]:
    # Spawned: a fork of a process whose threads have computed something may hang.
    spawn = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(count, spawn, _begin_local, (work,))
    try:
        for future in as_completed([pool.submit(_do, piece) for piece in pieces]):
            yield future.result()
    except BrokenProcessPool as error:
        raise EngineError(
            "a worker process was killed, perhaps for want of memory; the same command goes on "
            "from here, with fewer --workers if it happens again"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _begin_local(work: Callable[[Any], Any]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C: no traceback from each process
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _begin(work)


def _end_with_parent() -> None:
    """A pool whose owner was killed would wait for work for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _do(piece: Any) -> Any:
    return _work(piece)


def _on_ray(
    work: Callable[[Piece], Done], pieces: Sequence[Piece], workers: int | None
) -> Iterator[Done]:
    try:
        ray: Any = import_module("ray")  # untyped in part, and not there for most
        import_module("ray.data")
    except ModuleNotFoundError as error:
        raise EngineError(
            "the engine ray is not installed; run: pip install 'facefactor[cluster]'"
        ) from error
    if not ray.is_initialized():
        ray.init(log_to_driver=False, logging_level=logging.ERROR, include_dashboard=False)
    count = workers or max(1, int(ray.cluster_resources().get("CPU", 1)))
    ray.data.DataContext.get_current().enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)  # it tells its plans
    blocks = min(len(pieces), _BLOCKS)
    done = ray.data.from_items(
        [{"piece": piece} for piece in pieces], override_num_blocks=blocks
    ).map_batches(
        _RayWorker,
        fn_constructor_args=(work, os.getcwd()),
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(size=min(count, blocks)),
    )
    for row in done.iter_rows():
        yield row["done"]


class _RayWorker:
    """A process of Ray Data; Ray starts another where it is lost and repeats what it was doing."""

    def __init__(self, work: Callable[[Any], Any], folder: str) -> None:
        os.chdir(folder)  # from which names of files are read
        _begin(work)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        return {"done": [_do(piece) for piece in batch["piece"]]}
