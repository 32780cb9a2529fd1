"""Faces in three dimensions: shapes exactly, where their skin is taken from, and every file."""

import numpy as np
import pytest
import torch

pytest.importorskip("trimesh", reason="trimesh is not installed; it writes and reads meshes")

from facefactor import api  # noqa: E402
from facefactor.errors import FaceFactorError  # noqa: E402
from facefactor.geometry.lighting import shading  # noqa: E402
from facefactor.geometry.meshes import read_mesh, sample_texture  # noqa: E402
from facefactor.geometry.morphable import (  # noqa: E402
    MorphableModelError,
    read_morphable,
    write_morphable,
)
from facefactor.geometry.rotations import nearest_rotation, rotation_matrix  # noqa: E402
from facefactor.geometry.similarity import apply_affine  # noqa: E402
from facefactor.geometry.uv_grid import resample  # noqa: E402
from facefactor.images import read_photo  # noqa: E402
from facefactor.photo_edits import encode_face  # noqa: E402
from facefactor.reconstruction import points_in_photo, reconstruct_face  # noqa: E402
from tests.made_faces import made_face  # noqa: E402
from tests.made_heads import egg_model  # noqa: E402
from tests.small_networks import save_ipdfer, save_neurotensorial  # noqa: E402


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return save_neurotensorial(tmp_path_factory.mktemp("nt") / "model.safetensors")


@pytest.fixture(scope="module")
def model(weights):
    """Untrained, but for the noise that it would lay on the mesh: a hundredth of it."""
    built = api.load(weights)
    with torch.no_grad():
        for parameter in built.shape_core.parameters():
            parameter.mul_(0.1)
    return built


@pytest.fixture(scope="module")
def egg(tmp_path_factory):
    path = tmp_path_factory.mktemp("egg") / "egg.npz"
    write_morphable(path, egg_model())
    return path


def ramp(side: int) -> np.ndarray:
    """Red is x, green is y, in steps of 250 over the photo."""
    axis = np.linspace(0, 250, side).round().astype(np.uint8)
    photo = np.full((side, side, 3), 90, np.uint8)
    photo[..., 0], photo[..., 1] = axis, axis[:, None]
    return photo


@pytest.fixture(scope="module")
def face():
    return made_face(ramp(200), 90, tilt_deg=10)


@pytest.fixture(scope="module")
def found(model, face, egg):
    return reconstruct_face(model, face, egg)


def test_the_direct_shape_is_the_mean_face_of_the_grid_and_b(model, face, egg, found):
    codes = encode_face(model, face)
    with torch.inference_mode():
        displacement = model.shape(codes["identity"], codes["expression"])[0].T
    grid = resample(read_morphable(egg))
    torch.testing.assert_close(found.mesh.vertices, grid.neutral + displacement)
    assert torch.equal(found.mesh.triangles, grid.triangles)
    assert torch.equal(found.displacement, displacement) and displacement.abs().max() > 0


def test_coefficients_are_the_morphable_models(model, face, egg):
    found = reconstruct_face(model, face, read_morphable(egg), surface="coefficients")
    source = read_morphable(egg)
    with torch.inference_mode():
        identity, expression = model.coefficients(encode_face(model, face))
    assert torch.equal(found.identity, identity[0])
    torch.testing.assert_close(found.mesh.vertices, source.vertices(identity, expression)[0])
    assert torch.equal(found.mesh.uv, source.uv) and len(found.mesh.triangles) == 2 * 40 * 30


def test_what_it_says_is_what_the_model_says(model, face, found):
    codes = encode_face(model, face)
    with torch.inference_mode():
        drawn = model.render(codes)
        torch.testing.assert_close(found.drawn.image, drawn.image)
        torch.testing.assert_close(
            found.drawn.shading, shading(drawn.normals, found.lighting[None])
        )
        assert torch.equal(found.frontal_normals, model.frontal_normals(codes))
    assert torch.equal(found.rotation, nearest_rotation(codes["pose"].view(3, 3)))


def test_vertices_are_seen_where_the_points_were_found(egg):
    """A head turned by a known rotation, at a known place: the fit gives back both."""
    source = read_morphable(egg)
    rotation = rotation_matrix(torch.tensor([25.0, -10.0, 0.0]))
    flat = (source.neutral @ rotation.T)[:, :2].double().numpy() * [1, -1]
    to_photo = np.array([[30.0, -12.0, 70.0], [12.0, 30.0, 50.0]])  # turned and scaled by 32.31
    seen = apply_affine(to_photo, flat)
    marks = source.landmarks68.numpy()
    points = [seen[marks[36:42]].mean(0), seen[marks[42:48]].mean(0), *seen[marks[[30, 48, 54]]]]
    face = made_face(ramp(200), 90)
    face.found.points[:] = points
    placed = points_in_photo(source.neutral, source.landmarks68, rotation, face)
    np.testing.assert_allclose(placed[:, :2].numpy(), seen, atol=1e-3)
    depth = np.hypot(30, 12) * (source.neutral @ rotation.T)[:, 2]
    torch.testing.assert_close(placed[:, 2], depth.float(), rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize(("side", "square"), [(200, 90), (1500, 1000)])
@pytest.mark.parametrize("surface", ["direct", "coefficients"])
def test_skin_is_taken_from_where_the_photo_shows_it(model, egg, side, square, surface):
    """Of a photo that says where it is; the larger is shrunk to the texture's size first."""
    face = made_face(ramp(side), square, tilt_deg=10)
    found = reconstruct_face(model, face, egg, surface=surface)
    landmarks = (resample(egg_model()) if surface == "direct" else egg_model()).landmarks68
    places = points_in_photo(found.mesh.vertices, landmarks, found.rotation, face)
    colours = 255 * sample_texture(found.mesh.texture, found.mesh.uv)
    seen = sample_texture(np.repeat((255 * found.seen[..., None]).astype(np.uint8), 3, 2),
                          found.mesh.uv)[:, 0]  # fmt: skip
    sure = seen > 0.999
    assert 0.1 < sure.float().mean() < 0.9  # the sides of an egg are not seen
    off = colours[sure, :2] - 250 * places[sure, :2] / (side - 1)
    assert off.abs().median() < 1 and off.abs().max() < 6
    assert (colours[sure, 2] - 90).abs().max() <= 1


def test_the_albedo_comes_from_the_models_square(model, face, egg, found):
    painted = reconstruct_face(model, face, egg, texture="albedo")
    assert torch.equal(painted.mesh.vertices, found.mesh.vertices)
    assert not np.array_equal(painted.mesh.texture, found.mesh.texture)
    marks = resample(egg_model()).landmarks68
    places = points_in_photo(found.mesh.vertices, marks, found.rotation, face)
    nose = marks[30]
    x, y = apply_affine(found.placement.to_crop, places[nose, :2].numpy()).round().astype(int)
    expected = found.drawn.albedo[0, :, y - 1 : y + 2, x - 1 : x + 2].clamp(0, 1)
    low, high = expected.flatten(1).min(1).values, expected.flatten(1).max(1).values
    colour = sample_texture(painted.mesh.texture, painted.mesh.uv)[nose]
    assert ((colour > low - 0.01) & (colour < high + 0.01)).all()


def test_without_a_morphable_model_there_is_all_but_the_mesh(model, face, found, tmp_path):
    bare = reconstruct_face(model, face)
    assert bare.mesh is None and bare.seen is None
    assert torch.equal(bare.displacement, found.displacement)
    assert found.arrays().keys() - bare.arrays().keys() == {
        *("vertices", "triangles", "uv", "texture", "texture_seen")
    }
    bare.write(tmp_path / "face.npz")
    for suffix in (".glb", ".obj", ".ply"):
        with pytest.raises(
            FaceFactorError, match="mesh needs the morphable model.*--morphable FILE"
        ):
            bare.write(tmp_path / f"face{suffix}")
    assert [path.name for path in tmp_path.iterdir()] == ["face.npz"]


def test_weights_that_know_their_mean_face_need_no_file(weights, face, egg):
    grid = resample(read_morphable(egg))
    knowing = api.load(weights)
    knowing.set_mean_face(grid.neutral, grid.landmarks68)
    with_file, without = reconstruct_face(knowing, face, egg), reconstruct_face(knowing, face)
    torch.testing.assert_close(without.mesh.vertices, with_file.mesh.vertices)
    assert torch.equal(without.mesh.triangles, with_file.mesh.triangles)
    assert without.mesh.uv.aminmax() == (0, 1)  # the grid fills the texture
    own = sample_texture(without.mesh.texture, without.mesh.uv)
    other = sample_texture(with_file.mesh.texture, with_file.mesh.uv)
    assert (own - other).abs().median() < 2 / 255
    assert reconstruct_face(knowing, face, surface="coefficients").mesh is None


def test_every_number_is_in_the_npz(found, face, tmp_path):
    found.write(tmp_path / "face.npz")
    with np.load(tmp_path / "face.npz", allow_pickle=False) as file:
        read = {name: file[name] for name in file}
    own = found.arrays()
    assert read.keys() == own.keys()
    for name, array in own.items():
        assert np.array_equal(read[name], array), name
    shapes = {name: array.shape for name, array in read.items()}
    assert shapes["rotation"] == (3, 3) and shapes["lighting"] == (9,)
    assert shapes["identity_coefficients"] == (5,) and shapes["expression_coefficients"] == (3,)
    assert shapes["displacement"] == shapes["vertices"] == (9375, 3)
    for name, size in (("identity", 80), ("expression", 15), ("pose", 9), ("illumination", 9)):
        assert shapes[f"{name}_code"] == (size,)
    for name in ("square", "redrawn", "normals", "albedo", "background", "frontal_normals"):
        assert shapes[name] == (64, 64, 3)
    assert shapes["mask"] == shapes["shading"] == (64, 64, 1)
    assert shapes["texture"] == (512, 512, 3) and read["texture"].dtype == np.uint8


@pytest.mark.parametrize("suffix", [".glb", ".obj", ".ply"])
def test_meshes_load_again(found, tmp_path, suffix):
    found.write(tmp_path / f"face{suffix}")
    back = read_mesh(tmp_path / f"face{suffix}")
    torch.testing.assert_close(back.vertices, found.mesh.vertices, rtol=1e-5, atol=1e-5)
    assert torch.equal(back.triangles, found.mesh.triangles)
    if suffix == ".glb":
        assert np.array_equal(back.texture, found.mesh.texture)
    else:
        expected = sample_texture(found.mesh.texture, found.mesh.uv)
        torch.testing.assert_close(back.colours, expected, rtol=0, atol=0.01)


def test_the_sheet_has_a_row_more_with_a_mesh(model, face, found, tmp_path):
    found.write(tmp_path / "with.png")
    reconstruct_face(model, face).write(tmp_path / "without.png")
    whole, part = (read_photo(tmp_path / f"{name}.png") for name in ("with", "without"))
    assert part.shape[1] == whole.shape[1] and len(whole) == len(part) * 3 // 2
    assert np.array_equal(whole[: len(part)], part)
    assert (whole[len(part) :] != 255).any()


def test_what_cannot_be_reconstructed(model, weights, face, egg, tmp_path):
    with pytest.raises(FaceFactorError, match=r"face.stl: cannot write .stl; end it in .glb, .npz"):
        reconstruct_face(model, face).write(tmp_path / "face.stl")
    with pytest.raises(FaceFactorError, match="a name without suffix"):
        reconstruct_face(model, face).write(tmp_path / "face")
    with pytest.raises(MorphableModelError, match="gone.npz does not exist"):
        reconstruct_face(model, face, tmp_path / "gone.npz")
    other = api.load(save_neurotensorial(tmp_path / "other.safetensors", identity_modes=7))
    with pytest.raises(
        FaceFactorError, match="egg.npz: has 5 identity modes and 3 expressions.* with 7 and 3"
    ):
        reconstruct_face(other, face, egg)
    with pytest.raises(FaceFactorError, match="^the morphable model: has 5"):
        reconstruct_face(other, face, egg_model())
    for network in (
        api.load(save_ipdfer(tmp_path / "ipdfer.safetensors")),
        api.load(save_neurotensorial(tmp_path / "proof.safetensors", network="turned proof")),
    ):
        with pytest.raises(FaceFactorError, match="no shapes, .*take weights of neurotensorial$"):
            reconstruct_face(network, face)
