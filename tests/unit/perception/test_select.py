import numpy as np
import pytest

from facefactor.perception.mtcnn import DetectedFace
from facefactor.perception.select import NoFaceError, select_faces


def face(side: float, left: float = 0) -> DetectedFace:
    return DetectedFace((left, 0, left + side, side), np.zeros((5, 2), np.float32), 0.9)


SMALL, LARGE, MIDDLE = face(10), face(90, left=200), face(40, left=500)
FACES = [SMALL, LARGE, MIDDLE]


@pytest.mark.parametrize(
    ("which", "expected"),
    [
        ("largest", [LARGE]),
        ("all", [LARGE, MIDDLE, SMALL]),
        ("0", [LARGE]),
        ("1", [MIDDLE]),
        ("2", [SMALL]),
    ],
)
def test_faces_are_ordered_by_size(which, expected):
    assert select_faces(FACES, which) == expected


def test_the_most_similar_face_is_chosen():
    likeness = {id(SMALL): 0.3, id(LARGE): -0.2, id(MIDDLE): 0.1}
    chosen = select_faces(FACES, "like:friend.jpg", similarity=lambda f: likeness[id(f)])
    assert chosen == [SMALL]


def test_a_similarity_is_not_asked_where_it_does_not_matter():
    def similarity(_):
        pytest.fail("compared")

    assert select_faces(FACES, "1", similarity) == [MIDDLE]


@pytest.mark.parametrize("which", ["largest", "all", "0", "like:a.jpg"])
def test_no_face_names_the_photo_and_says_what_to_do(which):
    with pytest.raises(NoFaceError, match=r"cat\.jpg: no face found; use a photo"):
        select_faces([], which, similarity=lambda _: 0.0, photo_name="cat.jpg")


def test_a_number_too_high_says_how_many_there_are():
    with pytest.raises(NoFaceError, match=r"group\.jpg: face 3 .* there are 3; choose 0 .* to 2"):
        select_faces(FACES, "3", photo_name="group.jpg")


@pytest.mark.parametrize("which", ["", "-1", "biggest", "1.5", "like:", "²"])
def test_what_is_not_understood_lists_the_choices(which):
    with pytest.raises(ValueError, match="largest, all, a number"):
        select_faces(FACES, which)


def test_likeness_needs_a_similarity():
    with pytest.raises(ValueError, match="similarity"):
        select_faces(FACES, "like:friend.jpg")
