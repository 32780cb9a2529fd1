"""Normalised faces of held-out people: who they are, what is left in them, how they look."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from facefactor.data.crops import CroppedFaces
from facefactor.data.held_out import hold_out_people
from facefactor.data.named_photos import kdef_name
from facefactor.data.readers import READERS
from facefactor.data.records import DataError, FaceRecord, split_hash
from facefactor.errors import FaceFactorError
from facefactor.evaluation.normalization import (
    Observations,
    Truth,
    normalization,
    pair_cosines,
    squared_distance,
)
from facefactor.evaluation.normalization_pictures import distances_picture, people_picture
from facefactor.evaluation.tables import ResultTable
from facefactor.images import Photo, face_to_photo
from facefactor.protocols.normalisers import (
    Normalise,
    check_normalises,
    mean_face,
    normalise_all,
    normaliser,
    to_faces,
)
from facefactor.protocols.observation import (
    CROP,
    SIZE,
    Instruments,
    load_instruments,
    same_person_thresholds,
)
from facefactor.protocols.subject import Findings, Subject, some, suitable

_DATASETS = ("celeba", "kdef", "ckplus-pairs")
_FACES = 2000  # of held-out people
_PEOPLE = 40  # in the picture to be looked at
_UNKNOWN = 255  # the grey of a target nobody has: paper

# Data sets that tell which photos look into the camera; CK+ (as it is public) has no others.
_FRONTAL: dict[str, Callable[[FaceRecord], bool]] = {
    "kdef": lambda record: kdef_name(record.path).view == "S",
    "ckplus-pairs": lambda record: True,
}


def normalized_faces(subject: Subject, folders: Mapping[str, Path], seed: int) -> Findings:
    """Held-out people's normalised faces, beside a copy of the input, a mean face, the model
    untrained and, where they are known, the true faces; pictures of the distances (Fig. 4) and of
    forty faces."""
    check_normalises(subject, "normalization")
    instruments = load_instruments()
    findings = [
        _on_data_set(subject, instruments, name, folders[name], seed)
        for name in suitable(folders, _DATASETS, "normalization")
    ]
    return Findings(
        [table for each in findings for table in each.tables],
        {file: picture for each in findings for file, picture in each.pictures.items()},
    )


def _on_data_set(
    subject: Subject, instruments: Instruments, name: str, folder: Path, seed: int
) -> Findings:
    train, held_out = hold_out_people(READERS[name](folder))
    if len({record.subject for record in held_out}) < 2:
        raise FaceFactorError(f"{folder}: fewer than two held-out people; {name} has too few")
    strangers = _strangers(subject, name, some(held_out, _FACES, seed), instruments)
    thresholds = same_person_thresholds(strangers.photos, strangers.people)
    tables, found, drawn = [], {}, {}
    for title, normalise in _normalisers(subject, train, seed).items():
        drawn[title] = normalise_all(normalise, strangers.faces)
        found[title] = instruments.observe(drawn[title], subject.header.spec.crop)
        tables.append(
            normalization(
                drawn[title],
                found[title],
                strangers.photos,
                thresholds,
                name,
                title,
                strangers.truth,
            )
        )
    if strangers.truth is not None:
        tables.append(_ceiling(subject, instruments, name, strangers, strangers.truth, thresholds))
    tables = [
        replace(
            table,
            protocol=", ".join(["normalization", "held-out people", *strangers.setting]),
            seed=seed,
            split_hash=split_hash(strangers.cut.records),
            instruments=instruments.names,
        )
        for table in tables
    ]
    return Findings(tables, _pictures(subject, name, strangers, drawn, found, thresholds, seed))


def _normalisers(subject: Subject, train: Sequence[FaceRecord], seed: int) -> dict[str, Normalise]:
    """By what tables call them: the model, and its floors."""
    mean, count = mean_face(subject, train, seed)
    return {
        subject.name: normaliser(subject.model),
        "copy of the input": lambda faces: faces,
        f"mean of {count:,} training faces": lambda faces: mean.expand_as(faces),
        f"{subject.name}, untrained": normaliser(subject.untrained(seed)),
    }


def _ceiling(
    subject: Subject,
    instruments: Instruments,
    name: str,
    strangers: _Strangers,
    truth: Truth,
    thresholds: Mapping[str, float],
) -> ResultTable:
    """What the true faces get, as a model would that drew them; of photos with one."""
    found = instruments.observe(truth.faces, subject.header.spec.crop)
    photos = strangers.photos.of(truth.rows)
    own = replace(truth, rows=torch.arange(len(truth.rows)))
    return normalization(truth.faces, found, photos, thresholds, name, "the true face", own)


@dataclass(frozen=True, eq=False)
class _Strangers:
    """N photos of people nobody was trained on, and what is known of them."""

    cut: CroppedFaces  # in the model's crop
    faces: Tensor  # (N, 3, S, S) in [0, 1], the same
    photos: Observations  # of the photos in the instruments' own crop, at its resolution
    targets: NDArray[np.int64]  # (N,) which photo is the person's true normalised face; -1: none
    truth: Truth | None
    setting: tuple[str, ...]  # what tables must say of them

    @property
    def people(self) -> list[str]:
        return [str(record.subject) for record in self.cut.records]


def _strangers(
    subject: Subject, name: str, records: Sequence[FaceRecord], instruments: Instruments
) -> _Strangers:
    cut = subject.cut(records)
    squares = subject.cut(cut.records, SIZE, CROP)
    if squares.failures:
        path, reason = squares.failures[0]
        raise DataError(f"{path}: {reason}; the recogniser needs its face")
    faces = to_faces(cut.faces)
    photos = instruments.observe(to_faces(squares.faces), CROP)
    targets = target_rows(name, cut.records)
    rows = torch.from_numpy(np.flatnonzero(targets >= 0))
    goals = torch.from_numpy(targets)[rows]
    truth = None
    if len(rows):
        truth = Truth(rows, faces[goals], photos.of(goals).embeddings)
    left_out = f"{len(cut.failures):,} photos without a face left out"
    return _Strangers(cut, faces, photos, targets, truth, (left_out,) if cut.failures else ())


def target_rows(name: str, records: Sequence[FaceRecord]) -> NDArray[np.int64]:
    """Which record shows each record's person frontal and neutral, (N,); -1 where none is known.

    Args:
        name: of the reader. A photo is never its own target, or copying it would be perfect.
    """
    frontal = _FRONTAL.get(name)
    goals: dict[str | None, list[int]] = defaultdict(list)
    for row, record in enumerate(records):
        if frontal is not None and record.expression == "neutral" and frontal(record):
            goals[record.subject].append(row)
    return np.array(
        [
            next((goal for goal in goals.get(record.subject, ()) if goal != row), -1)
            for row, record in enumerate(records)
        ],
        np.int64,
    )


def one_after_another(people: Sequence[str], count: int, seed: int) -> list[int]:
    """At most `count` photos, (row numbers, rising): everybody's first, then everybody's second.

    Who comes first, and which of a person's photos, is chosen by the seed.
    """
    turns: dict[str, int] = defaultdict(int)
    ranked: list[tuple[int, int, int]] = []  # whose turn it is, place in the draw, row
    for row in np.random.default_rng(seed).permutation(len(people)).tolist():
        ranked.append((turns[people[row]], len(ranked), row))
        turns[people[row]] += 1
    return sorted(row for _, _, row in sorted(ranked)[:count])


def _pictures(
    subject: Subject,
    name: str,
    strangers: _Strangers,
    drawn: Mapping[str, Tensor],
    found: Mapping[str, Observations],
    thresholds: Mapping[str, float],
    seed: int,
) -> dict[str, Photo]:
    """File name -> picture."""
    shown = one_after_another(strangers.people, _PEOPLE, seed)
    title = f"{subject.name}: {len(shown)} photos of held-out people of {name}"
    rows = _looked_at(strangers, drawn[subject.name], shown, subject.name)
    pictures = {_file("normalized", name, subject.name): people_picture(rows, title)}
    for recogniser, threshold in thresholds.items():
        cosines, same = pair_cosines(strangers.photos.embeddings[recogniser], strangers.people)
        series = {
            f"photo and {row}": squared_distance(
                seen.embeddings[recogniser], strangers.photos.embeddings[recogniser]
            ).numpy()
            for row, seen in found.items()
        }
        if same.any():
            series["two photos of one person"] = (2 - 2 * cosines[same]).numpy()
        series["photos of two people"] = (2 - 2 * cosines[~same]).numpy()
        heading = f"{name}, held-out people: squared distance of embeddings, {recogniser}"
        file = _file(f"identity {recogniser}", name, subject.name)
        pictures[file] = distances_picture(series, 2 - 2 * threshold, heading)
    return pictures


def _looked_at(
    strangers: _Strangers, faces: Tensor, shown: Sequence[int], model: str
) -> dict[str, list[Photo]]:
    """Rows of a picture: inputs, targets where any is known, and what the model makes."""
    inputs = face_to_photo(strangers.faces[list(shown)])
    rows = {"input": list(inputs)}
    if (strangers.targets[list(shown)] >= 0).any():
        goals = [strangers.targets[row] for row in shown]
        rows["true face"] = [
            np.full_like(inputs[0], _UNKNOWN)
            if goal < 0
            else face_to_photo(strangers.faces[goal : goal + 1])[0]
            for goal in goals
        ]
    rows[model] = list(face_to_photo(faces[list(shown)]))
    return rows


def _file(kind: str, name: str, model: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", f"{kind} {name} {model}".lower()) + ".png"
