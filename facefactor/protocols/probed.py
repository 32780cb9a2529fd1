"""Faces to probe codes with: the same for every model, with all that is known of each."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from facefactor.data.held_out import TRAINED_PEOPLE
from facefactor.data.records import DataError, FaceRecord, split_hash
from facefactor.factors import EXPRESSIONS, FactorName
from facefactor.files import atomic_path, file_hash, read_arrays
from facefactor.geometry.rotations import yaw_pitch_roll
from facefactor.protocols.labelled import DATASETS, Labels, labelled_faces
from facefactor.protocols.rendered import morphable_of, renderer_of
from facefactor.protocols.subject import Subject

# Its test part is for testing: nothing learns from it, probes neither.
PROBED = tuple(name for name in DATASETS if name not in ("rafdb", "multipie"))
RENDERED_PEOPLE = 30
_TIMES = 4  # each with every expression, under other lights and from other sides
_FACES = 1500  # of a data set, at most
_PEOPLE = 40  # told apart, at most
_OF_PERSON = 4  # photos or clips that a person needs to be one of them
_SHARE = 3  # one of so many people, or photos of a person, is for testing
_KEPT = ("faces", "subject", "identity", "expression", "rotation", "lighting")
_FORMAT = 1  # of the file that keeps them: raise it when others are drawn for the same settings
_YAW_STEP, _YAW_STEPS = 15, 3  # degrees between the poses of rendered heads, and how many a side


@dataclass(frozen=True, eq=False)
class ProbedFaces:
    """N faces, what is known of them, and how they are split to probe each attribute."""

    title: str
    faces: NDArray[np.uint8]  # (N, S, S, 3)
    labels: Mapping[FactorName, Labels]  # N of each attribute; None: unknown
    people: list[str] | None  # N names; None: unknown
    clips: list[str]  # N names; photos of one clip are nearly the same
    split_hash: str
    instruments: tuple[str, ...] = ()  # that told the labels

    def known(self, attribute: FactorName) -> tuple[NDArray[np.int64], list[str]]:
        """Rows whose label is known, (K,), and their K labels."""
        labels = self.labels[attribute]
        rows = [row for row, label in enumerate(labels) if label is not None]
        return np.array(rows, np.int64), [str(labels[row]) for row in rows]

    def split(self, attribute: FactorName, seed: int) -> NDArray[np.bool_]:
        """(N,) which faces are for testing a probe of `attribute`.

        People are told by other clips than they were learnt from, all else by other people.
        """
        random = np.random.default_rng(seed)
        if attribute == "identity":
            return _deal_within(self.labels["identity"], self.clips, random)
        of_face = self.people or self.clips
        names = sorted(set(of_face))
        asked = {names[place] for place in random.permutation(len(names))[::_SHARE]}
        return np.array([name in asked for name in of_face], bool)


def photographed_faces(subject: Subject, name: str, folder: Path, seed: int) -> ProbedFaces:
    """Faces of a data set, 1,500 at most: of CelebA, and of what the subject is known to have been
    trained on, people held out; with the identity where people are known.

    Args:
        name: of `PROBED`.
    """
    (found,) = labelled_faces(subject, name, folder, seed)
    order = np.random.default_rng(seed).permutation(len(found.cut.records))
    rows = np.sort(order[:_FACES])
    records = [found.cut.records[row] for row in rows]
    labels: dict[FactorName, Labels] = {
        attribute: [of_all[row] for row in rows] for attribute, of_all in found.labels.items()
    }
    people = found.people()
    if people is not None:
        labels["identity"] = _some_people(records, seed)
    return ProbedFaces(
        title=found.title,
        faces=np.asarray(found.cut.faces)[rows],
        labels={
            attribute: labels[attribute]
            for attribute in get_args(FactorName)
            if len(set(labels.get(attribute, ())) - {None}) > 1
        },
        people=None if people is None else [people[row] for row in rows],
        clips=[record.clip or str(record.path) for record in records],
        split_hash=split_hash(records),
        instruments=found.instruments,
    )


def rendered_faces(subject: Subject, seed: int) -> ProbedFaces:
    """Faces of people whom no training renders, in the subject's crop and size: each with every
    expression, turned and lit, whether the subject separates that or not.

    Raises:
        FaceFactorError: no morphable model was named.
        DataError: the file that keeps them is damaged.
    """
    drawn = _drawn(subject, EXPRESSIONS * _TIMES, seed)
    names = [str(number) for number in drawn["subject"].tolist()]
    yaw = yaw_pitch_roll(torch.from_numpy(drawn["rotation"]))[:, 0]
    steps = (yaw / _YAW_STEP).round().int().clamp(-_YAW_STEPS, _YAW_STEPS).tolist()
    digest = hashlib.sha256()
    for told in ("subject", "identity", "expression", "lighting"):
        digest.update(drawn[told].tobytes())  # not the rotation: crops tilt heads
    return ProbedFaces(
        title=f"rendered faces of {RENDERED_PEOPLE} people nobody was trained on",
        faces=drawn["faces"],
        labels={
            "identity": list(names),
            "expression": list(EXPRESSIONS * _TIMES * RENDERED_PEOPLE),
            "pose": [f"yaw {_YAW_STEP * step:+d}" for step in steps],
            "illumination": list(light_sides(torch.from_numpy(drawn["lighting"]))),
        },
        people=names,
        clips=[str(row) for row in range(len(names))],
        split_hash=digest.hexdigest()[:12],
    )


def _drawn(subject: Subject, expressions: Sequence[str], seed: int) -> dict[str, NDArray[Any]]:
    """What `_KEPT` names of rendered faces; drawn once for all models of a crop and size."""
    from facefactor.data.synthetic import synthetic_faces  # brings kornia: slow

    model = morphable_of(subject, "disentanglement of rendered faces")
    assert subject.morphable is not None
    people = range(TRAINED_PEOPLE, TRAINED_PEOPLE + RENDERED_PEOPLE)
    spec = subject.header.spec
    version = file_hash(subject.morphable)
    settings = (_FORMAT, version, spec.crop, spec.image_size, people, expressions, seed)
    name = hashlib.sha256(repr(settings).encode()).hexdigest()[:24]
    path = subject.cache / "rendered" / f"{name}.npz"
    if path.is_file():
        return read_arrays(path, _KEPT, DataError)
    made = synthetic_faces(renderer_of(subject, model), people, expressions, seed)
    drawn = {each: np.ascontiguousarray(getattr(made, each)) for each in _KEPT}
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary, temporary.open("wb") as output:
        np.savez(output, **drawn)  # type: ignore[arg-type]
    return drawn


def light_sides(lighting: Tensor) -> list[str]:
    """From where the light of nine coefficients (N, 9) falls, by its azimuth: within 30 degrees of
    the camera, or from the subject's left or right."""
    azimuth = torch.rad2deg(torch.atan2(lighting[:, 3], lighting[:, 2])).tolist()
    return ["front" if abs(a) <= 30 else "left" if a > 0 else "right" for a in azimuth]


def _some_people(records: Sequence[FaceRecord], seed: int) -> Labels:
    """Names of 40 people at most, chosen by the seed, of those with four photos (or clips)."""
    shown: defaultdict[str, set[str]] = defaultdict(set)
    for record in records:
        shown[str(record.subject)].add(record.clip or str(record.path))
    enough = sorted(person for person, clips in shown.items() if len(clips) >= _OF_PERSON)
    order = np.random.default_rng(seed).permutation(len(enough))[:_PEOPLE]
    chosen = {enough[place] for place in order}
    names = [str(record.subject) for record in records]
    return [name if name in chosen else None for name in names]


def _deal_within(
    labels: Labels, clips: Sequence[str], random: np.random.Generator
) -> NDArray[np.bool_]:
    """(N,) of each label a third of its clips, at least one where it has two."""
    test = np.zeros(len(labels), bool)
    for label in sorted({label for label in labels if label is not None}):
        own = sorted({clip for clip, name in zip(clips, labels, strict=True) if name == label})
        order = [own[place] for place in random.permutation(len(own))]
        asked = set(order[1::_SHARE])  # the first stays, whatever their number
        for row, (clip, name) in enumerate(zip(clips, labels, strict=True)):
            test[row] |= name == label and clip in asked
    return test
