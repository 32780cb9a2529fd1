"""FSA-Net: what its networks are given, and what is missing."""

import sys

import pytest
import torch

from facefactor.perception.fsanet import FSANet
from facefactor.perception.instruments import feature_network, feature_networks, find_weights
from facefactor.perception.state_dicts import InstrumentError
from tests.made_poses import write_networks


def test_blue_comes_first_and_both_networks_count(tmp_path):
    """(x - 127.5) / 128 of blue, green, red; the mean of gains 1 and 3 is 2."""
    poses = FSANet(write_networks(tmp_path))
    colours = torch.tensor([[255.0, 127.5, 63.5], [0, 0, 0]])  # red, green, blue
    faces = (colours / 255).view(2, 3, 1, 1).expand(2, 3, 64, 64)
    expected = 2 * (colours.flip(1) - 127.5) / 128
    torch.testing.assert_close(poses(faces), expected.double(), atol=1e-5, rtol=1e-4)
    with pytest.raises(ValueError, match="64, 64"):
        poses(faces[..., :32])


def test_what_is_missing_is_named(tmp_path, monkeypatch):
    with pytest.raises(InstrumentError, match=r"none of fsanet-1x1.onnx here; get omasaht"):
        FSANet(tmp_path)
    write_networks(tmp_path)
    (tmp_path / "fsanet-var.onnx").write_bytes(b"no network")
    with pytest.raises(InstrumentError, match=r"fsanet-var.onnx: no ONNX network"):
        FSANet(tmp_path)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(InstrumentError, match=r"needs onnxruntime.*facefactor\[onnx\]"):
        FSANet(tmp_path)


def test_they_are_no_feature_networks(tmp_path):
    write_networks(tmp_path)
    assert find_weights("fsanet-1x1", tmp_path) == tmp_path / "fsanet-1x1.onnx"
    assert set(feature_networks()) == {"vgg19", "mobilefacenet", "random_vgg19"}
    with pytest.raises(InstrumentError, match="no instrument 'fsanet-1x1' with feature maps"):
        feature_network("fsanet-1x1", tmp_path)
