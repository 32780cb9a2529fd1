"""Parts to train on, to choose by and to test on, of data sets without a split of their own."""

from __future__ import annotations

import hashlib
import os
from collections import Counter, defaultdict
from collections.abc import Sequence

from facefactor.data.records import DataError, FaceRecord


def subject_folds(
    records: Sequence[FaceRecord], folds: int
) -> list[tuple[list[FaceRecord], list[FaceRecord]]]:
    """(train, test) of each fold: all photos of a person are in the test part of one fold.

    The usual protocol of CK+ with ten folds: people are sorted by name and dealt in turn, number
    i to fold i modulo `folds`. Parts are sorted by path, so the order of `records` does not matter.

    Raises:
        ValueError: fewer than two folds, or more folds than people.
        DataError: a record has no subject.
    """
    if nameless := [record for record in records if record.subject is None]:
        raise DataError(f"{nameless[0].path} has no subject; it cannot be split by subject")
    subjects = sorted({str(record.subject) for record in records})
    if not 2 <= folds <= len(subjects):
        raise ValueError(f"folds must be 2 to {len(subjects)}, the number of people; got {folds}")
    fold_of = {subject: number % folds for number, subject in enumerate(subjects)}
    parts: list[tuple[list[FaceRecord], list[FaceRecord]]] = [([], []) for _ in range(folds)]
    for record in sorted(records, key=lambda record: record.path):
        for number, (train, test) in enumerate(parts):
            (test if fold_of[str(record.subject)] == number else train).append(record)
    return parts


def validation_split(
    records: Sequence[FaceRecord], share: float, seed: int
) -> tuple[list[FaceRecord], list[FaceRecord]]:
    """(train, validation): a share of each expression, by which settings may be chosen.

    Where a record has a subject all its photos go to one side; others go photo by photo. People (or
    photos) come in an order that follows from their names and the seed; each is taken if that
    brings the numbers of the expressions nearer to `share`, by Pearson's chi-squared. Without
    subjects each expression gives its share, rounded (halves down); with them the numbers are only
    near. Paths count from the deepest folder that holds all records; parts are sorted by path.

    Raises:
        DataError: a record is of split "test", by which nothing may be chosen.
        ValueError: `share` is not inside (0, 1), or the photos are too few to give any.
    """
    if not 0 < share < 1:
        raise ValueError(f"share must be inside (0, 1), got {share}")
    for record in records:
        if record.split == "test":
            raise DataError(f"{record.path} is for testing; validation photos come from training")
    if not records:
        raise ValueError("there are no records to split")

    groups = _groups(records)
    order = sorted(groups, key=lambda key: hashlib.sha256(f"{seed}\t{key}".encode()).digest())
    totals = Counter(record.expression for record in records)
    wanted = {expression: share * total for expression, total in totals.items()}
    chosen: Counter[str | None] = Counter()
    validation: set[str] = set()
    for key in order:
        adds = Counter(record.expression for record in groups[key])
        # chi-squared after taking the group less chi-squared before, of sum (chosen - wanted)^2
        # / wanted
        change = sum(
            added * (2 * (chosen[expression] - wanted[expression]) + added) / wanted[expression]
            for expression, added in adds.items()
        )
        if change < 0:
            chosen += adds
            validation.add(key)
    if not validation:
        raise ValueError(f"{len(records)} photos of {len(groups)} are too few for a share {share}")
    train = [record for key in groups if key not in validation for record in groups[key]]
    held_out = [record for key in validation for record in groups[key]]
    return _by_path(train), _by_path(held_out)


def _groups(records: Sequence[FaceRecord]) -> dict[str, list[FaceRecord]]:
    """Records that must stay together: by subject, or one alone; by a name free of the machine."""
    root = os.path.commonpath([record.path.absolute().parent for record in records])
    groups: defaultdict[str, list[FaceRecord]] = defaultdict(list)
    for record in records:
        photo = record.path.absolute().relative_to(root).as_posix()
        known = record.subject is not None
        groups[f"subject {record.subject}" if known else f"photo {photo}"].append(record)
    return dict(groups)


def _by_path(records: Sequence[FaceRecord]) -> list[FaceRecord]:
    return sorted(records, key=lambda record: record.path)
