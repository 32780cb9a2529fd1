"""What a model says of the normals, rotation, shape and light of faces, against what is so."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from facefactor.evaluation.normals import normals_scores
from facefactor.evaluation.tables import ResultTable, Score
from facefactor.geometry.lighting import harmonic_basis
from facefactor.geometry.rotations import geodesic_distance, nearest_rotation

_SPHERE_PX = 32  # side of the picture of a sphere that lights are compared on
_OUTER_EYES = (36, 45)  # corners, of the 68 landmarks


@dataclass(frozen=True, eq=False)
class SolidFaces:
    """N faces in three dimensions, as they are or as somebody says they are."""

    normals: Tensor  # (N, 3, S, S), x to the image's right, y up, z to the camera; 0: none said
    mask: Tensor  # (N, 1, S, S) bool, where the face is
    rotation: Tensor  # (N, 3, 3), of `geometry.rotations`
    shape: Tensor  # (N, V, 3) cm, neither turned nor scaled
    lighting: Tensor  # (N, 9), of `geometry.lighting`

    def __len__(self) -> int:
        return len(self.rotation)


def solid_errors(
    told: SolidFaces, truth: SolidFaces, landmarks68: Tensor, dataset: str, model: str = ""
) -> ResultTable:
    """All errors of one teller.

    Args:
        landmarks68: (68,) vertices of a shape.

    Raises:
        ValueError: faces of other shapes or numbers, or NaN among what is told.
    """
    counted = truth.mask
    both = (told.mask & counted).flatten(1).sum(dim=1).double()
    either = (told.mask | counted).flatten(1).sum(dim=1)
    scores = (
        *normals_scores(told.normals, truth.normals, counted),
        Score("mask, overlap (intersection over union)", 100 * (both / either).mean().item(), "%"),
        *rotation_scores(told.rotation, truth.rotation),
        *shape_scores(told.shape, truth.shape, landmarks68),
        *lighting_scores(told.lighting, truth.lighting),
    )
    return ResultTable("rendered faces", dataset, scores, model, n=len(truth))


def rotation_scores(told: Tensor, truth: Tensor) -> tuple[Score, ...]:
    """Angle between rotations (N, 3, 3), degrees: mean and deviation, and median."""
    _check(told, truth, "rotations")
    angle = geodesic_distance(told.double(), truth.double())
    return (_mean_score("rotation", angle, "°"), Score("rotation, median", _median(angle), "°"))


def shape_scores(told: Tensor, truth: Tensor, landmarks68: Tensor) -> tuple[Score, ...]:
    """Distances of shapes (N, V, 3) in cm, laid on one another as they are: nothing is aligned.

    Of the 68 landmarks, in mm and in % of the true distance of the outer eye corners, and of all
    vertices, in mm.
    """
    _check(told, truth, "shapes")
    away = 10 * torch.linalg.vector_norm(told.double() - truth.double(), dim=2)  # (N, V) mm
    marks = away[:, landmarks68].mean(dim=1)
    first, second = (truth[:, landmarks68[place]].double() for place in _OUTER_EYES)
    eyes = 10 * torch.linalg.vector_norm(second - first, dim=1)
    return (
        _mean_score("mesh, 68 landmarks", marks, "mm"),
        _mean_score("mesh, 68 landmarks, of the eye distance", 100 * marks / eyes, "%"),
        _mean_score("mesh, all vertices", away.mean(dim=1), "mm"),
    )


def lighting_scores(told: Tensor, truth: Tensor) -> tuple[Score, ...]:
    """Differences of lights (N, 9) once `told` was made as bright as fits best.

    How bright a light is cannot be told from a photo, as the albedo is not known: each told light
    is scaled by the number (not below 0) that brings its shading of a sphere nearest to the true.

    Returns:
        The root mean square difference of shading on the sphere's visible half, in % of the true
        mean shading there; and the distance of the coefficients, in % of the length of the true.
    """
    _check(told, truth, "lights")
    basis = harmonic_basis(sphere_normals()[None].double())[0]  # (9, K)
    said, so = told.double() @ basis, truth.double() @ basis  # (N, K)
    scale = (said * so).sum(dim=1) / said.square().sum(dim=1).clamp(min=1e-12)
    scale = scale.clamp(min=0)[:, None]
    on_sphere = (scale * said - so).square().mean(dim=1).sqrt() / so.mean(dim=1)
    length = torch.linalg.vector_norm(truth.double(), dim=1)
    apart = torch.linalg.vector_norm(scale * told.double() - truth.double(), dim=1) / length
    return (
        _mean_score("light, shading of a sphere", 100 * on_sphere, "%"),
        _mean_score("light, coefficients", 100 * apart, "%"),
    )


def sphere_normals(size: int = _SPHERE_PX) -> Tensor:
    """(3, K) normals at the pixels of a picture of a sphere that fills a square."""
    axis = (torch.arange(size) + 0.5) * 2 / size - 1
    down, x = torch.meshgrid(axis, axis, indexing="ij")
    seen = x.square() + down.square() < 1
    x, y = x[seen], -down[seen]
    return torch.stack([x, y, (1 - x.square() - y.square()).sqrt()])


def frontal_mean_face(truth: SolidFaces, mean_shape: Tensor) -> SolidFaces:
    """What needs no photo: the mean face (V, 3), looking ahead, its normals too, in even light."""
    normals = torch.zeros_like(truth.normals)
    normals[:, 2] = 1
    lighting = torch.zeros_like(truth.lighting)
    lighting[:, 0] = 1
    return SolidFaces(
        normals,
        torch.ones_like(truth.mask),
        torch.eye(3).to(truth.rotation).expand_as(truth.rotation),
        mean_shape.expand_as(truth.shape),
        lighting,
    )


def mean_of_truths(truth: SolidFaces) -> SolidFaces:
    """One answer for all faces, the mean of the very truths: no constant does much better.

    A pixel's normal is the mean over the faces that have one there.
    """

    def for_all(value: Tensor) -> Tensor:
        return value[None].expand(len(truth), *value.shape)

    return SolidFaces(
        for_all(F.normalize((truth.normals * truth.mask).sum(dim=0), dim=0)),
        for_all(truth.mask.float().mean(dim=0) > 0.5),
        for_all(nearest_rotation(truth.rotation.double().mean(dim=0)).to(truth.rotation)),
        for_all(truth.shape.mean(dim=0)),
        for_all(truth.lighting.mean(dim=0)),
    )


def _mean_score(name: str, errors: Tensor, unit: str) -> Score:
    return Score(name, errors.mean().item(), unit, spread=errors.std(correction=0).item())


def _median(errors: Tensor) -> float:
    return errors.median().item()


def _check(told: Tensor, truth: Tensor, what: str) -> None:
    if told.shape != truth.shape or not len(truth):
        raise ValueError(
            f"{what} told are {tuple(told.shape)} and the true ones {tuple(truth.shape)}; they "
            "must be of the same faces, and of one or more"
        )
    if not told.isfinite().all():
        raise ValueError(f"{what} told hold NaN or infinity")
