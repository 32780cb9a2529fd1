"""A convolution of a map enlarged by nearest neighbours, without ever making the enlarged map."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


class EnlargingConvolution(nn.Conv2d):
    """Maps (N, C, H, W) -> (N, C', 2H, 2W): enlarged by nearest neighbours, then convolved.

    Weights, and what comes out, are those of `nn.Upsample(scale_factor=2)` and then
    `nn.Conv2d(kernel_size=k, padding=k // 2)`, k odd. To enlarge is a transposed convolution of
    stride 2 with a square of four ones; with the convolution after it, it is one such convolution
    of k + 1 taps a side: ((k + 1) / 2k)^2 of the multiplications, 4/9 for k = 3.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int = 3, bias: bool = True) -> None:
        if kernel % 2 == 0:
            raise ValueError(f"a kernel of {kernel} has no middle; take an odd one")
        super().__init__(inputs, outputs, kernel, padding=kernel // 2, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        backwards = self.weight.flip(2, 3).transpose(0, 1)  # (C, C', k, k)
        folded = 4 * F.avg_pool2d(backwards, 2, stride=1, padding=1)  # sums of 2x2, zeros around
        return F.conv_transpose2d(x, folded, self.bias, stride=2, padding=self.kernel_size[0] // 2)
