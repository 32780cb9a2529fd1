"""Landmarks from a file: which photo they belong to, and where a crop has them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from facefactor.data.landmarks import crop_landmarks, into_crop, landmarks_of, read_landmarks
from facefactor.data.readers import read_celeba, read_rafdb
from facefactor.data.records import DataError, FaceRecord
from facefactor.geometry.similarity import apply_affine
from facefactor.perception.align import crop_points, place

FIVE = ((40.0, 50.0), (80.0, 50.0), (60.0, 70.0), (45.0, 90.0), (75.0, 90.0))


def write(path: Path, **changes):
    random = np.random.default_rng(0)
    arrays = {
        "names": np.array(["a.png", "b/c.png"]),
        "landmarks68": random.uniform(30, 90, (2, 68, 3)).astype(np.float16),
        "found": np.array([True, True]),
    } | changes
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    return path


def test_x_and_y_by_name_without_the_photos_where_no_face_was_found(tmp_path):
    points = np.full((2, 68, 3), 7.25, np.float16)
    points[1] = np.nan
    file = write(tmp_path / "x.npz", landmarks68=points, found=np.array([True, False]))
    found = read_landmarks(file)
    assert list(found) == ["a.png"]
    assert found["a.png"].shape == (68, 2) and found["a.png"].dtype == np.float32
    assert (found["a.png"] == 7.25).all()


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"names": None}, "no array 'names'"),
        ({"landmarks68": np.zeros((2, 98, 2))}, r"must be \(N, 68, 2 or 3\), it is \(2, 98, 2\)"),
        ({"landmarks68": np.zeros((2, 68, 4))}, "it is"),
        ({"landmarks68": np.zeros((3, 68, 2))}, "not of the same photos"),
        ({"found": np.array([True])}, "not of the same photos"),
        ({"names": np.array(["a.png", "a.png"])}, "listed twice"),
        ({"landmarks68": np.full((2, 68, 2), np.nan)}, "a.png is said to be found"),
        ({"landmarks68": np.zeros((2, 68, 2), int)}, "landmarks68 has the unexpected type int64"),
        ({"found": np.array([1, 0])}, "found has the unexpected type"),
        ({"names": np.array(["a.png", None], object)}, "not an .npz of plain arrays"),
    ],
)
def test_what_is_wrong_with_a_file_is_told(tmp_path, changes, told):
    with pytest.raises(DataError, match=told):
        read_landmarks(write(tmp_path / "x.npz", **changes))


def test_no_file_and_no_npz(tmp_path):
    with pytest.raises(DataError, match="x.npz does not exist"):
        read_landmarks(tmp_path / "x.npz")
    for content in (b"", b"PK\x03\x04 not really", b"text"):
        (tmp_path / "x.npz").write_bytes(content)
        with pytest.raises(DataError, match="not an .npz"):
            read_landmarks(tmp_path / "x.npz")
    np.save(tmp_path / "y.npy", np.zeros(3))
    with pytest.raises(DataError, match="not an .npz"):
        read_landmarks(tmp_path / "y.npy")


def test_photos_are_known_by_the_longest_end_of_their_path():
    found = {
        name: np.full((68, 2), value, np.float32)
        for value, name in enumerate(("c.png", "b/c.png", "d.png"))
    }
    records = [FaceRecord(Path(p)) for p in ("/x/b/c.png", "/x/e/c.png", "/x/bd.png", "d.png")]
    rows = landmarks_of(records, found)
    assert rows.shape == (4, 68, 2) and rows.dtype == np.float32
    assert rows[:, 0, 0].tolist() == pytest.approx([1, 0, np.nan, 2], nan_ok=True)


def test_landmarks_of_another_data_set_are_refused():
    with pytest.raises(DataError, match="none of 1 photos .* like 'a.png'"):
        landmarks_of([FaceRecord(Path("/x/b.png"))], {"a.png": np.zeros((68, 2), np.float32)})


@pytest.mark.parametrize("stretch", [False, True])
@pytest.mark.parametrize("crop", ["arcface", "facecycle"])
def test_shares_of_the_side_are_pixels_of_a_crop_of_any_size(crop, stretch):
    points = np.random.default_rng(1).uniform(20, 100, (68, 2))
    shares = into_crop(points, FIVE, crop, stretch)
    for size in (64, 112):
        pixels = apply_affine(place(FIVE, crop, size, stretch).to_crop, points)
        np.testing.assert_allclose(shares, (pixels + 0.5) / size, atol=1e-6)


def test_points_on_the_template_come_to_lie_on_the_template():
    photo = crop_points("arcface", 300) * 2 + [10, -5]  # an enlarged, shifted arcface crop
    landmarks = np.repeat(photo[:1], 68, axis=0)
    shares = into_crop(landmarks, photo, "arcface")
    np.testing.assert_allclose(shares[0], [(38.2946 + 0.5) / 112, (51.6963 + 0.5) / 112], atol=1e-6)


def record_with(points=FIVE, name="a.png"):
    return FaceRecord(Path(name), points=points)


def with_eyes(left, right):
    points = np.full((68, 2), 60, np.float32)
    points[36:42], points[42:48] = left, right
    return points


def test_unknown_landmarks_stay_unknown_in_the_crop():
    records = [record_with(), record_with(name="b.png")]
    rows = crop_landmarks(records, {"a.png": with_eyes(*FIVE[:2])}, "arcface")
    assert np.isfinite(rows[0]).all() and np.isnan(rows[1]).all()
    np.testing.assert_array_equal(rows[0], into_crop(with_eyes(*FIVE[:2]), FIVE, "arcface"))


def test_photos_without_points_or_of_another_scale_are_refused():
    found = {"a.png": with_eyes(*FIVE[:2])}
    with pytest.raises(DataError, match="a.png has no fixed points"):
        crop_landmarks([record_with(None)], found, "arcface")
    doubled = tuple((2 * x, 2 * y) for x, y in FIVE)
    with pytest.raises(DataError, match="a.png: .* cut or scaled otherwise"):
        crop_landmarks([record_with(doubled)], found, "arcface")


@pytest.mark.parametrize(
    ("reader", "folder", "file"),
    [(read_celeba, "CelebA-128", "CelebA-128"), (read_rafdb, "RAF-DB", "RAF-DB")],
)
def test_real_faces_have_eyes_and_mouth_where_the_crop_wants_them(shared, reader, folder, file):
    records = reader(shared / "data" / folder)[:300]
    found = read_landmarks(shared / "data" / "landmarks" / f"{file}.npz")
    rows = crop_landmarks(records, found, "arcface")
    known = rows[np.isfinite(rows).all(axis=(1, 2))]
    assert len(known) > 0.9 * len(rows)
    middle = np.median(known, axis=0)  # (68, 2)
    five = [middle[36:42].mean(0), middle[42:48].mean(0), middle[30], middle[48], middle[54]]
    np.testing.assert_allclose(five, (crop_points("arcface", 112) + 0.5) / 112, atol=0.03)
    unstretched = [replace(record, stretch=False) for record in records[:50]]
    same = np.allclose(crop_landmarks(unstretched, found, "arcface")[0], rows[0], equal_nan=True)
    assert same == (folder == "CelebA-128")
