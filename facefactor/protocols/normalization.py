"""Normalised faces of people nobody was trained on: who they are, what is left, how they look."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

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
    normalise_all,
    normaliser,
)
from facefactor.protocols.observation import (
    Instruments,
    load_instruments,
    same_person_thresholds,
)
from facefactor.protocols.strangers import Strangers, photographed, rendered
from facefactor.protocols.subject import Findings, Subject, suitable

_DATASETS = ("celeba", "kdef", "ckplus-pairs", "multipie")
_RENDERED = "rendered faces"
_PEOPLE = 40  # in the picture to be looked at
_UNKNOWN = 255  # the grey of a target nobody has: paper


def normalized_faces(subject: Subject, folders: Mapping[str, Path], seed: int) -> Findings:
    """Held-out people's normalised faces, beside a copy of the input, a mean face, the model
    untrained and, where they are known, the true faces; pictures of the distances (Fig. 4) and of
    forty faces. With a morphable model also of rendered people."""
    check_normalises(subject, "normalization")
    names = [name for name in folders if name in _DATASETS]
    if not names and subject.morphable is None:
        suitable(folders, _DATASETS, "normalization")  # says what is missing
    instruments = load_instruments()
    findings = [
        _measure(
            subject,
            instruments,
            name,
            photographed(subject, instruments, name, folders[name], seed),
            seed,
        )
        for name in names
    ]
    if subject.morphable is not None:
        strangers = rendered(subject, instruments, seed)
        findings.append(_measure(subject, instruments, _RENDERED, strangers, seed))
    return Findings(
        [table for each in findings for table in each.tables],
        {file: picture for each in findings for file, picture in each.pictures.items()},
    )


def _measure(
    subject: Subject, instruments: Instruments, name: str, strangers: Strangers, seed: int
) -> Findings:
    thresholds = same_person_thresholds(strangers.photos, strangers.people)
    tables, found, drawn = [], {}, {}
    for title, normalise in _normalisers(subject, strangers, seed).items():
        drawn[title] = normalise_all(normalise, strangers.faces)
        found[title] = _observe(instruments, drawn[title], subject.header.spec.crop)
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
            protocol=", ".join(["normalization", *strangers.setting]),
            seed=seed,
            split_hash=strangers.split_hash,
            instruments=instruments.names,
        )
        for table in tables
    ]
    pictures = {
        _file("normalized", name, subject.name): _looked_at(
            strangers, drawn[subject.name], subject.name, name, seed
        )
    }
    for recogniser, threshold in thresholds.items():
        file = _file(f"identity {recogniser}", name, subject.name)
        pictures[file] = _distances(strangers, found, recogniser, threshold, name)
    return Findings(tables, pictures)


def _observe(instruments: Instruments, faces: Tensor, crop: str) -> Observations:
    """Of a picture that is the same for everybody, once."""
    if not torch.equal(faces, faces[:1].expand_as(faces)):
        return instruments.observe(faces, crop)
    return instruments.observe(faces[:1], crop).of(torch.zeros(len(faces), dtype=torch.int64))


def _normalisers(subject: Subject, strangers: Strangers, seed: int) -> dict[str, Normalise]:
    """By what tables call them: the model, and its floors."""
    return {
        subject.name: normaliser(subject.model),
        "copy of the input": lambda faces: faces,
        f"mean of {strangers.averaged:,} training faces": strangers.mean_face.expand_as,
        f"{subject.name}, untrained": normaliser(subject.untrained(seed)),
    }


def _ceiling(
    subject: Subject,
    instruments: Instruments,
    name: str,
    strangers: Strangers,
    truth: Truth,
    thresholds: Mapping[str, float],
) -> ResultTable:
    """What the true faces get, as a model would that drew them; of photos with one."""
    found = instruments.observe(truth.faces, subject.header.spec.crop)
    photos = strangers.photos.of(truth.rows)
    own = replace(truth, rows=torch.arange(len(truth.rows)))
    return normalization(truth.faces, found, photos, thresholds, name, "the true face", own)


def _distances(
    strangers: Strangers,
    found: Mapping[str, Observations],
    recogniser: str,
    threshold: float,
    name: str,
) -> Photo:
    """Histograms as in Fig. 4: of photos and what was made of them, and of pairs of photos."""
    codes = strangers.photos.embeddings[recogniser]
    series = {
        f"photo and {row}": squared_distance(seen.embeddings[recogniser], codes).numpy()
        for row, seen in found.items()
    }
    cosines, same = pair_cosines(codes, strangers.people)
    if same.any():
        series["two photos of one person"] = (2 - 2 * cosines[same]).numpy()
    series["photos of two people"] = (2 - 2 * cosines[~same]).numpy()
    title = f"{name}, {strangers.setting[0]}: squared distance of embeddings, {recogniser}"
    return distances_picture(series, 2 - 2 * threshold, title)


def _looked_at(strangers: Strangers, faces: Tensor, model: str, name: str, seed: int) -> Photo:
    """Inputs, targets where any is known, and what the model makes of the inputs."""
    shown = one_after_another(strangers.people, _PEOPLE, seed)
    inputs = face_to_photo(strangers.faces[shown])
    rows = {"input": inputs}
    if strangers.truth is not None:
        goals = dict(zip(strangers.truth.rows.tolist(), strangers.truth.faces, strict=True))
        blank = np.full_like(inputs[0], _UNKNOWN)
        rows["true face"] = [
            face_to_photo(goals[row][None])[0] if row in goals else blank for row in shown
        ]
    rows[model] = face_to_photo(faces[shown])
    return people_picture(rows, f"{model}: {name}, {strangers.setting[0]}, {len(shown)} photos")


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


def _file(kind: str, name: str, model: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", f"{kind} {name} {model}".lower()) + ".png"
