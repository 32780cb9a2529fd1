"""Photos of people with several expressions, and the edits whose truth is known from them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from facefactor.data.held_out import hold_out_people
from facefactor.data.readers import READERS
from facefactor.data.records import DataError, FaceRecord, check_disjoint, labelled
from facefactor.data.same_session import find_expressions
from facefactor.images import photos_to_faces
from facefactor.protocols.subject import Subject, some

# Data sets that show a person with several expressions while nothing else changes.
PHOTOGRAPHED = ("kdef", "ckplus-pairs", "ckplus", "rafd", "cfeed")


@dataclass(frozen=True, eq=False)
class Edits:
    """N edits of M photos by rows of these, (N,) int64 each."""

    target: Tensor  # whose expression is changed
    source: Tensor  # somebody else, who shows the wanted one
    truth: Tensor  # the first person, who shows it, too

    def __len__(self) -> int:
        return len(self.target)

    def some(self, count: int, seed: int) -> Edits:
        """At most `count` of them, chosen by the seed, in their order."""
        rows = torch.tensor(some(range(len(self)), count, seed), dtype=torch.int64)
        return Edits(self.target[rows], self.source[rows], self.truth[rows])


@dataclass(frozen=True, eq=False)
class People:
    """M photos of people who are known, in the crop of a model."""

    faces: Tensor  # (M, 3, S, S) in [0, 1]
    records: list[FaceRecord]
    edits: Edits

    @property
    def labels(self) -> list[str]:
        """M expressions."""
        return [str(record.expression) for record in self.records]

    def wanted(self) -> list[str]:
        """The expression of each edit."""
        labels = self.labels
        return [labels[row] for row in self.edits.source.tolist()]

    def some(self, count: int, seed: int) -> People:
        """The same photos, and at most `count` of the edits."""
        return replace(self, edits=self.edits.some(count, seed))


def two_parts(
    subject: Subject, name: str, folder: Path, expressions: Sequence[str], seed: int
) -> tuple[People, People]:
    """People who may be trained on, and those held out of training.

    Args:
        name: a key of `PHOTOGRAPHED`.
        expressions: photos with any other are left out.

    Raises:
        DataError: in one of the parts nobody can be edited: there is nobody, or nobody who is shown
            with two expressions of which somebody else shows one.
    """
    records = [
        record for record in labelled(READERS[name](folder)) if record.expression in expressions
    ]
    known, held_out = hold_out_people(records)
    check_disjoint(known, held_out)
    return (
        _people(subject, folder, known, "trained on", seed),
        _people(subject, folder, held_out, "held out", seed),
    )


def _people(
    subject: Subject, folder: Path, records: Sequence[FaceRecord], part: str, seed: int
) -> People:
    if not records:
        raise DataError(f"{folder}: too few people in it for any to be {part}")
    cut = subject.cut(records)
    faces = np.asarray(cut.faces)
    edits = find_edits(find_expressions(faces, cut.records), cut.records, seed)
    if not len(edits):
        raise DataError(
            f"{folder}: of the people {part} nobody is shown with two expressions of which "
            "somebody else shows one"
        )
    return People(photos_to_faces(faces), cut.records, edits)


def find_edits(shown: Sequence[dict[str, int]], records: Sequence[FaceRecord], seed: int) -> Edits:
    """Every photo with every other expression of which the same face has a photo.

    Args:
        shown: for each photo expression -> row of the photo of the same face with it.
        seed: draws whose expression it is, of all others who show it.
    """
    showing = defaultdict(list)
    for row, record in enumerate(records):
        showing[record.expression].append(row)
    random, rows = np.random.default_rng(seed), []
    for target, record in enumerate(records):
        for name, truth in sorted(shown[target].items()):
            others = [row for row in showing[name] if records[row].subject != record.subject]
            if name != record.expression and others:
                rows.append((target, int(random.choice(others)), truth))
    found = torch.tensor(rows, dtype=torch.int64).view(-1, 3)
    return Edits(*found.unbind(dim=1))
