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
        return self._shuffled(x) if self.kernel_size[0] % 4 == 1 else self._transposed(x)

    def _transposed(self, x: Tensor) -> Tensor:
        """To enlarge is a transposed convolution of stride 2 with a square of four ones; with the
        convolution after it, it is one such convolution of k + 1 taps a side."""
        backwards = self.weight.flip(2, 3).transpose(0, 1)  # (C, C', k, k)
        folded = 4 * F.avg_pool2d(backwards, 2, stride=1, padding=1)  # sums of 2x2, zeros around
        return F.conv_transpose2d(x, folded, self.bias, stride=2, padding=self.kernel_size[0] // 2)

    def _shuffled(self, x: Tensor) -> Tensor:
        """Enlarged pixels come in equal pairs, so each of the four places in a pair of rows and
        columns is a convolution of `x` itself, whose weights are sums of the k x k ones; of
        (k + 1) / 2 taps a side, which must be odd to have a middle."""
        half, taps = self.kernel_size[0] // 2, (self.kernel_size[0] + 1) // 2
        away = torch.arange(2)[:, None] + torch.arange(-half, half + 1)  # enlarged rows from a pair
        rows = away.div(2, rounding_mode="floor") + taps // 2
        sums = F.one_hot(rows, taps).to(self.weight)  # (2, k, taps)
        folded = torch.einsum("air,bjs,ocij->oabcrs", sums, sums, self.weight).flatten(0, 2)
        bias = None if self.bias is None else self.bias.repeat_interleave(4)
        return F.pixel_shuffle(F.conv2d(x, folded, bias, padding=taps // 2), 2)
