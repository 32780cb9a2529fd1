"""LightCNN-9: the published sizes, maxima of halves, the public names and what is refused."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import save_file

from facefactor.perception.lightcnn import LightCNN9, load_lightcnn9
from facefactor.perception.state_dicts import InstrumentError


@pytest.fixture(scope="module")
def network() -> LightCNN9:
    torch.manual_seed(0)
    return LightCNN9().eval()


@pytest.fixture(scope="module")
def faces():
    return torch.rand(1, 3, 128, 128, generator=torch.Generator().manual_seed(0))


def test_the_published_size(network):
    """Weights and biases by hand; each convolution has twice the channels that leave it."""
    by_hand = [
        96 * (5 * 5 * 1 + 1),  # 5x5, 1 -> 48
        96 * (48 + 1) + 192 * (9 * 48 + 1),  # 1x1 and 3x3, 48 -> 96
        192 * (96 + 1) + 384 * (9 * 96 + 1),  # 96 -> 192
        384 * (192 + 1) + 256 * (9 * 192 + 1),  # 192 -> 128
        256 * (128 + 1) + 256 * (9 * 128 + 1),  # 128 -> 128
        512 * (8 * 8 * 128 + 1),  # to 256 numbers
    ]
    assert sum(by_hand) == 5_480_864
    assert sum(weight.numel() for weight in network.parameters()) == sum(by_hand)


def test_the_last_two_layers(network, faces):
    with torch.inference_mode():
        maps, codes = network.map_and_code(faces)
        assert torch.equal(network(faces), codes)
    assert maps.shape == (1, 128, 8, 8) and codes.shape == (1, 256)


def test_a_code_is_the_larger_of_two_halves(network, faces):
    with torch.inference_mode():
        maps, codes = network.map_and_code(faces)
        both = network.fc1.filter(maps.flatten(1))
    expected = torch.where(both[:, :256] > both[:, 256:], both[:, :256], both[:, 256:])
    assert torch.equal(codes, expected)
    assert (both[:, :256] > both[:, 256:]).any() and (both[:, :256] < both[:, 256:]).any()


def test_it_sees_luminance_only(network, faces):
    grey = (faces * torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)).sum(1, keepdim=True)
    with torch.inference_mode():
        torch.testing.assert_close(network(grey.expand(-1, 3, -1, -1)), network(faces))


def public(network: LightCNN9) -> dict[str, torch.Tensor]:
    """As the public checkpoint names them, with the layer that sorted people."""
    state = {f"module.{name}": tensor for name, tensor in network.state_dict().items()}
    return {**state, "module.fc2.weight": torch.ones(3, 256), "module.fc2.bias": torch.ones(3)}


def test_the_public_names(network):
    layers = ["features.0", "features.2.conv_a", "features.2.conv", "features.4.conv_a"]
    layers += ["features.4.conv", "features.6.conv_a", "features.6.conv", "features.7.conv_a"]
    layers += ["features.7.conv", "fc1"]
    names = {f"{layer}.filter.{part}" for layer in layers for part in ("weight", "bias")}
    assert set(network.state_dict()) == names


@pytest.mark.parametrize("name", ["light.pth", "light.safetensors"])
def test_a_public_state_dict_loads(tmp_path, network, faces, name):
    write = save_file if name.endswith("tensors") else torch.save
    write(public(network), tmp_path / name)
    loaded = load_lightcnn9(tmp_path / name)
    assert not loaded.training
    with torch.inference_mode():
        assert torch.equal(loaded(faces), network(faces))


def test_what_is_no_lightcnn9_is_refused(tmp_path, network):
    state = public(network)
    file = tmp_path / "light.safetensors"
    save_file({n: t for n, t in state.items() if "7.conv.filter.bias" not in n}, file)
    with pytest.raises(InstrumentError, match=r"light.safetensors: .*lacks features.7.conv"):
        load_lightcnn9(file)
    save_file({**state, "module.block1.0.weight": torch.ones(1)}, file)
    with pytest.raises(InstrumentError, match=r"unknown block1.0.weight"):
        load_lightcnn9(file)
    save_file({**state, "module.fc1.filter.bias": torch.ones(4)}, file)
    with pytest.raises(InstrumentError, match=r"fc1.filter.bias of shape \(4,\) for \(512,\)"):
        load_lightcnn9(file)
    torch.save({"epoch": 80, "state_dict": {}}, tmp_path / "whole.pth")
    with pytest.raises(InstrumentError, match="save the network's state_dict"):
        load_lightcnn9(tmp_path / "whole.pth")
    with pytest.raises(InstrumentError, match="no such weights file"):
        load_lightcnn9(tmp_path / "none.pth")
