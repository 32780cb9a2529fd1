"""A head turned to other angles, or as the head in another photo.

Angles are those of the head in its photo, as `express` tells them. The square a model sees is
turned until the eyes are level; its pose code is a rotation in that square.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from facefactor import editing
from facefactor.abilities import check_separates
from facefactor.errors import FaceFactorError
from facefactor.factors import FaceModel, Factors
from facefactor.geometry.rotations import nearest_rotation, rotation_matrix, yaw_pitch_roll
from facefactor.perception.align import Placement, place
from facefactor.photo_edits import Change, PhotoFace, encode_face


@dataclass(frozen=True)
class Angles:
    """Where a head is to point, in degrees with the signs of `geometry.rotations`; an angle that is
    None stays as it is.

    Raises:
        FaceFactorError: no angle at all, yaw or pitch beyond 90 degrees, roll beyond 180.
    """

    yaw_deg: float | None = None  # positive: the nose points to the image's left
    pitch_deg: float | None = None  # positive: the face looks up
    roll_deg: float | None = None  # positive: tilted clockwise

    def __post_init__(self) -> None:
        asked = {"yaw": self.yaw_deg, "pitch": self.pitch_deg, "roll": self.roll_deg}
        if all(angle is None for angle in asked.values()):
            raise FaceFactorError("no angle is given; give yaw, pitch or roll, in degrees")
        for name, angle in asked.items():
            most = 180 if name == "roll" else 90
            if angle is not None and not -most <= angle <= most:  # NaN is not, either
                raise FaceFactorError(
                    f"the {name} asked for is {angle:g} degrees; it is from -{most} to {most}"
                )


def turned(model: FaceModel, face: PhotoFace, goal: Tensor | Angles, share: float = 1.0) -> Change:
    """The change of the pose of `face` to `goal`, a pose code (1, *shape) or angles.

    A code that is a rotation is reached on the shortest path between rotations, others straight;
    `share` is how far on it. What the pose owns (the outline) stays the photo's own: nobody knows
    what a turned head would uncover.

    Raises:
        FactorError: the model has no pose, or angles are asked of one that has no rotation.
    """
    check_separates(model, "pose")
    spec = model.spec
    if isinstance(goal, Angles):
        editing.check_rotation(spec)
    placement = place(face.found.points, spec.crop, spec.image_size)

    def change(own: Factors) -> Factors:
        if isinstance(goal, Angles):
            rotation = rotation_for(own["pose"].reshape(-1, 3, 3), goal, placement)
        elif editing.has_rotation(spec):
            rotation = nearest_rotation(goal.reshape(-1, 3, 3))
        else:
            return editing.move_towards(own, "pose", goal, share, spec)
        return editing.turn(own, rotation, spec, share)

    return change


def pose_code(model: FaceModel, face: PhotoFace) -> Tensor:
    """The pose code (1, *shape) of a face.

    Raises:
        FactorError: the model has no pose.
    """
    check_separates(model, "pose")
    return encode_face(model, face, ["pose"])["pose"]


def rotation_for(own: Tensor, angles: Angles, placement: Placement) -> Tensor:
    """The rotations in the square of heads that have the given angles in the photo, and their own
    where none is given: `own` (N, 3, 3), in the square, near a rotation -> (N, 3, 3)."""
    to_square = plane_turn(placement)
    wanted = yaw_pitch_roll(to_square.mT @ nearest_rotation(own.double()))
    for axis, angle in enumerate((angles.yaw_deg, angles.pitch_deg, angles.roll_deg)):
        if angle is not None:
            wanted[..., axis] = angle
    return (to_square @ rotation_matrix(wanted)).to(own)


def plane_turn(placement: Placement) -> Tensor:
    """The turn about the viewing axis that a photo's heads make on their way into the square,
    (3, 3) float64, y up."""
    (a, b), (c, d) = np.asarray(placement.to_crop)[:, :2]  # y down: its y axis is turned over
    scale = float(np.hypot(a, c))
    return torch.tensor(
        [[a / scale, -b / scale, 0.0], [-c / scale, d / scale, 0.0], [0.0, 0.0, 1.0]],
        dtype=torch.float64,
    )
