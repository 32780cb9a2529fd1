"""Who is followed through a clip: two portraits that move, vanish, are cut and come back."""

import numpy as np
import pytest

from facefactor.demo import portrait_paths
from facefactor.following import Follower, overlap, read_film
from facefactor.images import read_photo, write_image
from facefactor.perception.mtcnn import DetectedFace
from facefactor.perception.select import FaceChoiceError
from facefactor.photo_edits import face_detector
from facefactor.videos import write_video

GREY = np.full((200, 320, 3), 127, np.uint8)


@pytest.fixture(scope="module")
def heads():
    """Hopper and Collins, 160 pixels high."""
    hopper, collins = (read_photo(path) for path in portrait_paths().values())
    return hopper[40:300, 120:380][::2, ::2][:130], collins[:260, 90:350][::2, ::2][:130]


def scene(*placed):
    """A frame with heads at (head, left, top)."""
    frame = GREY.copy()
    for head, left, top in placed:
        frame[top : top + len(head), left : left + head.shape[1]] = head
    return frame


def middle(face):
    return None if face is None else (face.box[0] + face.box[2]) / 2


def test_a_face_is_followed_though_another_comes(heads):
    hopper, collins = heads
    follower = Follower()
    assert middle(follower.find(scene((hopper, 10, 40)))) < 140
    for step in range(1, 6):
        face = follower.find(scene((hopper, 10 + 6 * step, 40), (collins, 180, 60)))
        assert abs(middle(face) - middle(follower._last)) < 1 and middle(face) < 170


def test_after_a_cut_it_is_who_looks_alike(heads):
    hopper, collins = heads
    follower = Follower()
    assert follower.find(scene((hopper, 10, 40))) is not None
    assert follower.find(255 - GREY // 4) is None  # nobody
    assert follower.find(scene((collins, 10, 40))) is None  # somebody else, in the same place
    back = follower.find(scene((collins, 10, 40), (hopper, 180, 50)))
    assert middle(back) > 180


def test_who_is_asked_for(heads, tmp_path):
    hopper, collins = heads
    both = scene((hopper, 10, 40), (collins, 180, 50))
    sizes = face_detector().detect(both)
    for which in ("0", "1"):
        assert Follower(which).find(both).box == sizes[int(which)].box
    assert Follower("2").find(both) is None
    for name, head, place in (("hopper", hopper, 10), ("collins", collins, 180)):
        write_image(tmp_path / f"{name}.png", np.pad(head, ((20, 20), (20, 20), (0, 0))))
        follower = Follower(f"like:{tmp_path / name}.png")
        other = collins if head is hopper else hopper
        assert follower.find(scene((other, 90, 40))) is None
        assert place < middle(follower.find(both)) < place + 130
    with pytest.raises(FaceChoiceError, match="'smallest' is not understood"):
        Follower("smallest").find(both)


def test_a_place_is_looked_at_before_the_whole_frame(heads, monkeypatch):
    follower = Follower()
    first = follower.find(scene((heads[0], 10, 40)))
    detector = face_detector()
    monkeypatch.setattr(detector, "detect", lambda frame: pytest.fail("searched the whole frame"))
    near = follower.find(scene((heads[0], 18, 44)))
    assert middle(near) - middle(first) == pytest.approx(8, abs=4)


def test_all_faces_are_found_anew_in_each_frame(heads, tmp_path):
    hopper, collins = heads
    frames = [scene((hopper, 10, 40)), scene((hopper, 10, 40), (collins, 180, 50)), GREY]
    write_video(tmp_path / "clip.mp4", frames, fps=10)
    assert [len(frame.faces) for frame in read_film(tmp_path / "clip.mp4", "all")] == [1, 2, 0]


def test_overlap_is_intersection_over_union():
    points = np.zeros((5, 2), np.float32)
    first, second, third = (
        DetectedFace(box, points, 1.0)
        for box in ((0.0, 0, 10, 10), (5.0, 0, 15, 10), (20.0, 0, 30, 10))
    )
    assert overlap(first, second) == pytest.approx(50 / 150)
    assert overlap(first, first) == 1 and overlap(first, third) == 0
