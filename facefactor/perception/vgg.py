"""VGG19 feature maps (Simonyan and Zisserman 2015), as perceptual losses and stems use them."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn

from facefactor.nn.imagenet import ImageNetSpace
from facefactor.perception.state_dicts import InstrumentError, read_state_dict

_WIDTHS = {
    "conv1": (64, 64),
    "conv2": (128, 128),
    "conv3": (256,) * 4,
    "conv4": (512,) * 4,
    "conv5": (512,) * 4,
}
_LAYERS = tuple(
    (f"{block}_{index + 1}", width)
    for block, widths in _WIDTHS.items()
    for index, width in enumerate(widths)
)


class VGG19(nn.Module):
    """VGG19 up to `last`, giving the maps named in `layers`, each after its ReLU.

    `features` has torchvision's numbering, so its state dict loads as is. Weights start random:
    variance-preserving (He), which is what a result must be labelled with when no file is loaded.

    Args:
        layers: in order, for example ("conv2_1", "conv3_1", "conv4_1").
    """

    def __init__(self, layers: tuple[str, ...]) -> None:
        super().__init__()
        self.layers = layers
        modules: list[nn.Module] = []
        self.taps: dict[int, str] = {}
        channels = 3
        for (name, width), following in pairwise([*_LAYERS, ("end", 0)]):
            modules += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
            channels = width
            if name in layers:
                self.taps[len(modules) - 1] = name
            if name == layers[-1]:
                break
            if following[0].endswith("_1"):
                modules.append(nn.MaxPool2d(2))
        if tuple(self.taps.values()) != layers:
            raise ValueError(f"layers {layers} are not in VGG19's order {[n for n, _ in _LAYERS]}")
        self.features = nn.Sequential(*modules)
        for module in modules:
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]

    def forward(self, images: Tensor) -> list[Tensor]:
        """Maps of ImageNet-normalised images (N, 3, H, W), one per name in `layers`."""
        maps = []
        for index, module in enumerate(self.features):
            images = module(images)
            if index in self.taps:
                maps.append(images)
        return maps


def load_vgg19(layers: tuple[str, ...], path: Path | None, seed: int = 0) -> VGG19:
    """VGG19 with torchvision's weights from `path` (.pth or .safetensors), or random ones.

    Random weights are the same for the same `seed`.

    Raises:
        InstrumentError: nothing at `path`, or a tensor is missing or has another shape.
    """
    if path is None:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return VGG19(layers)
    network = VGG19(layers)
    wanted = network.state_dict()
    tensors = read_state_dict(path)
    if missing := [name for name in wanted if name not in tensors]:
        raise InstrumentError(
            f"{path}: no {missing[0]} here; expected torchvision's VGG19 state dict"
        )
    try:
        network.load_state_dict({name: tensors[name] for name in wanted})
    except RuntimeError as error:
        raise InstrumentError(f"{path}: not torchvision's VGG19 state dict ({error})") from error
    return network


class NormalisedForVGG(nn.Module):
    """A VGG that takes faces in [0, 1]."""

    def __init__(self, network: VGG19) -> None:
        super().__init__()
        self.network = network
        self.normalise = ImageNetSpace()

    def forward(self, faces: Tensor) -> list[Tensor]:
        return self.network(self.normalise(faces))
