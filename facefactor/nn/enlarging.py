"""A convolution of a map enlarged by nearest neighbours, without ever making the enlarged map."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class EnlargingConvolution(nn.Conv2d):
    """Maps (N, C, H, W) -> (N, C', 2H, 2W): enlarged by nearest neighbours, then convolved.

    Weights, and what comes out, are those of `nn.Upsample(scale_factor=2)` and then
    `nn.Conv2d(kernel_size=k, padding=k // 2)`, k odd, with ((k + 1) / 2k)^2 of the multiplications:
    4/9 for k = 3, 9/25 for k = 5. There are two ways to them, each the faster one for its kernels.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int = 3, bias: bool = True) -> None:
        if kernel % 2 == 0:
            raise ValueError(f"a kernel of {kernel} has no middle; take an odd one")
        super().__init__(inputs, outputs, kernel, padding=kernel // 2, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        half, taps = self.kernel_size[0] // 2, (self.kernel_size[0] + 1) // 2
        if self._shuffles:
            enlarged = F.conv2d(x, self._folded_to_shuffle(), self._bias_of_four(), 1, taps // 2)
            return F.pixel_shuffle(enlarged, 2)
        return F.conv_transpose2d(x, self._folded_to_transpose(), self.bias, 2, half)

    @torch.no_grad()
    def folded(self) -> nn.Module:
        """The same function with its weights folded once and not in each call, for `quicken`: of a
        single face, folding takes most of the time."""
        size, with_bias = self.kernel_size[0], self.bias is not None
        if self._shuffles:
            taps = (size + 1) // 2
            plain: nn.Conv2d | nn.ConvTranspose2d = nn.Conv2d(
                self.in_channels, 4 * self.out_channels, taps, padding=taps // 2, bias=with_bias
            )
            weight, bias = self._folded_to_shuffle(), self._bias_of_four()
        else:
            plain = nn.ConvTranspose2d(
                self.in_channels, self.out_channels, size + 1, 2, size // 2, bias=with_bias
            )
            weight, bias = self._folded_to_transpose(), self.bias
        plain = plain.to(weight)
        plain.weight.copy_(weight)
        if plain.bias is not None and bias is not None:
            plain.bias.copy_(bias)
        whole = nn.Sequential(plain, nn.PixelShuffle(2)) if self._shuffles else plain
        return whole.train(self.training).requires_grad_(self.weight.requires_grad)

    @property
    def _shuffles(self) -> bool:
        return self.kernel_size[0] % 4 == 1

    def _folded_to_transpose(self) -> Tensor:
        """To enlarge is a transposed convolution of stride 2 with a square of four ones; with the
        convolution after it, it is one such convolution of k + 1 taps a side."""
        backwards = self.weight.flip(2, 3).transpose(0, 1)  # (C, C', k, k)
        return 4 * F.avg_pool2d(backwards, 2, stride=1, padding=1)  # sums of 2x2, zeros around

    def _folded_to_shuffle(self) -> Tensor:
        """Enlarged pixels come in equal pairs, so each of the four places in a pair of rows and
        columns is a convolution of `x` itself, whose weights are sums of the k x k ones; of
        (k + 1) / 2 taps a side, which must be odd to have a middle."""
        half, taps = self.kernel_size[0] // 2, (self.kernel_size[0] + 1) // 2
        away = torch.arange(2)[:, None] + torch.arange(-half, half + 1)  # enlarged rows from a pair
        rows = away.div(2, rounding_mode="floor") + taps // 2
        sums = F.one_hot(rows, taps).to(self.weight)  # (2, k, taps)
        return torch.einsum("air,bjs,ocij->oabcrs", sums, sums, self.weight).flatten(0, 2)

    def _bias_of_four(self) -> Tensor | None:
        return None if self.bias is None else self.bias.repeat_interleave(4)
