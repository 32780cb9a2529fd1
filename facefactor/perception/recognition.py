"""Face recognisers: an embedding per face, and feature maps for perceptual losses."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from safetensors.torch import load_file
from torch import Tensor, nn

from facefactor.nn.imagenet import ImageNetSpace

# (expansion, channels, repeats, stride of the first)
_STAGES = ((2, 64, 5, 2), (4, 128, 1, 2), (2, 128, 6, 1), (4, 128, 1, 2), (2, 128, 2, 1))


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
        whole = nn.functional.conv2d(x, self.weight, None, 1, self.padding, groups=self.groups)
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
    """

    def __init__(self, code_size: int = 128) -> None:
        super().__init__()
        self.conv1 = nn.Sequential(*_conv_norm(3, 64, 3, 2, 1), nn.ReLU6())
        self.dw_conv = _DepthwiseSeparable(64)
        blocks: list[nn.Module] = []
        channels = 64
        for expansion, outputs, repeats, stride in _STAGES:
            for index in range(repeats):
                blocks.append(
                    _InvertedResidual(channels, outputs, stride if index == 0 else 1, expansion)
                )
                channels = outputs
        self.features = nn.Sequential(*blocks)
        self.conv2 = nn.Sequential(*_conv_norm(channels, 512, 1, 1, 1), nn.ReLU6())
        self.gdconv = nn.Sequential()
        self.gdconv.add_module("depthwise", nn.Conv2d(512, 512, 7, groups=512, bias=False))
        self.gdconv.add_module("bn", nn.BatchNorm2d(512))
        self.conv3 = nn.Conv2d(512, code_size, 1)
        self.bn = nn.BatchNorm1d(code_size)
        self.normalise = ImageNetSpace()

    def forward(self, faces: Tensor) -> Tensor:
        x = self.features(self.dw_conv(self.conv1(self.normalise(faces))))
        return self.bn(self.conv3(self.gdconv(self.conv2(x))).flatten(1))

    def feature_maps(self, faces: Tensor) -> list[Tensor]:
        """Maps of the first three scales: 64 channels at 1/2, 64 at 1/4, 128 at 1/8."""
        half = self.dw_conv(self.conv1(self.normalise(faces)))
        quarter = self.features[:5](half)
        return [half, quarter, self.features[5:7](quarter)]


def load_mobilefacenet(path: Path) -> MobileFaceNet:
    """Read a MobileFaceNet checkpoint (safetensors).

    Raises:
        FileNotFoundError: nothing at `path`.
        ValueError: the tensors are not those of this network.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such weights file")
    tensors = load_file(path)
    network = MobileFaceNet(
        code_size=tensors["conv3.bias"].shape[0] if "conv3.bias" in tensors else 128
    )
    tensors["conv3.weight"] = tensors["conv3.weight"].reshape(network.conv3.weight.shape)
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        raise ValueError(f"{path}: not a MobileFaceNet state dict ({error})") from error
    return network.eval()


class FeatureMaps(nn.Module):
    """A network seen through its `feature_maps`, for perceptual losses."""

    def __init__(self, network: MobileFaceNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, faces: Tensor) -> Sequence[Tensor]:
        return self.network.feature_maps(faces)
