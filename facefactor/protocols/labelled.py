"""Faces with known attributes: who it is, which expression, turned how, lit from where."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from facefactor.data.cropped_yale import light_side
from facefactor.data.crops import CroppedFaces
from facefactor.data.held_out import hold_out_people
from facefactor.data.multipie import multipie_name
from facefactor.data.named_photos import kdef_name
from facefactor.data.readers import READERS
from facefactor.data.records import DataError, FaceRecord, labelled, of_split
from facefactor.evaluation.relighting import photo_area, spread_edges
from facefactor.factors import FactorName
from facefactor.images import read_photo
from facefactor.perception.align import place
from facefactor.protocols.subject import Subject, some
from facefactor.protocols.yaw import measure_yaw

PHOTOS = 2500  # of a data set, at most; all of CroppedYale
PEOPLE = 100  # told apart, at most
_OF_PERSON = 4  # photos that a person needs to be one of them
_MANY = 25  # photos of a person
_YAW_STEP = 15  # degrees between the seven poses of Neuro-Tensorial's Table 2
_YAWS = 3  # steps to either side; heads turned further are of the last

Labels = list[str | None]
Area = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class LabelledFaces:
    """Faces of one data set that no training saw, as far as is known, and what is known of them."""

    title: str  # the data set, and which part of it
    cut: CroppedFaces  # N faces
    labels: Mapping[FactorName, Labels]  # N of each attribute; None: unknown
    instruments: tuple[str, ...] = ()  # that told the labels

    def people(self) -> list[str] | None:
        """N names; None where the data set does not tell who they are."""
        names = [record.subject for record in self.cut.records]
        return None if None in names else [str(name) for name in names]


def labelled_faces(subject: Subject, name: str, folder: Path, seed: int) -> LabelledFaces:
    """Faces of a data set, 2,500 at most, in the crop of the subject, with their labels.

    Of CelebA, and of any data set that the subject is known to have been trained on, only people
    held out of training; of RAF-DB the test part.

    Args:
        name: a key of `DATASETS`.

    Raises:
        DataError: nobody is held out.
    """
    records = READERS[name](folder)
    title = name
    if name == "rafdb":
        records, title = of_split(labelled(records), "test"), f"{name} test"
    elif name == "celeba" or name in subject.trained_on:
        _, records = hold_out_people(records)
        title = f"{name}, held-out people"
        if not records:
            raise DataError(f"{folder}: too few people in it to hold any out of training")
    chosen = _some_people(records, PHOTOS, seed)
    cut = cut_yale(subject, chosen)[0] if name == "croppedyale" else subject.cut(chosen)
    return DATASETS[name](subject, title, cut, seed)


def cut_yale(subject: Subject, records: Sequence[FaceRecord]) -> tuple[CroppedFaces, Area]:
    """Faces of CroppedYale, and the pixels (S, S) of a crop that show a photo: all photos lie in
    the same place. Crops are half as wide again; beyond a photo its edge is repeated."""
    cut = subject.cut(records)
    spec, first = subject.header.spec, cut.records[0]
    if first.points is None:
        return cut, np.ones((spec.image_size, spec.image_size), bool)
    height, width = read_photo(first.path).shape[:2]
    placement = place(first.points, spec.crop, spec.image_size, first.stretch)
    area = photo_area(placement, height, width)
    return replace(cut, faces=spread_edges(np.asarray(cut.faces), area)), area


def _of_people(subject: Subject, title: str, cut: CroppedFaces, seed: int) -> LabelledFaces:
    """CelebA: who it is, and the yaw that the landmark network sees."""
    yaw = [_yaw_name(angle) for angle in measure_yaw(subject, cut).tolist()]
    labels: dict[FactorName, Labels] = {
        "identity": _people(cut.records, seed),
        "pose": yaw,
    }
    return LabelledFaces(title, cut, labels, ("landmarks",))


def _of_lights(subject: Subject, title: str, cut: CroppedFaces, seed: int) -> LabelledFaces:
    """CroppedYale: who it is, and from which side the light comes."""
    sides = [None if record.light is None else light_side(record.light) for record in cut.records]
    labels: dict[FactorName, Labels] = {
        "identity": _people(cut.records, seed),
        "illumination": sides,
    }
    return LabelledFaces(title, cut, labels)


def _of_expressions(subject: Subject, title: str, cut: CroppedFaces, seed: int) -> LabelledFaces:
    expressions = [record.expression for record in cut.records]
    return LabelledFaces(title, cut, {"expression": expressions})


def _of_views(subject: Subject, title: str, cut: CroppedFaces, seed: int) -> LabelledFaces:
    """KDEF: the expression and, where there are several, the view."""
    found = _of_expressions(subject, title, cut, seed)
    views: Labels = [kdef_name(record.path).view for record in cut.records]
    if len(set(views)) == 1:
        return found
    return LabelledFaces(title, cut, {**found.labels, "pose": views})


def _of_multipie(subject: Subject, title: str, cut: CroppedFaces, seed: int) -> LabelledFaces:
    """Multi-PIE: people, six expressions, and the camera or, for one camera, the flash."""
    names = [multipie_name(record.path) for record in cut.records]
    cameras: Labels = [f"camera {name.camera}" for name in names]
    labels: dict[FactorName, Labels] = {
        "identity": _people(cut.records, seed),
        "expression": [name.expression for name in names],
    }
    if len(set(cameras)) > 1:
        labels["pose"] = cameras
    else:
        labels["illumination"] = [f"flash {name.light}" for name in names]
    return LabelledFaces(title, cut, labels)


# Reader -> what labels its faces.
DATASETS: dict[str, Callable[[Subject, str, CroppedFaces, int], LabelledFaces]] = {
    "celeba": _of_people,
    "croppedyale": _of_lights,
    "kdef": _of_views,
    "ckplus48": _of_expressions,
    "ckplus": _of_expressions,
    "multipie": _of_multipie,
    "multipie-frontal": _of_multipie,
    "rafdb": _of_expressions,
}


def code_sizes(subject: Subject) -> dict[FactorName, int]:
    """How many numbers the code of each factor has."""
    factors = subject.header.spec.factors
    return {name: int(np.prod(factor.shape)) for name, factor in factors.items()}


def _some_people(records: Sequence[FaceRecord], count: int, seed: int) -> list[FaceRecord]:
    """At most `count` records, chosen by the seed: people with all their photos, where these are
    few; photo by photo where they are many, or people are unknown."""
    photos = Counter(str(record.subject) for record in records)
    if len(records) > _MANY * len(photos) or any(record.subject is None for record in records):
        return some(records, count, seed)
    names, chosen, taken = sorted(photos), set(), 0
    for number in np.random.default_rng(seed).permutation(len(names)):
        if taken + photos[names[number]] <= count:
            chosen.add(names[number])
            taken += photos[names[number]]
    return [record for record in records if record.subject in chosen]


def _people(records: Sequence[FaceRecord], seed: int) -> Labels:
    """Names of 100 people at most, chosen by the seed, of those with four photos or more."""
    photos: defaultdict[str, int] = defaultdict(int)
    for record in records:
        photos[str(record.subject)] += 1
    enough = sorted(person for person, count in photos.items() if count >= _OF_PERSON)
    order = np.random.default_rng(seed).permutation(len(enough))
    chosen = {enough[place] for place in order[:PEOPLE]}
    names = [str(record.subject) for record in records]
    return [name if name in chosen else None for name in names]


def _yaw_name(yaw: float) -> str | None:
    """The nearest of the seven poses, -45 to 45 degrees; None for NaN."""
    if yaw != yaw:
        return None
    step = max(-_YAWS, min(_YAWS, round(yaw / _YAW_STEP)))
    return f"yaw {_YAW_STEP * step:+d}" if step else "yaw 0"


def known_rows(labels: Labels) -> tuple[Tensor, list[str]]:
    """Places of the labels that are known, (K,) int64, and these labels."""
    rows = [place for place, label in enumerate(labels) if label is not None]
    return torch.tensor(rows, dtype=torch.int64), [str(labels[place]) for place in rows]
