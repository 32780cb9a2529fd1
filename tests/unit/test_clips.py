"""A made head talks in a clip; its expressions move a template exactly as the model reads them."""

import weakref
from itertools import count

import numpy as np
import pytest
import torch

pytest.importorskip("trimesh", reason="trimesh is not installed; it writes and reads meshes")

from facefactor import api, following  # noqa: E402
from facefactor.clips import (  # noqa: E402
    clip_factors,
    mean_template,
    photo_template,
    write_npz,
    write_objs,
)
from facefactor.errors import FaceFactorError  # noqa: E402
from facefactor.following import Reading  # noqa: E402
from facefactor.geometry.lighting import directional_lighting  # noqa: E402
from facefactor.geometry.meshes import read_mesh  # noqa: E402
from facefactor.geometry.morphable import read_morphable, write_morphable  # noqa: E402
from facefactor.geometry.projection import project  # noqa: E402
from facefactor.geometry.rasteriser import rasterise, render  # noqa: E402
from facefactor.geometry.uv_grid import resample  # noqa: E402
from facefactor.images import VideoError, face_to_photo, write_image  # noqa: E402
from facefactor.perception.select import NoFaceError  # noqa: E402
from facefactor.photo_edits import PhotoFace, encode_face  # noqa: E402
from facefactor.reconstruction import reconstruct_face  # noqa: E402
from facefactor.videos import frame_rate, read_frames, write_video  # noqa: E402
from tests.made_clips import broken_clip  # noqa: E402
from tests.made_faces import made_face, noise, use_finder  # noqa: E402
from tests.made_heads import egg_model  # noqa: E402
from tests.made_talking_head import talking_egg  # noqa: E402
from tests.small_networks import save_neurotensorial  # noqa: E402

SIDE, SQUARE = 96, 70
DARK = 0 * noise(SIDE, SIDE)
SHOWN = [2, 2, 2, 3, 3, 5]  # the frame of the clip below whose expression each frame shows


def talking(weights: torch.Tensor) -> list[np.ndarray]:
    """The egg, lit, with each of the weights (T, E), where `made_face` says that it is."""
    egg = talking_egg()
    heads = egg.vertices(torch.zeros(len(weights), 5), weights)
    views = torch.eye(3).expand(len(weights), 3, 3)
    middle = torch.full((len(weights), 2), (SIDE - 1) / 2)
    points = project(heads, views, torch.full((len(weights),), 0.36 * SQUARE), middle)
    raster = rasterise(points, egg.triangles, (SIDE, SIDE))
    skin = 0.5 + 0.3 * torch.sin(4 * egg.neutral)
    light = directional_lighting(torch.tensor([30.0]), torch.tensor([40.0]), 0.4)
    picture = render(raster, points, egg.triangles, skin, light.expand(len(weights), 9))
    return face_to_photo(0.1 + 0.9 * picture)


@pytest.fixture(autouse=True)
def finder(monkeypatch):
    use_finder(monkeypatch, SQUARE)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("clips")


@pytest.fixture(scope="module")
def model(folder):
    egg = talking_egg()
    modes = {"expression_modes": len(egg.expression_names)}
    return api.load(save_neurotensorial(folder / "model.safetensors", **modes))


@pytest.fixture(scope="module")
def egg(folder):
    write_morphable(folder / "egg.npz", talking_egg())
    return folder / "egg.npz"


@pytest.fixture(scope="module")
def clip(folder):
    random = torch.Generator().manual_seed(0)
    weights = 3 * torch.rand(3, len(talking_egg().expression_names), generator=random)
    first, second, third = talking(weights)
    write_video(folder / "clip.mp4", [DARK, DARK, first, second, DARK, third], fps=12.5)
    return folder / "clip.mp4"


@pytest.fixture(scope="module")
def seen(model, clip):
    """What the model reads of the face shown at each frame, each read for itself."""
    frames = list(read_frames(clip))
    faces = [PhotoFace("photo", frames[k], made_face(frames[k], SQUARE).found) for k in SHOWN]
    return [encode_face(model, face) for face in faces]


@pytest.fixture(scope="module")
def person():
    return made_face(noise(120, 100), 60, tilt_deg=10)


def test_a_frame_without_a_face_repeats_another(model, clip, seen):
    reading = Reading()
    steps = []
    found = list(clip_factors(model, clip, reading, lambda *step: steps.append(step)))
    assert len(found) == 6 and reading == Reading(6, [0, 1, 4])
    assert steps == [(number, None) for number in range(1, 7)]
    for own, expected in zip(found, seen, strict=True):
        for name, code in expected.codes.items():
            assert torch.equal(own[name], code)
    differ = {code["expression"].numpy().tobytes() for code in found}
    assert len(differ) == 3
    assert reading.gaps() == (
        "no face in 3 of 6 frames (0-1, 4); they repeat the one before, those at the beginning the "
        "first"
    )


def test_gaps_are_told_in_runs():
    assert Reading(9).gaps() is None
    assert "1 of 9 frames (3)" in Reading(9, [3]).gaps()
    assert "6 of 9 frames (0, 2-4, 7-8)" in Reading(9, [0, 2, 3, 4, 7, 8]).gaps()


def test_a_clip_without_any_face_is_refused(model, tmp_path):
    write_video(tmp_path / "dark.mp4", [DARK] * 4, fps=10)
    with pytest.raises(NoFaceError, match="dark.mp4: no face found in any of its 4 frames"):
        list(clip_factors(model, tmp_path / "dark.mp4"))
    with pytest.raises(VideoError, match="gone.mp4: no such file"):
        list(clip_factors(model, tmp_path / "gone.mp4"))


def breaking(frames):
    def read(path):
        yield from ((frame, 0.0) for frame in frames)
        raise VideoError(f"{path}: breaks off after frame {len(frames)}")

    return read


def test_a_clip_that_breaks_off_keeps_what_came_before(model, monkeypatch):
    monkeypatch.setattr(following, "read_timed_frames", breaking([DARK, noise(), noise()]))
    reading = Reading()
    assert len(list(clip_factors(model, "cut.mp4", reading))) == 3
    assert reading == Reading(3, [0], "cut.mp4: breaks off after frame 3")
    monkeypatch.setattr(following, "read_timed_frames", breaking([DARK, DARK]))
    with pytest.raises(NoFaceError, match="cut.mp4: breaks off after 2 frames without a face"):
        list(clip_factors(model, "cut.mp4"))


def test_memory_stays_flat(model, person, monkeypatch):
    """Of a clip without an end, no more than two frames are ever there at once."""
    alive, most = weakref.WeakSet(), 0

    class Frame(np.ndarray):
        __hash__ = object.__hash__

    def endless(path):
        nonlocal most
        for number in count():
            frame = (noise(64, 64) + np.uint8(number)).view(Frame)
            alive.add(frame)
            most = max(most, len(alive))
            yield frame, 0.0
            del frame

    monkeypatch.setattr(following, "read_timed_frames", endless)
    film = api.transfer_clip(model, person, "endless.mp4")
    shown = [next(film).shape for _ in range(8)]
    assert shown == [person.photo.shape] * 8
    assert 1 <= most <= 2


def test_the_mean_face_moves_by_the_weights_that_the_model_tells(model, egg, clip, seen):
    template, source = mean_template(model, egg), talking_egg()
    assert torch.allclose(template.mesh.vertices, source.neutral)
    assert template.weight_names == source.expression_names
    for factors in seen[2:4]:
        moved = template.move(factors)
        with torch.inference_mode():
            assert torch.equal(moved.weights, model.coefficients(factors)[1][0])
        shift = torch.einsum("e,evc->vc", moved.weights.double(), source.expression.double())
        torch.testing.assert_close(
            moved.vertices.double(), source.neutral.double() + shift, rtol=1e-3, atol=2e-3
        )  # modes are stored as float16
        assert shift.abs().max() > 0.01


@pytest.mark.parametrize("surface", ["direct", "coefficients"])
def test_a_person_keeps_the_own_shape_and_takes_the_expression(model, egg, person, seen, surface):
    """With the own expression the mesh is that of the photo; with another, the person's with it."""
    template = photo_template(model, person, egg, surface)
    own = reconstruct_face(model, person, egg, surface)
    assert np.array_equal(template.mesh.texture, own.mesh.texture)
    still = template.move(own.factors)
    torch.testing.assert_close(still.vertices, own.mesh.vertices, rtol=1e-5, atol=1e-6)
    factors = seen[3]
    with torch.inference_mode():
        if surface == "direct":
            mixed = model.shape(own.factors["identity"], factors["expression"])[0].mT
            expected = resample(read_morphable(egg)).neutral + mixed
        else:
            weights = model.coefficients(factors)[1]
            expected = read_morphable(egg).vertices(own.identity[None], weights)[0]
    moved = template.move(factors).vertices
    torch.testing.assert_close(moved, expected, rtol=1e-5, atol=1e-5)
    assert (moved - own.mesh.vertices).abs().max() > 1e-4


def test_an_npz_of_a_clip(model, egg, person, clip, seen, tmp_path):
    reading = Reading()
    template = photo_template(model, person, egg)
    frames = clip_factors(model, clip, reading)
    assert write_npz(tmp_path / "new" / "moves.npz", template, frames, 12.5, reading) == 6
    with np.load(tmp_path / "new" / "moves.npz", allow_pickle=False) as file:
        arrays = dict(file)
    expected = [template.move(factors) for factors in seen]
    assert arrays["vertices"].shape == (6, 9375, 3) and arrays["vertices"].dtype == np.float32
    for own, weights, moved in zip(arrays["vertices"], arrays["weights"], expected, strict=True):
        assert np.array_equal(own, moved.vertices.numpy())
        assert np.array_equal(weights, moved.weights.numpy())
    assert tuple(arrays["weight_names"]) == talking_egg().expression_names
    assert arrays["fps"] == 12.5 and arrays["without_face"].tolist() == [0, 1, 4]
    assert np.array_equal(arrays["triangles"], template.mesh.triangles.numpy())
    assert np.array_equal(arrays["uv"], template.mesh.uv.numpy())
    assert np.array_equal(arrays["texture"], template.mesh.texture)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["moves.npz"]


def test_objs_of_a_clip(model, egg, clip, seen, tmp_path):
    template = mean_template(model, egg)
    folder = tmp_path / "moves"
    assert write_objs(folder, template, clip_factors(model, clip)) == 6
    names = [f"frame_{number:06d}.obj" for number in range(6)]
    assert sorted(path.name for path in folder.iterdir()) == names
    for name, factors in zip(names, seen, strict=True):
        mesh = read_mesh(folder / name)
        expected = template.move(factors).vertices
        torch.testing.assert_close(mesh.vertices, expected, rtol=1e-5, atol=1e-5)
        assert torch.equal(mesh.triangles, template.mesh.triangles)
    with pytest.raises(FaceFactorError, match=r"moves: has meshes of another clip .*frame_000000"):
        write_objs(folder, template, iter(()))


def test_nothing_is_written_of_a_clip_that_cannot_be(model, egg, clip, tmp_path):
    write_video(tmp_path / "dark.mp4", [DARK] * 2, fps=10)
    template = mean_template(model, egg)
    out = tmp_path / "out"
    with pytest.raises(NoFaceError):
        write_npz(
            out / "a.npz", template, clip_factors(model, tmp_path / "dark.mp4"), 10, Reading()
        )
    with pytest.raises(NoFaceError):
        write_objs(out / "a", template, clip_factors(model, tmp_path / "dark.mp4"))
    stranger = mean_template(model, egg_model())
    with pytest.raises(FaceFactorError, match="the morphable model: has 5 identity modes and 3"):
        write_objs(out / "b", stranger, clip_factors(model, clip))
    with pytest.raises(FaceFactorError, match="made.png: this mesh needs the morphable model"):
        photo_template(model, made_face(noise(), 60))
    assert not list(out.rglob("*.*"))


# the commands


def run(*words: object) -> int:
    from facefactor.cli import main

    with pytest.raises(SystemExit) as left:
        main([str(word) for word in words])
    return int(left.value.code or 0)


@pytest.fixture(scope="module")
def me(folder):
    (head,) = talking(torch.zeros(1, len(talking_egg().expression_names)))
    write_image(folder / "me.png", head[:, ::-1].copy())
    return folder / "me.png"


def test_transfer_from_a_clip_is_a_film(model, folder, clip, me, tmp_path, caplog):
    weights = folder / "model.safetensors"
    out = tmp_path / "out.mp4"
    words = ("transfer", me, "--from", clip, "-m", weights, "--strength", 2.5, "-o", out)
    assert run(*words) == 0
    assert frame_rate(out) == 12.5
    expected = list(api.transfer_clip(model, api.read_face(me), clip, strength=2.5))
    film = list(read_frames(out))
    assert len(film) == len(expected) == 6
    for frame, photo in zip(film, expected, strict=True):
        assert np.abs(frame.astype(int) - photo).mean() < 4  # compressed
    assert np.array_equal(expected[0], expected[2]) and np.array_equal(expected[3], expected[4])
    assert not np.array_equal(expected[2], expected[3])
    assert f"{clip}: no face in 3 of 6 frames (0-1, 4)" in caplog.text
    assert run(*words[:-1], tmp_path / "out.gif", "--raw") == 0
    assert next(read_frames(tmp_path / "out.gif")).shape == (64, 64, 3)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.gif", "out.mp4"]


def test_each_frame_of_the_film_is_the_transfer_from_that_frame(model, clip, me):
    frames, target = list(read_frames(clip)), api.read_face(me)
    film = list(api.transfer_clip(model, target, clip, ["expression", "illumination"], 0.5))
    for number in (2, 3, 5):
        photo = api.transfer_face(
            model, target, api.read_face(frames[number]), ["expression", "illumination"], 0.5
        )
        assert np.array_equal(film[number], photo)


def test_reconstruct_of_a_clip(folder, clip, me, egg, tmp_path):
    words = ("reconstruct", clip, "-m", folder / "model.safetensors", "--morphable", egg)
    assert run(*words, "-o", tmp_path / "mean") == 0
    assert len(list((tmp_path / "mean").glob("frame_*.obj"))) == 6
    assert run(*words, "-o", tmp_path / "mean.npz") == 0
    with np.load(tmp_path / "mean.npz") as file:
        assert file["vertices"].shape == (6, len(talking_egg().neutral), 3)
        assert "texture" not in file and file["fps"] == 12.5
    assert run(*words, "-o", tmp_path / "me.npz", "--template", me) == 0
    with np.load(tmp_path / "me.npz") as file:
        assert file["vertices"].shape == (6, 9375, 3) and "texture" in file


def test_a_broken_clip_is_done_as_far_as_it_goes(folder, egg, me, tmp_path, capsys):
    cut = tmp_path / "cut.mkv"
    count = broken_clip(
        cut, talking(torch.eye(len(talking_egg().expression_names))[torch.arange(40) % 3])
    )
    weights = folder / "model.safetensors"
    for words in (
        ("transfer", me, "--from", cut, "-o", tmp_path / "film.mp4"),
        ("reconstruct", cut, "--morphable", egg, "-o", tmp_path / "moves.npz"),
    ):
        assert run(*words, "-m", weights) == 3
        printed = capsys.readouterr()
        assert printed.out == f"{words[-1]}\n"
        assert f"cut.mkv: breaks off after frame {count}" in printed.err
    assert len(list(read_frames(tmp_path / "film.mp4"))) == count
    with np.load(tmp_path / "moves.npz") as file:
        assert len(file["vertices"]) == count


def test_what_does_not_go_together(folder, clip, me, egg, tmp_path, capsys):
    write_video(tmp_path / "dark.mp4", [DARK] * 2, fps=10)
    out = tmp_path / "out"
    for line, message in [
        (("transfer", me, "--from", clip, "-o", out / "o.png"), "clip.mp4: is a video, its frames"),
        (("transfer", me, "--from", me, "-o", out / "o.mp4"), "a film takes from a video"),
        (("transfer", me, "--from", clip, "-o", clip), "would overwrite the video"),
        (
            ("transfer", me, "--from", tmp_path / "dark.mp4", "-o", out / "o.mp4"),
            "dark.mp4: no face found in any of its 2 frames",
        ),
        (("transfer", me, "--from", "gone.mp4", "-o", out / "o.mp4"), "gone.mp4: no such file"),
        (("reconstruct", clip, "-o", out / "o.glb"), "a folder of OBJ files"),
        (("reconstruct", clip, "-o", out / "o"), "say whose face shows the expressions"),
        (
            ("reconstruct", clip, "-o", out / "o", "--morphable", egg, "--surface", "direct"),
            "say whose face shows the expressions",
        ),
        (("reconstruct", clip, "-o", out / "o", "--template", me), "needs the morphable model"),
        (
            ("reconstruct", me, "-o", out / "o.npz", "--template", me),
            "a template is for the expressions of a video",
        ),
        (
            ("reconstruct", clip, "-o", out / "o", "--template", me, "--face", "all"),
            "one face is reconstructed",
        ),
    ]:
        before = clip.read_bytes()
        assert run(*line, "-m", folder / "model.safetensors") == 1, line
        assert message in capsys.readouterr().err, line
        assert clip.read_bytes() == before
    assert not out.exists() or not list(out.rglob("*.*"))
