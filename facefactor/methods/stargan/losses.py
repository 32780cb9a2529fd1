"""Losses only StarGAN uses; Eq. 2 and 3 are in `losses/classification.py`, Eq. 8 in
`losses/wasserstein.py`, its gradient penalty in `losses/gradient_penalty.py`.

Equation numbers are those of Choi et al., CVPR 2018. Images are in [0, 1] here and in [-1, 1]
there, so differences of pixels count double.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class Weights:
    """Weights of all terms beside L_adv, whose weight is 1 (Eq. 5, 6, 8)."""

    classification: float  # lambda_cls: L_cls, Eq. 2 and 3
    reconstruction: float  # lambda_rec: L_rec, Eq. 4
    penalty: float  # lambda_gp: slope of D_src, Eq. 8


def reconstruction_loss(rebuilt: Tensor, faces: Tensor) -> Tensor:
    """L_rec: mean absolute difference of images in [-1, 1], both (N, 3, S, S) (Eq. 4).

    The printed norm is a sum; lambda_rec fits a mean.
    """
    return 2 * F.l1_loss(rebuilt, faces)


def draw_targets(labels: Tensor, classes: int) -> Tensor:
    """A label for each face to be given, (N,) int64, each that of some face of the batch.

    So fakes have labels as often as real faces have, which D is asked to tell apart. Of a batch
    without any known label all K classes are equally likely.

    Args:
        labels: (N,) int64; -1 for unknown.
    """
    known = labels[labels >= 0]
    if not len(known):
        return torch.randint(classes, labels.shape, device=labels.device)
    return known[torch.randint(len(known), labels.shape, device=labels.device)]
