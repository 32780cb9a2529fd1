"""Losses of Neuro-Tensorial. Equation numbers are those of the paper; [N] marks the constraints
it takes over from Shu et al., "Neural Face Editing with Intrinsic Image Disentangling", CVPR 2017.

Norms are means, where the paper prints sums: of 28,125 coordinates a sum would drown all else. A
row whose pseudo-label is not known (NaN) takes no part; a term nothing takes part in is 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Weights:
    """Weights of all terms the autoencoder learns from; zero leaves a term out."""

    reconstruction: float  # Eq. 8, squared
    image: float  # [N]: the same, absolute
    face: float  # [N]: within the mask, before the background is put behind
    adversarial: float  # lambda_adv of Eq. 8
    verification: float  # lambda_veri of Eq. 8
    pose: float  # Eq. 9
    expression: float  # Eq. 10
    identity: float  # Eq. 11
    shape: float  # Eq. 12
    frontal_face: float  # Eq. 13
    frontal_normals: float  # Eq. 14
    normals: float  # [N]
    normals_smoothness: float  # [N]
    unit_norm: float  # [N]
    albedo_smoothness: float  # [N]
    lighting: float  # [N]
    white_shading: float  # [N]
    mask: float  # [N]
    mask_smoothness: float  # [N]


@dataclass(frozen=True)
class ProofWeights:
    """Weights of the proof of concept (Sec. 4); Fig. 3a has no pose."""

    reconstruction: float
    texture: float
    pose: float
    expression: float
    identity: float


def known_rows(labels: Tensor) -> Tensor:
    """(N,) bool: the rows of (N, ...) without a NaN."""
    return labels.flatten(1).isfinite().all(dim=1)


def label_loss(predicted: Tensor, labels: Tensor, among: Tensor | None = None) -> Tensor:
    """Mean squared difference to pseudo-labels (Eq. 9 to 14).

    Args:
        predicted, labels: (N, ...) of one shape; NaN where a label is not known.
        among: (N,) bool, rows that may take part; all by default.
    """
    rows = known_rows(labels) if among is None else known_rows(labels) & among
    return _mean_of_rows((predicted.float() - _filled(labels, rows)).square(), rows)


def absolute_label_loss(predicted: Tensor, labels: Tensor) -> Tensor:
    """Mean absolute difference; arguments as of `label_loss`."""
    rows = known_rows(labels)
    return _mean_of_rows((predicted.float() - _filled(labels, rows)).abs(), rows)


def masked_loss(predicted: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Mean squared difference where the mask is.

    Args:
        predicted, target: (N, C, H, W).
        mask: (N, 1, H, W) in [0, 1]. A row where it, or the target, is not known takes no part.
    """
    rows = known_rows(target) & known_rows(mask)
    return _mean_within((predicted.float() - _filled(target, rows)).square(), mask, rows)


def frontal_target(images: Tensor, mask: Tensor) -> Tensor:
    """What Q is to give: the image where the mask is, 0 elsewhere; Q knows of no background."""
    return images * mask


def smoothness_loss(maps: Tensor, mask: Tensor, power: int) -> Tensor:
    """Mean of |difference of neighbours|^power, across plus down.

    Args:
        maps: (N, C, H, W).
        mask: (N, 1, H, W); both neighbours must lie in it. NaN rows take no part.
    """
    rows = known_rows(mask)
    across = (maps[..., 1:] - maps[..., :-1]).float().abs() ** power
    down = (maps[..., 1:, :] - maps[..., :-1, :]).float().abs() ** power
    return _mean_within(across, mask[..., 1:] * mask[..., :-1], rows) + _mean_within(
        down, mask[..., 1:, :] * mask[..., :-1, :], rows
    )


def unit_norm_loss(normals: Tensor) -> Tensor:
    """Mean of (|n|^2 - 1)^2 over normals (N, 3, H, W)."""
    return (normals.square().sum(dim=1) - 1).square().mean()


def lighting_loss(lighting: Tensor, labels: Tensor) -> Tensor:
    """Squared differences of lighting coefficients: mean of nine, sum over those of each colour.

    Args:
        lighting: (N, 9), or (N, 27), colour by colour.
        labels: (N, 9) or (N, 27). Grey labels are those of each colour; grey light is compared with
            the mean of colours.
    """
    predicted, wanted = (each.reshape(len(each), -1, 9) for each in (lighting, labels))
    if predicted.shape[1] == 1:
        wanted = wanted.mean(dim=1, keepdim=True)
    wanted = wanted.expand_as(predicted)
    return predicted.shape[1] * label_loss(predicted, wanted)


def white_shading_loss(shade: Tensor, mask: Tensor) -> Tensor:
    """Over a batch, faces are lit by white light of 0.75: tells bright skin from bright light.

        sum over colours of (mean over batch and mask of s_c - 0.75)^2 / 2

    Args:
        shade: (N, C, H, W), one or three colours.
        mask: (N, 1, H, W); NaN rows take no part.
    """
    rows = known_rows(mask)
    if not rows.any():  # nobody is lit; the mean would be 0, and far from 0.75
        return 0 * shade.sum()
    within = _filled(mask, rows)
    mean = (within * shade).sum(dim=(0, 2, 3)) / within.sum().clamp(min=1)  # (C,)
    return (mean - 0.75).square().sum() / 2


def redrawing_error(images: Tensor, redrawn: Tensor) -> Tensor:
    """|x - D(x)|_1 as a mean: what BEGAN's discriminator makes of images (N, 3, H, W)."""
    return (images.float() - redrawn.float()).abs().mean()


def next_balance(balance: Tensor, real: Tensor, fake: Tensor, ratio: float, rate: float) -> Tensor:
    """k_{t+1} of BEGAN (Berthelot et al. 2017), which the paper leaves out.

        k <- clip(k + rate (ratio L(real) - L(fake)), 0, 1)

    Args:
        balance: k_t, 0 at the start.
        real, fake: redrawing errors of real and of drawn images.
        ratio: gamma, the errors' ratio to be held; rate: lambda_k.
    """
    return (balance + rate * (ratio * real - fake)).clamp(0, 1)


def convergence(real: Tensor, fake: Tensor, ratio: float) -> Tensor:
    """BEGAN's measure of progress, L(real) + |gamma L(real) - L(fake)|; falls while it learns."""
    return real + (ratio * real - fake).abs()


def _filled(labels: Tensor, rows: Tensor) -> Tensor:
    """Labels with 0 in all other rows: a NaN would be in the gradient, whatever it is times 0."""
    return torch.where(rows.view(-1, *[1] * (labels.ndim - 1)), labels, 0.0)


def _mean_of_rows(distance: Tensor, rows: Tensor) -> Tensor:
    return (rows * distance.flatten(1).mean(dim=1)).sum() / rows.sum().clamp(min=1)


def _mean_within(distance: Tensor, mask: Tensor, rows: Tensor) -> Tensor:
    within = _filled(mask, rows)
    return (within * distance).sum() / (within.sum() * distance.shape[1]).clamp(min=1)
