"""Frozen networks of our own that come with the package: landmarks and the face recogniser."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Literal

from facefactor.nn.inference import quicken
from facefactor.perception.landmarks import LandmarkNetwork, load_landmark_network
from facefactor.perception.recognition import Recogniser, load_recogniser
from facefactor.perception.state_dicts import InstrumentError

InstrumentName = Literal["landmarks", "recogniser"]
INSTRUMENTS: tuple[InstrumentName, ...] = ("landmarks", "recogniser")

FOLDER = Path(__file__).parents[1] / "weights" / "instruments"


def packaged_instrument(name: InstrumentName) -> Path:
    """Weights of a frozen network that come with the package.

    Raises:
        InstrumentError: not there; says how to train them.
    """
    if name not in INSTRUMENTS:
        raise InstrumentError(f"no instrument {name!r} is packaged; there are {INSTRUMENTS}")
    path = FOLDER / f"{name}.safetensors"
    if not path.is_file():
        raise InstrumentError(
            f"{path}: the weights of the instrument {name!r} do not come with this install; train "
            f"it (facefactor train {name}) and put its weights there"
        )
    return path


def packaged_landmarks() -> LandmarkNetwork:
    """The packaged landmark network, in eval mode; InstrumentError: not there or not readable."""
    return _read_landmarks(packaged_instrument("landmarks"))


def packaged_recogniser() -> Recogniser:
    """The packaged face recogniser, in eval mode; InstrumentError: not there or not readable."""
    return _read_recogniser(packaged_instrument("recogniser"))


@cache  # asked for once a face by those who go through faces one by one
def _read_landmarks(path: Path) -> LandmarkNetwork:
    try:
        return quicken(load_landmark_network(path))
    except InstrumentError as error:
        raise _unreadable(path, error) from error


@cache
def _read_recogniser(path: Path) -> Recogniser:
    try:
        return quicken(load_recogniser(path))
    except InstrumentError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> InstrumentError:
    return InstrumentError(f"{path}: cannot be read ({error}); install facefactor again")
