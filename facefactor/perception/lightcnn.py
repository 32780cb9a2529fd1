"""Light CNN, a face recogniser made of maxima (Wu, He, Sun and Tan, "A Light CNN for Deep Face
Representation with Noisy Labels", IEEE TIFS 2018): the network of nine layers."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from facefactor.perception.state_dicts import fill_network, read_state_dict

_LUMINANCE = (0.299, 0.587, 0.114)


class _MaxFeatureMap(nn.Module):
    """A layer of twice the channels, of whose halves the larger value stays (MFM 2/1)."""

    def __init__(self, layer: nn.Conv2d | nn.Linear) -> None:
        super().__init__()
        self.filter = layer

    def forward(self, x: Tensor) -> Tensor:
        return torch.maximum(*self.filter(x).chunk(2, dim=1))


class _Group(nn.Module):
    """1x1 at constant width, then 3x3, each with its maxima."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv_a = _convolution(inputs, inputs, 1)
        self.conv = _convolution(inputs, outputs, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(self.conv_a(x))


class LightCNN9(nn.Module):
    """Faces (N, 3, 128, 128) in [0, 1] -> codes (N, 256), compared by cosine.

    Module names are those of the public LightCNN-9, so its state dict loads as is, without the
    layer `fc2` that sorted the people it was trained on. It sees luminance only.
    """

    image_size = 128
    # where faces are cut (the public test alignment), as shares of the side: the points half way
    # between the eyes and half way between the corners of the mouth
    points = ((0.5, 40 / 128), (0.5, 88 / 128))
    luminance: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            _convolution(1, 48, 5),
            _pool(),
            _Group(48, 96),
            _pool(),
            _Group(96, 192),
            _pool(),
            _Group(192, 128),
            _Group(128, 128),
            _pool(),
        )
        self.fc1 = _MaxFeatureMap(nn.Linear(8 * 8 * 128, 2 * 256))
        self.register_buffer("luminance", torch.tensor(_LUMINANCE).view(3, 1, 1), persistent=False)

    def forward(self, faces: Tensor) -> Tensor:
        return self.map_and_code(faces)[1]

    def map_and_code(self, faces: Tensor) -> tuple[Tensor, Tensor]:
        """The last two layers: the last pooled map (N, 128, 8, 8), and the codes (N, 256)."""
        maps = self.features((faces * self.luminance).sum(dim=1, keepdim=True))
        return maps, self.fc1(maps.flatten(1))


def load_lightcnn9(path: Path) -> LightCNN9:
    """LightCNN-9 with the public weights, in eval mode.

    Args:
        path: the public checkpoint's `state_dict` saved alone (.pth, .pt, .safetensors), as it is
            or with "module." before every name; its layer `fc2` may be there and is not read.

    Raises:
        InstrumentError: nothing at `path`, another kind of file, or the tensors of another network.
    """
    stored = {n.removeprefix("module."): t for n, t in read_state_dict(path).items()}
    found = {name: tensor for name, tensor in stored.items() if not name.startswith("fc2.")}
    network = LightCNN9()
    fill_network(network, found, path, "LightCNN-9's")
    return network.eval()


def _convolution(inputs: int, outputs: int, kernel: int) -> _MaxFeatureMap:
    return _MaxFeatureMap(nn.Conv2d(inputs, 2 * outputs, kernel, padding=kernel // 2))


def _pool() -> nn.MaxPool2d:
    return nn.MaxPool2d(2, ceil_mode=True)
