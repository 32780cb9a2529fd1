"""Which people of a training set are kept out of training: the same for training and measuring."""

from __future__ import annotations

from collections.abc import Sequence

from facefactor.data.records import FaceRecord, split_by_subject

HELD_OUT = 0.1  # share of the people


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
