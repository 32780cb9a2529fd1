"""`normalize` and `augment` end to end, on two public-domain portraits found by the detector."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import facefactor as ff
from facefactor.cli import main
from facefactor.data.readers import READERS
from facefactor.demo import portrait_paths
from facefactor.images import read_photo, write_image
from facefactor.videos import frame_rate, read_frames, write_video
from tests.small_networks import save_nfgan


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("made")


@pytest.fixture(scope="module")
def weights(folder) -> Path:
    return save_nfgan(folder / "model.safetensors")


@pytest.fixture(scope="module")
def photos(folder) -> tuple[Path, Path]:
    """Two heads, cut small so that finding them is quick, of one size."""
    hopper, collins = (read_photo(path) for path in portrait_paths().values())
    write_image(folder / "hopper.png", hopper[40:300, 120:380])
    write_image(folder / "collins.png", collins[:260, 90:350])
    return folder / "hopper.png", folder / "collins.png"


def run(*words: object) -> int:
    with pytest.raises(SystemExit) as left:
        main([str(word) for word in words])
    return int(left.value.code or 0)


def test_command_and_function_agree_and_the_rest_is_untouched(photos, weights, tmp_path):
    model, me, out = ff.load(weights), ff.read_face(photos[0]), tmp_path / "out.png"
    for raw, words in ((False, []), (True, ["--raw"])):
        expected = ff.normalize_face(model, me, raw=raw)
        assert run("normalize", photos[0], "-o", out, "-m", weights, *words) == 0
        assert np.array_equal(read_photo(out), expected)
    edited = ff.normalize_face(model, me)
    left, top, right, bottom = (int(x) for x in me.found.box)
    changed, width = (edited != me.photo).any(axis=2), right - left
    inset = width // 12  # the corners of the box are beside the face's oval
    assert changed[top + inset : bottom - inset, left + inset : right - inset].mean() > 0.8
    changed[
        max(0, top - width // 2) : bottom + width // 2,
        max(0, left - width // 2) : right + width // 2,
    ] = False
    assert not changed.any()


@pytest.mark.parametrize("suffix", ["png", "gif", "mp4"])
def test_the_way_is_a_sheet_or_a_film(suffix, photos, weights, tmp_path):
    out = tmp_path / f"way.{suffix}"
    small = ["--raw"] if suffix == "gif" else []  # the colours of noise take long to choose
    assert run("normalize", photos[0], "-o", out, "-m", weights, "--steps", 3, *small) == 0
    if suffix == "png":
        height, width, _ = read_photo(out).shape
        assert height > 160 and width > 3.5 * 160
    elif suffix == "mp4":
        assert len(list(read_frames(out))) == 4 + 3
    else:
        assert Image.open(out).size == (64, 64) and Image.open(out).n_frames >= 4


def test_a_video_keeps_its_rate_and_its_frames_without_a_face(photos, weights, tmp_path, caplog):
    hopper, collins = (read_photo(photo) for photo in photos)
    clip, out = tmp_path / "clip.mp4", tmp_path / "film.mp4"
    write_video(clip, [hopper, 0 * hopper, collins, hopper], fps=12.5)
    assert run("normalize", clip, "-o", out, "-m", weights) == 0
    assert "clip.mp4: no face in 2 of 4 frames (1-2); they stay as they are" in caplog.text
    assert frame_rate(out) == 12.5
    before, after = ([f.astype(int) for f in read_frames(path)] for path in (clip, out))
    moved = [np.abs(a - b).mean() for a, b in zip(before, after, strict=True)]
    assert max(moved[1:3]) < 2 and min(moved[0], moved[3]) > 4  # Collins is not Hopper
    expected = ff.normalize_face(ff.load(weights), ff.read_face(before[0].astype(np.uint8)))
    assert np.abs(after[0] - expected).mean() < moved[0] / 2  # the codec is lossy


def test_a_folder_of_photos_and_videos_with_bad_files(photos, weights, tmp_path, capsys):
    folder, out = tmp_path / "photos", tmp_path / "out"
    hopper = read_photo(photos[0])
    write_image(folder / "good.png", hopper)
    write_image(folder / "grey.png", np.full((100, 100, 3), 128, np.uint8))
    (folder / "empty.jpg").touch()
    write_video(folder / "good.mp4", [hopper], fps=10)
    write_video(folder / "dark.mp4", [0 * hopper] * 2, fps=10)
    (folder / "broken.mp4").write_text("no video")
    assert run("normalize", folder, "-o", out, "-m", weights) == 3
    printed = capsys.readouterr()
    assert printed.out.splitlines() == [str(out / "good.mp4"), str(out / "good.png")]
    for message in (
        "grey.png: no face found",
        "empty.jpg: is empty",
        "dark.mp4: no face found in any of its 2 frames",
        "broken.mp4: is not a video",
    ):
        assert message in printed.err
    assert sorted(path.name for path in out.iterdir()) == ["good.mp4", "good.png"]


def test_outputs_that_cannot_be(photos, weights, tmp_path, capsys):
    hopper = photos[0]
    clip = tmp_path / "clip.mp4"
    write_video(clip, [read_photo(hopper)], fps=10)
    for words, message in [
        ((hopper, "-o", "out.tga"), "out.tga: cannot write .tga; end it in .png"),
        ((hopper, "-o", "out.mp4"), "a film is made of a video, or of steps"),
        ((hopper, "-o", hopper), "would overwrite the photo"),
        ((clip, "-o", clip), "would overwrite the photo"),
        ((clip, "-o", "out.png"), "clip.mp4: is a video; its frames make a film"),
        ((clip, "-o", "out.gif", "--steps", 3), "clip.mp4: is a video; steps are of photos"),
        ((clip, "-o", "out.gif", "--raw", "--face", "all"), "squares of several faces"),
        ((hopper, photos[1], "-o", "out.png"), "need a folder to go to"),
    ]:
        assert run("normalize", *words, "-m", weights) == 1, words
        assert message in capsys.readouterr().err
    for suffix in ("tga", "gif", "png", "mp4"):
        assert not list(Path.cwd().glob(f"out.{suffix}"))


def test_of_an_animation_a_picture_is_of_its_first_frame(photos, weights, tmp_path):
    hopper, collins = (read_photo(photo) for photo in photos)
    gif = tmp_path / "two.gif"
    Image.fromarray(hopper).save(
        gif, save_all=True, append_images=[Image.fromarray(collins)], duration=100
    )
    assert run("normalize", gif, "-o", tmp_path / "out.png", "-m", weights) == 0
    first = ff.read_face(gif)
    assert np.array_equal(
        read_photo(tmp_path / "out.png"), ff.normalize_face(ff.load(weights), first)
    )
    assert run("normalize", gif, "-o", tmp_path / "films", "-m", weights) == 0
    assert Image.open(tmp_path / "films" / "two.gif").n_frames == 2


def test_models_that_cannot_and_edits_that_are_not_nfgans(photos, weights, tmp_path, capsys):
    out = tmp_path / "out.png"
    assert run("normalize", photos[0], "-o", out, "-m", "facecycle") == 1
    assert "facecycle draws no normalised faces" in capsys.readouterr().err
    for verb, factor in (("neutral", "expression"), ("frontalize", "pose")):
        assert run(verb, photos[0], "-o", out, "-m", weights) == 1
        told = capsys.readouterr().err
        assert f"nfgan does not separate {factor}" in told and "(facefactor normalize)" in told
    assert not out.exists()


def test_augment_makes_a_data_set_and_goes_on(photos, weights, tmp_path, capsys):
    labelled, out = tmp_path / "faces", tmp_path / "normalised"
    write_image(labelled / "happy" / "1.png", read_photo(photos[1]))
    write_image(labelled / "neutral" / "1.png", read_photo(photos[0]))
    write_image(labelled / "neutral" / "wall.png", np.full((100, 100, 3), 128, np.uint8))
    words = ("augment", labelled, "-o", out, "-m", weights)
    assert run(*words) == 3
    printed = capsys.readouterr()
    assert printed.out.splitlines() == [str(out / "index.csv")]
    assert "wall.png: no face found" in printed.err
    with open(out / "index.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [(row["file"], row["source_label"], row["label"]) for row in rows] == [
        ("neutral/happy/1.png.png", "happy", "neutral"),
        ("neutral/neutral/1.png.png", "neutral", "neutral"),
        ("", "neutral", "neutral"),
    ]
    face = ff.read_face(photos[1])
    drawn = ff.normalize_face(ff.load(weights), face, raw=True).astype(int)
    assert np.abs(read_photo(out / rows[0]["file"]) - drawn).max() <= 2  # the cut was rounded

    records = READERS["augmented"](out)
    assert {record.expression for record in records} == {"neutral"} and len(records) == 2
    assert run("data", "check", out, "--reader", "augmented") == 0
    written = (out / rows[0]["file"]).stat().st_mtime_ns
    (labelled / "neutral" / "wall.png").unlink()
    capsys.readouterr()
    assert run(*words) == 0
    assert (out / rows[0]["file"]).stat().st_mtime_ns == written
    assert run(*words, "--label", "6") == 1
    assert "begun with other weights, another folder or other labels" in capsys.readouterr().err
