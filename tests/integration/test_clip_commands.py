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
from facefactor.videos import frame_rate, read_frames, write_video


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
    write_video(tmp_path / "clip.mp4", [0 * hopper, collins, 0 * hopper, hopper], fps=25)
    out = tmp_path / "film.mp4"
    words = ("--from", tmp_path / "clip.mp4", "--factor", "expression", "-o", out)
    assert run("transfer", tmp_path / "me.png", *words) == 0
    assert "no face in 2 of 4 frames (0, 2)" in caplog.text
    assert frame_rate(out) == 25
    film = [frame.astype(int) for frame in read_frames(out)]
    assert [frame.shape for frame in film] == [hopper.shape] * 4

    model, me = ff.load("facecycle"), ff.read_face(hopper)
    friend = ff.read_face(list(read_frames(tmp_path / "clip.mp4"))[1])
    smile = ff.transfer_face(model, me, friend).astype(int)
    changed = np.abs(smile - hopper).mean()
    assert changed > 4
    for frame in film[:3]:  # the codec is lossy
        assert np.abs(frame - smile).mean() < changed / 2
    assert np.abs(film[3] - hopper).mean() < changed / 2  # the own expression
