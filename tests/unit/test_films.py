"""A face edited in each frame of a clip: whose, when, and with what sound."""

import numpy as np
import pytest

from facefactor import following
from facefactor.errors import FaceFactorError
from facefactor.films import steady, write_film, write_with_times_of
from facefactor.following import FilmFrame, Reading, read_film
from facefactor.images import read_timed_frames, write_image
from facefactor.perception.select import NoFaceError
from facefactor.smoothing import neighbourhoods
from facefactor.videos import VideoError, frame_rate, read_frames, write_video
from tests.made_clips import PITCH, broken_clip, heard, sounding_clip
from tests.made_faces import made_face, noise, use_finder

SIDE, SQUARE = 96, 60
DARK = 0 * noise(SIDE, SIDE)
LIGHT = noise(SIDE, SIDE)


@pytest.fixture(autouse=True)
def finder(monkeypatch):
    use_finder(monkeypatch, SQUARE)


@pytest.fixture
def clip(tmp_path):
    """Light and dark frames."""
    write_video(tmp_path / "clip.mp4", [DARK, LIGHT, DARK, LIGHT], fps=12.5)
    return tmp_path / "clip.mp4"


def inverted(faces):
    return 255 - faces[0].photo


def test_frames_without_a_face_pass_as_they_are(clip, tmp_path):
    out, steps = tmp_path / "film.mp4", []
    reading = write_film(out, clip, inverted, progress=lambda *done: steps.append(done))
    assert reading == Reading(4, [0, 2]) and steps == [(k, None) for k in (1, 2, 3, 4)]
    assert reading.gaps("they stay as they are") == (
        "no face in 2 of 4 frames (0, 2); they stay as they are"
    )
    assert frame_rate(out) == 12.5
    pairs = zip(read_frames(clip), read_frames(out), strict=True)
    for number, (before, after) in enumerate(pairs):
        expected = before if number in (0, 2) else 255 - before
        assert np.abs(after.astype(int) - expected).mean() < 8  # the codec is lossy


def test_squares_are_black_without_a_face(clip, tmp_path):
    def square(faces):
        return np.full((16, 16, 3), 200, np.uint8)

    write_film(tmp_path / "film.gif", clip, square, square=16)
    found = list(read_frames(tmp_path / "film.gif"))
    assert [frame.shape for frame in found] == [(16, 16, 3)] * 4
    assert [bool(frame.any()) for frame in found] == [False, True, False, True]
    with pytest.raises(FaceFactorError, match="squares of several faces make no film"):
        write_film(tmp_path / "film.gif", clip, square, "all", square=16)


def test_the_film_ends_with_its_edits(clip, tmp_path):
    write_film(tmp_path / "film.mp4", clip, iter([inverted] * 3))
    assert len(list(read_frames(tmp_path / "film.mp4"))) == 3


@pytest.mark.parametrize("codec", ["aac", "flac"])  # the second is no sound of an MP4
def test_times_and_sound_are_the_clip_s(codec, tmp_path):
    seconds = [0.0, 0.1, 0.25, 0.3, 0.65, 0.7, 0.9]
    clip, out = tmp_path / "clip.mkv", tmp_path / "film.mp4"
    sounding_clip(clip, [LIGHT] * len(seconds), seconds, codec)
    write_film(out, clip, inverted)
    shown = [when for _, when in read_timed_frames(out)]
    assert shown == pytest.approx(seconds, abs=2e-3)
    length, pitch = heard(out)
    assert length == pytest.approx(1.0, abs=0.06) and pitch == pytest.approx(PITCH, abs=3)
    write_with_times_of(out, [DARK] * 3, clip)  # fewer frames: the sound ends with them
    assert [when for _, when in read_timed_frames(out)] == pytest.approx(seconds[:3], abs=2e-3)
    assert 0.25 < heard(out)[0] < 0.5


def test_a_film_of_a_clip_that_breaks_off_is_kept_so_far(tmp_path):
    random = np.random.default_rng(0)
    frames = [random.integers(60, 200, LIGHT.shape).astype(np.uint8) for _ in range(40)]
    count = broken_clip(tmp_path / "clip.mkv", frames)
    reading = write_film(tmp_path / "film.mp4", tmp_path / "clip.mkv", inverted)
    assert 0 < count < 40 and len(list(read_frames(tmp_path / "film.mp4"))) == count
    assert f"clip.mkv: breaks off after frame {count}" in reading.error


def test_a_face_that_no_frame_has(clip, tmp_path):
    """A second face is asked for, and there is never more than one."""
    with pytest.raises(NoFaceError, match="clip.mp4: no face found in any of its 4 frames"):
        write_film(tmp_path / "film.mp4", clip, inverted, "1")
    write_image(tmp_path / "dark.png", DARK)
    with pytest.raises(NoFaceError, match="dark.png: no face found"):
        write_film(tmp_path / "film.mp4", clip, inverted, f"like:{tmp_path / 'dark.png'}")
    assert not (tmp_path / "film.mp4").exists()


def breaking(*frames):
    def read(path):
        yield from ((frame, number / 10) for number, frame in enumerate(frames))
        raise VideoError(f"{path}: breaks off after frame {len(frames)}")

    return read


def test_reading_tells_where_a_clip_breaks_off(monkeypatch):
    monkeypatch.setattr(following, "read_timed_frames", breaking(DARK, LIGHT))
    reading = Reading()
    assert len(list(read_film("cut.mp4", reading=reading))) == 2
    assert reading == Reading(2, [0], "cut.mp4: breaks off after frame 2")
    monkeypatch.setattr(following, "read_timed_frames", breaking(DARK))
    with pytest.raises(NoFaceError, match="cut.mp4: breaks off after 1 frames without a face"):
        list(read_film("cut.mp4"))
    monkeypatch.setattr(following, "read_timed_frames", breaking())
    with pytest.raises(VideoError, match="breaks off after frame 0"):
        list(read_film("cut.mp4"))


def test_memory_stays_flat(tmp_path, monkeypatch):
    """Of a clip without an end no more is taken than what smoothing looks at."""
    taken = 0

    def endless(path):
        nonlocal taken
        while True:
            yield LIGHT, taken / 10
            taken += 1

    monkeypatch.setattr(following, "read_timed_frames", endless)
    film = steady(read_film("endless.mp4"), width=1.5)
    for _ in range(50):
        next(film)
    assert taken <= 50 + 2 * 1.5 + 1


def shown(shift: float, seconds: float = 0.0) -> FilmFrame:
    face = made_face(LIGHT, SQUARE)
    box = tuple(side + shift for side in face.found.box)
    found = type(face.found)(box, face.found.points + np.float32(shift), 1.0)
    return FilmFrame(LIGHT, seconds, [type(face)("photo", LIGHT, found)])


def places(film) -> list[float]:
    own = made_face(LIGHT, SQUARE).found.points
    return [float((frame.faces[0].found.points - own).mean()) for frame in film if frame.faces]


def test_steady_points_are_gaussian_means_of_their_neighbours():
    shifts = [0.0, 4.0, 0.0, 4.0, 0.0]
    film = [shown(shift) for shift in shifts]
    expected = []
    for k in range(5):
        near = [j for j in range(5) if abs(j - k) <= 2]
        weights = [np.exp(-0.5 * (j - k) ** 2) for j in near]
        expected.append(np.average([shifts[j] for j in near], weights=weights))
    assert places(steady(film, 1.0)) == pytest.approx(expected, abs=1e-4)
    assert places(steady(film, 0.0)) == pytest.approx(shifts, abs=1e-4)
    with pytest.raises(FaceFactorError, match="smoothing is over -1 frames"):
        list(steady(film, -1.0))


def test_steady_means_stop_where_the_face_jumps_or_is_gone():
    film = [shown(0.0), shown(0.0), shown(50.0), FilmFrame(DARK, 0.0, []), shown(50.5)]
    assert places(steady(film, 2.0)) == pytest.approx([0, 0, 50, 50.5], abs=1e-4)


def test_neighbourhoods_are_whole_streams_where_these_are_short():
    found = list(neighbourhoods("abc", 5.0))
    assert [around.item for around in found] == ["a", "b", "c"]
    assert all(around.items == ["a", "b", "c"] for around in found)
    assert all(around.weights.sum() == pytest.approx(1) for around in found)
    alone = list(neighbourhoods("abc", 0.0))
    assert [around.items for around in alone] == [["a"], ["b"], ["c"]]
