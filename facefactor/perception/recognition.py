"""Face recognisers: an embedding per face, and feature maps for perceptual losses."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from torch import Tensor, nn
from torch.nn import functional as F

from facefactor.nn.imagenet import ImageNetSpace
from facefactor.nn.resnet import IResNet18
from facefactor.perception.state_dicts import InstrumentError, fill_network, read_state_dict

_STEM = 64  # channels of the first convolution at width 1
# (expansion, channels in units of the stem's, repeats, stride of the first)
_STAGES = ((2, 1, 5, 2), (4, 2, 1, 2), (2, 2, 6, 1), (4, 2, 1, 2), (2, 2, 2, 1))
_SCALE_ENDS = (4, 11, 14)  # blocks after which the map is halved, or pooled
_LAST = 512  # channels that are pooled, at every width: few positions, and the code is made of them


def _conv_norm(inputs: int, outputs: int, kernel: int, stride: int, groups: int) -> list[nn.Module]:
    layer = _HalvingConv2d if stride == 2 and groups > 1 else nn.Conv2d
    convolution = layer(
        inputs, outputs, kernel, stride, (kernel - 1) // 2, groups=groups, bias=False
    )
    return [convolution, nn.BatchNorm2d(outputs)]


class _HalvingConv2d(nn.Conv2d):
    """A depthwise convolution of stride 2 whose backward pass is fast on a CPU.

    The library's takes ten times as long as that of stride 1 followed by leaving out every other
    position, which is the same function; without gradients the strided one is the faster.
    """

    def forward(self, x: Tensor) -> Tensor:
        if not x.requires_grad:
            return super().forward(x)
        whole = nn.functional.conv2d(x, self.weight, self.bias, 1, self.padding, groups=self.groups)
        return whole[:, :, ::2, ::2]


class _InvertedResidual(nn.Module):
    """1x1 widening, 3x3 depthwise, linear 1x1 back; added to the input where shapes agree."""

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = inputs * expansion
        self.conv = nn.Sequential(
            nn.Sequential(*_conv_norm(inputs, wide, 1, 1, 1), nn.ReLU6()),
            nn.Sequential(*_conv_norm(wide, wide, 3, stride, wide), nn.ReLU6()),
            *_conv_norm(wide, outputs, 1, 1, 1),
        )
        self.shortcut = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x) if self.shortcut else self.conv(x)


class _DepthwiseSeparable(nn.Module):
    norm_after: ClassVar = {"depthwise": "bn1", "pointwise": "bn2"}  # for `quicken`

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.depthwise, self.bn1 = _conv_norm(channels, channels, 3, 1, channels)
        self.pointwise, self.bn2 = _conv_norm(channels, channels, 1, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = nn.functional.relu6(self.bn1(self.depthwise(x)))
        return nn.functional.relu6(self.bn2(self.pointwise(x)))


class MobileFaceNet(nn.Module):
    """MobileFaceNet (Chen et al. 2018): 112x112 faces in [0, 1] -> (N, code_size) embeddings.

    Module names follow the public checkpoint `mobilefacenet_ms1m`, so its state dict loads as is.
    Embeddings are compared by cosine.

    Args:
        width: of all maps but the last, 1 as published; 64 times it must be a whole number.
    """

    crop = "arcface"
    image_size = 112
    channels_last = True  # for `nn.inference.quicken`

    def __init__(self, code_size: int = 128, width: float = 1.0) -> None:
        super().__init__()
        stem = round(_STEM * width)
        if stem < 1 or stem != _STEM * width:
            raise ValueError(f"width is {width}; it must be a multiple of 1/{_STEM}")
        self.code_size = code_size
        self.map_channels = (stem, 2 * stem, 2 * stem)  # of `codes_and_maps`
        self.conv1 = nn.Sequential(*_conv_norm(3, stem, 3, 2, 1), nn.ReLU6())
        self.dw_conv = _DepthwiseSeparable(stem)
        blocks: list[nn.Module] = []
        channels = stem
        for expansion, multiple, repeats, stride in _STAGES:
            outputs = multiple * stem
            for index in range(repeats):
                blocks.append(
                    _InvertedResidual(channels, outputs, stride if index == 0 else 1, expansion)
                )
                channels = outputs
        self.features = nn.Sequential(*blocks)
        self.conv2 = nn.Sequential(*_conv_norm(channels, _LAST, 1, 1, 1), nn.ReLU6())
        self.gdconv = nn.Sequential()
        self.gdconv.add_module("depthwise", nn.Conv2d(_LAST, _LAST, 7, groups=_LAST, bias=False))
        self.gdconv.add_module("bn", nn.BatchNorm2d(_LAST))
        self.conv3 = nn.Conv2d(_LAST, code_size, 1)
        self.bn = nn.BatchNorm1d(code_size)
        self.normalise = ImageNetSpace()

    def forward(self, faces: Tensor) -> Tensor:
        return self.codes_and_maps(faces)[0]

    def codes_and_maps(self, faces: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Embeddings, and the last map of 28, of 14 and of 7 positions a side."""
        x = self.dw_conv(self.conv1(self.normalise(faces)))
        maps = []
        for index, block in enumerate(self.features):
            x = block(x)
            if index in _SCALE_ENDS:
                maps.append(x)
        return self.bn(self.conv3(self.gdconv(self.conv2(x))).flatten(1)), maps

    def feature_maps(self, faces: Tensor) -> list[Tensor]:
        """Maps of the first three scales; at width 1: 64 channels at 1/2, 64 at 1/4, 128 at 1/8."""
        half = self.dw_conv(self.conv1(self.normalise(faces)))
        quarter = self.features[:5](half)
        return [half, quarter, self.features[5:7](quarter)]


Recogniser = MobileFaceNet | IResNet18


def embed(network: nn.Module, faces: Tensor, with_mirror: bool = False) -> Tensor:
    """Embeddings of unit length, whose products are cosines.

    Args:
        network: a recogniser in eval mode; in training mode a face's code depends on its batch.
        faces: (N, 3, 112, 112) in [0, 1], of the crop "arcface".
        with_mirror: the mean of each face's embedding and its mirror image's; twice the time.

    Returns:
        (N, D) float32.
    """
    codes = network(faces).float()
    if with_mirror:
        codes = (codes + network(faces.flip(3)).float()) / 2
    return F.normalize(codes)


def load_mobilefacenet(path: Path) -> MobileFaceNet:
    """Read a MobileFaceNet checkpoint (safetensors); code size and width follow from its shapes.

    Raises:
        InstrumentError: nothing at `path`, or the tensors are not those of this network.
    """
    return _fill_mobilefacenet(read_state_dict(path), path)


def load_recogniser(path: Path) -> Recogniser:
    """The face recogniser in a file, in eval mode; which one it is, its tensors say.

    Args:
        path: weights of our own or a MobileFaceNet (.safetensors), or arcface_torch's iresnet18
            state dict (.safetensors, .pt, .pth). Of the latter two only tensors are read: nothing
            in them is run.

    Raises:
        InstrumentError: nothing at `path`, another kind of file, or the tensors of another network.
    """
    return recogniser_of(read_state_dict(path), path)


def recogniser_of(tensors: dict[str, Tensor], path: Path) -> Recogniser:
    """The network that named tensors are the weights of, filled with them, in eval mode.

    Args:
        path: where they are from, for what is said of them.

    Raises:
        InstrumentError: the tensors of another network.
    """
    if "gdconv.depthwise.weight" in tensors:
        return _fill_mobilefacenet(tensors, path)
    if "layer1.0.prelu.weight" in tensors and "fc.weight" in tensors:
        network = IResNet18(code_size=tensors["fc.weight"].shape[0])
        fill_network(network, tensors, path, "arcface_torch's iresnet18")
        return network.eval()
    some = ", ".join(sorted(tensors)[:3]) or "no tensors"
    raise InstrumentError(
        f"{path}: no face recogniser known here (it holds {some}); expected a MobileFaceNet or "
        "arcface_torch's iresnet18"
    )


def _fill_mobilefacenet(tensors: dict[str, Tensor], path: Path) -> MobileFaceNet:
    sizes = {"conv1.0.weight": _STEM, "conv3.bias": 128}  # and what they are when not there
    stem, code_size = (
        tensors[name].shape[0] if name in tensors else default for name, default in sizes.items()
    )
    network = MobileFaceNet(code_size, stem / _STEM)
    if "conv3.weight" in tensors and tensors["conv3.weight"].ndim == 2:  # stored as a matrix
        tensors["conv3.weight"] = tensors["conv3.weight"][:, :, None, None]
    fill_network(network, tensors, path, "a MobileFaceNet")
    return network.eval()


class FeatureMaps(nn.Module):
    """A network seen through its `feature_maps`, for perceptual losses."""

    def __init__(self, network: MobileFaceNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, faces: Tensor) -> Sequence[Tensor]:
        return self.network.feature_maps(faces)
