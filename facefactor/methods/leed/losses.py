"""Losses only LEED uses; Eq. 12 and 13 are in `losses/wasserstein.py`, the penalty of Eq. 12 in
`losses/gradient_penalty.py`.

Equation numbers are those of Wu and Lu, ECCV 2020. Squared norms are means over all entries, where
the paper prints sums; `README.md` says what that makes of the adversarial term.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from facefactor.losses.perceptual import sum_over_layers


@dataclass(frozen=True)
class Weights:
    """Weights of the terms; zero leaves a term out. None of them is published."""

    information: float  # lambda_Q, Eq. 4; without it there is no Q
    gradient_penalty: float  # lambda_gp, Eq. 12
    adversarial: float  # L_adv of E and I, Eq. 6 and 16
    reconstruction: float  # lambda_recon, Eq. 16
    siamese: float  # lambda_S, Eq. 16; without it there is no S
    separation: float  # ours: keeps S from saying the same of all faces
    drawn_neutral: float  # ours: of what D draws of the predicted neutral code
    pixel: float  # beside the features of Eq. 14 and 15, as in the code the paper follows


def code_distance(codes: Tensor, targets: Tensor) -> Tensor:
    """Mean squared difference of codes of any one shape (Eq. 2, 6, 7); scalar."""
    return F.mse_loss(codes.float(), targets.float())


def information_loss(predicted: Tensor, features: Tensor) -> Tensor:
    """-log q(F | expression) of a Gaussian of variance 1, but for a constant (Eq. 3).

    Half the squared difference of features, (N, D) both, mean over both axes.

    Eq. 3 prints Q(expression | F). I(expression; F) = H(F) - H(F | expression), and H(F) does not
    change while the extractor learns: so it is F that Q predicts. In the printed direction the
    loss would fall with the size of expressions.
    """
    return F.mse_loss(predicted.float(), features.float()) / 2


def feature_distance(maps: Sequence[Tensor], targets: Sequence[Tensor]) -> Tensor:
    """|Phi(drawn) - Phi(face)|^2, mean over a layer, summed over layers (Eq. 14, 15); scalar."""
    return sum_over_layers(
        [F.mse_loss(a.float(), b.float()) for a, b in zip(maps, targets, strict=True)]
    )


def separation_loss(embeddings: Tensor, margin: float) -> Tensor:
    """max(0, margin - |s_i - s_j|^2), mean over pairs of different faces; 0 for a single face.

    The margin loss of TraVeLGAN (Amodio and Krishnaswamy, CVPR 2019), where the siamese network is
    from: Eq. 11 alone is 0 for one that says the same of all faces but the neutral ones.

    Args:
        embeddings: (N, D).
    """
    if len(embeddings) < 2:
        return embeddings.new_zeros(())
    first, second = torch.triu_indices(len(embeddings), len(embeddings), 1)
    apart = (embeddings[first] - embeddings[second]).float().square().sum(dim=1)
    return F.relu(margin - apart).mean()
