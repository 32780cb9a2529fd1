"""Feature maps of a student against a teacher's (Romero et al., FitNets, ICLR 2015)."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def map_distance(maps: Tensor, targets: Tensor) -> Tensor:
    """Mean squared distance of maps to targets whose channels are standardised first.

    Each channel of `targets` gets mean 0 and variance 1 over the batch and its positions, so that
    0 everywhere is the distance 1, and the distance is the share of the targets' variance that
    `maps` does not explain.

    Args:
        maps, targets: (N, C, H, W).

    Returns:
        Scalar, at least 0.
    """
    standard = F.batch_norm(targets.float(), None, None, training=True)
    return F.mse_loss(maps.float(), standard)
