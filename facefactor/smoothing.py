"""Neighbours along a stream, to average what trembles; memory stays flat whatever the length."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from facefactor.errors import FaceFactorError

Item = TypeVar("Item")

_REACH = 2  # widths to each side; what is farther away hardly counts


@dataclass(frozen=True, eq=False)
class Neighbourhood(Generic[Item]):
    """An item of a stream, and those around it, fewer at its ends."""

    items: list[Item]
    place: int  # of the item itself
    weights: NDArray[np.float64]  # Gaussian, as many as items; sum to 1

    @property
    def item(self) -> Item:
        return self.items[self.place]


def check_smoothing(width: float) -> None:
    """FaceFactorError for a width that is none."""
    if not 0 <= width < float("inf"):
        raise FaceFactorError(f"smoothing is over {width:g} frames; say 0 (none) or more")


def neighbourhoods(stream: Iterable[Item], width: float) -> Iterator[Neighbourhood[Item]]:
    """For each item of a stream, in order, those around it with Gaussian weights.

    Args:
        width: standard deviation of the weights, in items; twice as many to each side wait in
            memory. With 0 each is alone.

    Raises:
        FaceFactorError: a negative width.
    """
    check_smoothing(width)
    reach = int(np.ceil(_REACH * width))
    items: deque[Item] = deque()
    place = 0  # in `items`, of the next to be yielded
    for item in stream:
        items.append(item)
        if len(items) > place + reach:
            yield _around(items, place, width)
            place += 1
        if place > reach:
            items.popleft()
            place -= 1
    for last in range(place, len(items)):
        yield _around(items, last, width)


def _around(items: deque[Item], place: int, width: float) -> Neighbourhood[Item]:
    first = max(0, place - int(np.ceil(_REACH * width)))
    distances = np.arange(first, len(items)) - place
    weights = np.exp(-0.5 * (distances / max(width, 1e-6)) ** 2)
    return Neighbourhood(list(items)[first:], place - first, weights / weights.sum())
