"""The commands end to end, on real pixels: two public-domain portraits, and what is not a face."""

from __future__ import annotations

import csv
import dataclasses
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from skimage import data as skimage_data

from facefactor import checkpoints
from facefactor.checkpoints import CheckpointHeader
from facefactor.cli import main
from facefactor.demo import portrait_paths
from facefactor.images import read_photo, write_image
from facefactor.methods.facecycle.recipe import PRESETS, build
from facefactor.perception import packaged
from facefactor.photo_edits import edit_face, read_faces
from facefactor.videos import write_video
from tests.small_networks import MEASURED, save_ipdfer, save_landmarks, save_recogniser


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    """`small`, untrained: what is tested is the way, not the beauty."""
    torch.manual_seed(0)
    recipe = PRESETS["small"]
    model = build(recipe)
    path = tmp_path_factory.mktemp("weights") / "model.safetensors"
    header = CheckpointHeader("facecycle", "small", dataclasses.asdict(recipe), model.spec)
    checkpoints.save(path, model.state_dict(), header)
    return path


@pytest.fixture(scope="module")
def portraits() -> dict[str, Path]:
    return dict(portrait_paths())


@pytest.fixture(scope="module")
def hopper(portraits) -> str:
    return str(portraits["Grace Hopper"])


@pytest.fixture(scope="module")
def collins(portraits) -> str:
    return str(portraits["Eileen Collins"])


def run(*words: object) -> int:
    with pytest.raises(SystemExit) as left:
        main([str(word) for word in words])
    return int(left.value.code or 0)


def test_neutral_changes_the_face_and_nothing_else(hopper, weights, tmp_path):
    out = tmp_path / "neutral.png"
    assert run("neutral", hopper, "-o", out, "-m", weights) == 0
    before, after = read_photo(hopper), read_photo(out)
    assert before.shape == after.shape
    left, top, right, bottom = (int(x) for x in read_faces(hopper)[0].found.box)
    width = right - left
    changed = (before != after).any(axis=2)
    assert changed[top:bottom, left:right].mean() > 0.2
    outside = changed.copy()
    outside[top - width // 2 : bottom + width // 2, left - width // 2 : right + width // 2] = False
    assert not outside.any()


def test_an_edit_that_changes_nothing_returns_the_photo(hopper, weights):
    model = checkpoints.build_model(weights)
    (face,) = read_faces(hopper)
    assert np.array_equal(edit_face(model, face, lambda own: own), face.photo)


def test_raw_is_the_networks_own_square(hopper, weights, tmp_path):
    assert run("neutral", hopper, "-o", tmp_path / "raw.png", "-m", weights, "--raw") == 0
    assert read_photo(tmp_path / "raw.png").shape == (64, 64, 3)


def test_transfer_strength_zero_is_neutral(hopper, collins, weights, tmp_path):
    words = ["-o", tmp_path / "zero.png", "-m", weights]
    assert run("transfer", hopper, "--from", collins, "--strength", 0, *words) == 0
    assert run("neutral", hopper, "-o", tmp_path / "neutral.png", "-m", weights) == 0
    zero, neutral = (read_photo(tmp_path / f"{name}.png") for name in ("zero", "neutral"))
    assert np.array_equal(zero, neutral)


def test_transfer_of_identity_replaces_the_face(hopper, collins, weights, tmp_path):
    words = ["--factor", "identity", "-o", tmp_path / "other.png", "-m", weights]
    assert run("transfer", hopper, "--from", collins, *words) == 0
    assert not np.array_equal(read_photo(tmp_path / "other.png"), read_photo(hopper))


def test_a_factor_kept_inside_another_is_told(hopper, collins, weights, tmp_path, capsys):
    words = ["--factor", "pose", "-o", tmp_path / "x.png", "-m", weights]
    assert run("transfer", hopper, "--from", collins, *words) == 1
    told = capsys.readouterr().err
    assert "keeps pose inside expression" in told
    assert "take weights of ipdfer or neurotensorial" in told
    assert not (tmp_path / "x.png").exists()


@pytest.mark.parametrize("suffix", ["png", "gif", "mp4"])
def test_interpolation_is_a_sheet_or_a_film(suffix, hopper, collins, weights, tmp_path):
    out = tmp_path / f"path.{suffix}"
    assert run("interpolate", hopper, collins, "-o", out, "-m", weights, "--steps", 3) == 0
    if suffix == "gif":
        assert Image.open(out).n_frames == 4  # there and back
    assert out.stat().st_size > 1000


def test_a_folder_with_bad_files_is_done_but_for_them(hopper, weights, tmp_path, capsys):
    folder = tmp_path / "photos"
    folder.mkdir()
    write_image(folder / "good.jpg", read_photo(hopper))
    (folder / "broken.jpg").write_bytes(b"\xff\xd8 nothing")
    (folder / "empty.png").touch()
    write_image(folder / "cat.png", skimage_data.chelsea())
    out = tmp_path / "codes.parquet"
    assert run("encode", folder, "-o", out, "-m", weights, "--csv") == 3
    table = pq.read_table(out)
    rows = {Path(row["file"]).name: row for row in table.to_pylist()}
    assert set(rows) == {"good.jpg", "broken.jpg", "empty.png", "cat.png"}
    assert rows["good.jpg"]["error"] is None and len(rows["good.jpg"]["identity"]) == 256
    for name in ("broken.jpg", "empty.png", "cat.png"):
        assert name in rows[name]["error"] and rows[name]["identity"] is None
    about = json.loads(table.schema.metadata[b"facefactor"])
    assert about["model"] == "facecycle" and about["licence"] == "research only"
    assert about["weights_sha256"] == checkpoints.read_header(weights).sha256
    with open(tmp_path / "codes.csv", newline="", encoding="utf-8") as file:
        assert len(list(csv.DictReader(file))) == 4
    assert "cat.png: no face found" in capsys.readouterr().err
    assert run("neutral", folder, "-o", tmp_path / "edited", "-m", weights) == 3
    assert [path.name for path in (tmp_path / "edited").iterdir()] == ["good.png"]


def test_nothing_done_is_exit_one(weights, tmp_path):
    write_image(tmp_path / "cat.png", skimage_data.chelsea())
    words = ("-o", tmp_path / "out.png", "-m", weights)
    assert run("neutral", tmp_path / "cat.png", *words) == 1
    assert run("neutral", tmp_path / "missing.png", *words) == 1
    assert not (tmp_path / "out.png").exists()


def test_several_faces(hopper, collins, weights, tmp_path, capsys):
    two = tmp_path / "two.png"
    a, b = read_photo(hopper)[:512, :512], read_photo(collins)[:512, :512]
    write_image(two, np.concatenate([a, b], axis=1))
    assert run("encode", two, "-o", tmp_path / "all.npz", "-m", weights) == 0
    found = np.load(tmp_path / "all.npz")
    assert len(found["face"]) >= 2 and found["expression"].shape[1] == 256
    for which in ("0", "1", "all", f"like:{hopper}"):
        out = tmp_path / f"{which[:4]}.png"
        assert run("neutral", two, "-o", out, "-m", weights, "--face", which) == 0
    first, second, both = (
        (read_photo(tmp_path / f"{name}.png") != read_photo(two)).any(axis=2)
        for name in ("0", "1", "all")
    )
    assert (both >= (first & ~second)).mean() > 0.999 and not (first & second).any()
    alike = (read_photo(tmp_path / "like.png") != read_photo(two)).any(axis=2)
    assert alike[:, :512].any() and not alike[:, 512:].any()  # Grace Hopper, on the left
    capsys.readouterr()
    assert run("neutral", two, "-o", tmp_path / "x.png", "-m", weights, "--face", "9") == 1
    assert "face 9 was asked for" in capsys.readouterr().err


def test_a_face_at_the_border_and_a_blurred_one(collins, weights, tmp_path):
    photo = read_photo(collins)
    left, top, _, _ = (int(x) for x in read_faces(photo)[0].found.box)
    write_image(tmp_path / "border.png", photo[top + 5 :, left + 5 :])
    small = Image.fromarray(photo).resize((128, 128)).resize((512, 512))
    write_image(tmp_path / "blurred.png", np.asarray(small))
    for name in ("border", "blurred"):
        out = tmp_path / f"{name}-out.png"
        assert run("neutral", tmp_path / f"{name}.png", "-o", out, "-m", weights) == 0
        assert read_photo(out).shape == read_photo(tmp_path / f"{name}.png").shape


def test_a_photo_is_never_its_own_output(hopper, weights, tmp_path, capsys):
    photo = tmp_path / "me.png"
    write_image(photo, read_photo(hopper))
    before = photo.read_bytes()
    assert run("neutral", photo, "-o", photo, "-m", weights) == 1
    assert photo.read_bytes() == before
    assert "overwrite" in capsys.readouterr().err


def test_wrong_weights_are_told(hopper, tmp_path, capsys):
    other = tmp_path / "other.safetensors"
    other.write_bytes(b"not weights")
    assert run("neutral", hopper, "-o", tmp_path / "x.png", "-m", other) == 1
    assert run("neutral", hopper, "-o", tmp_path / "x.png", "-m", "nobody") == 1
    errors = capsys.readouterr().err
    assert "other.safetensors" in errors and "nobody: no weights of this name" in errors


def test_a_video_is_a_row_a_frame(hopper, weights, tmp_path):
    frame = read_photo(hopper)[:480, :480]
    write_video(tmp_path / "clip.mp4", [frame, frame[:, ::-1].copy(), 0 * frame], fps=5)
    out = tmp_path / "codes.parquet"
    assert run("encode", tmp_path / "clip.mp4", "-o", out, "-m", weights, "--face", "largest") == 0
    rows = pq.read_table(out).to_pylist()
    assert [row["frame"] for row in rows] == [0, 1, 2]
    assert rows[2]["error"] is not None  # a black frame is a row too


# express and verify


@pytest.fixture(scope="module")
def ipdfer(tmp_path_factory) -> Path:
    return save_ipdfer(tmp_path_factory.mktemp("ipdfer") / "model.safetensors")


@pytest.fixture(scope="module")
def instrument_files(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("instruments")
    save_landmarks(folder / "landmarks.safetensors")
    save_recogniser(folder / "recogniser.safetensors")
    return folder


@pytest.fixture
def instruments(instrument_files, monkeypatch) -> Path:
    monkeypatch.setattr(packaged, "FOLDER", instrument_files)
    return instrument_files


@pytest.fixture(scope="module")
def mixed(hopper, collins, tmp_path_factory) -> Path:
    """Two people in one photo, one in another, a film, and three files without a face."""
    folder = tmp_path_factory.mktemp("mixed")
    a, b = read_photo(hopper)[:400, 60:460], read_photo(collins)[:400, 40:440]
    write_image(folder / "two.png", np.concatenate([a, b], axis=1))
    write_image(folder / "one.jpg", b)
    write_video(folder / "clip.mp4", [b, 0 * b], fps=5)
    (folder / "broken.jpg").write_bytes(b"\xff\xd8 nothing")
    (folder / "empty.png").touch()
    write_image(folder / "cat.png", skimage_data.chelsea())
    return folder


COLUMNS = [
    *("file", "frame", "face", "left", "top", "right", "bottom", "confidence"),
    *("expression", "probability"),
    *("neutral", "happiness", "sadness", "surprise", "fear", "disgust", "anger"),
    *("yaw_deg", "pitch_deg", "roll_deg", "error"),
]


def test_express_writes_the_same_rows_as_json_csv_and_parquet(mixed, ipdfer, instruments, tmp_path):
    for suffix in ("json", "csv", "parquet"):
        out = tmp_path / f"faces.{suffix}"
        assert run("express", mixed, "-o", out, "-m", ipdfer) == 3
    assert len(list(tmp_path.iterdir())) == 3  # nothing temporary is left
    rows = json.loads((tmp_path / "faces.json").read_text(encoding="utf-8"))
    assert all(list(row) == COLUMNS for row in rows)
    by_file: dict[str, list[dict]] = {}
    for row in rows:
        by_file.setdefault(Path(row["file"]).name, []).append(row)
    assert list(by_file) == sorted(by_file)
    counts = {name: sum(row["error"] is None for row in found) for name, found in by_file.items()}
    assert counts["two.png"] >= 2 and counts["one.jpg"] >= 1 and counts["clip.mp4"] >= 1
    for name in ("broken.jpg", "empty.png", "cat.png"):
        (row,) = by_file[name]
        assert name in row["error"] and row["expression"] is None and row["yaw_deg"] is None
    dark = by_file["clip.mp4"][-1]
    assert dark["frame"] == 1 and "clip.mp4, frame 1: no face found" in dark["error"]
    for row in (row for row in rows if row["error"] is None):
        classes = {name: row[name] for name in COLUMNS[10:17]}
        assert sum(classes.values()) == pytest.approx(1, abs=1e-5)
        assert row["probability"] == max(classes.values()) == classes[row["expression"]]
        assert row["right"] > row["left"] and abs(row["yaw_deg"]) < 0.01  # of the mean face
    table = pq.read_table(tmp_path / "faces.parquet")
    assert table.column_names == COLUMNS
    assert json.loads(table.schema.metadata[b"facefactor"])["model"] == "ipdfer"
    for row, same in zip(rows, table.to_pylist(), strict=True):
        for name, value in same.items():
            close = pytest.approx(value, rel=1e-6, abs=1e-6) if isinstance(value, float) else value
            assert row[name] == close  # Parquet has float32
    with open(tmp_path / "faces.csv", newline="", encoding="utf-8") as file:
        read = list(csv.DictReader(file))
    assert list(read[0]) == COLUMNS
    for row, same in zip(rows, read, strict=True):
        assert {k: "" if v is None else str(v) for k, v in row.items()} == same


def test_express_on_the_screen(mixed, ipdfer, instruments, capsys):
    words = ("-m", ipdfer, "--face", "largest")
    assert run("express", mixed / "one.jpg", mixed / "cat.png", mixed / "clip.mp4", *words) == 3
    printed = capsys.readouterr()
    photo, frame = printed.out.splitlines()
    assert photo.startswith(f"{mixed / 'one.jpg'}  face 0  ") and "  yaw +" in photo.replace(
        "-", "+"
    )
    assert frame.startswith(f"{mixed / 'clip.mp4'}  frame 0  face 0  ") and "  box " in frame
    errors = [line for line in printed.err.splitlines() if line.startswith("facefactor: ")]
    assert len(errors) == 2
    assert "clip.mp4, frame 1: no face found" in errors[0] and "cat.png: no face" in errors[1]


def test_express_with_nothing_done_is_exit_one(mixed, ipdfer, instruments, tmp_path, capsys):
    out = tmp_path / "none.json"
    assert run("express", mixed / "cat.png", "-o", out, "-m", ipdfer) == 1
    (row,) = json.loads(out.read_text(encoding="utf-8"))
    assert "cat.png: no face found" in row["error"]
    assert run("express", mixed / "cat.png", "-m", ipdfer) == 1
    assert run("express", mixed / "one.jpg", "-m", "facecycle") == 1
    assert "facecycle does not tell expressions apart" in capsys.readouterr().err


def test_verify_answers(hopper, collins, instruments, tmp_path, monkeypatch, capsys):
    assert run("verify", hopper, hopper) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first == "the same person: similarity 1.000, threshold 0.250"
    assert second == (
        "measured on 6,000 pairs of LFW: 0.10% of different people are taken for one, "
        "3.25% of the same person for two"
    )
    assert run("verify", hopper, collins, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["first"] == hopper and told["second"] == collins
    assert told["same_person"] == (told["similarity"] >= 0.25)
    assert {name: told[name] for name in MEASURED} == MEASURED
    save_recogniser(tmp_path / "recogniser.safetensors", None)
    monkeypatch.setattr(packaged, "FOLDER", tmp_path)
    assert run("verify", hopper, hopper) == 0
    assert capsys.readouterr().out == (
        "similarity 1.000; no threshold was measured for this recogniser\n"
    )


def test_verify_without_a_face_or_a_recogniser_is_exit_one(
    hopper, mixed, instruments, tmp_path, monkeypatch, capsys
):
    assert run("verify", hopper, mixed / "cat.png") == 1
    assert run("verify", hopper, mixed / "empty.png") == 1
    assert run("verify", hopper) == 2
    monkeypatch.setattr(packaged, "FOLDER", tmp_path)
    assert run("verify", hopper, hopper, "--json") == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    for reason in ("cat.png: no face found", "empty.png: is empty", "facefactor train recogniser"):
        assert reason in printed.err
