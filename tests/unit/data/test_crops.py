import os
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from facefactor.data import crops
from facefactor.data.crops import crop_faces, detector_for
from facefactor.data.readers import read_celeba, read_rafdb
from facefactor.data.records import DataError, FaceRecord
from facefactor.files import WriteError
from facefactor.images import write_image
from facefactor.perception.align import crop_points


@pytest.fixture
def records(tmp_path):
    """Three photos whose landmarks are the template's at 32 pixels: a crop of 32 is the photo."""
    points = tuple(map(tuple, crop_points("facecycle", 32)))
    pixels = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    made = []
    for position, photo in enumerate(pixels):
        write_image(tmp_path / f"{position}.png", photo)
        made.append(FaceRecord(tmp_path / f"{position}.png", points=points))
    return made, pixels


@pytest.mark.parametrize("stretch", [False, True])
def test_a_photo_that_is_its_own_crop_comes_out_as_it_is(records, stretch):
    made, pixels = records
    cut = crop_faces([replace(r, stretch=stretch) for r in made], "facecycle", 32, cache=None)
    np.testing.assert_array_equal(cut.faces, pixels)
    assert [record.path for record in cut.records] == [record.path for record in made]
    assert cut.failures == []


def test_only_an_affine_map_undoes_a_stretch(tmp_path):
    """A disc drawn twice as wide as high, with its points, is a disc again in the crop."""
    y, x = np.mgrid[:64, :128]
    inside = (((x + 0.5) / 2 - 32) ** 2 + (y + 0.5 - 32) ** 2 < 20**2)[..., None]
    write_image(tmp_path / "disc.png", np.repeat(np.where(inside, 255, 0), 3, 2).astype(np.uint8))
    wide = (crop_points("facecycle", 64) + 0.5) * [2, 1] - 0.5
    record = FaceRecord(tmp_path / "disc.png", points=tuple(map(tuple, wide)))

    def width_to_height(stretch):
        cut = crop_faces([replace(record, stretch=stretch)], "facecycle", 64, None)
        white = cut.faces[0, ..., 0] > 127
        return white.any(0).sum() / white.any(1).sum()

    assert width_to_height(stretch=True) == pytest.approx(1, abs=0.03)
    assert width_to_height(stretch=False) > 1.3


def test_the_second_call_reads_no_photo(records, tmp_path, monkeypatch):
    made, _ = records
    first = crop_faces(made, "facecycle", 16, tmp_path / "cache")
    monkeypatch.setattr(crops, "read_photo", None)
    second = crop_faces(made, "facecycle", 16, tmp_path / "cache")
    np.testing.assert_array_equal(first.faces, second.faces)
    assert second.records == made
    assert not second.faces.flags.writeable


def test_faces_are_looked_for_only_where_a_record_does_not_tell(records, monkeypatch):
    class Detector:
        def detect(self, photo):
            return []

    monkeypatch.setattr("facefactor.perception.mtcnn.FaceDetector", Detector)
    made, _ = records
    assert detector_for(made) is None
    found = detector_for([*made, replace(made[0], points=None)])
    assert found is not None and found.__func__ is Detector.detect


@pytest.mark.parametrize("change", ["size", "crop", "points", "file", "order"])
def test_anything_that_changes_the_pixels_is_cut_again(records, tmp_path, change):
    made, _ = records
    seen = []

    def cut(entries, crop="facecycle", size=16):
        crop_faces(entries, crop, size, tmp_path / "cache", progress=lambda *at: seen.append(at))

    cut(made)
    assert seen == [(1, 3), (2, 3), (3, 3)]
    seen.clear()
    if change == "size":
        cut(made, size=24)
    elif change == "crop":
        cut(made, crop="arcface")
    elif change == "points":
        moved = tuple((x + 1, y) for x, y in made[0].points)
        cut([replace(made[0], points=moved), *made[1:]])
    elif change == "file":
        os.utime(made[1].path, ns=(0, 0))
        cut(made)
    else:
        cut(made[::-1])
    assert len(seen) == 3


@pytest.mark.parametrize("cached", [False, True])
def test_bad_photos_are_failures_with_a_reason_and_the_rest_is_kept(records, tmp_path, cached):
    made, pixels = records
    made[0].path.write_bytes(b"")
    made[1].path.unlink()
    for _ in range(2):  # once cut, once from the cache
        cut = crop_faces(made, "facecycle", 32, tmp_path / "cache" if cached else None)
        np.testing.assert_array_equal(cut.faces, pixels[2:])
        assert cut.records == made[2:]
        assert [path for path, _ in cut.failures] == [made[0].path, made[1].path]
        assert all(str(path) in reason for path, reason in cut.failures)


@pytest.mark.parametrize("cached", [False, True])
def test_no_face_at_all_is_an_error_and_leaves_no_cache(records, tmp_path, cached):
    made, _ = records
    made[0].path.write_bytes(b"not an image")
    cache = tmp_path / "cache"
    with pytest.raises(DataError, match="no face could be cut from 1 photos; .*0.png"):
        crop_faces(made[:1], "facecycle", 16, cache if cached else None)
    assert not cache.exists() or list(cache.iterdir()) == []


def test_an_interrupted_cut_leaves_nothing_and_the_next_one_works(records, tmp_path):
    made, pixels = records
    cache = tmp_path / "cache"

    def stop(done, total):
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        crop_faces(made, "facecycle", 32, cache, progress=stop)
    assert list(cache.iterdir()) == []
    np.testing.assert_array_equal(crop_faces(made, "facecycle", 32, cache).faces, pixels)


def test_a_cache_that_cannot_be_written_is_named(records, tmp_path):
    (tmp_path / "cache").write_text("in the way")
    with pytest.raises(WriteError, match="cache"):
        crop_faces(records[0], "facecycle", 16, tmp_path / "cache")


def test_unaligned_photos_need_a_detector(records):
    made, pixels = records
    unknown = [replace(record, points=None) for record in made]
    with pytest.raises(DataError, match="0.png .* give a face detector"):
        crop_faces(unknown, "facecycle", 32, None)

    large = SimpleNamespace(points=np.array(made[0].points))
    small = SimpleNamespace(points=np.zeros((5, 2)))
    found = iter([[large, small], [], [large]])
    cut = crop_faces(unknown, "facecycle", 32, None, detect=lambda photo: next(found))
    np.testing.assert_array_equal(cut.faces, pixels[[0, 2]])
    assert cut.failures == [(made[1].path, f"{made[1].path}: no face found")]


def test_no_records():
    with pytest.raises(DataError, match="no records"):
        crop_faces([], "facecycle", 16, None)


def test_real_eyes_and_mouth_are_dark_where_the_template_has_them(shared):
    """The mean face is darker at both eyes than on the cheeks below, in both data sets."""
    for read, name in ((read_celeba, "CelebA-128"), (read_rafdb, "RAF-DB")):
        cut = crop_faces(read(shared / "data" / name)[:200], "facecycle", 64, None)
        mean = cut.faces.mean(axis=(0, 3))
        assert cut.failures == []
        for x, y in crop_points("facecycle", 64)[:2].round().astype(int):
            eye, cheek = mean[y - 1 : y + 2, x - 2 : x + 3], mean[y + 9 : y + 12, x - 2 : x + 3]
            assert eye.mean() < cheek.mean() - 15
            # Darkest within two pixels of the template's eye.
            window = mean[y - 8 : y + 9, x - 4 : x + 5].mean(axis=1)
            assert abs(int(window[3:].argmin()) + 3 - 8) <= 2
