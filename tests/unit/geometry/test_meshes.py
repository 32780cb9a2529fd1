"""Mesh files: what is written comes back, in the units, order and colours that were given."""

import io
import json
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

pytest.importorskip("trimesh", reason="trimesh is not installed; it writes and reads meshes")

from facefactor.files import WriteError  # noqa: E402
from facefactor.geometry.meshes import (  # noqa: E402
    Mesh,
    MeshError,
    read_mesh,
    sample_texture,
    write_mesh,
)
from facefactor.geometry.uv_grid import grid_triangles, grid_uv  # noqa: E402

# 2 x 2 patches: red, green; blue, white. Row 0 is the top, v = 1.
PATCHES = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [255, 255, 255]]], np.uint8)
TEXTURE = np.ascontiguousarray(PATCHES.repeat(8, 0).repeat(8, 1))


@pytest.fixture
def sheet():
    """5 rows of 4 vertices over 12 x 20 cm, bent, and the picture of four patches on it."""
    uv = grid_uv(torch.tensor([[0.0, 0.0], [1.0, 1.0]]), 5, 4)
    vertices = torch.stack([12 * uv[:, 0] - 6, 20 * uv[:, 1], uv[:, 0] * uv[:, 1]], dim=1)
    return Mesh(vertices, grid_triangles(5, 4), uv, TEXTURE)


@pytest.mark.parametrize("suffix", [".glb", ".obj", ".ply", ".PLY"])
def test_shapes_come_back_in_their_order(sheet, tmp_path, suffix):
    path = tmp_path / "new" / f"sheet{suffix}"
    write_mesh(path, sheet)
    back = read_mesh(path)
    torch.testing.assert_close(back.vertices, sheet.vertices, rtol=1e-5, atol=1e-5)
    assert torch.equal(back.triangles, sheet.triangles)
    assert [file.name for file in path.parent.iterdir()] == [path.name]  # one file, nothing beside


def test_a_glb_holds_its_texture(sheet, tmp_path):
    write_mesh(tmp_path / "sheet.glb", sheet)
    back = read_mesh(tmp_path / "sheet.glb")
    torch.testing.assert_close(back.uv, sheet.uv)
    assert np.array_equal(back.texture, TEXTURE)
    assert back.colours is None


def parts_of_glb(path: Path):
    """The JSON and the binary part, by the format's own rules."""
    content = path.read_bytes()
    magic, version, length = struct.unpack_from("<4sII", content)
    assert (magic, version, length) == (b"glTF", 2, len(content))
    size, kind = struct.unpack_from("<I4s", content, 12)
    assert kind == b"JSON"
    return json.loads(content[20 : 20 + size]), content[28 + size :]


def accessor(tree, binary, index, kind):
    entry = tree["accessors"][index]
    view = tree["bufferViews"][entry["bufferView"]]
    start = view.get("byteOffset", 0) + entry.get("byteOffset", 0)
    return np.frombuffer(binary, kind, entry["count"] * 3, start)


def test_a_glb_is_in_metres_with_v_down_and_matt(sheet, tmp_path):
    """Read without trimesh: what any other viewer will find."""
    write_mesh(tmp_path / "sheet.glb", sheet)
    tree, binary = parts_of_glb(tmp_path / "sheet.glb")
    primitive = tree["meshes"][0]["primitives"][0]
    attributes = primitive["attributes"]
    position = accessor(tree, binary, attributes["POSITION"], "<f4").reshape(-1, 3)
    np.testing.assert_allclose(position, sheet.vertices.numpy() / 100, atol=1e-7)
    assert "NORMAL" in attributes
    entry = tree["accessors"][attributes["TEXCOORD_0"]]
    view = tree["bufferViews"][entry["bufferView"]]
    uv = np.frombuffer(binary, "<f4", 2 * entry["count"], view.get("byteOffset", 0)).reshape(-1, 2)
    np.testing.assert_allclose(uv[0], [0, 0], atol=1e-6)  # the upper left of the picture
    material = tree["materials"][primitive["material"]]
    assert material["pbrMetallicRoughness"]["metallicFactor"] == 0
    assert material["doubleSided"]
    image = tree["bufferViews"][tree["images"][0]["bufferView"]]
    start = image.get("byteOffset", 0)
    picture = Image.open(io.BytesIO(binary[start : start + image["byteLength"]]))
    assert np.array_equal(np.array(picture.convert("RGB")), TEXTURE)


@pytest.mark.parametrize("suffix", [".obj", ".ply"])
def test_others_have_the_colours_of_the_texture_at_their_vertices(sheet, tmp_path, suffix):
    write_mesh(tmp_path / f"sheet{suffix}", sheet)
    back = read_mesh(tmp_path / f"sheet{suffix}")
    corners = back.colours[[0, 3, 16, 19]]
    expected = torch.from_numpy(PATCHES.reshape(4, 3)).float() / 255
    torch.testing.assert_close(corners, expected, rtol=0, atol=0.01)


@pytest.mark.parametrize("suffix", [".glb", ".obj", ".ply"])
def test_colours_of_vertices_and_no_colours_at_all(sheet, tmp_path, suffix):
    path = tmp_path / f"sheet{suffix}"
    colours = torch.linspace(0, 1, 60).view(20, 3)
    write_mesh(path, Mesh(sheet.vertices, sheet.triangles, colours=colours))
    torch.testing.assert_close(read_mesh(path).colours, colours, rtol=0, atol=0.01)
    write_mesh(path, Mesh(sheet.vertices, sheet.triangles))
    bare = read_mesh(path)
    assert bare.texture is None and len(bare.vertices) == 20


def test_a_texture_is_sampled_between_its_pixel_centres():
    """2 x 2 pixels have their centres at 1/4 and 3/4; the middle is the mean of all four."""
    uv = torch.tensor([[0.25, 0.75], [0.75, 0.75], [0.25, 0.25], [0.5, 0.5], [0.0, 1.0]])
    colours = sample_texture(PATCHES, uv)
    expected = [[1, 0, 0], [0, 1, 0], [0, 0, 1], [0.5, 0.5, 0.5], [1, 0, 0]]
    torch.testing.assert_close(colours, torch.tensor(expected).float())


def test_other_suffixes_are_refused(sheet, tmp_path):
    for name in ("face.stl", "face", "face.gltf"):
        with pytest.raises(MeshError, match="meshes are .glb, .obj, .ply, by their suffix"):
            write_mesh(tmp_path / name, sheet)
        with pytest.raises(MeshError, match="by their suffix"):
            read_mesh(tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_nothing_is_left_of_a_failed_write(sheet, tmp_path):
    (tmp_path / "face.ply").mkdir()
    with pytest.raises(WriteError, match="is a folder"):
        write_mesh(tmp_path / "face.ply", sheet)
    assert [file.name for file in tmp_path.iterdir()] == ["face.ply"]


@pytest.mark.parametrize("suffix", [".glb", ".obj", ".ply"])
def test_broken_files_are_named(sheet, tmp_path, suffix):
    path = tmp_path / f"face{suffix}"
    with pytest.raises(MeshError, match="does not exist"):
        read_mesh(path)
    write_mesh(path, sheet)
    whole = path.read_bytes()
    for content in (b"", b"hello\n", whole[:60]):
        path.write_bytes(content)
        with pytest.raises(MeshError, match=path.name):
            read_mesh(path)


def test_a_mesh_opens_no_other_file(tmp_path):
    """An OBJ may name any file as its material; that file is not looked at."""
    (tmp_path / "other.mtl").write_text("newmtl skin\nmap_Kd picture.png\n")
    Image.fromarray(TEXTURE).save(tmp_path / "picture.png")
    lines = "mtllib other.mtl\nv 0 0 0\nv 1 0 0\nv 0 1 0\nvt 0 0\nvt 1 0\nvt 0 1\nusemtl skin\n"
    (tmp_path / "face.obj").write_text(lines + "f 1/1 2/2 3/3\n")
    mesh = read_mesh(tmp_path / "face.obj")
    assert mesh.texture is None and mesh.triangles.tolist() == [[0, 1, 2]]
