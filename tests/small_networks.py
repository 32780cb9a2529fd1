"""Small untrained networks in files, where trained ones would take the tests too long."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from facefactor import checkpoints
from facefactor.checkpoints import CheckpointHeader
from facefactor.methods.ipdfer.recipe import PRESETS, build
from facefactor.methods.neurotensorial import recipe as neurotensorial
from facefactor.methods.neurotensorial.model import NeuroTensorial
from facefactor.methods.nfgan import recipe as nfgan
from facefactor.perception.head_pose import MEAN_FACE
from facefactor.perception.landmarks import LandmarkNetwork
from facefactor.perception.recognition import MobileFaceNet

MEASURED = {
    "threshold": 0.25,
    "false_match_rate": 0.001,
    "false_non_match_rate": 0.0325,
    "measured_on": "LFW",
    "pairs": 6000,
}


def save_ipdfer(path: Path) -> Path:
    """IPD-FER with narrow encoders, untrained."""
    torch.manual_seed(0)
    recipe = dataclasses.replace(
        PRESETS["small"], width=0.125, decoder_channels=(16,) * 5, code_size=32
    )
    model = build(recipe)
    header = CheckpointHeader("ipdfer", "small", dataclasses.asdict(recipe), model.spec)
    checkpoints.save(path, model.state_dict(), header)
    return path


def save_neurotensorial(path: Path, **changes: Any) -> Path:
    """Neuro-Tensorial with narrow networks, untrained, for a morphable model of 5 people and 3
    expressions (`tests.made_heads`); `changes` are settings of its recipe."""
    torch.manual_seed(2)
    narrow: dict[str, Any] = {
        "channels": (8, 8, 8),
        "face_rank": 4,
        "shape_rank": 4,
        "identity_modes": 5,
        "expression_modes": 3,
    }
    recipe = dataclasses.replace(neurotensorial.PRESETS["small"], **(narrow | changes))
    model = neurotensorial.build(recipe)
    if isinstance(model, NeuroTensorial):
        with torch.no_grad():  # as they begin, all photos have the same light, pose and grey face
            model.to_illumination.weight.mul_(6)
            model.to_pose.weight.mul_(6)
            model.albedo_decoder.to_image.weight.mul_(5)
    header = CheckpointHeader("neurotensorial", "small", dataclasses.asdict(recipe), model.spec)
    checkpoints.save(path, model.state_dict(), header)
    return path


def save_nfgan(path: Path, preset: str = "small") -> Path:
    """NFGAN, untrained, but with the batch statistics of noise: without them all faces are the
    same."""
    torch.manual_seed(4)
    recipe = nfgan.PRESETS[preset]
    model = nfgan.build(recipe)
    for layer in model.modules():
        if isinstance(layer, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d):
            layer.momentum = 1.0  # one batch is enough
    with torch.no_grad():
        model.train().normalise(torch.rand(16, 3, 64, 64))
    header = CheckpointHeader("nfgan", preset, dataclasses.asdict(recipe), model.spec)
    checkpoints.save(path, model.state_dict(), header)
    return path


def save_landmarks(path: Path) -> Path:
    """A landmark network that sees the mean face, looking ahead, upright, in every crop."""
    network = LandmarkNetwork()
    for layer in (network.likely, network.offset):
        torch.nn.init.zeros_(layer.weight)
        torch.nn.init.zeros_(layer.bias)  # all cells alike: the mean is the middle of the square
    shares = 0.3 * MEAN_FACE[:, :2] * torch.tensor([1.0, -1.0])
    network.offset.bias.data = (14 * shares).flatten().float()  # in cells
    save_file(network.state_dict(), path)
    return path


def save_recogniser(path: Path, measured: Mapping[str, Any] | str | None = MEASURED) -> Path:
    """A narrow MobileFaceNet, untrained, with what was "measured" in its metadata."""
    torch.manual_seed(1)
    text = measured if isinstance(measured, str) else json.dumps(measured)
    save_file(
        MobileFaceNet(code_size=24, width=0.125).state_dict(),
        path,
        None if measured is None else {"verification": text},
    )
    return path
