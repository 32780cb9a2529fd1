"""What comes back when a face is drawn from its codes, and how evenly a path of codes is walked."""

from __future__ import annotations

from itertools import combinations

import torch
from torch import Tensor

from facefactor.evaluation.tables import Score

_BATCH = 32  # pictures at once
_BEST_PSNR = 100.0  # dB: of equal pictures; those of bytes that differ at all are below 97


def psnr(images: Tensor, faces: Tensor) -> Tensor:
    """Peak signal to noise, (N,) dB, at most 100; both (N, C, S, S) in [0, 1]."""
    error = (images.double() - faces.double()).square().flatten(1).mean(dim=1)
    return -10 * error.clamp(min=10 ** (-_BEST_PSNR / 10)).log10()


def ssim(images: Tensor, faces: Tensor) -> Tensor:
    """Structural similarity (Wang et al., 2004; 11 pixels, deviation 1.5), (N,), at most 1."""
    from torchmetrics.functional.image import structural_similarity_index_measure  # slow

    parts = [
        structural_similarity_index_measure(image, face, data_range=1.0, reduction="none")
        for image, face in zip(
            torch.split(images.float(), _BATCH), torch.split(faces.float(), _BATCH), strict=True
        )
    ]
    return torch.cat([torch.as_tensor(part).reshape(-1) for part in parts]).double()


def likeness_scores(images: Tensor, faces: Tensor, label: str) -> tuple[Score, Score]:
    """PSNR and SSIM of drawn faces and of those that they should be, means and deviations."""
    if images.shape != faces.shape or not len(faces):
        raise ValueError(f"{tuple(images.shape)} drawn for {tuple(faces.shape)} faces")
    decibels, alike = psnr(images, faces), ssim(images, faces)
    return (
        Score(f"PSNR, {label}", decibels.mean().item(), "dB", spread=_deviation(decibels)),
        Score(f"SSIM, {label}", alike.mean().item(), "", spread=_deviation(alike)),
    )


def distances_from_start(path: Tensor) -> Tensor:
    """Mean absolute difference of each picture of a path from its first.

    Args:
        path: (K, N, C, S, S), K places on the way of N faces.

    Returns:
        (N, K), 0 at the start.
    """
    return (path.double() - path[:1].double()).abs().flatten(2).mean(dim=2).T


def monotony(distance: Tensor) -> Tensor:
    """How often a later place of a path is farther from its start than an earlier one, (N,).

    Of all pairs of places, (N, K) distances: 1 where each step leads on, 0.5 for a path that
    wanders, 0 for one that does not move.
    """
    if distance.ndim != 2 or distance.shape[1] < 2:
        raise ValueError(f"distances must be (N, K), K > 1, got {tuple(distance.shape)}")
    pairs = list(combinations(range(distance.shape[1]), 2))
    first, later = (list(places) for places in zip(*pairs, strict=True))
    return (distance[:, later] > distance[:, first]).double().mean(dim=1)


def largest_step(path: Tensor) -> Tensor:
    """The longest step between pictures of a path by the mean step, (N,): 1 where it is even.

    With K places it is K - 1 where all happens in one step; NaN where nothing moves.

    Args:
        path: (K, N, C, S, S).
    """
    if len(path) < 2:
        raise ValueError(f"a path needs two places, got {len(path)}")
    steps = (path[1:].double() - path[:-1].double()).abs().flatten(2).mean(dim=2)  # (K - 1, N)
    return steps.max(dim=0).values / steps.mean(dim=0)


def path_scores(path: Tensor, label: str) -> tuple[Score, ...]:
    """Monotony in %, and the longest step; of paths (K, N, C, S, S)."""
    ordered = monotony(distances_from_start(path))
    longest = largest_step(path)
    moved = longest[~longest.isnan()]
    return (
        Score(f"path of {label}, monotony", 100 * ordered.mean().item(), "%"),
        Score(
            f"path of {label}, longest step by the mean step",
            moved.mean().item() if len(moved) else None,
            "",
            n=len(moved),
        ),
    )


def _deviation(values: Tensor) -> float:
    return values.std(correction=0).item()
