"""Encoder and decoders of Neuro-Tensorial, and its discriminator (App. A)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from facefactor.nn.enlarging import EnlargingConvolution

_FLOOR = 1e-6  # what the thresholding nonlinearity makes of all that is not above 0


def threshold(x: Tensor) -> Tensor:
    """The "thresholding nonlinearity": x above 0, a small constant elsewhere, where it is flat.

    The constant is added above 0, too, where nobody sees it: `F.threshold` itself cannot be
    exported, and `clamp` takes three times as long to train.
    """
    return F.relu(x) + _FLOOR


def unpool(maxima: Tensor, where: Tensor) -> Tensor:
    """Maxima (N, C, H, W) at their places in maps (N, C, 2H, 2W), 0 elsewhere.

    Args:
        where: (N, C, H, W) int64, as `F.max_pool2d` gives them. (`F.max_unpool2d` is the same, and
            cannot be traced.)
    """
    n, channels, height, width = maxima.shape
    empty = maxima.new_zeros(n, channels, 4 * height * width)
    filled = empty.scatter(2, where.flatten(2), maxima.flatten(2))
    return filled.view(n, channels, 2 * height, 2 * width)


class Encoder(nn.Module):
    """Images (N, 3, S, S) -> codes (N, code_size) in (0, 1), and where the maxima were.

    5x5 convolution, pooling by 2, threshold, once for each of `channels`; then one linear layer.
    """

    channels_last = True  # for `nn.inference.quicken`

    def __init__(self, channels: Sequence[int], code_size: int, image_size: int) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(
            nn.Conv2d(inputs, outputs, 5, padding=2) for inputs, outputs in pairwise((3, *channels))
        )
        self.to_code = nn.Linear(math.prod(_least_map(channels, image_size)), code_size)
        _initialise(self)

    def forward(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        x, places = images, []
        for convolution in self.convolutions:
            x, where = F.max_pool2d(convolution(x), 2, return_indices=True)
            x = threshold(x)
            places.append(where)
        return self.to_code(x.flatten(1)).float().sigmoid(), places


class UnpoolingDecoder(nn.Module):
    """The encoder backwards: codes (N, code_size) -> images (N, outputs, S, S), any real numbers.

    Each map is spread to where the encoder found its maxima. That is the paper's "skip connection":
    it lets the details of a background through.

    Args:
        channels: of the encoder, in its order.
    """

    def __init__(
        self, code_size: int, channels: Sequence[int], outputs: int, image_size: int
    ) -> None:
        super().__init__()
        self.least = _least_map(channels, image_size)
        self.from_code = nn.Linear(code_size, math.prod(self.least))
        self.convolutions = nn.ModuleList(
            nn.Conv2d(inputs, outputs, 5, padding=2) for inputs, outputs in _decoding(channels)
        )
        self.to_image = nn.Conv2d(channels[0], outputs, 3, padding=1)
        _initialise(self)
        _begin_plain(self.to_image)

    def forward(self, codes: Tensor, places: Sequence[Tensor]) -> Tensor:
        x = threshold(self.from_code(codes)).reshape(-1, *self.least)
        for convolution, where in zip(self.convolutions, reversed(places), strict=True):
            x = threshold(convolution(unpool(x, where)))
        return self.to_image(x).float()


class UpsamplingDecoder(nn.Module):
    """The same with nearest neighbours in place of maxima: (N, inputs) -> (N, outputs, S, S)."""

    def __init__(
        self,
        inputs: int,
        channels: Sequence[int],
        outputs: int,
        image_size: int,
        activation: Callable[[Tensor], Tensor] = threshold,
    ) -> None:
        super().__init__()
        self.least = _least_map(channels, image_size)
        self.from_code = nn.Linear(inputs, math.prod(self.least))
        self.convolutions = nn.ModuleList(
            EnlargingConvolution(inputs, outputs, 5) for inputs, outputs in _decoding(channels)
        )
        self.to_image = nn.Conv2d(channels[0], outputs, 3, padding=1)
        self.activation = activation
        _initialise(self)
        _begin_plain(self.to_image)

    def forward(self, features: Tensor) -> Tensor:
        x = self.activation(self.from_code(features)).reshape(-1, *self.least)
        for convolution in self.convolutions:
            x = self.activation(convolution(x))
        return self.to_image(x).float()


class Discriminator(nn.Module):
    """An autoencoder that is to redraw real images only: (N, 3, S, S) -> the same, above 0."""

    def __init__(self, channels: Sequence[int], code_size: int, image_size: int) -> None:
        super().__init__()
        self.encoder = Encoder(channels, code_size, image_size)
        self.decoder = UpsamplingDecoder(code_size, channels, 3, image_size)

    def forward(self, images: Tensor) -> Tensor:
        codes, _ = self.encoder(images)
        return threshold(self.decoder(codes) + 0.5)


def code_head(inputs: int, outputs: int) -> nn.Linear:
    """From z_i to a code that is multiplied with others: its numbers begin at a size near 1.

    PyTorch's own choice makes them 0.3, and a product of three of them nothing to learn from. They
    do not begin at a mean of 0, as a core tensor without bias needs one to give a mean face.
    """
    head = nn.Linear(inputs, outputs)
    nn.init.normal_(head.weight, std=0.15)
    return head


def _decoding(channels: Sequence[int]) -> list[tuple[int, int]]:
    """Channels in and out of a decoder's convolutions; for (96, 48, 24): 24 -> 48 -> 96 -> 96."""
    return list(pairwise((*reversed(channels), channels[0])))


def _least_map(channels: Sequence[int], image_size: int) -> tuple[int, int, int]:
    """(C, H, W) of the last map, each of `channels` halving it; ValueError where that does not
    go."""
    side, rest = divmod(image_size, 2 ** len(channels))
    if rest or not side:
        raise ValueError(
            f"images of {image_size} pixels cannot be halved {len(channels)} times; take a "
            f"multiple of {2 ** len(channels)}"
        )
    return channels[-1], side, side


def _initialise(network: nn.Module) -> None:
    """Signals keep their size from layer to layer; PyTorch's own choice lets them die out."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]


@torch.no_grad()
def _begin_plain(to_image: nn.Conv2d) -> None:
    """Images begin near 0: what is cut to a range of values has no gradient outside of it."""
    to_image.weight.mul_(0.1)
