"""Classes of which not every row is known: rows labelled -1 take no part."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def class_loss(logits: Tensor, labels: Tensor, weights: Tensor | None = None) -> Tensor:
    """Cross-entropy, mean over the rows with a label; 0 where none has.

    Args:
        logits: (N, K) before softmax.
        labels: (N,) int64; -1 for unknown.
        weights: (K,) a factor for the rows of each class.
    """
    total = F.cross_entropy(logits.float(), labels, weights, ignore_index=-1, reduction="sum")
    return total / (labels >= 0).sum().clamp(min=1)


def share_right(logits: Tensor, labels: Tensor) -> Tensor:
    """Share of the labelled rows that are sorted right, scalar; arguments as of `class_loss`."""
    known = labels >= 0
    return ((logits.argmax(dim=1) == labels) & known).sum() / known.sum().clamp(min=1)
