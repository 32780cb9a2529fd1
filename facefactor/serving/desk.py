"""What the page and the REST service share: limits, models loaded once, threads that run them."""

from __future__ import annotations

import asyncio
import io
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from PIL import Image

from facefactor import api
from facefactor.errors import FaceFactorError

_Answer = TypeVar("_Answer")
_WHICH = re.compile(r"largest|all|[0-9]{1,4}")


class TooLargeError(FaceFactorError, ValueError):
    """More bytes or pixels than the limits allow."""


class BusyError(FaceFactorError, RuntimeError):
    """As many requests are running and waiting as the limits allow."""


class TooSlowError(FaceFactorError, TimeoutError):
    """The answer is not there in the time the limits allow."""


class UnknownModelError(FaceFactorError, KeyError):
    """No model of this name is served."""

    def __str__(self) -> str:  # KeyError's would be in quotes
        return str(self.args[0])


class FaceError(FaceFactorError, ValueError):
    """The choice of a face is not one a server takes."""


@dataclass(frozen=True)
class Limits:
    """How much one request, and all of them together, may ask for."""

    photo_bytes: int = 20_000_000
    clip_bytes: int = 100_000_000  # the page takes clips, the REST service does not
    megapixels: float = 50.0
    seconds: float = 60.0  # from asking to answer, time spent waiting for others included
    clip_seconds: float = 600.0  # the same for a film
    sending_seconds: float = 60.0  # for a request to arrive whole
    at_once: int = 2
    waiting: int = 32  # beside those; further ones are told to come back


_FIRST = "leed"  # what the page begins with


class Shelf:
    """Models by name, each loaded when it is first asked for, then shared by all requests."""

    def __init__(self, models: Sequence[str] = ()) -> None:
        """Args:
        models: names of packaged weights, or weights files, served under their names without
            suffix; none: all that come with the package, the one for expressions first.
        """
        given = [*models] or sorted(
            (entry.name for entry in api.models()), key=lambda name: name != _FIRST
        )
        self.files: Mapping[str, str] = {Path(one).stem: one for one in given}
        self._loaded: dict[str, api.FaceModel] = {}
        self._lock = threading.Lock()

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.files)

    def __getitem__(self, name: str) -> api.FaceModel:
        """The model of this name; whatever else the name could mean, such as a path, it does not.

        Raises:
            UnknownModelError: none is called so; names those that are served.
            CheckpointError: its weights are damaged.
        """
        if name not in self.files:
            raise UnknownModelError(
                f"no model called {name!r} is served; there are {', '.join(self.files)}"
            )
        with self._lock:
            if name not in self._loaded:
                self._loaded[name] = api.load(self.files[name])
            return self._loaded[name]

    def first_that(self, can: str, preferred: str) -> str | None:
        """The name of a model with an ability (`api.abilities`), `preferred` if it has it."""
        return self._first(lambda model: can in api.abilities(model), preferred)

    def first_with_neutral(self, factor: api.FactorName, preferred: str) -> str | None:
        """The name of a model that can take a factor off, `preferred` if it can."""
        return self._first(lambda model: factor in api.removable_factors(model), preferred)

    def _first(self, can: Callable[[api.FaceModel], bool], preferred: str) -> str | None:
        return next((name for name in (preferred, *self.names) if can(self[name])), None)


class Desk:
    """Runs work on a few threads; a few more wait; whoever waits too long is told so.

    A thread cannot be stopped, so work that took too long keeps its place until it is done: what is
    limited is what runs, not what is still waited for.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        # What runs at once shares the cores: twice as many threads as cores only get in their way.
        # How many torch takes is said in each thread, for itself.
        each = max(1, torch.get_num_threads() // limits.at_once)
        self._threads = ThreadPoolExecutor(
            limits.at_once, "facefactor", initializer=lambda: torch.set_num_threads(each)
        )
        self._lock = threading.Lock()
        self._taken = 0

    @property
    def taken(self) -> int:
        """How many are running or waiting."""
        return self._taken

    async def run(self, work: Callable[[], _Answer], seconds: float | None = None) -> _Answer:
        """What `work` returns, or raises.

        Raises:
            BusyError: all places are taken.
            TooSlowError: not done in `seconds`, or what the limits say.
        """
        allowed = self.limits.seconds if seconds is None else seconds
        self._enter()
        try:
            future = self._threads.submit(work)
        except BaseException:
            self._leave()
            raise
        future.add_done_callback(self._leave)  # also when it is cancelled before it ran
        try:
            return await asyncio.wait_for(asyncio.wrap_future(future), allowed)
        except TimeoutError as error:
            if isinstance(error, TooSlowError):
                raise
            raise TooSlowError(f"no answer in {allowed:g} seconds; try a smaller photo") from None

    def close(self) -> None:
        """Take no more work, and do not wait for what runs."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _enter(self) -> None:
        places = self.limits.at_once + self.limits.waiting
        with self._lock:
            if self._taken >= places:
                raise BusyError(f"{places} requests are running or waiting; try again in a moment")
            self._taken += 1

    def _leave(self, _: Future[Any] | None = None) -> None:
        with self._lock:
            self._taken -= 1


def check_size(data: bytes, name: str, limits: Limits) -> None:
    """Raise TooLargeError for a photo beyond the limits; its pixels are counted, not decoded."""
    if len(data) > limits.photo_bytes:
        raise TooLargeError(
            f"{name}: has {len(data) / 1e6:.1f} MB, the limit is {limits.photo_bytes / 1e6:g}"
        )
    try:
        with Image.open(io.BytesIO(data)) as image:
            width, height = image.size
    except Exception:  # noqa: BLE001  what it is, if no photo, reading it will tell
        return
    if width * height > limits.megapixels * 1e6:
        raise TooLargeError(
            f"{name}: has {width * height / 1e6:.0f} megapixels ({width}x{height}), the limit is "
            f"{limits.megapixels:g}; shrink it first"
        )


def read_faces(
    data: bytes, name: str, limits: Limits, which: str = "largest"
) -> list[api.PhotoFace]:
    """The faces of a photo that was sent; no file of the server is named by `which`.

    Raises:
        TooLargeError: beyond the limits.
        FaceError: `which` is not largest, all or a number.
        ImageError, NoFaceError: as `api.read_faces`.
    """
    if not _WHICH.fullmatch(which):
        raise FaceError(f"face {which!r} is not understood; say largest, all or a number from 0")
    check_size(data, name, limits)
    return api.read_faces(data, which)


def face_codes(model: api.FaceModel, face: api.PhotoFace) -> dict[str, list[float]]:
    """Factor -> its code, flat, in the order of `FactorSpec.shape`."""
    codes = api.encode_face(model, face, lent=()).codes  # without what only drawing needs
    return {name: code.flatten().tolist() for name, code in codes.items()}


def within(seconds: float) -> Callable[[], None]:
    """To be called now and then by long work: raises TooSlowError once the time is over."""
    end = time.monotonic() + seconds

    def check() -> None:
        if time.monotonic() > end:
            raise TooSlowError(f"not done in {seconds:g} seconds; try a shorter clip")

    return check
