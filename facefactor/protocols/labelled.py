"""Faces with known attributes: who it is, which expression, turned how, lit from where."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from facefactor.data.crops import CroppedFaces
from facefactor.data.held_out import hold_out_people
from facefactor.data.lights import light_of, light_side
from facefactor.data.multipie import multipie_name
from facefactor.data.named_photos import kdef_name
from facefactor.data.readers import READERS
from facefactor.data.records import DataError, FaceRecord, labelled, of_split
from facefactor.evaluation.floors import encode_faces
from facefactor.evaluation.relighting import photo_area, spread_edges
from facefactor.factors import FactorName, ModelSpec, encode_codes
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

_NO_FLASH = (0, 19)  # of Multi-PIE

Labels = list[str | None]
Told = tuple[dict[FactorName, Labels], tuple[str, ...]]  # and the instruments that told
Area = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class LabelledFaces:
    """Faces of one data set that no training saw, as far as is known, and what is known of them."""

    name: str  # of the data set
    title: str  # the same, and which part of it
    cut: CroppedFaces  # N faces
    labels: Mapping[FactorName, Labels]  # N of each attribute; None: unknown
    instruments: tuple[str, ...] = ()  # that told the labels

    def people(self) -> list[str] | None:
        """N names; None where the data set does not tell who they are."""
        names = [record.subject for record in self.cut.records]
        return None if None in names else [str(name) for name in names]


def labelled_faces(subject: Subject, name: str, folder: Path, seed: int) -> list[LabelledFaces]:
    """Faces of a data set, 2,500 at most, in the crop of the subject, with their labels.

    Of CelebA, and of any data set that the subject is known to have been trained on, only people
    held out of training; of RAF-DB the test part. Multi-PIE comes twice: seven cameras ("multipie",
    as in Neuro-Tensorial's Table 2), and the frontal one with 18 flashes ("multipie-frontal"; 16 in
    its Table 3, which does not say which).

    Args:
        name: a key of `DATASETS`.

    Raises:
        DataError: nobody is held out.
    """
    records, part = READERS[name](folder), ""
    if name == "rafdb":
        records, part = of_split(labelled(records), "test"), " test"
    elif name == "celeba" or name in subject.trained_on:
        _, records = hold_out_people(records)
        part = ", held-out people"
        if not records:
            raise DataError(f"{folder}: too few people in it to hold any out of training")
    sets = _cameras(records) if name == "multipie" else {name: records}
    found = []
    for title, those in sets.items():
        chosen = _some_people(those, PHOTOS, seed)
        cut = cut_yale(subject, chosen)[0] if name == "cropped-yale" else subject.cut(chosen)
        labels, instruments = DATASETS[name](subject, cut, seed)
        found.append(LabelledFaces(title, f"{title}{part}", cut, labels, instruments))
    return found


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


def _of_people(subject: Subject, cut: CroppedFaces, seed: int) -> Told:
    """CelebA: who it is, and the yaw that the landmark network sees."""
    yaw = [_yaw_name(angle) for angle in measure_yaw(subject, cut).tolist()]
    return {"identity": _people(cut.records, seed), "pose": yaw}, ("landmarks",)


def _of_lights(subject: Subject, cut: CroppedFaces, seed: int) -> Told:
    """CroppedYale: who it is, and from which side the light comes."""
    lights = [light_of(record) for record in cut.records]
    sides = [None if light is None else light_side(light) for light in lights]
    return {"identity": _people(cut.records, seed), "illumination": sides}, ()


def _of_expressions(subject: Subject, cut: CroppedFaces, seed: int) -> Told:
    return {"expression": [record.expression for record in cut.records]}, ()


def _of_views(subject: Subject, cut: CroppedFaces, seed: int) -> Told:
    """KDEF: the expression and, where there are several, the view."""
    labels: dict[FactorName, Labels] = {
        "expression": [record.expression for record in cut.records],
        "pose": [kdef_name(record.path).view for record in cut.records],
    }
    if len(set(labels["pose"])) == 1:
        del labels["pose"]
    return labels, ()


def _of_multipie(subject: Subject, cut: CroppedFaces, seed: int) -> Told:
    """People, six expressions, and the camera or, where there is one, the flash."""
    names = [multipie_name(record.path) for record in cut.records]
    labels: dict[FactorName, Labels] = {
        "identity": _people(cut.records, seed),
        "expression": [name.expression for name in names],
    }
    if len({name.camera for name in names}) > 1:
        labels["pose"] = [f"camera {name.camera}" for name in names]
    else:
        labels["illumination"] = [f"flash {name.illumination}" for name in names]
    return labels, ()


def _cameras(records: Sequence[FaceRecord]) -> dict[str, list[FaceRecord]]:
    """Multi-PIE's photos of seven cameras, and of the frontal one those with a flash."""
    names = {record: multipie_name(record.path) for record in records}
    furthest = _YAWS * _YAW_STEP
    turned = [r for r, n in names.items() if n.yaw_deg is not None and abs(n.yaw_deg) <= furthest]
    flashed = [r for r, n in names.items() if n.yaw_deg == 0 and n.illumination not in _NO_FLASH]
    sets = {"multipie": turned, "multipie-frontal": flashed}
    return {title: those for title, those in sets.items() if those}


# Reader -> what labels its faces.
DATASETS: dict[str, Callable[[Subject, CroppedFaces, int], Told]] = {
    "celeba": _of_people,
    "cropped-yale": _of_lights,
    "kdef": _of_views,
    "ckplus48": _of_expressions,
    "ckplus": _of_expressions,
    "multipie": _of_multipie,
    "rafdb": _of_expressions,
}


@torch.inference_mode()
def all_codes(model: Any, faces: NDArray[np.uint8]) -> dict[FactorName, Tensor]:
    """(N, D) of each factor that a model tells of faces (N, S, S, C); each face is read once."""
    sizes = code_sizes(model.spec)

    def all_of(part: Tensor) -> Tensor:
        factors = encode_codes(model, part)
        return torch.cat([factors[name].flatten(1).float() for name in sizes], dim=1)

    codes = torch.split(encode_faces(all_of, faces), list(sizes.values()), dim=1)
    return dict(zip(sizes, codes, strict=True))


def code_sizes(spec: ModelSpec) -> dict[FactorName, int]:
    """How many numbers the code of each factor has."""
    return {name: int(np.prod(factor.shape)) for name, factor in spec.factors.items()}


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
