"""ResNet-18 as a face encoder: the "improved residual" variant that ArcFace trains.

Deng et al., "ArcFace", CVPR 2019, Sec. 3.1; IPD-FER starts its three encoders from one.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

_WIDTHS = (64, 128, 256, 512)
_BLOCKS = 2  # in each of the four stages
_MAP = 7  # side of the last map of a 112-pixel face


def _convolution(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False)


class IRBlock(nn.Module):
    """BN, 3x3, BN, PReLU, 3x3 with the stride, BN; added to the input, nothing after the sum."""

    norm_after: ClassVar = {"conv1": "bn2", "conv2": "bn3"}  # for `quicken`

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = _convolution(inputs, outputs, 3)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.prelu = nn.PReLU(outputs)
        self.conv2 = _convolution(outputs, outputs, 3, stride)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.downsample: nn.Module | None = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(
                _convolution(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        y = self.prelu(self.bn2(self.conv1(self.bn1(x))))
        return self.bn3(self.conv2(y)) + (x if self.downsample is None else self.downsample(x))


class IResNet18(nn.Module):
    """Faces (N, 3, 112, 112) in [0, 1] -> (N, code_size) codes, compared by cosine.

    Module names are those of arcface_torch's iresnet18, so its state dict loads as is.
    """

    crop = "arcface"
    image_size = 112
    norm_after: ClassVar = {"conv1": "bn1"}  # for `quicken`

    def __init__(self, code_size: int = 512) -> None:
        super().__init__()
        self.code_size = code_size
        self.conv1 = _convolution(3, _WIDTHS[0], 3)
        self.bn1 = nn.BatchNorm2d(_WIDTHS[0])
        self.prelu = nn.PReLU(_WIDTHS[0])
        self.layer1 = _stage(_WIDTHS[0], _WIDTHS[0])
        self.layer2 = _stage(_WIDTHS[0], _WIDTHS[1])
        self.layer3 = _stage(_WIDTHS[1], _WIDTHS[2])
        self.layer4 = _stage(_WIDTHS[2], _WIDTHS[3])
        self.bn2 = nn.BatchNorm2d(_WIDTHS[3])
        self.fc = nn.Linear(_WIDTHS[3] * _MAP**2, code_size)
        self.features = nn.BatchNorm1d(code_size)
        # no number of a code may outweigh the others: cosines are to be spread by all of them
        self.features.weight.requires_grad_(False)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, faces: Tensor) -> Tensor:
        return self.features(self.fc(self.maps(faces).flatten(1)))

    def maps(self, faces: Tensor) -> Tensor:
        """The last map, after its normalisation: (N, 512, 7, 7)."""
        x = self.prelu(self.bn1(self.conv1(2 * faces - 1)))  # ArcFace's inputs lie in [-1, 1]
        return self.bn2(self.layer4(self.layer3(self.layer2(self.layer1(x)))))


def _stage(inputs: int, outputs: int) -> nn.Sequential:
    """Blocks of one width; the first halves the map."""
    rest = [IRBlock(outputs, outputs, 1) for _ in range(_BLOCKS - 1)]
    return nn.Sequential(IRBlock(inputs, outputs, 2), *rest)
