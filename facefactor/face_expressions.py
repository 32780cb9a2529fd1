"""The expression on a face, and where the head points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from facefactor.errors import FaceFactorError
from facefactor.factors import FaceModel, ModelSpec
from facefactor.geometry.similarity import apply_affine, invert_affine
from facefactor.perception.align import Placement, align
from facefactor.perception.head_pose import head_pose
from facefactor.perception.landmarks import LandmarkNetwork
from facefactor.photo_edits import PhotoFace

POSE = ("yaw_deg", "pitch_deg", "roll_deg")


class ExpressionModel(Protocol):
    """What tells expressions apart: a model such as IPD-FER, or a graph of one."""

    @property
    def spec(self) -> ModelSpec: ...

    @property
    def classes(self) -> tuple[str, ...]: ...

    def expression_probabilities(self, faces: Tensor) -> Tensor:
        """Faces as `spec` has them -> (N, K) in the order of `classes`, rows summing to 1."""
        ...


@dataclass(frozen=True)
class Expressions:
    """What one face shows.

    Angles are those of the head in its photo, in degrees with the signs of 300W-LP
    (`geometry.rotations`); None where no landmark network is at hand.
    """

    probabilities: Mapping[str, float]  # class -> probability, in the model's order
    yaw_deg: float | None = None  # positive: the nose points to the image's left
    pitch_deg: float | None = None  # positive: the face looks up
    roll_deg: float | None = None  # positive: tilted clockwise

    @property
    def expression(self) -> str:
        """The most probable class; the first of equals."""
        return max(self.probabilities, key=lambda name: self.probabilities[name])

    @property
    def probability(self) -> float:
        """Of `expression`."""
        return self.probabilities[self.expression]

    def to_dict(self) -> dict[str, Any]:
        """As the rows of a table have it: a column for each class."""
        return {
            "expression": self.expression,
            "probability": self.probability,
            **self.probabilities,
            **{name: getattr(self, name) for name in POSE},
        }


@dataclass(frozen=True, eq=False)
class Squares:
    """What networks take of one face."""

    model: Tensor  # (1, C, S, S) in [0, 1], as the model's spec has it
    landmarks: Tensor  # (1, 3, 112, 112) in [0, 1], crop "arcface"
    placement: Placement  # of the latter


def expression_model(model: FaceModel) -> ExpressionModel:
    """The model, if it tells expressions apart.

    Raises:
        FaceFactorError: it does not.
    """
    if not tells_expressions(model):
        raise FaceFactorError(
            f"{model.spec.name} does not tell expressions apart (it has codes of "
            f"{', '.join(model.spec.factors)}); name a model that does, such as ipdfer"
        )
    told: Any = model
    return told


def tells_expressions(model: FaceModel) -> bool:
    """Whether it tells expressions apart."""
    return hasattr(model, "expression_probabilities")


def cut_squares(face: PhotoFace, spec: ModelSpec) -> Squares:
    """The squares of a face; one and the same where model and landmarks take the same crop."""
    crop, size = LandmarkNetwork.crop, LandmarkNetwork.image_size
    square, placement = face.cut(spec)
    if (spec.crop, spec.image_size, spec.channels) == (crop, size, 3):
        return Squares(square, square, placement)
    return Squares(square, *align(face.photo, face.found.points, crop, size))


@torch.inference_mode()
def read_expressions(
    model: ExpressionModel, squares: Sequence[Squares], landmarks: LandmarkNetwork | None
) -> list[Expressions]:
    """Expressions and head poses of faces, read together."""
    found = model.expression_probabilities(torch.cat([one.model for one in squares])).tolist()
    told = [dict(zip(model.classes, row, strict=True)) for row in found]
    if landmarks is None:
        return [Expressions(probabilities) for probabilities in told]
    poses = head_pose(photo_landmarks(landmarks, squares)).tolist()
    return [
        Expressions(*both) for both in ((p, *pose) for p, pose in zip(told, poses, strict=True))
    ]


def photo_landmarks(network: LandmarkNetwork, squares: Sequence[Squares]) -> Tensor:
    """Landmarks in pixels of the photos, (N, 68, 2) float64.

    A crop is turned until the eyes are level, so a head's pose is read from where its landmarks lie
    in the photo: the turn of the crop is a turn of the image plane, which of a head that looks
    aside changes yaw and pitch as well as roll.
    """
    shares = network(torch.cat([one.landmarks for one in squares])).double()
    pixels = (shares * network.image_size - 0.5).numpy()  # shares count from the outer pixel edge
    found = [
        apply_affine(invert_affine(one.placement.to_crop), points)
        for one, points in zip(squares, pixels, strict=True)
    ]
    return torch.stack([torch.from_numpy(points) for points in found])
