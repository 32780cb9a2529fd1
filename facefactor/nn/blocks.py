"""Convolution blocks that several methods share."""

from __future__ import annotations

from torch import Tensor, nn

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


def up_block(inputs: int, outputs: int) -> nn.Sequential:
    """Twice the size by a 4x4 transposed convolution, then a 3x3 convolution."""
    return nn.Sequential(
        nn.ConvTranspose2d(inputs, outputs, 4, 2, padding=1),
        nn.ReLU(),
        conv3(outputs, outputs),
        nn.ReLU(),
    )
