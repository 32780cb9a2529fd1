"""Relit faces against the true photos of the same people under that light, on CroppedYale."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from facefactor import editing
from facefactor.data.colour import match_colour
from facefactor.data.lights import (
    FRONTAL,
    SIDES,
    SUBSET_EDGES,
    Light,
    light_of,
    light_side,
    light_subset,
)
from facefactor.data.readers import READERS
from facefactor.data.records import DataError, FaceRecord, split_hash
from facefactor.evaluation.floors import encode_faces
from facefactor.evaluation.pictures import faces_picture
from facefactor.evaluation.relighting import (
    Closeness,
    Faces,
    closeness,
    direction_lighting,
    embeddings_of,
    lit_by,
    put_back,
    relighting_table,
)
from facefactor.factors import Factors, encode_code
from facefactor.images import Photo, face_to_photo, photos_to_faces
from facefactor.perception.packaged import packaged_recogniser
from facefactor.perception.recognition import embed
from facefactor.protocols.labelled import cut_yale
from facefactor.protocols.subject import Findings, Subject, suitable

_BATCH = 64  # faces drawn at once


@dataclass(frozen=True, eq=False)
class _Candidate:
    """What stands for the true photos, each of K faces once."""

    faces: Faces  # (K, S, S, 3)
    rows: NDArray[np.int64]  # (P,) which of them stands for each pair's

    @property
    def images(self) -> Faces:
        """(P, S, S, 3)"""
        return self.faces[self.rows]


@dataclass(frozen=True, eq=False)
class Pairs:
    """P relightings: rows of the cut faces."""

    frontal: list[int]  # the photo to relight, lit from the camera
    source: list[int]  # another person under the light
    true: list[int]  # the same person under the light
    light: list[Light]


@torch.inference_mode()
def relighting_of_pairs(subject: Subject, folders: Mapping[str, Path], seed: int) -> Findings:
    """Each person's frontally lit photo, relit to every light there is a true photo of.

    The light comes from the photo of another person, chosen by the seed, and, for models that have
    a code for it, from the direction in the photo's name (a single light in a dark room). Judged
    are the network's own squares, at its size, and the same put back into the photo as a change,
    which is what `facefactor relight` gives; beside them what needs no model. Only pixels that
    photos cover count for PSNR: crops are wider than they are.
    """
    editing.check_factor(subject.header.spec, "illumination")
    network = packaged_recogniser()
    tables, pictures = [], {}
    for name in suitable(folders, ("cropped-yale",), "relighting"):
        cut, seen = cut_yale(subject, READERS[name](folders[name]))
        pairs = pair_lights(cut.records, seed)
        faces = np.asarray(cut.faces)
        candidates = _without_a_model(faces, pairs) | _relit(subject, faces, pairs)
        truth = faces[pairs.true]

        def told(images: Faces) -> Tensor:
            crop = subject.header.spec.crop
            take = (network.crop, network.image_size)
            return embeddings_of(images, crop, lambda part: embed(network, part), *take)

        photos = told(faces)
        near: dict[str, Closeness] = {}
        for title, own in candidates.items():
            codes = photos if own.faces is faces else told(own.faces)
            both = torch.stack([codes[own.rows], photos[pairs.true]])
            near[title] = closeness(own.images, truth, seen, both)
        groups = [_group(light) for light in pairs.light]
        records = [cut.records[row] for row in sorted({*pairs.frontal, *pairs.source, *pairs.true})]
        title = f"{name}, {len(set(pairs.frontal))} people"
        for model, closest in near.items():
            table = relighting_table(closest, near["unrelit photo"], groups, title, model)
            tables.append(
                replace(
                    table,
                    seed=seed,
                    split_hash=split_hash(records),
                    instruments=("recogniser",),
                )
            )
        pictures[f"relighting-{name}.png"] = _sheet(subject, candidates, truth, pairs, seed)
    return Findings(tables, pictures)


def pair_lights(records: Sequence[FaceRecord], seed: int) -> Pairs:
    """A pair for each photo that is not lit frontally, of each person who has one that is, and
    whose light another person's photo has; in the order of subset, then of the records.

    Raises:
        DataError: there is no pair.
    """
    lit: defaultdict[Light, list[int]] = defaultdict(list)
    frontal: dict[str | None, int] = {}
    for row, record in enumerate(records):
        light = light_of(record)
        if light is not None:
            lit[light].append(row)
        if light == FRONTAL:
            frontal[record.subject] = row
    random = np.random.default_rng(seed)
    found = []
    for row, record in enumerate(records):
        light = light_of(record)
        if light is None or light == FRONTAL or record.subject not in frontal:
            continue
        others = [other for other in lit[light] if records[other].subject != record.subject]
        if others:
            source = others[int(random.integers(len(others)))]
            found.append((light_subset(light), frontal[record.subject], source, row, light))
    if not found:
        raise DataError(
            "no person has a photo lit frontally (A+000E+00) and one under a light that another "
            "person was photographed in, too"
        )
    found.sort(key=lambda pair: pair[0])  # stable: records keep their order
    return Pairs(
        frontal=[first for _, first, _, _, _ in found],
        source=[source for _, _, source, _, _ in found],
        true=[true for _, _, _, true, _ in found],
        light=[light for *_, light in found],
    )


def _group(light: Light) -> str:
    subset = light_subset(light)
    if subset > len(SUBSET_EDGES):
        return f"light beyond {SUBSET_EDGES[-1]}°"
    least = (0, *SUBSET_EDGES)[subset - 1]
    return f"light at {least} to {SUBSET_EDGES[subset - 1]}°"


def _without_a_model(faces: Faces, pairs: Pairs) -> dict[str, _Candidate]:
    """Floors. The last two know the light's photo, as the model does."""
    matched = [
        match_colour(faces[own], faces[source])
        for own, source in zip(pairs.frontal, pairs.source, strict=True)
    ]
    return {
        "unrelit photo": _Candidate(faces, np.array(pairs.frontal)),
        "unrelit photo, brightness and contrast of the light's": _each(np.stack(matched)),
        "the light's photo itself": _Candidate(faces, np.array(pairs.source)),
    }


def _each(faces: Faces) -> _Candidate:
    return _Candidate(faces, np.arange(len(faces)))


def _relit(subject: Subject, faces: Faces, pairs: Pairs) -> dict[str, _Candidate]:
    """Whose light -> the faces the model draws, and the photos changed by as much."""
    model, name = subject.model, subject.name
    codes = encode_faces(lambda part: encode_code(model, part, "illumination"), faces)
    shape = subject.header.spec.factors["illumination"].shape
    own = codes.view(-1, *shape)
    lights = {"light of another's photo": own[pairs.source]}
    if hasattr(model, "illumination_of"):
        lights["light from its direction"] = model.illumination_of(direction_lighting(pairs.light))
    people, who = np.unique(pairs.frontal, return_inverse=True)
    photos = photos_to_faces(faces[people])
    found: dict[str, _Candidate] = {}
    for title, light in lights.items():
        drawn, changed = _draw(subject, photos, who, light)
        found[f"{name}, {title}"] = _each(_to_photos(drawn))
        found[f"{name}, {title}, put back as a change"] = _each(_to_photos(changed))
    kept, _ = _draw(subject, photos, np.arange(len(people)), own[people])
    return found | {f"{name}, own light kept": _Candidate(_to_photos(kept), who)}


def _draw(
    subject: Subject, people: Tensor, who: NDArray[np.int64], light: Tensor
) -> tuple[Tensor, Tensor]:
    """Photos of `people` (K, 3, S, S), those that `who` (P,) names, with other illumination codes
    (P, ...): as they are drawn, and as photos are edited (`photo_edits.edit_face`); (P, 3, S, S)
    both."""
    model, parts = subject.model, []
    edit_gain = getattr(model, "edit_gain", None)
    factors = model.encode(people)
    for part in torch.split(torch.arange(len(who)), _BATCH):
        rows = torch.from_numpy(who)[part]
        photos, own = people[rows], factors.of(rows)
        source = Factors({"illumination": light[part]})
        relit = editing.transfer(own, source, ["illumination"], subject.header.spec)
        drawn = model.decode(relit)
        gain = edit_gain(own, relit) if edit_gain else None
        if gain is None:
            parts.append((drawn, put_back(photos, drawn, model.decode(own))))
        else:
            parts.append((drawn, lit_by(photos, gain)))
    return torch.cat([drawn for drawn, _ in parts]), torch.cat([edited for _, edited in parts])


def _sheet(
    subject: Subject, candidates: Mapping[str, _Candidate], truth: Faces, pairs: Pairs, seed: int
) -> Photo:
    """One relighting from each side that light comes from."""
    random = np.random.default_rng(seed)
    sides = [light_side(light) for light in pairs.light]
    chosen = []
    for side in SIDES:
        if of_side := [place for place, name in enumerate(sides) if name == side]:
            chosen.append(of_side[int(random.integers(len(of_side)))])
    rows = {"unrelit photo": candidates["unrelit photo"].images}
    rows |= {"the light's photo": candidates["the light's photo itself"].images}
    for title, own in candidates.items():
        if title.startswith(f"{subject.name}, light"):
            short = title.removeprefix(f"{subject.name}, ").removesuffix(" as a change")
            rows[short] = own.images
    rows["true photo"] = truth
    lit = ", ".join(sides[place] for place in chosen)
    title = f"{subject.name}: people of CroppedYale relit (light: {lit})"
    return faces_picture({name: list(images[chosen]) for name, images in rows.items()}, title)


def _to_photos(faces: Tensor) -> Faces:
    return np.stack(face_to_photo(faces))
