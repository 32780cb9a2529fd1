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
from facefactor.photo_edits import edit_face, read_faces


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
    assert "keeps pose inside expression" in capsys.readouterr().err
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
    from facefactor.videos import write_video

    frame = read_photo(hopper)[:480, :480]
    write_video(tmp_path / "clip.mp4", [frame, frame[:, ::-1].copy(), 0 * frame], fps=5)
    out = tmp_path / "codes.parquet"
    assert run("encode", tmp_path / "clip.mp4", "-o", out, "-m", weights, "--face", "largest") == 0
    rows = pq.read_table(out).to_pylist()
    assert [row["frame"] for row in rows] == [0, 1, 2]
    assert rows[2]["error"] is not None  # a black frame is a row too
