"""A reconstruction "opens in a viewer": its files, read by trimesh alone, show the face."""

import numpy as np
import pytest
import torch

trimesh = pytest.importorskip("trimesh", reason="trimesh is not installed; it reads meshes")

from facefactor import api  # noqa: E402
from facefactor.geometry.morphable import MorphableModel  # noqa: E402
from facefactor.geometry.rasteriser import interpolate, rasterise  # noqa: E402
from facefactor.geometry.similarity import apply_affine  # noqa: E402
from facefactor.geometry.uv_grid import resample  # noqa: E402
from facefactor.reconstruction import Skin, points_in_photo, reconstruct_face  # noqa: E402
from tests.made_faces import made_face  # noqa: E402
from tests.made_heads import egg_model  # noqa: E402
from tests.small_networks import save_neurotensorial  # noqa: E402

METRES = {".glb": 0.01, ".obj": 1.0, ".ply": 1.0}  # of a file's unit for a centimetre


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Untrained, but for the noise that it would lay on the mesh: a hundredth of it."""
    built = api.load(save_neurotensorial(tmp_path_factory.mktemp("nt") / "model.safetensors"))
    with torch.no_grad():
        for parameter in built.shape_core.parameters():
            parameter.mul_(0.1)
    return built


@pytest.fixture(scope="module")
def egg() -> MorphableModel:
    return egg_model()


@pytest.fixture(scope="module")
def face():
    """Of soft colours, all different from left to right and from top to bottom."""
    y, x = np.mgrid[0:160, 0:160] / 160
    photo = np.stack([0.2 + 0.6 * x, 0.8 - 0.6 * y, 0.5 + 0.3 * np.sin(7 * x + 5 * y)], axis=2)
    return made_face((255 * photo).astype(np.uint8), 90, tilt_deg=10)


@pytest.fixture(scope="module")
def found(model, face, egg):
    """By texture: what was reconstructed."""
    skins: list[Skin] = ["photo", "albedo"]
    return {skin: reconstruct_face(model, face, egg, texture=skin) for skin in skins}


def viewed(path) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Vertices in centimetres, triangles and colours (V, 3) as trimesh has them."""
    mesh = trimesh.load(path, force="mesh", process=False, maintain_order=True)
    visual = mesh.visual.to_color() if mesh.visual.kind == "texture" else mesh.visual
    colours = visual.vertex_colors[:, :3]
    vertices = torch.tensor(np.array(mesh.vertices), dtype=torch.float32) / METRES[path.suffix]
    triangles = torch.tensor(np.array(mesh.faces), dtype=torch.int64)
    return vertices, triangles, torch.tensor(np.array(colours), dtype=torch.float32) / 255


def drawn(triangles, colours, points, side):
    """The mesh seen at points (V, 3) of a picture: (side, side, 3), and where it is."""
    raster = rasterise(points[None], triangles, (side, side))
    picture = interpolate(raster, colours)[0].permute(1, 2, 0)
    return picture.numpy(), raster.mask[0, 0].numpy()


@pytest.mark.parametrize("suffix", [".glb", ".obj", ".ply"])
def test_the_file_drawn_at_its_place_is_the_photo(found, face, egg, suffix, tmp_path):
    own = found["photo"]
    own.write(tmp_path / f"face{suffix}")
    vertices, triangles, colours = viewed(tmp_path / f"face{suffix}")
    points = points_in_photo(vertices, resample(egg).landmarks68, own.rotation, face)
    picture, shown = drawn(triangles, colours, points, len(face.photo))
    assert 0.1 < shown.mean() < 0.6
    off = np.abs(picture - face.photo / 255)[shown]
    assert np.median(off) < 0.003 and (off < 0.05).mean() > 0.95  # the rim was not seen
    upside_down = np.abs(picture[::-1] - face.photo / 255)[shown[::-1]]
    assert np.median(upside_down) > 0.05


@pytest.mark.parametrize("suffix", [".glb", ".obj", ".ply"])
def test_the_file_drawn_in_the_square_is_the_models_own_albedo(found, face, egg, suffix, tmp_path):
    own = found["albedo"]
    own.write(tmp_path / f"face{suffix}")
    vertices, triangles, colours = viewed(tmp_path / f"face{suffix}")
    points = points_in_photo(vertices, resample(egg).landmarks68, own.rotation, face)
    flat = apply_affine(own.placement.to_crop, points[:, :2].numpy())
    in_square = torch.cat([torch.from_numpy(flat).float(), points[:, 2:]], dim=1)
    picture, shown = drawn(triangles, colours, in_square, 64)
    albedo = own.drawn.albedo[0].clamp(0, 1).permute(1, 2, 0).numpy()
    assert shown.mean() > 0.3
    off = np.abs(picture - albedo)[shown]
    spread = np.abs(albedo - albedo[shown].mean(axis=0))[shown]
    assert np.median(off) < 0.25 * np.median(spread)  # the mesh is coarser than its pixels
