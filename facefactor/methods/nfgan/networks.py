"""Encoder, decoder and discriminator of NFGAN (Tables 1 to 3)."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

from torch import Tensor, nn

from facefactor.nn.enlarging import EnlargingConvolution

Upsampling = Literal["transposed", "nearest"]
CODE = 256  # numbers of z (Sec. 3)

_ENCODER = (32, 64, 128, 256)  # Table 1
_HIDDEN = 512  # its FC1
_DECODER = (512, 256, 128, 64)  # Table 2
_DISCRIMINATOR = (64, 128, 256, 512)  # Table 3
_LEAK = 0.3  # alpha of the leaky ReLU (Sec. 3)
_START = 2  # side of the map that z is reshaped to: from a single point five doublings give 32
_STD = 0.02  # of the first weights; the paper does not say, DCGAN's

IMAGE_SIZE = _START * 2 ** (len(_DECODER) + 1)


class Encoder(nn.Module):
    """Enc: images (N, colours, 64, 64) in [0, 1] -> z (N, 256), any real numbers (Table 1)."""

    def __init__(self, colours: int) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(colours, _ENCODER[0], 3, 2, padding=1), nn.ReLU()]
        for inputs, outputs in pairwise(_ENCODER):
            layers += [*_halving(inputs, outputs), nn.ReLU()]
        side = IMAGE_SIZE // 2 ** len(_ENCODER)
        self.layers = nn.Sequential(
            *layers,
            nn.Flatten(),
            nn.Linear(_ENCODER[-1] * side**2, _HIDDEN, bias=False),
            nn.BatchNorm1d(_HIDDEN),
            nn.ReLU(),
            nn.Linear(_HIDDEN, CODE),
        )
        _initialise(self)

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(2 * images - 1)


class Decoder(nn.Module):
    """Dec: z (N, 256) -> images (N, colours, 64, 64) in [0, 1] (Table 2).

    z is reshaped to 64 channels of 2x2, which five doublings bring to 64x64.

    Args:
        upsampling: "transposed" as published, a 3x3 convolution of stride 1/2, whose taps fall on
            every second pixel and leave a checkerboard; "nearest" doubles the map, then convolves:
            the same weights, less than twice the multiplications.
    """

    channels_last = True  # for `nn.inference.quicken`

    def __init__(self, colours: int, upsampling: Upsampling) -> None:
        super().__init__()
        widths = (CODE // _START**2, *_DECODER)
        layers: list[nn.Module] = [nn.Unflatten(1, (widths[0], _START, _START))]
        for inputs, outputs in pairwise(widths):
            layers.append(_doubling(inputs, outputs, upsampling, bias=False))
            layers += [nn.BatchNorm2d(outputs), nn.ReLU()]
        layers.append(_doubling(widths[-1], colours, upsampling, bias=True))
        self.layers = nn.Sequential(*layers)
        _initialise(self)

    def forward(self, codes: Tensor) -> Tensor:
        return (self.layers(codes).float().tanh() + 1) / 2


class Discriminator(nn.Module):
    """Dis: images (N, colours, 64, 64) in [0, 1] -> logits (N, 1, 4, 4), one a patch (Table 3).

    Their sigmoid is the printed output: how real each patch is.
    """

    def __init__(self, colours: int) -> None:
        super().__init__()
        first = nn.Conv2d(colours, _DISCRIMINATOR[0], 3, 2, padding=1)
        layers: list[nn.Module] = [first, nn.LeakyReLU(_LEAK)]
        for inputs, outputs in pairwise(_DISCRIMINATOR):
            layers += [*_halving(inputs, outputs), nn.LeakyReLU(_LEAK)]
        self.layers = nn.Sequential(*layers, nn.Conv2d(_DISCRIMINATOR[-1], 1, 3, padding=1))
        _initialise(self)

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(2 * images - 1).float()


def _halving(inputs: int, outputs: int) -> list[nn.Module]:
    # a bias would be undone by the normalisation, which has one of its own
    return [nn.Conv2d(inputs, outputs, 3, 2, padding=1, bias=False), nn.BatchNorm2d(outputs)]


def _doubling(inputs: int, outputs: int, upsampling: Upsampling, bias: bool) -> nn.Module:
    if upsampling == "transposed":
        return nn.ConvTranspose2d(inputs, outputs, 3, 2, padding=1, output_padding=1, bias=bias)
    return EnlargingConvolution(inputs, outputs, bias=bias)


def _initialise(network: nn.Module) -> None:
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            nn.init.normal_(layer.weight, std=_STD)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        elif isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.normal_(layer.weight, mean=1.0, std=_STD)
