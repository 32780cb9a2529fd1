"""300 damaged files end in a photo, a film, or an error that names the file; none leaves litter."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from facefactor import videos
from facefactor.images import ImageError, read_photo
from facefactor.videos import (
    VideoError,
    read_frames,
    read_timed_frames,
    write_video_like,
)
from tests.made_faces import noise
from tests.mutated import CLIPS, PHOTOS, mutants, whole_clips, whole_photos

EACH = 30

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def photos() -> dict[str, bytes]:
    return whole_photos(noise(64, 80))


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    frames = [np.roll(noise(64, 80), 4 * step, axis=1) for step in range(8)]
    return whole_clips(frames, tmp_path_factory.mktemp("whole"))


def test_there_are_300() -> None:
    assert EACH * (len(PHOTOS) + len(CLIPS)) == 300


@pytest.mark.parametrize("suffix", PHOTOS)
def test_damaged_photos(suffix: str, photos: dict[str, bytes], tmp_path: Path) -> None:
    path = tmp_path / f"mutant.{suffix}"
    read = 0
    for content in mutants(photos[suffix], EACH, seed=1):
        path.write_bytes(content)
        try:
            photo = read_photo(path)
        except ImageError as error:
            assert str(path) in str(error)
        else:
            read += 1
            assert photo.dtype == np.uint8 and photo.ndim == 3 and photo.shape[2] == 3
    assert read < EACH  # some are beyond reading
    assert [left.name for left in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("suffix", CLIPS)
def test_damaged_clips(suffix: str, clips: dict[str, bytes], tmp_path: Path) -> None:
    """Read, and made into another film, with what is left of times and sound."""
    path, film = tmp_path / f"mutant.{suffix}", tmp_path / "film.mp4"
    for content in mutants(clips[suffix], EACH, seed=2):
        path.write_bytes(content)
        film.unlink(missing_ok=True)
        readable = 0
        try:
            for frame in read_frames(path):
                readable += 1
                assert frame.dtype == np.uint8 and frame.ndim == 3
            write_video_like(film, read_timed_frames(path), path)
        except VideoError as error:
            assert str(path) in str(error) or str(film) in str(error)
        # What came before the damage is kept, where there is anything.
        assert not film.exists() or len(list(read_frames(film))) >= 1
        assert readable or not film.exists()
    assert {left.name for left in tmp_path.iterdir()} <= {path.name, film.name}


@given(content=st.binary(max_size=400), head=st.sampled_from(sorted(PHOTOS)))
@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_bytes_are_a_photo_or_an_error(
    content: bytes, head: str, photos: dict[str, bytes]
) -> None:
    """Behind the beginning of a real file, and alone."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for data in (content, photos[head][:40] + content):
            try:
                assert read_photo(data).shape[2] == 3
            except ImageError:
                pass


def test_frames_of_a_bomb_are_refused(
    clips: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "bomb.mp4"
    path.write_bytes(clips["mp4"])
    monkeypatch.setattr(videos, "MAX_FRAME_MEGAPIXELS", 0.005)
    with pytest.raises(VideoError, match=r"80 x 64 pixels, the limit is 0\.005 megapixels"):
        list(read_frames(path))
