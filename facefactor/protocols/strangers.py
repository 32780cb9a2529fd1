"""People nobody was trained on, for `normalization`: photographed ones, and rendered ones."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from facefactor.data.held_out import TRAINED_PEOPLE, hold_out_people
from facefactor.data.readers import READERS
from facefactor.data.records import DataError, FaceRecord, split_hash
from facefactor.errors import FaceFactorError
from facefactor.evaluation.floors import encode_faces
from facefactor.evaluation.normalization import Observations, Truth
from facefactor.images import photos_to_faces
from facefactor.protocols.observation import CROP, SIZE, Instruments
from facefactor.protocols.rendered import morphable_of, renderer_of
from facefactor.protocols.subject import Subject, some

RENDERED = 256  # people, a picture each
_FACES = 1000  # photos of held-out people, at most
_MEAN_FACES = 500  # more do not change the mean to be seen
_RENDERED_MEAN = 64  # training people in the mean of rendered faces
_BATCH = 32


@dataclass(frozen=True, eq=False)
class Strangers:
    """N photos of people nobody was trained on, what is known of them, and a floor."""

    faces: Tensor  # (N, 3, S, S) in [0, 1], in the model's crop
    people: list[str]  # N
    photos: Observations  # of the same photos in the instruments' own crop, at its resolution
    truth: Truth | None  # of those whose true frontal neutral face is known
    mean_face: Tensor  # (3, S, S) in [0, 1], of training people
    averaged: int  # how many faces that is the mean of
    setting: tuple[str, ...]  # what tables must say of them
    split_hash: str | None = None


def photographed(
    subject: Subject, instruments: Instruments, name: str, folder: Path, seed: int
) -> Strangers:
    """Held-out people of a data set (reader and folder).

    Raises:
        FaceFactorError: there are fewer than two.
        DataError: a face cannot be cut for the instruments.
    """
    train, held_out = hold_out_people(READERS[name](folder))
    if len({record.subject for record in held_out}) < 2:
        raise FaceFactorError(f"{folder}: fewer than two held-out people; {name} has too few")
    cut = subject.cut(some(held_out, _FACES, seed))
    squares = subject.cut(cut.records, SIZE, CROP)
    if squares.failures:
        path, reason = squares.failures[0]
        raise DataError(f"{path}: {reason}; the recogniser needs its face")
    faces = photos_to_faces(cut.faces)
    photos = instruments.observe_photos(squares.faces, subject.cache)
    targets = target_rows(cut.records)
    rows = torch.from_numpy(np.flatnonzero(targets >= 0))
    goals = torch.from_numpy(targets)[rows]
    known = subject.cut(some(train, _MEAN_FACES, seed))
    flat = encode_faces(lambda part: part, known.faces)  # a batch at a time
    left_out = f"{len(cut.failures):,} photos without a face left out"
    return Strangers(
        faces=faces,
        people=[str(record.subject) for record in cut.records],
        photos=photos,
        truth=Truth(rows, faces[goals], photos.of(goals).embeddings) if len(rows) else None,
        mean_face=flat.mean(dim=0).view(faces.shape[1:]),
        averaged=len(known.faces),
        setting=("held-out people", *([left_out] if cut.failures else [])),
        split_hash=split_hash(cut.records),
    )


def rendered(subject: Subject, instruments: Instruments, seed: int) -> Strangers:
    """People whom no training renders, turned, with any expression, under any light; their true
    faces are exact.

    The instruments have learnt from photos: what they say of rendered faces is worth less.
    """
    from facefactor.data.normalized import normalized_scenes  # brings kornia: slow
    from facefactor.data.scenes import YAW_SPREAD, draw_scenes
    from facefactor.data.synthetic import FaceRenderer

    source = morphable_of(subject, "normalization of rendered faces")
    renderer = renderer_of(subject, source)
    square = FaceRenderer(source, CROP, SIZE)

    def draw(renderer: FaceRenderer, people: Sequence[int], true: bool) -> Tensor:
        parts = []
        for start in range(0, len(people), _BATCH):
            numbers = people[start : start + _BATCH]
            random = np.random.default_rng((seed, 4, numbers[0]))  # the same for every renderer
            scenes = draw_scenes(
                numbers, random, renderer.model, seed, yaw_spread=YAW_SPREAD, plain=False
            )
            shown = normalized_scenes(scenes) if true else scenes
            parts.append(photos_to_faces(renderer.render(shown).faces))
        return torch.cat(parts)

    people = range(TRAINED_PEOPLE, TRAINED_PEOPLE + RENDERED)
    true_faces = draw(renderer, people, True)
    embeddings = instruments.observe(draw(square, people, True), CROP).embeddings
    return Strangers(
        faces=draw(renderer, people, False),
        people=[str(number) for number in people],
        photos=instruments.observe(draw(square, people, False), CROP),
        truth=Truth(torch.arange(RENDERED), true_faces, embeddings),
        mean_face=draw(renderer, range(_RENDERED_MEAN), False).mean(dim=0),
        averaged=_RENDERED_MEAN,
        setting=("people nobody was trained on",),
    )


def target_rows(records: Sequence[FaceRecord]) -> NDArray[np.int64]:
    """Which record shows each record's person frontal and neutral, (N,); -1 where none is known.

    Only what a data set itself says counts. A photo is never its own target, or copying it would be
    perfect.
    """
    goals: dict[str | None, list[int]] = defaultdict(list)
    for row, record in enumerate(records):
        if record.expression == "neutral" and record.frontal:
            goals[record.subject].append(row)
    return np.array(
        [
            next((goal for goal in goals.get(record.subject, ()) if goal != row), -1)
            for row, record in enumerate(records)
        ],
        np.int64,
    )
