"""The axes of a head, by hand, and where they are drawn."""

import numpy as np
import pytest

from facefactor.errors import FaceFactorError
from facefactor.face_expressions import Expressions
from facefactor.pose_axes import axis_tips, pose_axes
from tests.made_faces import made_face, noise

RIGHT, UP, NOWHERE = (1, 0), (0, -1), (0, 0)  # y down


@pytest.mark.parametrize(
    ("angles", "tips"),
    [
        ((0, 0, 0), (RIGHT, UP, NOWHERE)),
        ((90, 0, 0), (NOWHERE, UP, (-1, 0))),  # the nose to the photo's left
        ((0, 90, 0), (RIGHT, NOWHERE, UP)),  # looks up
        ((0, 0, 90), ((0, 1), RIGHT, NOWHERE)),  # the top of the head to the photo's right
    ],
)
def test_tips_by_hand(angles, tips):
    np.testing.assert_allclose(axis_tips(*angles), tips, atol=1e-12)


def test_a_frontal_head_has_red_to_the_right_and_green_up():
    face = made_face(noise(300, 300), 100)
    drawn = pose_axes(face, Expressions({"neutral": 1.0}, 0.0, 0.0, 0.0)).astype(int)
    middle = drawn.shape[0] // 2
    right, up = drawn[middle, middle + 45], drawn[middle - 45, middle]
    assert right[0] - right[1] > 100 and up[1] - up[0] > 80
    assert (face.photo == noise(300, 300)).all()  # the photo itself is not drawn on


def test_without_angles_there_is_nothing_to_draw():
    with pytest.raises(FaceFactorError, match="not known"):
        pose_axes(made_face(noise(), 60), Expressions({"neutral": 1.0}))
