"""Recognisers from files: which network a file holds, what is refused, what embeddings are."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from facefactor.nn.resnet import IResNet18
from facefactor.perception.recognition import (
    MobileFaceNet,
    embed,
    load_mobilefacenet,
    load_recogniser,
)
from facefactor.perception.state_dicts import InstrumentError


@pytest.fixture(scope="module")
def faces():
    return torch.rand(2, 3, 112, 112, generator=torch.Generator().manual_seed(0))


def unlike_new(network: nn.Module) -> nn.Module:
    """In eval mode and with running statistics that a new network does not have."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-0.1, 0.1)
            module.running_var.uniform_(0.8, 1.2)
    return network.eval()


@pytest.fixture(scope="module")
def slim():
    torch.manual_seed(1)
    return unlike_new(MobileFaceNet(code_size=24, width=0.25))


@pytest.fixture(scope="module")
def resnet():
    torch.manual_seed(2)
    return unlike_new(IResNet18(code_size=4))


@pytest.mark.parametrize(("width", "stem"), [(0.25, 16), (0.5, 32), (1.0, 64)])
def test_width_scales_all_maps_but_the_last(width, stem):
    shapes = {name: weight.shape for name, weight in MobileFaceNet(512, width).named_parameters()}
    assert shapes["conv1.0.weight"] == (stem, 3, 3, 3)
    assert shapes["features.5.conv.0.0.weight"] == (4 * stem, stem, 1, 1)
    assert shapes["features.14.conv.2.weight"] == (2 * stem, 4 * stem, 1, 1)
    assert shapes["conv2.0.weight"] == (512, 2 * stem, 1, 1)
    assert shapes["conv3.weight"] == (512, 512, 1, 1)


@pytest.mark.parametrize("width", [0.0, 0.33, -1.0])
def test_a_width_between_channels_is_refused(width):
    with pytest.raises(ValueError, match="multiple of 1/64"):
        MobileFaceNet(width=width)


def test_embeddings_have_length_one(slim, faces):
    with torch.inference_mode():
        found = embed(slim, faces)
    assert found.shape == (2, 24) and found.dtype == torch.float32
    torch.testing.assert_close(found.norm(dim=1), torch.ones(2))


def test_a_face_and_its_mirror_image_have_one_embedding_when_both_are_looked_at(slim, faces):
    with torch.inference_mode():
        found = embed(slim, faces, with_mirror=True)
        torch.testing.assert_close(embed(slim, faces.flip(3), with_mirror=True), found)


def test_mirror_average_by_hand():
    """A network that tells on which side a face is bright: (3, 0) and, mirrored, (0, 1)."""
    faces = torch.zeros(1, 3, 112, 112)
    faces[..., 0] = 1.0

    class Side(nn.Module):
        def forward(self, faces):
            left = faces[:, 0, 0, 0]
            return torch.stack([3 * left, 1 - left], dim=1)

    expected = torch.tensor([[3.0, 1.0]]) / 10**0.5
    torch.testing.assert_close(embed(Side(), faces, with_mirror=True), expected)


def test_width_and_code_size_follow_from_the_file(tmp_path, slim, faces):
    save_file(slim.state_dict(), tmp_path / "slim.safetensors")
    for load in (load_recogniser, load_mobilefacenet):
        loaded = load(tmp_path / "slim.safetensors")
        assert not loaded.training and loaded.code_size == 24
        with torch.inference_mode():
            assert torch.equal(loaded(faces), slim(faces))


def test_weights_stored_in_half_precision_compute_in_float32(tmp_path, slim, faces):
    stored = {n: t.half() if t.is_floating_point() else t for n, t in slim.state_dict().items()}
    save_file(stored, tmp_path / "half.safetensors")
    with torch.inference_mode():
        codes = embed(load_recogniser(tmp_path / "half.safetensors"), faces)
        torch.testing.assert_close(codes, embed(slim, faces), rtol=0, atol=5e-3)


def test_a_last_layer_stored_as_a_matrix(tmp_path, slim, faces):
    state = slim.state_dict()
    state["conv3.weight"] = state["conv3.weight"].flatten(1)
    save_file(state, tmp_path / "matrix.safetensors")
    with torch.inference_mode():
        assert torch.equal(load_recogniser(tmp_path / "matrix.safetensors")(faces), slim(faces))


@pytest.mark.parametrize("name", ["backbone.pth", "backbone.pt", "backbone.safetensors"])
def test_a_state_dict_of_arcface_torch(tmp_path, resnet, faces, name):
    stored = {n: t.half() if t.is_floating_point() else t for n, t in resnet.state_dict().items()}
    write = save_file if name.endswith("tensors") else torch.save
    write(stored, tmp_path / name)
    loaded = load_recogniser(tmp_path / name)
    assert isinstance(loaded, IResNet18) and not loaded.training and loaded.code_size == 4
    with torch.inference_mode():
        torch.testing.assert_close(embed(loaded, faces), embed(resnet, faces), rtol=0, atol=2e-2)


def test_a_deeper_network_is_named_as_such(tmp_path, resnet):
    deeper = {n: t.half() for n, t in resnet.state_dict().items()}
    deeper["layer1.2.bn1.weight"] = torch.ones(64).half()
    torch.save(deeper, tmp_path / "r50.pth")
    with pytest.raises(ValueError, match=r"r50.pth: not .*iresnet18.*unknown layer1.2.bn1"):
        load_recogniser(tmp_path / "r50.pth")


def test_a_missing_layer_is_named(tmp_path, slim):
    state = {n: t for n, t in slim.state_dict().items() if n != "conv2.0.weight"}
    save_file(state, tmp_path / "cut.safetensors")
    with pytest.raises(ValueError, match=r"cut.safetensors: not a Mobile.*lacks conv2.0.weight"):
        load_recogniser(tmp_path / "cut.safetensors")


def test_a_layer_of_another_size_is_named(tmp_path, slim):
    state = slim.state_dict()
    state["bn.weight"] = torch.ones(7)
    save_file(state, tmp_path / "size.safetensors")
    with pytest.raises(ValueError, match=r"it has bn.weight of shape \(7,\) for \(24,\)"):
        load_recogniser(tmp_path / "size.safetensors")


def test_counters_of_batches_may_be_left_out(tmp_path, slim, faces):
    state = {n: t for n, t in slim.state_dict().items() if not n.endswith("num_batches_tracked")}
    save_file(state, tmp_path / "bare.safetensors")
    with torch.inference_mode():
        assert torch.equal(load_recogniser(tmp_path / "bare.safetensors")(faces), slim(faces))


def test_tensors_of_something_else(tmp_path):
    save_file({"stem.weight": torch.ones(2)}, tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match=r"no face recogniser known here \(it holds stem.weight\)"):
        load_recogniser(tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match="not a MobileFaceNet"):
        load_mobilefacenet(tmp_path / "other.safetensors")


class Trap:
    """Unpickling this makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_nothing_in_a_file_is_run(tmp_path):
    torch.save({"conv1.weight": Trap(tmp_path / "sprung")}, tmp_path / "trap.pth")
    with pytest.raises(ValueError, match="not a file of tensors only"):
        load_recogniser(tmp_path / "trap.pth")
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("held", [{"epoch": 3, "state_dict": {}}, [torch.ones(2)]])
def test_a_training_state_is_no_state_dict(tmp_path, held):
    torch.save(held, tmp_path / "last.pt")
    with pytest.raises(ValueError, match="no state dict"):
        load_recogniser(tmp_path / "last.pt")


@pytest.mark.parametrize("name", ["a.safetensors", "a.pth"])
@pytest.mark.parametrize("content", [b"", b"not weights at all"])
def test_damaged_files(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=name):
        load_recogniser(tmp_path / name)


def test_no_file_and_no_kind(tmp_path):
    with pytest.raises(InstrumentError, match="nowhere.pth: no such"):
        load_recogniser(tmp_path / "nowhere.pth")
    (tmp_path / "net.onnx").write_bytes(b"")
    with pytest.raises(ValueError, match="expected a .safetensors, .pt or .pth"):
        load_recogniser(tmp_path / "net.onnx")


def test_the_public_checkpoint(shared, faces):
    path = shared / "weights" / "mobilefacenet_ms1m.safetensors"
    loaded = load_recogniser(path)
    assert isinstance(loaded, MobileFaceNet) and loaded.code_size == 128
    with torch.inference_mode():
        assert torch.equal(loaded(faces), load_mobilefacenet(path)(faces))
        sizes = [tuple(maps.shape[1:]) for maps in loaded.feature_maps(faces)]
    assert sizes == [(64, 56, 56), (64, 28, 28), (128, 14, 14)]
