"""Generator and discriminator of StarGAN (Tables 4 and 5 of its appendix)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from facefactor.nn.instance_norm import instance_norm

BLOCKS = 6  # residual blocks of G
LAYERS = 6  # halvings of D
_LEAK = 0.01  # of D's leaky ReLUs


class ResidualBlock(nn.Module):
    """x + IN(conv(ReLU(IN(conv(x))))), 3x3 at constant width."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.first_norm = instance_norm(channels, affine=True)
        self.second = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.second_norm = instance_norm(channels, affine=True)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.first_norm(self.first(x)))
        return x + self.second_norm(self.second(y))


class Generator(nn.Module):
    """G: faces and the labels they shall have -> faces (Table 4).

    Args:
        classes: numbers K of a label.
        width: channels at full resolution; twice and four times as many at 1/2 and 1/4.
    """

    def __init__(self, classes: int, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3 + classes, width, 7, padding=3, bias=False),
            *_normalised(width),
            nn.Conv2d(width, 2 * width, 4, 2, padding=1, bias=False),
            *_normalised(2 * width),
            nn.Conv2d(2 * width, 4 * width, 4, 2, padding=1, bias=False),
            *_normalised(4 * width),
            *(ResidualBlock(4 * width) for _ in range(BLOCKS)),
            nn.ConvTranspose2d(4 * width, 2 * width, 4, 2, padding=1, bias=False),
            *_normalised(2 * width),
            nn.ConvTranspose2d(2 * width, width, 4, 2, padding=1, bias=False),
            *_normalised(width),
            nn.Conv2d(width, 3, 7, padding=3, bias=False),
        )

    def forward(self, faces: Tensor, labels: Tensor) -> Tensor:
        """(N, 3, S, S) in [0, 1] and (N, K), one-hot in training -> (N, 3, S, S) in [0, 1].

        S is a multiple of 4. Every number of a label becomes a constant map beside the colours.
        """
        maps = labels[:, :, None, None].expand(-1, -1, *faces.shape[2:])
        drawn: Tensor = self.layers(torch.cat([2 * faces - 1, maps.to(faces)], dim=1))
        return (drawn.float().tanh() + 1) / 2


class Discriminator(nn.Module):
    """D: faces -> whether each patch is real, and which label the face has (Table 5).

    Args:
        width: channels after the first layer; every one of the six doubles them.
        image_size: side S of the faces, a multiple of 64.
    """

    def __init__(self, classes: int, width: int, image_size: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        inputs = 3
        for layer in range(LAYERS):
            outputs = width * 2**layer
            layers += [nn.Conv2d(inputs, outputs, 4, 2, padding=1), nn.LeakyReLU(_LEAK)]
            inputs = outputs
        self.layers = nn.Sequential(*layers)
        self.source = nn.Conv2d(inputs, 1, 3, padding=1, bias=False)
        self.classify = nn.Conv2d(inputs, classes, image_size // 2**LAYERS, bias=False)

    def forward(self, faces: Tensor) -> tuple[Tensor, Tensor]:
        """(N, 3, S, S) in [0, 1] -> D_src, scores (N, 1, S/64, S/64), any real numbers, higher for
        real ones; and D_cls, logits (N, K)."""
        maps = self.layers(2 * faces - 1)
        return self.source(maps).float(), self.classify(maps).flatten(1).float()


def _normalised(channels: int) -> list[nn.Module]:
    return [instance_norm(channels, affine=True), nn.ReLU()]
