"""Photos that differ in nothing but the expression: of one clip, or of one person and session."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from facefactor.data.records import FaceRecord


def find_expressions(
    faces: NDArray[np.uint8], records: Sequence[FaceRecord]
) -> list[dict[str, int]]:
    """For each of N photos: expression -> row of the photo that shows the same face with it.

    It is of the same clip; else of the same person, if both photos were taken from straight ahead
    by somebody who says so (KDEF), and of several the one nearest in pixels: the same session.

    Args:
        faces: (N, S, S, 3).
        records: N of them.
    """
    places = [place_of(record) for record in records]
    there: defaultdict[tuple[str, str] | None, defaultdict[str, list[int]]]
    there = defaultdict(lambda: defaultdict(list))
    for row, (record, place) in enumerate(zip(records, places, strict=True)):
        if place is not None and record.expression is not None:
            there[place][record.expression].append(row)
    return [
        {name: _nearest(faces, row, rows) for name, rows in there.get(place, {}).items()}
        for row, place in enumerate(places)
    ]


def place_of(record: FaceRecord) -> tuple[str, str] | None:
    """What photos share that differ in nothing but the expression; None if that is not known."""
    if record.clip is not None:
        return ("clip", record.clip)
    return ("subject", record.subject) if record.subject and record.frontal else None


def _nearest(faces: NDArray[np.uint8], row: int, rows: Sequence[int]) -> int:
    """Of `rows` the photo whose pixels are nearest; the first of equals."""
    if len(rows) == 1:
        return rows[0]
    apart = [cv2.norm(faces[row], faces[other], cv2.NORM_L1) for other in rows]
    return rows[int(np.argmin(apart))]
