"""Expressions and head poses of faces: the pose is that of the photo, a row is that of its face."""

import json
import logging
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from facefactor import api, following, streams
from facefactor.api.faces import _warn_once
from facefactor.batch import express_files
from facefactor.demo import portrait_paths
from facefactor.errors import FaceFactorError
from facefactor.face_expressions import (
    Expressions,
    Squares,
    cut_squares,
    photo_landmarks,
    read_expressions,
)
from facefactor.geometry.rotations import rotation_matrix
from facefactor.geometry.similarity import apply_affine
from facefactor.images import read_photo
from facefactor.perception import packaged
from facefactor.perception.align import Placement
from facefactor.perception.head_pose import MEAN_FACE, head_pose
from facefactor.perception.landmarks import load_landmark_network
from facefactor.streams import Seen, list_inputs, read_rows, seen_faces
from facefactor.videos import VideoError, write_video
from tests.small_networks import save_ipdfer, save_landmarks

TURN = 25  # degrees


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return save_ipdfer(tmp_path_factory.mktemp("weights") / "ipdfer.safetensors")


@pytest.fixture(scope="module")
def model(weights):
    return api.load(weights)


@pytest.fixture(scope="module")
def landmarks_file(tmp_path_factory):
    return save_landmarks(tmp_path_factory.mktemp("instruments") / "landmarks.safetensors")


@pytest.fixture(scope="module")
def upright():
    return np.ascontiguousarray(read_photo(portrait_paths()["Eileen Collins"])[:260, 90:350])


@pytest.fixture(scope="module")
def faces(upright):
    """Eileen Collins, and the same face with the photo turned by `TURN` degrees clockwise.

    The second is not detected again: that has errors of some degrees of its own.
    """
    face = api.read_face(upright)
    turned = np.asarray(Image.fromarray(upright).rotate(-TURN, Image.Resampling.BILINEAR))
    cosine, sine = np.cos(np.radians(TURN)), np.sin(np.radians(TURN))
    middle = (np.array(upright.shape[1::-1]) - 1) / 2
    points = (face.found.points - middle) @ np.array([[cosine, sine], [-sine, cosine]]) + middle
    found = replace(face.found, points=points.astype(np.float32))
    return [face, replace(face, photo=turned, found=found)]


class Known(torch.nn.Module):
    """Says of every crop what it was told to."""

    image_size = 112

    def __init__(self, shares):
        super().__init__()
        self.shares = shares

    def forward(self, squares):
        return self.shares


def test_the_pose_is_that_of_the_photo_however_the_crop_was_turned():
    """Heads drawn in a photo, seen through crops turned against them: all three angles return."""
    poses = torch.tensor([[30.0, -15.0, 40.0], [-50.0, 20.0, -75.0], [0.0, 0.0, 170.0]])
    heads = MEAN_FACE @ rotation_matrix(poses.double()).mT
    photo = 90 * heads[..., :2] * torch.tensor([1.0, -1.0]) + torch.tensor([320.0, 240.0])
    squares, shares = [], []
    for points, turn in zip(photo, (-40.0, 60.0, 5.0), strict=True):
        c, s = 0.4 * np.cos(np.radians(turn)), 0.4 * np.sin(np.radians(turn))
        to_crop = np.array([[c, -s, 3.0], [s, c, -20.0]])
        shares.append(torch.from_numpy((apply_affine(to_crop, points) + 0.5) / 112))
        squares.append(
            Squares(torch.zeros(1), torch.zeros(1, 3, 112, 112), Placement(to_crop, 112))
        )
    found = photo_landmarks(Known(torch.stack(shares)), squares)
    torch.testing.assert_close(found, photo, rtol=0, atol=1e-4)
    torch.testing.assert_close(head_pose(found), poses.double(), rtol=0, atol=1e-3)


def test_a_photo_turned_clockwise_turns_the_roll(model, faces, landmarks_file):
    """The landmarks are always those of an upright face, so all of the roll is the crop's turn."""
    squares = [cut_squares(face, model.spec) for face in faces]
    before, after = read_expressions(model, squares, load_landmark_network(landmarks_file))
    assert after.roll_deg - before.roll_deg == pytest.approx(TURN, abs=1e-2)
    assert abs(before.roll_deg) < 10  # she holds her head nearly upright
    assert (squares[0].model - squares[1].model).abs().mean() < 0.03  # the crops are alike
    for told in (before, after):
        assert told.yaw_deg == pytest.approx(0, abs=1e-2)
        assert told.pitch_deg == pytest.approx(0, abs=1e-2)


def test_faces_read_together_are_those_read_alone(model, faces, landmarks_file, monkeypatch):
    monkeypatch.setattr(packaged, "FOLDER", landmarks_file.parent)
    squares = [cut_squares(face, model.spec) for face in faces]
    together = read_expressions(model, squares, load_landmark_network(landmarks_file))
    for face, expected in zip(faces, together, strict=True):
        alone = api.expressions(model, face)
        assert list(alone.probabilities) == list(model.classes)
        assert sum(alone.probabilities.values()) == pytest.approx(1, abs=1e-5)
        assert alone.probabilities == pytest.approx(dict(expected.probabilities), abs=1e-5)
        assert alone.roll_deg == pytest.approx(expected.roll_deg, abs=1e-3)
    literal = model.expression_probabilities(faces[0].cut(model.spec)[0])[0]
    assert list(together[0].probabilities.values()) == pytest.approx(literal.tolist(), abs=1e-5)


def test_one_crop_serves_both_networks_where_they_take_the_same(model, faces):
    squares = cut_squares(faces[0], model.spec)
    assert squares.model is squares.landmarks
    other = api.load("facecycle")
    apart = cut_squares(faces[0], other.spec)
    assert apart.model.shape == (1, 3, 64, 64) and apart.landmarks.shape == (1, 3, 112, 112)
    assert torch.equal(apart.landmarks, squares.landmarks)
    assert np.array_equal(apart.placement.to_crop, squares.placement.to_crop)


def test_what_a_face_shows_as_a_row():
    told = Expressions({"neutral": 0.2, "happiness": 0.5, "fear": 0.3}, 1.0, -2.0, 3.0)
    assert (told.expression, told.probability) == ("happiness", 0.5)
    assert list(told.to_dict().items()) == [
        ("expression", "happiness"),
        ("probability", 0.5),
        ("neutral", 0.2),
        ("happiness", 0.5),
        ("fear", 0.3),
        ("yaw_deg", 1.0),
        ("pitch_deg", -2.0),
        ("roll_deg", 3.0),
    ]


def test_without_landmarks_there_is_no_pose_and_one_warning(
    model, weights, faces, upright, tmp_path, monkeypatch, caplog
):
    monkeypatch.setattr(packaged, "FOLDER", tmp_path)
    _warn_once.cache_clear()
    rows = []
    with caplog.at_level(logging.WARNING):
        Image.fromarray(upright).save(tmp_path / "me.png")
        outcome = api.express([str(tmp_path / "me.png")], model=str(weights), show=rows.append)
        told = api.expressions(model, faces[0])
    assert (told.yaw_deg, told.pitch_deg, told.roll_deg) == (None, None, None)
    (warning,) = [r.getMessage() for r in caplog.records if "head poses" in r.getMessage()]
    assert "facefactor train landmarks" in warning
    assert outcome.done == (tmp_path / "me.png",) and outcome.exit_code == 0
    (row,) = rows
    assert row["yaw_deg"] is None and row["roll_deg"] is None
    assert row["expression"] == told.expression and row["error"] is None


def test_a_model_that_tells_no_expressions_is_refused(faces):
    other = api.load("facecycle")
    for ask in (
        lambda: api.expressions(other, faces[0]),
        lambda: api.express(["me.jpg"], model="facecycle"),
    ):
        with pytest.raises(FaceFactorError, match="facecycle does not tell expressions apart"):
            ask()


def test_another_kind_of_table_is_refused_before_anything_is_read(model, tmp_path):
    with pytest.raises(FaceFactorError, match=r"written as .json, .csv, .parquet, not .txt"):
        express_files(model, [tmp_path / "missing.jpg"], tmp_path / "out.txt", "all", {})
    assert not list(tmp_path.iterdir())


# The stream


def seen(number, good=True):
    return Seen({"face": number, "error": None if good else "bad"}, number if good else None)


def test_rows_keep_their_order_and_get_what_was_said_of_their_face():
    asked = []

    def read(cuts):
        asked.append(len(cuts))
        return [{"square": cut * cut} for cut in cuts]

    rows = list(read_rows((seen(n, n % 3 != 0) for n in range(100)), read))
    assert [row["face"] for row in rows] == list(range(100))
    for row in rows:
        assert ("square" in row) == (row["face"] % 3 != 0)
        assert row.get("square", 0) in (0, row["face"] ** 2)
    assert sum(asked) == 66 and max(asked) <= streams.BATCH and len(asked) == 4


@pytest.mark.parametrize("good", [True, False])
def test_no_more_than_a_batch_waits(good):
    """Errors do not pile up either: a film may be dark for hours."""
    taken = []

    def endless():
        for number in range(10**9):
            taken.append(number)
            yield seen(number, good)

    rows = read_rows(endless(), lambda cuts: [{} for _ in cuts])
    for count in range(1, 100):
        next(rows)
        assert len(taken) <= count + streams.BATCH


def test_rows_without_any_face_ask_nothing():
    def read(cuts):
        raise AssertionError("asked about nothing")

    assert len(list(read_rows([seen(0, False)], read))) == 1
    assert list(read_rows([], read)) == []


def test_a_film_without_a_face_is_a_row_a_frame_and_a_failure(model, tmp_path):
    clip = tmp_path / "dark.mp4"
    write_video(clip, [np.zeros((64, 64, 3), np.uint8)] * 3, fps=5)
    failed, told = {}, []
    found = list(seen_faces([clip], "all", lambda face: 1, failed, lambda *done: told.append(done)))
    assert [(one.row["frame"], one.cut) for one in found] == [
        *((frame, None) for frame in (0, 1, 2)),
        (None, None),
    ]
    assert found[1].row["error"].startswith(f"{clip}, frame 1: no face found")
    assert failed == {str(clip): f"{clip}: no face found in any of its 3 frames"}
    assert told == [(1, 1)]


def test_of_a_film_that_breaks_off_the_frames_before_are_kept(
    model, upright, tmp_path, monkeypatch
):
    def broken(path):
        yield upright, 0.0
        yield upright, 0.1
        raise VideoError(f"{path}: breaks off after frame 2")

    monkeypatch.setattr(following, "read_timed_frames", broken)
    clip = tmp_path / "clip.mp4"
    clip.touch()
    outcome = express_files(model, [clip], tmp_path / "out.json", "largest", {})
    rows = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    assert [(row["frame"], row["face"]) for row in rows] == [(0, 0), (1, 0), (None, None)]
    assert rows[0]["expression"] == rows[1]["expression"] is not None
    assert rows[2]["error"] == f"{clip}: breaks off after frame 2"
    assert outcome.exit_code == 3 and outcome.failed == {str(clip): rows[2]["error"]}


def test_a_face_that_cannot_be_cut_is_an_error_of_its_photo(model, upright, tmp_path):
    Image.fromarray(upright).save(tmp_path / "me.png")
    failed = {}

    def cut(face):
        raise ValueError("all points coincide")

    (one,) = seen_faces([tmp_path / "me.png"], "largest", cut, failed)
    assert one.cut is None and one.row["error"] == "all points coincide"
    assert failed == {str(tmp_path / "me.png"): "all points coincide"}


def test_names_that_are_not_utf8_can_be_written(model, tmp_path):
    (one,) = seen_faces([tmp_path / "caf\udce9.jpg"], "all", lambda face: 1, {})
    assert one.row["file"] == str(tmp_path / "caf?.jpg") and "caf?.jpg" in one.row["error"]


def test_inputs_are_listed_once_in_a_stable_order(tmp_path):
    for name in ("b.jpg", "a.png", "sub/c.MP4", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    whole = [tmp_path / name for name in ("a.png", "b.jpg", "sub/c.MP4")]
    assert list_inputs([str(tmp_path), str(tmp_path / "b.jpg")]) == whole
    assert list_inputs([str(tmp_path / "*.jpg")]) == [tmp_path / "b.jpg"]
    assert list_inputs(["missing.jpg"])[0].name == "missing.jpg"
    (tmp_path / "empty").mkdir()
    for bad, reason in ((tmp_path / "empty", "no photos"), (tmp_path / "*.gif", "nothing matches")):
        with pytest.raises(FaceFactorError, match=reason):
            list_inputs([str(bad)])
