"""Networks of LEED. The paper leaves layers to a supplement; those of VGG19, decoder, interpolator
and critic follow the released code of the work it builds on (Chen et al., CVPR 2019), its [9].

Codes are maps (N, C, 8, 8) of faces (N, 3, 128, 128). Nothing but the smaller encoder and the
decoder has batch normalisation, and those keep their statistics while edits are learnt.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from facefactor.nn.blocks import NormalisedBlock, conv3
from facefactor.nn.enlarging import EnlargingConvolution
from facefactor.perception.vgg import VGG19, NormalisedForVGG

CODE_SIDE = 8
IMAGE_SIZE = 128

_LEAK = 0.2  # of critic and siamese network
_SIAMESE = 256  # numbers that the siamese network says of a face


class VGGEncoder(nn.Module):
    """E of `paper`: VGG19 up to relu5_1, which is trained on.

    Args:
        network: of the one layer "conv5_1".
    """

    code_channels = 512

    def __init__(self, network: VGG19) -> None:
        super().__init__()
        self.network = NormalisedForVGG(network)

    def forward(self, faces: Tensor) -> Tensor:
        return self.network(faces)[0].float()


class ResidualEncoder(nn.Module):
    """E of `small`: residual blocks that halve the map, each followed by one that keeps it.

    Codes are at least 0, as after VGG's ReLU.

    Args:
        channels: of the maps of side 64, 32, 16 and 8.
    """

    channels_last = True  # for `nn.inference.quicken`

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        first = channels[0]
        layers: list[nn.Module] = [
            nn.Conv2d(3, first, 5, 2, padding=2, bias=False),
            nn.BatchNorm2d(first),
            nn.ReLU(),
            NormalisedBlock(first, first),
        ]
        for inputs, outputs in pairwise(channels):
            layers += [NormalisedBlock(inputs, outputs, 2), NormalisedBlock(outputs, outputs)]
        self.layers = nn.Sequential(*layers)
        self.code_channels = channels[-1]

    def forward(self, faces: Tensor) -> Tensor:
        return self.layers(2 * faces - 1).float()


class Decoder(nn.Module):
    """D: codes -> faces (N, 3, 128, 128) in [0, 1].

    Args:
        channels: of the maps of side 16, 32, 64 and 128; doubled by nearest neighbours.
        repeats: at each of these sides, convolutions beside the one that changes the width.
    """

    def __init__(self, code_channels: int, channels: Sequence[int], repeats: Sequence[int]) -> None:
        super().__init__()
        layers = _normalised(_plain(code_channels, code_channels))
        widths = pairwise((code_channels, *channels))
        for (inputs, outputs), repeat in zip(widths, repeats, strict=True):
            layers += _normalised(EnlargingConvolution(inputs, outputs, bias=False))
            for _ in range(repeat):
                layers += _normalised(_plain(outputs, outputs))
        self.layers = nn.Sequential(*layers, conv3(channels[-1], 3))

    def forward(self, codes: Tensor) -> Tensor:
        return (self.layers(codes).float().tanh() + 1) / 2


class Extractor(nn.Module):
    """X: codes of faces and of their neutral faces -> expressions, all (N, C, 8, 8).

    The residual of Eq. 1, which is also the pseudo-label, and a correction that begins as zero.
    """

    def __init__(self, code_channels: int) -> None:
        super().__init__()
        self.correct = _branch(2 * code_channels, code_channels)

    def forward(self, codes: Tensor, neutral_codes: Tensor) -> Tensor:
        both = torch.cat([codes, neutral_codes], dim=1)
        return codes - neutral_codes + self.correct(both).float()


class Interpolator(nn.Module):
    """I: codes of neutral faces and (scaled) expressions -> codes of faces, all (N, C, 8, 8).

    The sum of Eq. 5 and a correction that begins as zero. What it would say of no expression is
    taken from it, so that no expression always gives the neutral code.
    """

    def __init__(self, code_channels: int) -> None:
        super().__init__()
        self.correct = _branch(code_channels, code_channels)

    def forward(self, neutral_codes: Tensor, expressions: Tensor) -> Tensor:
        nothing = torch.zeros_like(expressions[:1])
        correction = self.correct(torch.cat([expressions, nothing])).float()
        return neutral_codes + expressions + correction[:-1] - correction[-1:]


class CodeNeutraliser(nn.Module):
    """N, ours: codes of faces -> codes of their neutral faces, both (N, C, 8, 8).

    Learns what the encoder says of the neutral faces it is trained beside, so that a trained model
    needs no other to make them. It begins by changing nothing.
    """

    def __init__(self, code_channels: int) -> None:
        super().__init__()
        self.correct = _branch(code_channels, code_channels)

    def forward(self, codes: Tensor) -> Tensor:
        return codes + self.correct(codes).float()


class Critic(nn.Module):
    """The critic on codes (N, C, 8, 8) -> scores (N,); none sees another code of the batch."""

    def __init__(self, code_channels: int, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *_judging(nn.Conv2d(code_channels, channels, 1)),
            *_judging(nn.Conv2d(channels, channels, 4, 2, padding=1)),  # 4x4
            *_judging(nn.Conv2d(channels, channels, 4, 2, padding=1)),  # 2x2
            nn.Conv2d(channels, channels, 2),
            nn.LeakyReLU(_LEAK),
            nn.Conv2d(channels, 1, 1),
        )

    def forward(self, codes: Tensor) -> Tensor:
        with torch.autocast(codes.device.type, enabled=False):  # its slope is what is trained
            return self.layers(codes.float()).flatten()


class Regulariser(nn.Module):
    """Q: expressions (N, C, 8, 8) -> what the expression network says of the face, (N, D)."""

    def __init__(self, code_channels: int, features: int) -> None:
        super().__init__()
        width = code_channels // 2
        self.layers = nn.Sequential(
            conv3(code_channels, width, 2),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(width, features),
        )

    def forward(self, expressions: Tensor) -> Tensor:
        return self.layers(expressions).float()


class Siamese(nn.Module):
    """S: faces (N, 3, 128, 128) in [0, 1] -> (N, 256), in which changes are compared.

    Args:
        channels: of its maps of side 64, 32, 16, 8 and 4.
    """

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise((3, *channels)):
            layers += [nn.Conv2d(inputs, outputs, 4, 2, padding=1), nn.LeakyReLU(_LEAK)]
        self.layers = nn.Sequential(
            *layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels[-1], _SIAMESE)
        )

    def forward(self, faces: Tensor) -> Tensor:
        return self.layers(2 * faces - 1).float()


def _branch(inputs: int, outputs: int) -> nn.Sequential:
    """Three convolutions, the last of which begins as zero."""
    last = conv3(outputs, outputs)
    for weight in last.parameters():
        nn.init.zeros_(weight)
    return nn.Sequential(
        conv3(inputs, outputs), nn.ReLU(), conv3(outputs, outputs), nn.ReLU(), last
    )


def _plain(inputs: int, outputs: int) -> nn.Conv2d:
    # a bias would be undone by the normalisation, which has one of its own
    return nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)


def _normalised(convolution: nn.Conv2d) -> list[nn.Module]:
    return [convolution, nn.BatchNorm2d(convolution.out_channels), nn.ReLU()]


def _judging(convolution: nn.Conv2d) -> list[nn.Module]:
    # over the positions of one code only, or the penalty would be of the wrong function
    norm = nn.InstanceNorm2d(convolution.out_channels, affine=True)
    return [convolution, norm, nn.LeakyReLU(_LEAK)]
