"""Conversion of an ICT-FaceKit folder: a small set of shapes on a mesh of the true size."""

import shutil

import numpy as np
import pytest
import torch

from facefactor import cli
from facefactor.geometry.ict_facekit import FACE_VERTICES, LANDMARKS68, convert_ict_facekit
from facefactor.geometry.morphable import MorphableModelError, read_morphable, write_morphable

SIDE = 97  # squared: the face's vertices
EXTRA = [(0, 0, -9), (1, 0, -9), (0, 1, -9)]  # of another part, after the face


def face(bump=0.0):
    """A sheet of vertices, row by row from its top; `bump` moves each of them its own way."""
    row, column = np.divmod(np.arange(FACE_VERTICES), SIDE)
    return np.stack([column + bump, -row + 2 * bump, bump * column / SIDE], axis=1)


def obj(vertices, polygons=(), coordinates=()):
    lines = ["# made for a test", "mtllib none.mtl", "o sheet"]
    lines += [f"v {x:.6g} {y:.6g} {z:.6g}" for x, y, z in [*vertices, *EXTRA]]
    lines += [f"vt {u:.6g} {v:.6g}" for u, v in coordinates]
    lines += ["vn 0 0 1", "usemtl none", "s 1"]
    lines += ["f " + " ".join(corners) for corners in polygons]
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """FaceXModel with two identities, two expressions; a quad, a triangle, one of another part."""
    folder = tmp_path_factory.mktemp("ict") / "FaceXModel"
    folder.mkdir()
    quad, triangle = ["1/1/1", "98/2/1", "99/3/1", "2/4/1"], ["2/5", "99/3", "3/6"]
    # Counted from the end: vertices 9410 to 9412 of the mesh, and the face's last with them.
    other = [["-3/1", "-2/1", "-1/1"], ["-4/1", "-3/1", "-2/1"]]
    coordinates = [(0, 1), (0, 0.5), (0.5, 0.5), (0.5, 1), (0.6, 1), (1, 1)]
    neutral = obj(face(), [quad, triangle, *other], coordinates)
    (folder / "generic_neutral_mesh.obj").write_text(neutral)
    for name, bump in (("identity000", 0.5), ("identity001", -1), ("mouthOpen", 2), ("Blink", 4)):
        (folder / f"{name}.obj").write_text(obj(face(bump)))
    (folder / "vertex_indices.json").write_text("{}")
    return folder


@pytest.fixture
def copy(made, tmp_path):
    return shutil.copytree(made, tmp_path / "FaceXModel")


def test_shapes_are_differences_to_the_neutral_one(made):
    model = convert_ict_facekit(made)
    torch.testing.assert_close(model.neutral, torch.from_numpy(face()).float())
    assert model.expression_names == ("Blink", "mouthOpen")
    for modes, bumps in ((model.identity, (0.5, -1)), (model.expression, (4, 2))):
        for mode, bump in zip(modes, bumps, strict=True):
            expected = torch.from_numpy(face(bump) - face()).float()
            torch.testing.assert_close(mode, expected, rtol=0, atol=1e-5)
    assert tuple(model.landmarks68.tolist()) == LANDMARKS68


def test_polygons_become_triangles_of_the_face_alone(made):
    model = convert_ict_facekit(made)
    assert model.triangles.tolist() == [[0, 97, 98], [0, 98, 1], [1, 98, 2]]
    expected = {0: (0, 1), 97: (0, 0.5), 98: (0.5, 0.5), 1: (0.5, 1), 2: (1, 1)}  # 1: its first
    for vertex, uv in expected.items():
        assert model.uv[vertex].tolist() == list(uv)
    assert model.uv[5].tolist() == [0, 0]


def test_the_checkout_above_is_found_too_and_goes_to_a_file(made, tmp_path):
    model = convert_ict_facekit(str(made.parent))
    write_morphable(tmp_path / "ict.npz", model)
    back = read_morphable(tmp_path / "ict.npz")
    assert back.expression_names == model.expression_names
    assert torch.equal(back.triangles, model.triangles)
    torch.testing.assert_close(back.expression, model.expression, rtol=1e-3, atol=1e-3)


def test_the_landmarks_are_those_of_the_shared_file(shared):
    model = read_morphable(shared / "models3d" / "ict_facekit_face.npz")
    assert tuple(model.landmarks68.tolist()) == LANDMARKS68
    assert len(model.neutral) == FACE_VERTICES


def test_vertices_with_colours_and_other_spacing_are_read(copy):
    file = copy / "identity001.obj"
    plain = convert_ict_facekit(copy).identity[1]
    lines = file.read_text().splitlines()
    coloured = [f"{line}\t0.5 0.5 0.5" if line.startswith("v ") else line for line in lines]
    file.write_bytes("\r\n".join(coloured).replace("v ", "  v   ").encode())
    assert torch.equal(convert_ict_facekit(copy).identity[1], plain)


def replace(name, old, new):
    def change(folder):
        file = folder / name
        text = file.read_text()
        assert old in text
        file.write_text(text.replace(old, new, 1))

    return change


def remove(*names):
    return lambda folder: [(folder / name).unlink() for name in names]


NEUTRAL = "generic_neutral_mesh.obj"


def test_the_command_writes_a_file_that_is_read_again(made, tmp_path, capsys):
    output = tmp_path / "ict.npz"
    with pytest.raises(SystemExit) as exited:
        cli.main(["data", "morphable", str(made), "-o", str(output)])
    assert exited.value.code == 0 and capsys.readouterr().out == f"{output}\n"
    model = read_morphable(output)
    assert torch.equal(model.triangles, convert_ict_facekit(made).triangles)
    with pytest.raises(SystemExit) as exited:
        cli.main(["data", "morphable", str(made), "-o", str(tmp_path / "ict.obj")])
    assert exited.value.code == 1
    assert "ict.obj: a morphable model is an .npz file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (remove(NEUTRAL), "no generic_neutral_mesh.obj in it or in its FaceXModel"),
        (remove("identity000.obj", "identity001.obj"), "no identity meshes beside"),
        (remove("identity000.obj"), "identity 0 is missing, the last is 1"),
        (remove("Blink.obj", "mouthOpen.obj"), "no expression meshes beside"),
        (replace("Blink.obj", "v 0 0 -9\n", ""), "Blink.obj: has 9411 vertices, but .* has 9412"),
        (replace("Blink.obj", "v 4 8 0", "v 4 8"), "Blink.obj: a vertex is not three"),
        (replace("Blink.obj", "v 4 8 0", "v 4 x 0"), "Blink.obj: a vertex is not three numbers"),
        (replace("Blink.obj", "v 4 8 0", "v 4 nan 0"), "a vertex is not three finite numbers"),
        (replace(NEUTRAL, "f 2/5", "f 0/5"), r"line \d+ is no OBJ \(f 0/5 99/3 3/6\)"),
        (replace(NEUTRAL, "f 2/5", "f two/5"), r"line \d+ is no OBJ \(f two/5"),
        (replace(NEUTRAL, "f 2/5", "f 2"), "vertex 1 has no texture coordinates"),
        (replace(NEUTRAL, "f 2/5", "f 2/7"), "vertex 1 has no texture coordinates"),
        (replace(NEUTRAL, "vt 0 1", "vt 0"), r"line \d+ is no OBJ \(vt 0\)"),
    ],
)
def test_a_broken_folder_is_refused(copy, damage, message):
    damage(copy)
    with pytest.raises(MorphableModelError, match=message) as refused:
        convert_ict_facekit(copy)
    assert "\n" not in str(refused.value)


def test_a_mesh_that_is_too_small_is_refused(tmp_path):
    (tmp_path / NEUTRAL).write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1/1 2/1 3/1\n")
    (tmp_path / "identity000.obj").write_text("")
    (tmp_path / "jawOpen.obj").write_text("")
    with pytest.raises(MorphableModelError, match="has 3 vertices; the face of ICT-FaceKit alone"):
        convert_ict_facekit(tmp_path)
    with pytest.raises(MorphableModelError, match="nowhere: no generic_neutral_mesh"):
        convert_ict_facekit(tmp_path / "nowhere")
