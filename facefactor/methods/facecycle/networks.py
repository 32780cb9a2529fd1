"""The encoders and decoders of FaceCycle; layers as in the released code, which the paper's text
leaves to its supplement. Widths are arguments: 64 and 256 give the published sizes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from facefactor.nn.adain import adain
from facefactor.nn.blocks import LEAK, NormalisedBlock, ResidualBlock, conv3, up_block


class ChannelAttention(nn.Module):
    """Mixes channels by how they occur together: y = act(x + (phi theta^T) g)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.g = nn.Conv2d(channels, channels, 1)
        self.theta = nn.Conv2d(channels, channels, 1)
        self.phi = nn.Conv2d(channels, channels, 1)
        self.act = nn.LeakyReLU(LEAK)

    def forward(self, x: Tensor) -> Tensor:
        theta = self.theta(x).flatten(2).softmax(dim=2)  # (N, C, HW) over positions
        g = self.g(x).flatten(2).softmax(dim=1)  # (N, C, HW) over channels
        mixing = self.phi(x).flatten(2) @ theta.transpose(1, 2)  # (N, C, C)
        return self.act(x + (mixing @ g).unflatten(2, x.shape[-2:]))


class FaceEncoder(nn.Module):
    """E_exp and E_id: 16 convolutions, no normalisation; 64x64 images -> (N, code_size) in (-1, 1).

    Args:
        width: channels of the first layers; 64 as published.
        linear_std: of the last two layers' initial weights, as published.
    """

    def __init__(self, width: int, code_size: int, linear_std: float = 0.01) -> None:
        super().__init__()
        act = nn.LeakyReLU(LEAK)
        w, w2, w4 = width, 2 * width, 4 * width
        self.maps = nn.Sequential(
            nn.Conv2d(3, w, 7, 2, padding=3), act, conv3(w, w), act,
            conv3(w, w), ChannelAttention(w), conv3(w, w), act,
            conv3(w, w2, 2), ChannelAttention(w2), conv3(w2, w2), act,
            ResidualBlock(w2), ResidualBlock(w2),
            conv3(w2, w2, 2), act, conv3(w2, w2), act,
            conv3(w2, w4, 2), act, conv3(w4, w4), act,
            conv3(w4, w4), act, conv3(w4, w2), act,
        )  # fmt: skip
        self.head = nn.Sequential(
            nn.Flatten(),
            nn.Linear(w2 * 4 * 4, 8 * w),
            act,
            nn.Linear(8 * w, code_size),
            nn.Tanh(),
        )
        initialise(self)
        for layer in self.head:
            if isinstance(layer, nn.Linear):
                nn.init.normal_(layer.weight, std=linear_std)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.maps(images)).float()


class ResidualEncoder(nn.Module):
    """E_exp and E_id of `small`, unpublished: 13 convolutions in normalised residual blocks.

    Learns in a tenth of the images that the published encoder needs. Its code is spread by batch
    normalisation before the tanh, which otherwise saturates or hardly differs between images.
    """

    channels_last = True  # for `nn.inference.quicken`

    def __init__(self, width: int, code_size: int) -> None:
        super().__init__()
        w, w4 = width, 4 * width
        self.maps = nn.Sequential(
            nn.Conv2d(3, w, 5, 2, padding=2, bias=False), nn.BatchNorm2d(w), nn.ReLU(),
            NormalisedBlock(w, w),
            NormalisedBlock(w, 3 * w // 2, 2), NormalisedBlock(3 * w // 2, 3 * w // 2),
            NormalisedBlock(3 * w // 2, 3 * w, 2), NormalisedBlock(3 * w, 3 * w),
            NormalisedBlock(3 * w, w4, 2),
        )  # fmt: skip
        self.head = nn.Sequential(
            nn.Flatten(),
            nn.Linear(w4 * 4 * 4, code_size, bias=False),
            nn.BatchNorm1d(code_size, affine=False),
            nn.Tanh(),
        )

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.maps(images)).float()


class FlowDecoder(nn.Module):
    """D_flow: codes (N, code_size) -> flow (N, 2, 16, 16) in (-1, 1), normalised units.

    Args:
        attention: channel attention at 4x4 and 8x8, as published; else the activation alone.
    """

    def __init__(self, width: int, code_size: int, attention: bool) -> None:
        super().__init__()
        act = nn.LeakyReLU(LEAK)
        up = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)
        w, w2, w4 = width, 2 * width, 4 * width

        def mixed(channels: int) -> nn.Module:
            return ChannelAttention(channels) if attention else nn.LeakyReLU(LEAK)

        self.layers = nn.Sequential(
            nn.Conv2d(code_size, w4 * 16, 1), nn.PixelShuffle(4), act,
            mixed(w4), conv3(w4, w4), act,
            up, conv3(w4, w2), act, mixed(w2), conv3(w2, w2), act,
            ResidualBlock(w2), ResidualBlock(w2),
            up, conv3(w2, w), act,
        )  # fmt: skip
        self.to_flow = nn.Conv2d(w, 2, 1, bias=False)
        initialise(self)
        nn.init.normal_(self.to_flow.weight, std=0.05)

    def forward(self, codes: Tensor) -> Tensor:
        return self.to_flow(self.layers(codes[:, :, None, None])).tanh()


class LearnedStem(nn.Module):
    """Three convolutions in place of VGG19: images -> maps at 1/2 and 1/4, after ReLU.

    It learns with the autoencoding term of stage 1, so that inference needs no foreign weights.
    """

    channels_last = True  # for `nn.inference.quicken`

    def __init__(self, half: int, quarter: int) -> None:
        super().__init__()
        self.first = conv3(3, half // 2)
        self.to_half = nn.Conv2d(half // 2, half, 4, 2, padding=1)
        self.to_quarter = nn.Conv2d(half, quarter, 4, 2, padding=1)
        initialise(self)

    def forward(self, images: Tensor) -> list[Tensor]:
        half = F.relu(self.to_half(F.relu(self.first(images))))
        return [half, F.relu(self.to_quarter(half))]


class ExpressionDecoder(nn.Module):
    """D_exp: (warped) stem maps -> an image.

    Args:
        half, quarter: channels of the stem's maps; full: channels at full resolution.
        noise: standard deviation of what is added to the filling while training; 1 as published.
    """

    channels_last = True  # for `nn.inference.quicken`

    def __init__(self, half: int, quarter: int, full: int, blocks: int, noise: float) -> None:
        super().__init__()
        self.noise = noise
        self.fill_half = _filling(half)
        self.fill_quarter = _filling(quarter)
        self.deep = nn.Sequential(
            conv3(quarter, quarter), nn.ReLU(), *[ResidualBlock(quarter) for _ in range(blocks)]
        )
        self.up_half = up_block(quarter, half)
        self.up_full = up_block(2 * half, full)
        self.to_image = conv3(full, 3)
        initialise(self)

    def forward(
        self, half: Tensor, quarter: Tensor, filling: Sequence[Tensor] | None = None
    ) -> Tensor:
        """(N, 3, H, W) from maps at 1/2 and 1/4.

        `filling`: spatial means (N, C, 1, 1) of the maps before they were warped; what a warp
        uncovers is filled from them. Noise is added while training only: the published code also
        adds it at test time, and no two of its outputs agree.
        """
        if filling is not None:
            half = half + self.fill_half(self._noisy(filling[0], half))
            quarter = quarter + self.fill_quarter(self._noisy(filling[1], quarter))
        up = self.up_half(self.deep(quarter))
        return self.to_image(self.up_full(torch.cat([up, half.to(up.dtype)], dim=1))).float()

    def _noisy(self, mean: Tensor, like: Tensor) -> Tensor:
        mean = mean.expand_as(like)
        noisy = self.training and self.noise > 0
        return mean + self.noise * torch.randn_like(mean) if noisy else mean


class IdentityDecoder(nn.Module):
    """D_id with MLP_de and MLP_re, which are one linear map each for mean and deviation."""

    def __init__(self, quarter: int, middle: int, full: int, blocks: int, code_size: int) -> None:
        super().__init__()
        self.remove = nn.ModuleList([nn.Linear(code_size, quarter) for _ in range(2)])  # MLP_de
        self.give = nn.ModuleList([nn.Linear(code_size, quarter) for _ in range(2)])  # MLP_re
        self.layers = nn.Sequential(
            *[ResidualBlock(quarter) for _ in range(blocks)],
            up_block(quarter, middle),
            nn.ConvTranspose2d(middle, full, 4, 2, padding=1),
            nn.ReLU(),
            nn.Conv2d(full, 3, 1),
        )
        initialise(self)
        for maps in (self.remove, self.give):
            nn.init.ones_(maps[1].bias)  # type: ignore[arg-type]  # deviation starts at 1

    def deidentify(self, maps: Tensor, identity: Tensor) -> Tensor:
        mean, deviation = (linear(identity) for linear in self.remove)
        return self.layers(adain(maps, mean, deviation)).float()

    def reidentify(self, maps: Tensor, identity: Tensor) -> Tensor:
        mean, deviation = (linear(identity) for linear in self.give)
        return self.layers(adain(maps, mean, deviation)).float()


def _filling(channels: int) -> nn.Sequential:
    return nn.Sequential(conv3(channels, channels), nn.ReLU(), conv3(channels, channels), nn.ReLU())


def initialise(network: nn.Module) -> None:
    """Convolutions N(0, 2 / (k^2 C_out)), linear layers N(0, 0.01), biases zero."""
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
            fan_out = module.kernel_size[0] * module.kernel_size[1] * module.out_channels
            nn.init.normal_(module.weight, std=(2 / fan_out) ** 0.5)
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.01)
        else:
            continue
        if module.bias is not None:
            nn.init.zeros_(module.bias)
