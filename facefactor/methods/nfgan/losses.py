"""Losses only NFGAN uses; symmetry (Eq. 3) is in `losses/symmetry.py`.

Equation numbers are those of Liu et al., ISBA 2018. Images are in [0, 1] here and in [-1, 1] there,
so differences of pixels count double.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from torch import Tensor
from torch.nn import functional as F

from facefactor.losses.perceptual import sum_over_layers

Space = Literal["pixels", "laplacian"]  # in which Eq. 3 compares the halves of a face


@dataclass(frozen=True)
class Weights:
    """Weights of what Enc and Dec minimise (Algorithm 1); zero leaves a term out.

    Without `adversarial` there is no discriminator.
    """

    feature: float  # L_feat, Eq. 2; 1 in the paper
    identity: float  # lambda_1: L_id, Eq. 6
    pixel: float  # lambda_2: L_pixel, Eq. 7
    symmetry: float  # lambda_3: L_sym, Eq. 3; Dec only
    adversarial: float  # eta: L_GAN-Dec, Eq. 5; Dec only


def feature_loss(maps: Tensor, targets: Tensor) -> Tensor:
    """L_feat of feature maps, both (N, C, H, W) (Eq. 2).

    Squared differences summed over C, mean over positions and faces.
    Algorithm 1 prints it once more, with a factor of 1/2 that Eq. 2 has not; Eq. 2 counts.
    """
    return (maps.float() - targets.float()).square().sum(dim=1).mean()


def identity_loss(layers: Sequence[Tensor], others: Sequence[Tensor]) -> Tensor:
    """L_id of the last layers of a recogniser for two faces (Eq. 6).

    Args:
        layers, others: each (N, C, H, W), or (N, C) for a layer without positions.

    Returns:
        Scalar: absolute differences summed over C and over layers, mean over all else.
    """
    differences = [a.float() - b.float() for a, b in zip(layers, others, strict=True)]
    return sum_over_layers([difference.abs().sum(dim=1).mean() for difference in differences])


def pixel_loss(images: Tensor, targets: Tensor) -> Tensor:
    """L_pixel of images (N, C, H, W) in [0, 1] (Eq. 7).

    The text below Eq. 7 speaks of x where the equation has y, the target; y it is.
    """
    return 2 * F.l1_loss(images, targets)


def real_loss(logits: Tensor) -> Tensor:
    """-log Dis, mean over faces and patches: of real faces the first half of Eq. 4; of drawn ones
    Eq. 5 (where Algorithm 1 prints Dis(x_i), of the input; x~ is meant).

    Args:
        logits: (N, 1, H, W), before the sigmoid of Table 3.
    """
    return F.softplus(-logits).mean()


def fake_loss(logits: Tensor) -> Tensor:
    """-log(1 - Dis) of drawn faces, the second half of Eq. 4; as `real_loss`."""
    return F.softplus(logits).mean()
