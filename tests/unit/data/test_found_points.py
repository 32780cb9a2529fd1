import multiprocessing
import os
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from facefactor.data.crops import crop_faces
from facefactor.data.found_points import FoundPoints
from facefactor.data.records import FaceRecord
from facefactor.files import WriteError
from facefactor.images import write_image

POINTS = ((10.25, 11.1), (20.0, 11.7), (15.3, 16.0), (11.0, 20.5), (19.0, 20.1))


@pytest.fixture
def record(tmp_path):
    write_image(tmp_path / "face.png", np.full((32, 32, 3), 90, np.uint8))
    return FaceRecord(tmp_path / "face.png")


def never():
    raise AssertionError("looked again")


@pytest.mark.parametrize("points", [POINTS, None])
def test_what_was_found_is_known_to_the_last_digit(record, tmp_path, points):
    with FoundPoints(tmp_path / "cache") as found:
        assert found.find(record, lambda: points) == points
        assert found.find(record, never) == points
    with FoundPoints(tmp_path / "cache") as again:
        assert again.find(record, never) == points


@pytest.mark.parametrize("change", ["file", "path", "frame", "turned"])
def test_another_photo_is_looked_at(record, tmp_path, change):
    other = record
    with FoundPoints(tmp_path / "cache") as found:
        found.find(record, lambda: None)
        if change == "file":
            os.utime(record.path, ns=(0, 0))
        elif change == "path":
            other = replace(record, path=record.path.rename(tmp_path / "other.png"))
        elif change == "frame":
            other = replace(record, frame=3)
        else:
            other = replace(record, quarter_turns=1)
        assert found.find(other, lambda: POINTS) == POINTS


def test_an_error_is_not_remembered(record, tmp_path):
    def fails():
        raise ValueError("broken photo")

    with FoundPoints(tmp_path / "cache") as found:
        with pytest.raises(ValueError, match="broken photo"):
            found.find(record, fails)
        assert found.find(record, lambda: POINTS) == POINTS


def test_a_file_that_is_no_store_is_named(tmp_path):
    (tmp_path / "found_points.sqlite").write_bytes(b"no database at all" * 100)
    with pytest.raises(WriteError, match=r"found_points\.sqlite.*delete it"):
        FoundPoints(tmp_path)


def test_a_disk_that_fills_is_no_fault_of_the_photos(record, tmp_path, monkeypatch):
    def full(self, record, look):
        raise WriteError("found_points.sqlite: no space left")

    monkeypatch.setattr(FoundPoints, "find", full)
    with pytest.raises(WriteError, match="no space left"):
        crop_faces([record], "arcface", 24, tmp_path / "cache", lambda photo: [])
    assert {path.name for path in (tmp_path / "cache").iterdir()} == {"found_points.sqlite"}


def _find_many(folder, start):
    record = FaceRecord(folder / "face.png")
    with FoundPoints(folder / "cache") as found:
        for frame in range(start, start + 200):
            found.find(replace(record, frame=frame), lambda: POINTS)


def test_processes_write_at_once(record, tmp_path):
    spawn = multiprocessing.get_context("spawn")
    both = [spawn.Process(target=_find_many, args=(tmp_path, start)) for start in (0, 100)]
    for process in both:
        process.start()
    for process in both:
        process.join(60)
    assert [process.exitcode for process in both] == [0, 0]
    with FoundPoints(tmp_path / "cache") as found:
        for frame in range(300):
            assert found.find(replace(record, frame=frame), never) == POINTS


def test_other_crops_of_the_same_photos_are_cut_without_looking(record, tmp_path):
    looks = []

    def detect(photo):
        looks.append(photo.shape)
        return [SimpleNamespace(points=np.array(POINTS, np.float32))]

    def cut(cache, crop, size):
        return crop_faces([record], crop, size, cache, detect).faces

    kept = [cut(tmp_path / "cache", "arcface", 24), cut(tmp_path / "cache", "facecycle", 16)]
    assert len(looks) == 1
    anew = [cut(None, "arcface", 24), cut(None, "facecycle", 16)]
    assert len(looks) == 3
    for one, other in zip(kept, anew, strict=True):
        np.testing.assert_array_equal(one, other)
    assert not (tmp_path / "cache" / "found_points.sqlite-journal").exists()
    names = {path.suffix for path in (tmp_path / "cache").iterdir()}
    assert names == {".npy", ".json", ".sqlite"}
