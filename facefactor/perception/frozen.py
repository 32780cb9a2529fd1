"""Pretrained networks used as instruments: they measure faces and are never trained."""

from __future__ import annotations

from typing import Any

from torch import nn

from facefactor.nn.inference import quicken


class Frozen(nn.Module):
    """`network` with fixed weights, always in eval mode; gradients still reach its input.

    The network takes our faces, (N, C, H, W) in [0, 1], and does its own normalising.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network.requires_grad_(False)
        self.eval()

    def forward(self, faces: Any) -> Any:
        return self.network(faces)

    def train(self, mode: bool = True) -> Frozen:
        """Stays in eval mode: `.train()` on the whole must not wake batch norm or dropout here."""
        return super().train(False)


def as_instrument(network: nn.Module) -> Frozen:
    """`network`, changed in place, as losses look through it: the same function in less time.

    Not for a frozen part of a model, whose file holds the tensors as they were trained.
    """
    return Frozen(quicken(network.eval()))
