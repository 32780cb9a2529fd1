"""Losses only FaceCycle uses. Equation numbers are those of Chang, Chen and Chiu, ICCV 2021."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional as F

from facefactor.geometry.flow import compose_flows
from facefactor.losses.perceptual import feature_norm, gram_norm


@dataclass(frozen=True)
class ExpressionWeights:
    """Weights of the stage-1 terms; `swapped` means: through the partner's neutral face."""

    cycle: float  # Eq. 4: |F - W(W(F, fw), bw)| on the same image; zero flow is a minimum of it
    swapped_cycle: float  # Eq. 4 across the pair, as the released code has it
    reexpression: float  # Eq. 8, L1 part: |F - D_exp(W(feat of partner's neutral, bw))|
    warped_neutral: float  # |F - W(partner's neutral, bw)|
    autoencoding: float  # |F - D_exp(feat of F)|, unpublished; the stem of `small` learns by it
    swapped_cycle_ssim: float
    reexpression_ssim: float
    autoencoding_ssim: float
    gram: float  # squared Gram distances of the re-expressed and the neutral image to F
    warped_gram: float  # the same of the two warped images
    perceptual: float  # Phi of Eq. 8 on the re-expressed image
    symmetry: float  # of the neutral face; this is what makes neutral mean frontal
    warped_symmetry: float  # of W(F, fw)
    coarse_cycle: float  # `swapped_cycle` at 1/2, 1/4 and 1/8 of the resolution, unpublished
    mean_flow: float  # squared length of the batch's mean flow, unpublished: neutral faces drift
    equivariance: float  # a known motion of the face, missing in its flow, unpublished


@dataclass(frozen=True)
class IdentityWeights:
    """Weights of the stage-2 terms."""

    reidentity: float  # Eq. 16, L1 part: |neutral - its re-identified mean face|
    identity_perceptual: float  # Phi of Eq. 16
    reexpression: float  # |F - D_exp(re-identified neutral, bw)|
    warped_neutral: float  # |F - W(re-identified neutral, bw)|
    reexpression_ssim: float
    warped_neutral_ssim: float
    gram: float
    symmetry: float
    margin: float  # Eq. 17


def perceptual_loss(features: Sequence[Tensor], targets: Sequence[Tensor]) -> Tensor:
    """Phi below Eq. 8: distances of feature maps plus distances of their Gram matrices; scalar."""
    return feature_norm(features, targets) + gram_norm(features, targets)


def equivariance_loss(forward: Tensor, motion: Tensor, moved_forward: Tensor) -> Tensor:
    """How far the flow of a face and that of the same face moved miss each other's neutral face.

    The moved face is warp(face, motion). Its flow after that motion must be the face's own flow:
    both then take every point of the neutral face from the same point of the photo.

    Args:
        forward, motion, moved_forward: (N, 2, h, w) in normalised units.

    Returns:
        Mean distance, in units of half the image; scalar, >= 0.
    """
    missing = compose_flows(motion, moved_forward) - forward
    return (missing.square().sum(dim=1) + 1e-7).sqrt().mean()  # 1e-7: the root has no slope at 0


def margin_loss(mean_faces: Tensor, neutral: Tensor, margin: float = 0.1) -> Tensor:
    """max(|mean face - neutral face| - margin, 0), both (N, C, H, W) (Eq. 17); scalar, >= 0.

    The norm is the mean absolute difference of each image, in the units of the images. (The
    released code prints the hinge and throws it away, so its term can go negative.)
    """
    distance = (mean_faces - neutral).abs().flatten(1).mean(dim=1)  # (N,)
    return F.relu(distance - margin).mean()


def swap_halves(batch: Tensor) -> Tensor:
    """Give each face of a batch of pairs its partner's entry; [first..., second...] on axis 0."""
    return batch.roll(len(batch) // 2, dims=0)
