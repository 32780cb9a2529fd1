"""Which people of a training set are kept out of training: the same for training and measuring."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from facefactor.data.records import FaceRecord, split_by_subject

HELD_OUT = 0.1  # share of the people
TRAINED_PEOPLE = 10_000  # rendered people of lower numbers are trained on, all others held out


def hold_out_people(
    records: Sequence[FaceRecord],
) -> tuple[list[FaceRecord], list[FaceRecord]]:
    """(records to train on, records of held-out people); photos of unknown people are trained on.

    Who is held out follows from the subject's name alone.
    """
    known = [record for record in records if record.subject is not None]
    if not known:
        return list(records), []
    _, held_out = split_by_subject(known, (1 - HELD_OUT, HELD_OUT), seed=0)
    out = set(held_out)
    return [record for record in records if record not in out], held_out


def hold_out_photos(records: Sequence[FaceRecord], share: float) -> NDArray[np.bool_]:
    """(N,) which photos to choose settings by: about `share` of those with an expression.

    Photos of known people are none of them: these are held out by person. Who is chosen follows
    from the file's name alone.
    """
    return np.array(
        [
            record.expression is not None
            and record.subject is None
            and _place(record.path.name) < share
            for record in records
        ],
        bool,
    )


def _place(name: str) -> float:
    """A number in [0, 1), spread evenly over names."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:6], "big") / 2**48
