"""Losses only IPD-FER uses; Eq. 5, 6 and 8 to 10 are in `losses/classification.py`.

Equation numbers are those of Jiang and Deng, TAFFC 2022.

What nobody knows of a face takes no part: rows without an expression in none of the terms that
need one, rows without a pose in none of the pose terms. A term nothing takes part in is 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class Weights:
    """Weights of all terms beside L_exp (Eq. 5), whose weight is 1; zero leaves a term out.

    Without `pose` there is no pose branch at all (ID-FER).
    """

    pose: float  # L_pose, Eq. 6
    orthogonality: float  # beta_1: L_cos, Eq. 3
    confusion: float  # beta_2: Eq. 4
    fake_neutral: float  # lambda_1: Eq. 9
    fake_expression: float  # lambda_2: Eq. 10
    identity: float  # lambda_3: Eq. 2
    reconstruction: float  # lambda_4: Eq. 1

    @property
    def judge(self) -> bool:
        """Whether a term asks the discriminator."""
        return bool(self.fake_neutral or self.fake_expression)

    @property
    def draw(self) -> bool:
        """Whether a term looks at decoded faces."""
        return bool(self.judge or self.identity or self.reconstruction)


def reconstruction_loss(
    rebuilt: Tensor, neutral: Tensor, faces: Tensor, was_neutral: Tensor
) -> Tensor:
    """L_recon: both drawn faces against the photo, the neutral one where that is neutral (Eq. 1).

    Args:
        rebuilt, neutral, faces: (N, 3, H, W) in [0, 1].
        was_neutral: (N,) bool, the indicator.

    Returns:
        Scalar: mean absolute difference of images in [-1, 1], the range the paper's networks take;
        the printed norms are sums. A row that is not neutral counts as 0 in the second mean.
    """
    change = (neutral - faces).abs().flatten(1).mean(dim=1)  # (N,)
    return 2 * (F.l1_loss(rebuilt, faces) + (was_neutral * change).mean())


def identity_loss(rebuilt: Tensor, neutral: Tensor, faces: Tensor) -> Tensor:
    """L_id of the embeddings of drawn and real faces, all (N, D) (Eq. 2).

    Mean over the D numbers; the printed norm is a sum.
    """
    return F.l1_loss(rebuilt, faces) + F.l1_loss(neutral, faces)


def orthogonality_loss(identity: Tensor, expression: Tensor) -> Tensor:
    """L_cos: |cos| between two codes of one face, both (N, D); scalar in [0, 1] (Eq. 3)."""
    return F.cosine_similarity(identity, expression).abs().mean()


def confusion_loss(pose_logits: Tensor, known: Tensor) -> Tensor:
    """Cross-entropy of the predicted pose against the uniform distribution (Eq. 4).

    Args:
        pose_logits: (N, K) what the pose classifier says of *expression* codes, before softmax.
        known: (N,) bool, the rows that take part.

    Returns:
        Scalar >= log K, reached when expression tells the classifier nothing about pose.
    """
    surprise = -pose_logits.float().log_softmax(dim=1).mean(dim=1)  # (N,)
    return (known * surprise).sum() / known.sum().clamp(min=1)


def class_weights(counts: Sequence[int], exponent: float) -> Tensor:
    """(K,) weights proportional to count^-exponent, of mean 1 over the training images.

    Exponent 0 counts every image alike, 1 every class.
    """
    count = torch.tensor(counts, dtype=torch.float32)
    rarity = count**-exponent
    return rarity * count.sum() / (count * rarity).sum()
