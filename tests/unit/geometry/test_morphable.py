"""The morphable model: its sums, its files, and what is refused."""

import dataclasses
import zipfile

import numpy as np
import pytest
import torch

from facefactor.files import WriteError
from facefactor.geometry.morphable import (
    MorphableModel,
    MorphableModelError,
    read_morphable,
    write_morphable,
)


@pytest.fixture
def small():
    """Five vertices, three identity modes, two expressions; all numbers exact in float16."""
    random = torch.Generator().manual_seed(0)

    def eighths(*shape):
        return torch.randint(-64, 64, shape, generator=random) / 8

    return MorphableModel(
        neutral=eighths(5, 3),
        identity=eighths(3, 5, 3),
        expression=eighths(2, 5, 3),
        expression_names=("jawOpen", "mouthSmile_L"),
        triangles=torch.tensor([[0, 1, 2], [2, 1, 3], [3, 1, 4]]),
        uv=eighths(5, 2).abs() / 8,
        landmarks68=torch.arange(68) % 5,
    )


def stored(tmp_path, small, **changes):
    """A file of the model with other arrays in place of some; None leaves one out."""
    path = tmp_path / "face.npz"
    write_morphable(path, small)
    with np.load(path) as file:
        arrays = {**file, **changes}
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    return path


def test_a_face_is_the_sum_of_its_modes(small):
    identity, expression = (
        torch.tensor([[1.0, 0, -2], [0, 0.5, 0]]),
        torch.tensor([[0, 1.0], [0, 0]]),
    )
    vertices = small.vertices(identity, expression)
    first = small.neutral + small.identity[0] - 2 * small.identity[2] + small.expression[1]
    second = small.neutral + small.identity[1] / 2
    assert torch.equal(vertices, torch.stack([first, second]))


def test_gradients_reach_the_coefficients(small):
    whole = dataclasses.replace(
        small,
        neutral=small.neutral.double(),
        identity=small.identity.double(),
        expression=small.expression.double(),
    )
    coefficients = torch.rand(2, 3).double().requires_grad_(), torch.rand(2, 2).double()
    assert torch.autograd.gradcheck(whole.vertices, coefficients)


def test_a_model_moves_whole_to_another_device(small):
    moved = small.to("meta")
    tensors = [value for value in vars(moved).values() if isinstance(value, torch.Tensor)]
    assert len(tensors) == 6 and all(tensor.device.type == "meta" for tensor in tensors)
    assert moved.expression_names == small.expression_names


def test_weights_by_name(small):
    assert small.expression_weights({"mouthSmile_L": 0.5}).tolist() == [[0, 0.5]]
    assert small.expression_weights({}).tolist() == [[0, 0]]
    with pytest.raises(ValueError, match="no expression 'smile'; this model has jawOpen, mouth"):
        small.expression_weights({"smile": 1})


def test_a_file_brings_the_model_back(small, tmp_path):
    path = tmp_path / "folder" / "face"  # no suffix: the name is kept as it is
    write_morphable(path, small)
    back = read_morphable(path)
    for field in dataclasses.fields(MorphableModel):
        written, read = getattr(small, field.name), getattr(back, field.name)
        if isinstance(written, tuple):
            assert read == written
        else:
            assert read.dtype == written.dtype and torch.equal(read, written)
    assert [file.name for file in path.parent.iterdir()] == ["face"]


def test_nothing_is_left_of_a_failed_write(small, tmp_path):
    with pytest.raises(WriteError, match="is a folder"):
        write_morphable(tmp_path, small)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"uv": None}, "no array 'uv'; a morphable model needs neutral, identity"),
        ({"neutral": np.zeros((5, 2), np.float32)}, r"neutral must be \(5, 3\), it is \(5, 2\)"),
        ({"neutral": np.zeros(5, np.float32)}, r"neutral must be \(5, 3\), it is \(5,\)"),
        ({"identity": np.zeros((3, 6, 3), np.float32)}, r"identity must be \(3, 5, 3\)"),
        ({"expression_names": np.array(["a", "b", "c"])}, r"expression_names must be \(2\), it is"),
        ({"landmarks68": np.zeros(67, int)}, r"landmarks68 must be \(68\), it is \(67,\)"),
        ({"landmarks68": np.full(68, 5)}, "landmarks68 names vertices 5 to 5, but there are 5"),
        ({"triangles": np.array([[0, 1, -1]])}, "triangles names vertices -1 to 1"),
        ({"triangles": np.zeros((2, 3))}, "triangles has the unexpected type float64"),
        ({"uv": np.full((5, 2), np.nan)}, "uv has NaN or infinity in it"),
        ({"expression_names": np.array([{}, []], dtype=object)}, "not an .npz of plain arrays"),
    ],
)
def test_what_is_no_model_is_refused_by_name(small, tmp_path, changes, message):
    path = stored(tmp_path, small, **changes)
    with pytest.raises(MorphableModelError, match=message) as refused:
        read_morphable(path)
    assert str(refused.value).startswith(f"{path}: ")
    assert "\n" not in str(refused.value)


def test_other_files_are_refused(small, tmp_path):
    with pytest.raises(MorphableModelError, match="absent.npz does not exist"):
        read_morphable(tmp_path / "absent.npz")
    write_morphable(tmp_path / "whole.npz", small)
    whole = (tmp_path / "whole.npz").read_bytes()
    single = tmp_path / "single.npy"
    np.save(single, np.zeros(3))
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as file:
        file.writestr("neutral.npy", b"text")
    for name, content in (("cut", whole[:-200]), ("empty", b""), ("text", b"v 0 0 0\n")):
        (tmp_path / name).write_bytes(content)
    for name in ("cut", "empty", "text", "single.npy", "other.zip"):
        with pytest.raises(MorphableModelError, match=f"{name}: not an .npz|{name}: no array"):
            read_morphable(tmp_path / name)


def test_the_shared_model_is_a_face(shared):
    model = read_morphable(shared / "models3d" / "ict_facekit_face.npz")
    assert model.neutral.shape == (9409, 3) and model.identity.shape == (100, 9409, 3)
    left_eye, right_eye = model.landmarks68[42:48], model.landmarks68[36:42]
    nose, chin = model.neutral[model.landmarks68[30]], model.neutral[model.landmarks68[8]]
    assert model.neutral[left_eye, 0].min() > 1 and model.neutral[right_eye, 0].max() < -1
    assert nose[2] > model.neutral[left_eye, 2].max() and chin[1] < nose[1] - 5
    still = torch.zeros(1, 100)
    neutral, smiling = (
        model.vertices(still, model.expression_weights(weights))[0, model.landmarks68]
        for weights in ({}, {"mouthSmile_L": 1.0})
    )
    moved = (smiling - neutral)[[48, 54]]  # the corners of the mouth: the subject's right, left
    assert moved[1, 1] > 0.5 and moved[1, 0] > 0.5 and moved[0].norm() < 0.2
