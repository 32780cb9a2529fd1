"""Distances between images as a frozen network sees them (Johnson et al. 2016)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def gram(features: Tensor) -> Tensor:
    """Products of channels averaged over positions: (N, C, H, W) -> (N, C, C)."""
    flat = features.float().flatten(2)  # (N, C, HW)
    return flat @ flat.mT / flat.shape[-1]


def gram_distance(features: Sequence[Tensor], targets: Sequence[Tensor]) -> Tensor:
    """Mean squared difference of Gram matrices, summed over layers; scalar."""
    return sum_over_layers(
        [(gram(a) - gram(b)).square().mean() for a, b in zip(features, targets, strict=True)]
    )


def feature_norm(features: Sequence[Tensor], targets: Sequence[Tensor]) -> Tensor:
    """Euclidean distance of feature maps, root mean square per image, summed over layers.

    The printed norm sums over all positions; the mean keeps its size independent of the layer.
    """
    return sum_over_layers(
        [_rms(a.float() - b.float()) for a, b in zip(features, targets, strict=True)]
    )


def gram_norm(features: Sequence[Tensor], targets: Sequence[Tensor]) -> Tensor:
    """Euclidean distance of Gram matrices, root mean square per image, summed over layers."""
    return sum_over_layers(
        [_rms(gram(a) - gram(b)) for a, b in zip(features, targets, strict=True)]
    )


def sum_over_layers(terms: Sequence[Tensor]) -> Tensor:
    return torch.stack(list(terms)).sum()


def _rms(difference: Tensor) -> Tensor:
    # the small constant keeps the gradient finite where the two are equal
    return (difference.square().flatten(1).mean(dim=1) + 1e-12).sqrt().mean()
