"""Rendered faces of people whom nothing was trained on: normals, rotation, mesh and light against
what is exactly so; floors, and the way of fitting a morphable model to landmarks, beside."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from facefactor.abilities import SolidModel, solid_model
from facefactor.data.held_out import TRAINED_PEOPLE
from facefactor.data.pseudolabels import pseudo_labels, unpack_normals
from facefactor.errors import FaceFactorError
from facefactor.evaluation.floors import encode_faces
from facefactor.evaluation.pictures import faces_picture
from facefactor.evaluation.solids import (
    SolidFaces,
    frontal_mean_face,
    mean_of_truths,
    solid_errors,
)
from facefactor.factors import EXPRESSIONS
from facefactor.geometry.morphable import MorphableModel
from facefactor.geometry.rotations import nearest_rotation
from facefactor.geometry.similarity import apply_affine, similarity_transform
from facefactor.geometry.uv_grid import resample
from facefactor.images import Photo, photos_to_faces
from facefactor.perception.packaged import packaged_landmarks
from facefactor.protocols.rendered import (
    morphable_of,
    normals_as_photos,
    renderer_of,
    variety,
)
from facefactor.protocols.subject import Findings, Subject

if TYPE_CHECKING:
    from facefactor.data.synthetic import SyntheticFaces

FOUND = "fit to the landmarks found"
PEOPLE = 60  # each with every one of EXPRESSIONS
_SHOWN = 8
_BATCH = 64


@torch.inference_mode()
def synthetic_truth(subject: Subject, folders: Mapping[str, Path], seed: int) -> Findings:
    """Of the model, itself untrained, two answers that need no photo, and two fits to landmarks:
    those that the packaged network finds at its own resolution, and the true ones.

    Raises:
        FaceFactorError: the model knows no normals, no morphable model was named, or another one
            than the weights learned from.
    """
    from facefactor.data.synthetic import synthetic_faces  # brings kornia: slow

    solid_model(subject.model)
    source = morphable_of(subject, "synthetic-truth")
    renderer, spec = renderer_of(subject, source), subject.header.spec
    people = range(TRAINED_PEOPLE, TRAINED_PEOPLE + PEOPLE)
    made = synthetic_faces(renderer, people, EXPRESSIONS, seed, **variety(spec))
    grid = resample(source)
    truth = SolidFaces(
        made.normals,
        made.mask.bool(),
        made.rotation,
        grid.vertices(made.identity, made.expression),
        made.lighting,
    )
    rows = [place * (len(EXPRESSIONS) + 1) % len(made) for place in range(_SHOWN)]
    shown = {
        "rendered": list(made.faces[rows]),
        "its normals": normals_as_photos(made.normals[rows], made.mask[rows]),
    }
    dataset = f"{len(made)} rendered faces of {PEOPLE} people, none of them trained on"
    tables = []
    for name, told in _tellers(subject, made, truth, source, grid, seed):
        table = solid_errors(told, truth, grid.landmarks68, dataset, name)
        instruments = ("landmarks",) if name == FOUND else ()
        tables.append(replace(table, seed=seed, instruments=instruments))
        shown[name] = normals_as_photos(told.normals[rows], told.mask[rows])
    return Findings(tables, {"synthetic-normals.png": _picture(subject, shown)})


def _tellers(
    subject: Subject,
    made: SyntheticFaces,
    truth: SolidFaces,
    source: MorphableModel,
    grid: MorphableModel,
    seed: int,
) -> Iterator[tuple[str, SolidFaces]]:
    """Who tells, and what: one after the other, as 9,375 vertices of each face take memory."""
    faces = photos_to_faces(made.faces)
    yield subject.name, told_by(solid_model(subject.model), faces, source, grid)
    untrained = solid_model(subject.untrained(seed))
    yield f"{subject.name}, untrained", told_by(untrained, faces, source, grid)
    yield "mean face, frontal, in even light", frontal_mean_face(truth, grid.neutral)
    yield "mean of the truths", mean_of_truths(truth)
    labels = subject.cache / "labels"
    marks = _found_landmarks(made, source, variety(subject.header.spec), seed)
    yield FOUND, _fitted(made, marks, source, grid, labels)
    yield "fit to the true landmarks", _fitted(made, made.landmarks, source, grid, labels)


def told_by(
    model: SolidModel, faces: Tensor, source: MorphableModel, grid: MorphableModel
) -> SolidFaces:
    """What a model says of faces (N, 3, S, S).

    Raises:
        FaceFactorError: its weights learned from a morphable model of other modes than `source`.
    """
    parts = []
    for part in torch.split(faces, _BATCH):
        factors = model.encode(part)
        _check_modes(model, source, *model.coefficients(factors))
        drawn = model.render(factors)
        moved = model.shape(factors["identity"], factors["expression"]).mT
        # the rendered light is grey
        lighting = model.lighting(factors["illumination"]).view(len(part), -1, 9).mean(dim=1)
        rotation = nearest_rotation(factors["pose"].reshape(-1, 3, 3))
        parts.append((drawn.normals, drawn.mask > 0.5, rotation, grid.neutral + moved, lighting))
    return SolidFaces(*(torch.cat(each) for each in zip(*parts, strict=True)))


def _check_modes(
    model: SolidModel, source: MorphableModel, identity: Tensor, expression: Tensor
) -> None:
    has = len(source.identity), len(source.expression)
    needs = identity.shape[1], expression.shape[1]
    if has != needs:
        raise FaceFactorError(
            f"the morphable model has {has[0]} identity modes and {has[1]} expressions, these "
            f"weights of {model.spec.name} learned from one with {needs[0]} and {needs[1]}; name "
            "that one (--morphable FILE)"
        )


def _found_landmarks(
    made: SyntheticFaces, source: MorphableModel, varied: Mapping[str, bool], seed: int
) -> Tensor:
    """(N, 68, 2) in shares of the side: the same scenes rendered as the landmark network takes
    faces, what it finds there, and that brought into the crop of `made`.

    The two crops of one head differ by a similarity of the plane, which is known, as it is where a
    photo is cut twice; here the true landmarks of both tell it.
    """
    from facefactor.data.synthetic import FaceRenderer, synthetic_faces

    network = packaged_landmarks()
    renderer = FaceRenderer(source, network.crop, network.image_size)
    found = []
    for number in dict.fromkeys(made.subject.tolist()):  # one by one: larger pictures
        seen = synthetic_faces(renderer, [number], EXPRESSIONS, seed, **varied)
        marks = encode_faces(network, seen.faces).view(-1, 68, 2)
        there = made.landmarks[made.subject == number]
        for own, true_here, true_there in zip(marks, seen.landmarks, there, strict=True):
            found.append(apply_affine(similarity_transform(true_here, true_there), own))
    return torch.from_numpy(np.stack(found)).float()


def _fitted(
    made: SyntheticFaces, marks: Tensor, source: MorphableModel, grid: MorphableModel, folder: Path
) -> SolidFaces:
    """What training would be told of these faces."""
    labels = pseudo_labels(made.faces, marks.numpy(), source, folder)
    normals, mask = unpack_normals(labels.packed_normals)
    lighting = torch.from_numpy(labels.light)
    unlit = lighting.isnan().any(dim=1)  # no pixel within the landmarks: even light
    lighting[unlit] = torch.eye(9)[0]
    shape = grid.vertices(torch.from_numpy(labels.identity), torch.from_numpy(labels.expression))
    return SolidFaces(normals, mask > 0, torch.from_numpy(labels.rotation), shape, lighting)


def _picture(subject: Subject, shown: Mapping[str, list[Photo]]) -> Photo:
    return faces_picture(shown, f"{subject.name}: normals of rendered faces, and who tells them")
