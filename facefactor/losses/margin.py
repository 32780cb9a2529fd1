"""Additive angular margin softmax. Equation numbers are those of ArcFace (Deng et al. 2019)."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

_LEAST_SINE_SQUARED = 1e-6  # the root's slope is infinite at 0, where code and centre coincide


def margin_softmax(
    codes: Tensor, centres: Tensor, subject: Tensor, margin: float, scale: float
) -> Tensor:
    """Cross-entropy of who a face shows, its own person's angle made larger by a margin (Eq. 3).

        -log  e^(s cos(theta_y + m)) / (e^(s cos(theta_y + m)) + sum_{j != y} e^(s cos theta_j))

    Args:
        codes: (N, D); centres: (K, D), one direction a person; lengths of both are ignored.
        subject: (N,) int64 in [0, K), negative where unknown: such rows are left out.
        margin: m, in radians.
        scale: s, the length all codes are given.

    Returns:
        Scalar float32, the mean over known rows; 0 when nobody is known.

    Raises:
        ValueError: a subject that no centre is of.
    """
    known = subject >= 0
    if known.any() and int(subject.max()) >= len(centres):
        raise ValueError(
            f"subject {int(subject.max())} in a batch, but centres of {len(centres)} people; "
            "raise the recipe's `people`"
        )
    with torch.autocast(codes.device.type, enabled=False):  # it would multiply in bfloat16
        cosine = F.normalize(codes[known].float()) @ F.normalize(centres.float()).mT  # (M, K)
        own = subject[known, None]
        logits = scale * cosine.scatter(1, own, add_margin(cosine.gather(1, own), margin))
        total = F.cross_entropy(logits, own[:, 0], reduction="sum")
    return total / known.sum().clamp_min(1)  # a mean over nobody would be NaN


def add_margin(cosine: Tensor, margin: float) -> Tensor:
    """cos(theta + m) from cos theta, any shape, in [-1, 1].

    Beyond theta = pi - m it would rise again, and turning away from one's own centre would pay;
    there it goes on as a straight line of slope 1 in cos theta, from -1 down to cos m - 2.
    """
    sine = (1 - cosine.square()).clamp_min(_LEAST_SINE_SQUARED).sqrt()
    turned = cosine * math.cos(margin) - sine * math.sin(margin)
    return torch.where(cosine > -math.cos(margin), turned, cosine + math.cos(margin) - 1)
