"""The expression encoder of an IPD-FER as an instrument, and faces of another crop."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from facefactor import checkpoints
from facefactor.perception import expression
from facefactor.perception.align import CROPS
from facefactor.perception.expression import load_expression_encoder
from facefactor.perception.reframe import Reframed
from facefactor.perception.state_dicts import InstrumentError
from tests.small_networks import save_ipdfer, save_recogniser


def test_the_features_are_what_the_classifier_decides_by(tmp_path):
    file = save_ipdfer(tmp_path / "ipdfer.safetensors")
    model, encoder = checkpoints.build_model(file), load_expression_encoder(file)
    faces = torch.rand(2, 3, 112, 112, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        features = encoder(faces)
        assert features.shape == (2, encoder.code_size)
        decided = model.classify_expression(features).softmax(dim=1)
        torch.testing.assert_close(decided, model.expression_probabilities(faces))
    assert not encoder.training


def test_the_packaged_one_is_there():
    encoder = load_expression_encoder()
    assert encoder.code_size == 512 and encoder.image_size == 112


def test_other_weights_are_refused(tmp_path, monkeypatch):
    recogniser = save_recogniser(tmp_path / "recogniser.safetensors")
    with pytest.raises(InstrumentError, match="recogniser.safetensors: no expression encoder here"):
        load_expression_encoder(recogniser)
    save_file({"expression_encoder.fc": torch.ones(2)}, tmp_path / "other.safetensors")
    with pytest.raises(InstrumentError, match="other.safetensors: no face recogniser known"):
        load_expression_encoder(tmp_path / "other.safetensors")
    monkeypatch.setattr(expression, "PACKAGED", tmp_path / "gone.safetensors")
    with pytest.raises(InstrumentError, match="gone.safetensors: .* train it"):
        load_expression_encoder()


def dot(x: float, y: float, size: int) -> torch.Tensor:
    """A soft dot in a face, at shares of its side."""
    places = (torch.arange(size) + 0.5) / size
    along, down = ((-((places - at) * 20).square()).exp() for at in (x, y))
    return (down[:, None] * along).expand(1, 3, size, size)


def bright_place(image: torch.Tensor) -> tuple[float, ...]:
    light = image.mean(dim=(0, 1))
    places = (torch.arange(len(light)) + 0.5) / len(light)
    return tuple(float((light.sum(axis) * places).sum() / light.sum()) for axis in (0, 1))


def test_a_network_finds_the_eyes_where_its_own_crop_has_them():
    theirs, ours = CROPS["arcface"].points, CROPS["facecycle"].points
    reframed = Reframed(nn.Identity(), "arcface", 112, "facecycle")
    for (x, y), (own_x, own_y) in zip(theirs[:2], ours[:2], strict=True):
        seen = reframed(dot(own_x, own_y, 128))
        assert seen.shape == (1, 3, 112, 112)
        assert bright_place(seen) == pytest.approx((x, y), abs=0.02)  # five points, one similarity


def test_the_own_crop_is_only_resized():
    face = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(Reframed(nn.Identity(), "arcface", 16, "arcface")(face), face)
