"""Where a head points, drawn as three axes on its photo."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image, ImageDraw

from facefactor.errors import FaceFactorError
from facefactor.face_expressions import Expressions
from facefactor.geometry.rotations import rotation_matrix
from facefactor.images import Photo
from facefactor.photo_edits import PhotoFace
from facefactor.sheets import around

# To the image's right, up, and out of the face: (x, y, z) of `geometry.rotations`.
_COLOURS = ((220, 50, 47), (60, 160, 60), (38, 110, 220))
_LENGTH = 0.6  # of the box's width


def pose_axes(face: PhotoFace, seen: Expressions) -> Photo:
    """The photo around a face with the axes of its head: red to the image's right, green up, blue
    out of the face, which is a point for a head that looks at the camera.

    Raises:
        FaceFactorError: the angles are not known.
    """
    if seen.yaw_deg is None or seen.pitch_deg is None or seen.roll_deg is None:
        raise FaceFactorError(f"{face.name}: the angles of this head are not known")
    left, top, right, bottom = face.found.box
    middle = np.array([left + right, top + bottom]) / 2
    tips = middle + _LENGTH * (right - left) * axis_tips(
        seen.yaw_deg, seen.pitch_deg, seen.roll_deg
    )
    picture = Image.fromarray(face.photo)
    draw = ImageDraw.Draw(picture)
    width = max(2, round((right - left) / 28))
    for tip, colour in zip(tips, _COLOURS, strict=True):
        draw.line([*middle, *tip], fill=colour, width=width)
        draw.ellipse([*(tip - width), *(tip + width)], fill=colour)
    return around(np.array(picture), face.found.box)


def axis_tips(yaw_deg: float, pitch_deg: float, roll_deg: float) -> np.ndarray:
    """Where the three unit axes of a head end in its photo, from its middle: (3, 2), y down."""
    rotation = rotation_matrix(torch.tensor([yaw_deg, pitch_deg, roll_deg], dtype=torch.float64))
    columns = rotation.mT.numpy()  # row i: where axis i of the head points
    return columns[:, :2] * np.array([1.0, -1.0])
