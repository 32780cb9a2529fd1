"""`relight`, `pose` and `reconstruct` end to end, on two public-domain portraits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

pytest.importorskip("trimesh", reason="trimesh is not installed; it writes and reads meshes")

import facefactor as ff  # noqa: E402
from facefactor import api  # noqa: E402
from facefactor.cli import main  # noqa: E402
from facefactor.demo import portrait_paths  # noqa: E402
from facefactor.geometry.meshes import read_mesh  # noqa: E402
from facefactor.geometry.morphable import write_morphable  # noqa: E402
from facefactor.geometry.projection import project  # noqa: E402
from facefactor.geometry.rasteriser import rasterise  # noqa: E402
from facefactor.images import read_photo, write_image  # noqa: E402
from facefactor.outcomes import Outcome  # noqa: E402
from facefactor.videos import read_frames  # noqa: E402
from tests.made_heads import egg_model  # noqa: E402
from tests.small_networks import save_ipdfer, save_neurotensorial  # noqa: E402


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("made")


@pytest.fixture(scope="module")
def weights(folder) -> Path:
    return save_neurotensorial(folder / "model.safetensors")


@pytest.fixture(scope="module")
def egg(folder) -> Path:
    write_morphable(folder / "egg.npz", egg_model())
    return folder / "egg.npz"


@pytest.fixture(scope="module")
def photos(folder) -> tuple[Path, Path]:
    """Two heads, cut small so that finding them is quick."""
    hopper, collins = (read_photo(path) for path in portrait_paths().values())
    write_image(folder / "hopper.png", hopper[:350, 100:420])
    write_image(folder / "collins.png", collins[:260, 90:350])
    return folder / "hopper.png", folder / "collins.png"


@pytest.fixture(scope="module")
def hopper(photos) -> Path:
    return photos[0]


def run(*words: object) -> int:
    with pytest.raises(SystemExit) as left:
        main([str(word) for word in words])
    return int(left.value.code or 0)


def test_commands_and_functions_agree(photos, weights, tmp_path):
    model = ff.load(weights)
    me, friend = (ff.read_face(photo) for photo in photos)
    expected = {
        "relight --light-from left": ff.relight_face(model, me, ff.light_from("left")),
        "relight --azimuth 100 --elevation -10 --ambient 0.1 --strength 0.5": ff.relight_face(
            model, me, ff.Light(100, -10, 0.1), strength=0.5
        ),
        "relight --elevation 30 --raw": ff.relight_face(model, me, ff.Light(0, 30), raw=True),
        f"relight --from {photos[1]}": ff.relight_face(model, me, friend),
        "pose --yaw 30 --pitch -5": ff.pose_face(model, me, ff.Angles(30, -5)),
        "pose --roll 15 --raw": ff.pose_face(model, me, ff.Angles(roll_deg=15), raw=True),
        f"pose --from {photos[1]}": ff.pose_face(model, me, friend),
    }
    out = tmp_path / "out.png"
    for words, photo in expected.items():
        verb, *options = words.split()
        assert run(verb, photos[0], "-o", out, "-m", weights, *options) == 0, words
        assert np.array_equal(read_photo(out), photo), words
        assert not np.array_equal(photo, me.photo), words
    assert len({photo.tobytes() for photo in expected.values()}) == len(expected)


def test_what_lies_outside_the_square_is_untouched(hopper, weights, tmp_path):
    before = read_photo(hopper)
    left, top, right, bottom = (int(x) for x in ff.read_face(hopper).found.box)
    width = right - left
    for words in (["relight", "--light-from", "above"], ["pose", "--yaw", 40]):
        assert run(words[0], hopper, "-o", tmp_path / "o.png", "-m", weights, *words[1:]) == 0
        changed = (read_photo(tmp_path / "o.png") != before).any(axis=2)
        assert changed[top:bottom, left:right].mean() > 0.2
        changed[
            max(0, top - width // 2) : bottom + width // 2,
            max(0, left - width // 2) : right + width // 2,
        ] = False
        assert not changed.any()


@pytest.mark.parametrize(
    ("words", "suffix"),
    [
        ("relight --light-from left", "gif"),
        ("relight --azimuth 60 --to-azimuth -60", "png"),
        ("pose --yaw 30", "mp4"),
    ],
)
def test_steps_are_a_sheet_or_a_film(words, suffix, hopper, weights, tmp_path):
    out = tmp_path / f"path.{suffix}"
    verb, *options = words.split()
    assert run(verb, hopper, "-o", out, "-m", weights, "--steps", 3, *options) == 0
    if suffix == "gif":
        assert Image.open(out).n_frames == 4  # there and back
    elif suffix == "mp4":
        assert len(list(read_frames(out))) == 3
    else:
        height, width, _ = read_photo(out).shape
        assert height > 160 and width > 2.5 * 160


def test_a_path_starts_at_the_photo_and_ends_at_the_edit(hopper, weights, tmp_path):
    """GIFs have few colours, so the frames are compared where they are made."""
    model = ff.load(weights)
    me = ff.read_face(hopper)
    for goal in (["relight", "--azimuth", 70], ["pose", "--yaw", 25]):
        words = [goal[0], hopper, *goal[1:], "-m", weights, "--raw", "--steps", 2]
        assert run(*words, "-o", tmp_path / "sheet.png") == 0
        cells = read_photo(tmp_path / "sheet.png")[-160:]
        ends = (
            ff.pose_face(model, me, ff.Angles(25), raw=True)
            if goal[0] == "pose"
            else ff.relight_face(model, me, ff.Light(70), raw=True)
        )
        own = ff.relight_face(model, me, me, raw=True)
        for cell, expected in ((cells[:, :160], own), (cells[:, -160:], ends)):
            big = np.asarray(Image.fromarray(expected).resize((160, 160), Image.Resampling.BICUBIC))
            assert np.abs(cell.astype(int) - big)[8:-8, 8:-8].mean() < 4


def test_several_faces_each_by_its_own_pose(photos, weights, tmp_path):
    a, b = (read_photo(photo)[:260, :260] for photo in photos)
    apart = np.full((260, 120, 3), 128, np.uint8)  # neither square reaches into the other
    write_image(tmp_path / "two.png", np.concatenate([a, apart, b], axis=1))
    photo = read_photo(tmp_path / "two.png")
    changed = {}
    for which in ("0", "1", "all"):
        words = ["--yaw", 20, "--face", which, "-m", weights, "-o", tmp_path / f"{which}.png"]
        assert run("pose", tmp_path / "two.png", *words) == 0
        changed[which] = (read_photo(tmp_path / f"{which}.png") != photo).any(axis=2)
    assert not (changed["0"] & changed["1"]).any()
    assert np.array_equal(changed["all"], changed["0"] | changed["1"])


def test_a_folder_with_bad_files_is_done_but_for_them(hopper, weights, tmp_path, capsys):
    photos = tmp_path / "photos"
    write_image(photos / "good.png", read_photo(hopper))
    write_image(photos / "grey.png", np.full((100, 100, 3), 128, np.uint8))
    (photos / "empty.jpg").touch()
    for words in (["relight", "--light-from", "right"], ["pose", "--pitch", 10, "--steps", 2]):
        out = tmp_path / words[0]
        assert run(words[0], photos, "-o", out, "-m", weights, *words[1:]) == 3
        printed = capsys.readouterr()
        assert printed.out.splitlines() == [str(out / "good.png")]
        assert "grey.png: no face found" in printed.err and "empty.jpg: is empty" in printed.err
        assert [path.name for path in out.iterdir()] == ["good.png"]
    alone = ("relight", photos / "grey.png", "--light-from", "left", "-m", weights)
    assert run(*alone, "-o", tmp_path / "none.png") == 1
    assert not (tmp_path / "none.png").exists()


@pytest.mark.parametrize(
    "line",
    [
        "relight me.jpg -o o.png",
        "relight me.jpg -o o.png --from a.jpg --light-from left",
        "relight me.jpg -o o.png --from a.jpg --azimuth 3",
        "relight me.jpg -o o.png --light-from left --elevation 3",
        "relight me.jpg -o o.png --light-from top",
        "relight me.jpg -o o.png --azimuth 181",
        "relight me.jpg -o o.png --elevation -91",
        "relight me.jpg -o o.png --light-from left --ambient -1",
        "relight me.jpg -o o.png --light-from left --to-azimuth 3",
        "relight me.jpg -o o.png --from a.jpg --to-azimuth 3 --steps 3",
        "relight me.jpg -o o.png --light-from left --steps 1",
        "relight me.jpg --light-from left",
        "pose me.jpg -o o.png",
        "pose me.jpg -o o.png --from a.jpg --roll 3",
        "pose me.jpg -o o.png --yaw 90.5",
        "pose me.jpg -o o.png --pitch -91",
        "pose me.jpg -o o.png --roll 181",
        "reconstruct me.jpg",
        "reconstruct me.jpg -o o.glb --texture skin",
        "reconstruct me.jpg -o o.glb --surface rough",
    ],
)
def test_usage_errors_exit_with_2_and_ask_nothing(line, monkeypatch, capsys):
    for verb in ("relight", "pose", "reconstruct"):
        monkeypatch.setattr(api, verb, lambda *given, **named: pytest.fail("was asked"))
    assert run(*line.split()) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_where_a_light_travels_to(monkeypatch):
    asked = []

    def answer(*given, **named):
        asked.append((given, named))
        return Outcome((Path("o.png"),))

    monkeypatch.setattr(api, "relight", answer)
    line = "relight me.jpg -o o.gif --light-from above --to-elevation -60 --steps 9 --ambient 0.2"
    assert run(*line.split()) == 0
    ((given, named),) = asked
    assert given == (["me.jpg"], Path("o.gif"), ff.Light(0, 60, 0.2))
    assert named["until"] == ff.Light(0, -60, 0.2) and named["steps"] == 9


def test_outputs_that_cannot_be(hopper, weights, tmp_path, capsys):
    light = ("--light-from", "left", "-m", weights)
    for words, message in [
        (
            ("relight", hopper, "-o", "out.tga", *light),
            "out.tga: cannot write .tga; end it in .png",
        ),
        (("relight", hopper, "-o", "out.gif", *light), "a film is made of a video, or of steps"),
        (("relight", hopper, "-o", hopper, *light), "would overwrite the photo"),
        (("pose", hopper, "-o", "out.avi", "--yaw", 3, "--steps", 3, "-m", weights), ".gif, .mp4"),
        (("relight", hopper, hopper.with_name("collins.png"), "-o", "o.png", *light), "a folder"),
        (("reconstruct", hopper, "-o", "face.stl", "-m", weights), "cannot write .stl"),
        (("reconstruct", hopper, "-o", "face.glb", "-m", weights), "--morphable FILE"),
        (("reconstruct", hopper, "-o", hopper, "-m", weights), "would overwrite the photo"),
        (
            ("reconstruct", hopper, "-o", tmp_path / "f.npz", "--face", "all", "-m", weights),
            "one face is reconstructed",
        ),
    ]:
        assert run(*words) == 1, words
        assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
    for suffix in ("tga", "gif", "avi", "stl", "glb"):
        assert not list(Path.cwd().glob(f"*.{suffix}"))


def test_models_that_cannot(photos, folder, tmp_path, capsys):
    ipdfer = save_ipdfer(folder / "ipdfer.safetensors")
    out = tmp_path / "out.png"
    for words, message in [
        (("relight", "--light-from", "left"), "ipdfer does not separate illumination"),
        (("pose", "--yaw", 10), "the pose code of ipdfer (32 numbers) is no rotation"),
        (("reconstruct",), "ipdfer knows no shapes"),
    ]:
        assert run(words[0], photos[0], "-o", out, "-m", ipdfer, *words[1:]) == 1
        assert message in capsys.readouterr().err
    assert run("pose", photos[0], "-o", out, "-m", "facecycle", "--yaw", 10) == 1
    assert "facecycle keeps pose inside expression" in capsys.readouterr().err
    assert not out.exists()
    assert run("pose", photos[0], "-o", out, "-m", ipdfer, "--from", photos[1]) == 0
    assert read_photo(out).shape == read_photo(photos[0]).shape


@pytest.mark.parametrize("suffix", [".glb", ".npz", ".png"])  # the rest: unit tests
def test_reconstruct_writes_every_kind(suffix, hopper, weights, egg, tmp_path):
    out = tmp_path / f"face{suffix}"
    assert run("reconstruct", hopper, "-o", out, "--morphable", egg, "-m", weights) == 0
    assert [path.name for path in tmp_path.iterdir()] == [out.name]
    if suffix == ".npz":
        with np.load(out, allow_pickle=False) as file:
            assert file["vertices"].shape == (9375, 3) and file["lighting"].shape == (9,)
    elif suffix == ".png":
        assert read_photo(out).shape[1] >= 5 * 200
    else:  # it opens in a viewer: ours
        mesh = read_mesh(out)
        points = project(
            mesh.vertices, torch.eye(3)[None], torch.tensor([20.0]), torch.tensor([[32.0, 32.0]])
        )
        assert rasterise(points, mesh.triangles, (64, 64)).mask.float().mean() > 0.2


def test_reconstruct_says_what_is_wrong(hopper, weights, tmp_path, capsys):
    words = ("reconstruct", hopper, "-o", tmp_path / "face.glb", "-m", weights)
    assert run(*words, "--morphable", tmp_path / "gone.npz") == 1
    (tmp_path / "text.npz").write_text("not an npz")
    assert run(*words, "--morphable", tmp_path / "text.npz") == 1
    write_image(tmp_path / "grey.png", np.full((100, 100, 3), 128, np.uint8))
    grey = ("reconstruct", tmp_path / "grey.png", "-o", tmp_path / "face.npz", "-m", weights)
    assert run(*grey) == 1
    errors = capsys.readouterr().err
    assert "gone.npz does not exist" in errors and "text.npz: not an .npz" in errors
    assert "grey.png: no face found" in errors
    assert sorted(path.name for path in tmp_path.iterdir()) == ["grey.png", "text.npz"]
