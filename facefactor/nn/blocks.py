"""Convolution blocks that several methods share."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn
from torch.nn import functional as F

LEAK = 0.1  # negative slope of the leaky ReLUs


def conv3(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    """3x3 convolution that keeps the size (or halves it with `stride` 2)."""
    return nn.Conv2d(inputs, outputs, 3, stride, padding=1)


class ResidualBlock(nn.Module):
    """conv, act, conv, add, act at constant width; no normalisation."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = conv3(channels, channels)
        self.second = conv3(channels, channels)
        self.act = nn.LeakyReLU(LEAK)

    def forward(self, x: Tensor) -> Tensor:
        return self.act(x + self.second(self.act(self.first(x))))


class NormalisedBlock(nn.Module):
    """The block of ResNet (He et al., CVPR 2016): batch normalisation after both convolutions.

    Args:
        stride: 2 halves the map (an odd side is rounded up).
    """

    norm_after: ClassVar = {"first": "first_norm", "second": "second_norm"}  # for `quicken`

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.first_norm = nn.BatchNorm2d(outputs)
        self.second = nn.Conv2d(outputs, outputs, 3, 1, padding=1, bias=False)
        self.second_norm = nn.BatchNorm2d(outputs)
        self.skip = nn.Sequential()
        if stride == 2:
            self.skip.append(nn.AvgPool2d(2, ceil_mode=True))
        if stride == 2 or inputs != outputs:
            self.skip.append(nn.Conv2d(inputs, outputs, 1, bias=False))
            self.skip.append(nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.first_norm(self.first(x)))
        return F.relu(self.skip(x) + self.second_norm(self.second(y)))


def up_block(inputs: int, outputs: int) -> nn.Sequential:
    """Twice the size by a 4x4 transposed convolution, then a 3x3 convolution."""
    return nn.Sequential(
        nn.ConvTranspose2d(inputs, outputs, 4, 2, padding=1),
        nn.ReLU(),
        conv3(outputs, outputs),
        nn.ReLU(),
    )
