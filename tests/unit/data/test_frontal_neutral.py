"""The filter for frontal neutral faces, with networks whose answers are known."""

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest

from facefactor.data import kept_parts
from facefactor.data.frontal_neutral import (
    MIN_SHARPNESS,
    Judgements,
    Judges,
    frontal_neutral,
    judge_faces,
    list_frontal_neutral,
)
from facefactor.data.records import DataError, FaceRecord
from facefactor.images import write_image
from facefactor.perception.align import crop_points
from facefactor.perception.packaged import packaged_landmarks
from facefactor.perception.quality import brightness_under_eyes, sharpness
from tests.made_judges import BrightIsNeutral, bright_judges

SIZE = 112


@pytest.fixture(scope="module")
def judges() -> Judges:
    return bright_judges()


def noise(brightness: float, number: int = 0) -> np.ndarray:
    random = np.random.default_rng(number)
    return (255 * brightness + random.uniform(-20, 20, (SIZE, SIZE, 3))).astype(np.uint8)


def seen(count: int, **columns: object) -> Judgements:
    """Faces that pass, but for the columns given."""
    values = {"yaw": 0.0, "pitch": 0.0, "neutral": 1.0, "sharpness": 1.0, "under_eyes": 1.0}
    values |= columns
    return Judgements(
        **{name: np.broadcast_to(np.float32(value), count) for name, value in values.items()}
    )


def records(count: int, **known: object) -> list[FaceRecord]:
    return [FaceRecord(Path(f"{number}.png"), **known) for number in range(count)]


def test_a_head_may_be_off_by_the_angle_either_way_and_no_more():
    angles = [0, 4.9, -5, 5.1, -5.1, np.nan]
    expected = [True, True, True, False, False, False]
    for name in ("yaw", "pitch"):
        assert frontal_neutral(records(6), seen(6, **{name: angles})).tolist() == expected
    wider = frontal_neutral(records(6), seen(6, yaw=angles), max_angle=10)
    assert wider.tolist() == [True] * 5 + [False]


def test_where_a_photo_was_taken_from_counts_and_yaw_is_looked_at_all_the_same():
    head = {"yaw": [0, 0, 7], "pitch": [0, 9, 0]}
    told = [
        frontal_neutral(records(3, frontal=frontal), seen(3, **head)).tolist()
        for frontal in (None, True, False)
    ]
    assert told == [[True, False, False], [True, True, False], [False] * 3]
    unknown = seen(1, pitch=np.nan)
    assert not frontal_neutral(records(1), unknown).any()


def test_what_the_data_set_says_of_an_expression_goes_before_what_is_seen():
    for label, expected in ((None, [True, True, False]), ("neutral", [True] * 3)):
        found = frontal_neutral(records(3, expression=label), seen(3, neutral=[0.9, 0.41, 0.39]))
        assert found.tolist() == expected
    assert not frontal_neutral(records(1, expression="anger"), seen(1, neutral=1.0)).any()


def test_blurred_faces_faces_with_glasses_and_faces_lit_from_aside_are_none():
    sharp = seen(2, sharpness=[1.01 * MIN_SHARPNESS, 0.99 * MIN_SHARPNESS])
    assert frontal_neutral(records(2), sharp).tolist() == [True, False]
    for glasses, expected in ((None, True), (False, True), (True, False)):
        assert frontal_neutral(records(1, glasses=glasses), seen(1)).tolist() == [expected]
    told = [frontal_neutral(records(2, glasses=glasses), seen(2, under_eyes=[0.9, 0.6])).tolist()
            for glasses in (None, False, True)]  # fmt: skip
    assert told == [[True, False], [True, True], [False, False]]
    assert frontal_neutral(records(1, frontal=True), seen(1, under_eyes=0.6)).all()  # a shadow
    assert not frontal_neutral(records(1, frontal=True, glasses=True), seen(1)).any()
    for light, expected in (
        (None, True), ((0.0, 0.0), True), ((-10.0, 10.0), True), ((0.0, 20.0), False),
        ((-15.0, 0.0), False),
    ):  # fmt: skip
        assert frontal_neutral(records(1, light=light), seen(1)).tolist() == [expected]


def test_sharpness_of_white_noise_is_that_of_the_kernel():
    """Its five weights, squared: 4 * 4 + 4 * 1 = 20 times the variance of the pixels."""
    random = np.random.default_rng(0).integers(0, 256, (4, SIZE, SIZE, 1))
    grey = np.repeat(random, 3, axis=3).astype(np.uint8)
    np.testing.assert_allclose(sharpness(grey), 20, rtol=0.06)
    assert sharpness(np.full((1, SIZE, SIZE, 3), 90, np.uint8)).tolist() == [0.0]


def test_sharpness_falls_with_blur_and_not_with_light():
    spots = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3)).astype(np.uint8)
    sharp = cv2.GaussianBlur(spots, (0, 0), 1.0)
    softer, softest = (cv2.GaussianBlur(sharp, (0, 0), sigma) for sigma in (1.0, 3.0))
    dark = np.uint8(sharp // 2 + 10)
    of_sharp, of_softer, of_softest, of_dark = sharpness(np.stack([sharp, softer, softest, dark]))
    assert of_sharp > 2 * of_softer > 4 * of_softest > 0
    assert of_dark == pytest.approx(of_sharp, rel=0.25)  # but for the rounding of few grey levels


def test_sharpness_looks_at_the_face_and_not_at_what_is_around():
    face = cv2.GaussianBlur(noise(0.5), (0, 0), 2.0)
    busy = face.copy()
    busy[:20] = noise(0.5, 1)[:20]
    busy[:, :16] = noise(0.5, 2)[:, :16]
    assert sharpness(busy[None]) == pytest.approx(sharpness(face[None]))


def test_dark_glasses_are_seen_where_eyes_are_and_shadows_are_not():
    """A face of one colour has 1; painted over the eyes, 55 of 205; over one eye, still 1."""
    eyes = crop_points("arcface", SIZE)[:2].round().astype(int).tolist()
    faces = np.full((4, SIZE, SIZE, 3), 200, np.uint8)
    for row, covered in ((1, eyes), (2, eyes[:1])):
        for x, y in covered:
            cv2.ellipse(faces[row], (x, y), (16, 13), 0, 0, 360, (50, 50, 50), -1)
    faces[3, :, : SIZE // 2] = 60  # half in the shade
    np.testing.assert_allclose(brightness_under_eyes(faces), [1, 55 / 205, 1, 1], rtol=1e-5)


def test_faces_are_judged_once_and_a_killed_run_goes_on(judges, tmp_path, monkeypatch):
    monkeypatch.setattr(kept_parts, "_PART", 2)
    faces = np.stack([noise(level, row) for row, level in enumerate((0.9, 0.2, 0.8, 0.1, 0.7))])
    told: list[tuple[int, int]] = []
    first = judge_faces(faces, judges, tmp_path, lambda *done: told.append(done))
    assert told == [(2, 5), (4, 5), (5, 5)]
    assert (first.neutral > 0.5).tolist() == [True, False, True, False, True]
    np.testing.assert_allclose(first.yaw, 0, atol=1e-2)
    np.testing.assert_allclose(first.pitch, 0, atol=1e-2)
    np.testing.assert_array_equal(first.sharpness, sharpness(faces))
    lost, *kept = sorted(tmp_path.glob("*.npz"))
    times = {path: path.stat().st_mtime_ns for path in kept}
    lost.unlink()
    again = judge_faces(faces, judges, tmp_path)
    np.testing.assert_array_equal(again.neutral, first.neutral)
    assert lost.is_file() and {path: path.stat().st_mtime_ns for path in kept} == times

    others = Judges(judges.landmarks, BrightIsNeutral(at=0.75))  # other weights, other answers
    assert (judge_faces(faces, others, tmp_path).neutral > 0.5).tolist() == [1, 0, 1, 0, 0]
    lost.write_bytes(b"PK")
    with pytest.raises(DataError, match=lost.name):
        judge_faces(faces, judges, tmp_path)


def test_faces_of_another_size_and_none_are_refused(judges, tmp_path):
    for shape in ((0, SIZE, SIZE, 3), (2, 64, 64, 3)):
        with pytest.raises(ValueError, match=r"\(N, 112, 112, 3\), N > 0"):
            judge_faces(np.zeros(shape, np.uint8), judges, tmp_path)


def test_judges_must_take_the_same_square_and_know_neutral(judges):
    with pytest.raises(ValueError, match="crop facecycle of 64 pixels .* arcface of 112"):
        Judges(judges.landmarks, BrightIsNeutral(crop="facecycle", size=64))
    with pytest.raises(ValueError, match="none of them neutral"):
        Judges(judges.landmarks, BrightIsNeutral(classes=("calm", "other")))


def test_a_list_has_a_line_for_each_photo_and_the_bad_ones_say_why(judges, tmp_path):
    points = tuple(map(tuple, crop_points("arcface", SIZE).tolist()))
    folder = tmp_path / "faces"
    for name, level in (("a", 0.9), ("b", 0.2), ("c", 0.8)):
        write_image(folder / f"{name}.png", noise(level))
    (folder / "broken.png").write_bytes(b"no image")
    known = [
        FaceRecord(folder / f"{name}.png", subject, points=points)
        for name, subject in (("a", "Ann"), ("b", "Bob"), ("broken", "Bob"), ("c", None))
    ]
    table = tmp_path / "list.csv"
    found = list_frontal_neutral(known, folder, table, judges, tmp_path / "cache")
    assert (found.photos, found.found, found.people) == (4, 2, 1)
    assert list(found.failed) == [str(folder / "broken.png")]
    rows = list(csv.DictReader(table.read_text().splitlines()))
    assert [(row["image"], row["subject"], row["frontal_neutral"]) for row in rows] == [
        ("a.png", "Ann", "1"), ("b.png", "Bob", "0"), ("c.png", "", "1"), ("broken.png", "", "0"),
    ]  # fmt: skip
    assert abs(float(rows[0]["yaw_deg"])) < 0.1 and float(rows[0]["neutral"]) > 0.5
    assert rows[3]["yaw_deg"] == "" and "broken.png" in rows[3]["error"]


def test_kdef_photos_that_are_called_neutral_are_found(shared, tmp_path):
    """The packaged networks on posed photos: heads look ahead, and few smiles pass for neutral."""
    from facefactor import checkpoints
    from facefactor.data.crops import crop_faces
    from facefactor.data.readers import read_kdef
    from facefactor.perception.mtcnn import FaceDetector

    photos = [
        record
        for record in read_kdef(shared / "data" / "KDEF", views=["S"])
        if record.path.stem.startswith("AF0") and record.expression in ("neutral", "happiness")
    ]
    cut = crop_faces(photos, "arcface", SIZE, None, FaceDetector().detect)
    expressions = checkpoints.build_model(checkpoints.weights_file("ipdfer"))
    real = Judges(packaged_landmarks(), expressions)
    told = judge_faces(cut.faces, real, tmp_path)
    unlabelled = [FaceRecord(record.path) for record in cut.records]
    found = frontal_neutral(unlabelled, told, max_angle=15)
    neutral = np.array([record.expression == "neutral" for record in cut.records])
    assert len(cut.records) == 18
    assert found[neutral].mean() >= 0.6
    assert not found[~neutral].any()
