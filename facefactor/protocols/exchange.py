"""One factor of a rendered face put into another: against the rendered truth, and encoded again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from facefactor.data.held_out import TRAINED_PEOPLE
from facefactor.data.scenes import Scenes, draw_scenes
from facefactor.editing import transfer
from facefactor.evaluation.exchange import exchange_table
from facefactor.evaluation.pictures import faces_picture
from facefactor.factors import EXPRESSIONS, FactorName, ModelSpec
from facefactor.images import Photo, face_to_photo, photos_to_faces
from facefactor.protocols.rendered import morphable_of, renderer_of, variety
from facefactor.protocols.subject import Findings, Subject

if TYPE_CHECKING:
    from facefactor.data.synthetic import FaceRenderer

PAIRS = 128  # a multiple of the expressions: then the two faces of no pair have the same one
_SHOWN = 8
_BATCH = 32
# What of a scene belongs to a factor.
_PARTS: Mapping[FactorName, tuple[str, ...]] = {
    "identity": ("subject", "identity", "traits"),
    "expression": ("expression", "expression_name"),
    "pose": ("pose",),
    "illumination": ("lighting",),
}
Pair = tuple[Tensor, Tensor, Tensor, Tensor]  # faces, others, truth, mask


def synthetic_exchange(subject: Subject, folders: Mapping[str, Path], seed: int) -> Findings:
    """Every factor of the model, exchanged between neighbours in a circle of rendered people.

    A factor takes with it what the model folds into it (`covers`). Pixels count where either face,
    the photo's or the truth's, is. Crops are exact here: alignment is off by nothing.

    Raises:
        FaceFactorError: no morphable model was named.
    """
    spec = subject.header.spec
    source = morphable_of(subject, "synthetic-exchange")
    pairs = rendered_pairs(renderer_of(subject, source), spec, PAIRS, seed)
    dataset = f"{PAIRS} pairs of rendered people, none of them trained on"
    models = {subject.name: subject.model, f"{subject.name}, untrained": subject.untrained(seed)}
    tables = [
        replace(exchange_table(model, *given, factor, dataset, name), seed=seed)
        for factor, given in pairs.items()
        for name, model in models.items()
    ]
    return Findings(tables, {"synthetic-exchange.png": _picture(subject, pairs)})


def rendered_pairs(
    renderer: FaceRenderer, spec: ModelSpec, count: int, seed: int
) -> dict[FactorName, Pair]:
    """For each factor faces, those that it is taken from, the truth, and the pixels that count."""
    people = range(TRAINED_PEOPLE, TRAINED_PEOPLE + count)
    names = [EXPRESSIONS[place % len(EXPRESSIONS)] for place in range(count)]
    draw = np.random.default_rng((seed, 3))
    scenes = draw_scenes(people, draw, renderer.model, seed, names, plain=False, **variety(spec))
    scenes = replace(scenes, wobble=torch.zeros_like(scenes.wobble))
    following = [*range(1, count), 0]
    faces, mask = _render(renderer, scenes)
    pairs = {}
    for name, factor in spec.factors.items():
        swapped = exchanged(scenes, _rows(scenes, following), (name, *factor.covers))
        truth, seen = _render(renderer, swapped)
        pairs[name] = (faces, faces[following], truth, mask | seen)
    return pairs


def exchanged(scenes: Scenes, others: Scenes, names: Sequence[FactorName]) -> Scenes:
    """Scenes with what belongs to some factors taken from others, scene by scene."""
    taken: dict[str, Any] = {part: getattr(others, part) for name in names for part in _PARTS[name]}
    return replace(scenes, **taken)


def _rows(scenes: Scenes, rows: Sequence[int]) -> Scenes:
    chosen: dict[str, Any] = {}
    for field in fields(scenes):
        value = getattr(scenes, field.name)
        chosen[field.name] = (
            value[list(rows)] if isinstance(value, Tensor) else tuple(value[row] for row in rows)
        )
    return Scenes(**chosen)


def _render(renderer: FaceRenderer, scenes: Scenes) -> tuple[Tensor, Tensor]:
    """Faces (N, 3, S, S) in [0, 1] and masks (N, 1, S, S) bool."""
    count = len(scenes.subject)
    made = [
        renderer.render(_rows(scenes, range(start, min(start + _BATCH, count))))
        for start in range(0, count, _BATCH)
    ]
    faces = photos_to_faces(np.concatenate([part.faces for part in made]))
    return faces, torch.cat([part.mask for part in made]).bool()


@torch.inference_mode()
def _picture(subject: Subject, pairs: Mapping[FactorName, Pair]) -> Photo:
    """The first pairs: both faces, and for each factor the exchange and its truth."""
    rows: dict[str, list[Photo]] = {}
    for name, given in pairs.items():
        faces, others, truth, _ = (each[:_SHOWN] for each in given)
        own = subject.model.encode(faces)
        if not rows:
            rows["face"], rows["the other face"] = face_to_photo(faces), face_to_photo(others)
            rows["face, redrawn"] = face_to_photo(subject.model.decode(own))
        codes = transfer(own, subject.model.encode(others), [name], subject.header.spec)
        rows[f"the other's {name}"] = face_to_photo(subject.model.decode(codes))
        rows[f"{name}: rendered truth"] = face_to_photo(truth)
    return faces_picture(rows, f"{subject.name}: factors of rendered faces exchanged")
