"""The decoder of IPD-FER; its four other networks are face recognisers with another last layer."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional as F

from facefactor.nn.instance_norm import instance_norm


class InstanceNormBlock(nn.Module):
    """x + IN(conv(ReLU(IN(conv(x))))), 3x3 at constant width."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.second = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm = instance_norm(channels)  # its mean would undo a bias before it

    def forward(self, x: Tensor) -> Tensor:
        return x + self.norm(self.second(F.relu(self.norm(self.first(x)))))


class Decoder(nn.Module):
    """G_dec: codes (N, code_size) -> faces (N, 3, 112, 112) in [0, 1].

    Five times transposed convolution, instance normalisation, ReLU, residual block (Sec. 4.2).
    The first goes from 1x1 to 7x7 at once: of a 1x1 map, instance normalisation leaves nothing.

    Args:
        channels: of the maps of side 7, 14, 28, 56 and 112.
    """

    def __init__(self, code_size: int, channels: Sequence[int]) -> None:
        super().__init__()
        ups = [nn.ConvTranspose2d(code_size, channels[0], 7, bias=False)]
        ups += [
            nn.ConvTranspose2d(inputs, outputs, 4, 2, padding=1, bias=False)
            for inputs, outputs in pairwise(channels)
        ]
        layers: list[nn.Module] = []
        for up in ups:
            width = up.out_channels
            layers += [up, instance_norm(width), nn.ReLU(), InstanceNormBlock(width)]
        self.layers = nn.Sequential(*layers)
        self.to_face = nn.Conv2d(channels[-1], 3, 3, padding=1)

    def forward(self, codes: Tensor) -> Tensor:
        images = self.to_face(self.layers(codes[:, :, None, None])).float().tanh()
        return (images + 1) / 2
