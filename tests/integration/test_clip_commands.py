"""A clip's expressions on a portrait with the packaged FaceCycle: real pixels, found by the real
detector."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import facefactor as ff
from facefactor.cli import main
from facefactor.demo import portrait_paths
from facefactor.images import read_photo, write_image
from facefactor.videos import frame_rate, read_frames, read_timed_frames, write_video
from tests.made_clips import PITCH, heard, sounding_clip


@pytest.fixture(scope="module")
def photos() -> tuple[np.ndarray, np.ndarray]:
    """Two heads, cut small so that finding them is quick, of one size."""
    hopper, collins = (read_photo(path) for path in portrait_paths().values())
    return hopper[40:300, 120:380].copy(), collins[:260, 90:350].copy()


def run(*words: object) -> int:
    with pytest.raises(SystemExit) as left:
        main([str(word) for word in words])
    return int(left.value.code or 0)


def test_a_portrait_takes_the_expression_of_each_frame(
    photos: tuple[np.ndarray, np.ndarray], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    hopper, collins = photos
    write_image(tmp_path / "me.png", hopper)
    write_video(tmp_path / "clip.mp4", [0 * hopper, collins, 0 * hopper, hopper, collins], fps=25)
    out = tmp_path / "film.mp4"
    words = ("--from", tmp_path / "clip.mp4", "--factor", "expression", "-o", out)
    assert run("transfer", tmp_path / "me.png", *words, "--model", "facecycle") == 0
    assert "no face in 3 of 5 frames (0, 2-3)" in caplog.text
    assert frame_rate(out) == 25
    film = [frame.astype(int) for frame in read_frames(out)]
    assert [frame.shape for frame in film] == [hopper.shape] * 5

    model, me = ff.load("facecycle"), ff.read_face(hopper)
    friend = ff.read_face(list(read_frames(tmp_path / "clip.mp4"))[1])
    smile = ff.transfer_face(model, me, friend).astype(int)
    changed = np.abs(smile - hopper).mean()
    assert changed > 4
    for frame in film:  # Collins' expression throughout, as Hopper is somebody else
        assert np.abs(frame - smile).mean() < changed / 2  # the codec is lossy


@pytest.mark.parametrize(
    "words",
    [
        ("neutral",),
        ("relight", "--light-from", "left"),
        ("transfer", "--from", "friend.png"),
        ("transfer", "--from", "friend.mp4"),
    ],
)
def test_a_video_is_edited_and_keeps_its_sound_and_times(words, photos, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    hopper, collins = photos
    seconds = [0.0, 0.1, 0.35, 0.4]
    sounding_clip(Path("clip.mp4"), [hopper, hopper, collins, hopper], seconds)
    write_image("friend.png", collins)
    write_video("friend.mp4", [collins] * 4, fps=10)
    verb, *options = words
    assert run(verb, "clip.mp4", *options, "-o", "film.mp4", "--smooth", 1) == 0
    assert [when for _, when in read_timed_frames("film.mp4")] == pytest.approx(seconds, abs=2e-3)
    assert heard(Path("film.mp4"))[1] == pytest.approx(PITCH, abs=3)
    pairs = zip(read_frames("clip.mp4"), read_frames("film.mp4"), strict=True)
    moved = [np.abs(before.astype(int) - after).mean() for before, after in pairs]
    # The codec alone moves less than 2; Collins is not who is followed.
    assert moved[2] < 2 < 2.5 < min(moved[0], moved[1], moved[3]), moved


def test_films_that_cannot_be(photos, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_image("me.png", photos[0])
    write_video("clip.mp4", [photos[0]] * 2, fps=10)
    for words, message in [
        (("neutral", "me.png", "-o", "film.mp4"), "film.mp4: a film is made of a video"),
        (("neutral", "clip.mp4", "-o", "me2.png"), "clip.mp4: is a video; its frames make a film"),
        (("neutral", "clip.mp4", "-o", "clip.mp4"), "clip.mp4: would overwrite"),
        (("transfer", "clip.mp4", "--from", "me.png", "-o", "o.png"), "clip.mp4: is a video, its"),
        (("transfer", "clip.mp4", "--from", "me.png", "-o", "clip.mp4"), "would overwrite"),
        (
            ("relight", "clip.mp4", "--light-from", "left", "--steps", "3", "-o", "s.png"),
            "clip.mp4: is a video; steps are of photos",
        ),
    ]:
        assert run(*words) == 1, words
        assert message in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clip.mp4", "me.png"]
