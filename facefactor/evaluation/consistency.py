"""What an edit keeps and what it moves; nothing is trained, models are seen by the protocol."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from facefactor.evaluation.tables import ResultTable, Score
from facefactor.geometry.flow import flow_magnitude_px, folded_share

_SIDE = 64  # pixels; two thousand larger images take gigabytes


def neutral_consistency(
    neutral: Tensor,
    faces: Tensor,
    subjects: Sequence[str],
    dataset: str,
    model: str = "",
) -> ResultTable:
    """Are two photos of one person more alike once both are neutral?

    Distances are root mean squared differences of pixels after each face's mean and deviation per
    channel were made equal, so that light does not decide; of images of 64 pixels at most. The
    ratio of different to same is 1 where a picture tells nothing of who it shows; the unedited
    photos are the floor.

    Args:
        neutral, faces: (N, C, S, S) in [0, 1], the neutral faces and the photos they come from.
        subjects: N names; at least one occurs twice.
    """
    names = np.array(subjects)
    same = names[:, None] == names[None, :]
    upper = np.triu(np.ones_like(same), k=1)
    if not (same & upper).any() or not (~same & upper).any():
        raise ValueError("two photos of one person and photos of two people are needed")
    scores = []
    for label, images in (("neutral faces", neutral), ("photos", faces)):
        distance = _pairwise(images)
        within, between = distance[same & upper], distance[~same & upper]
        scores.append(
            Score(f"{label}: different / same", float(between.mean() / within.mean()), "")
        )
        scores.append(Score(f"{label}: AUC", 100 * _auc(between, within), "%"))
    return ResultTable("neutral consistency", dataset, tuple(scores), model=model, n=len(names))


def motion(flow: Tensor, image_size: int, dataset: str, model: str = "") -> ResultTable:
    """How far removing the expression moves pixels: (N, 2, h, w) flows, normalised units."""
    length = flow_magnitude_px(flow, image_size)
    scores = (
        Score("mean |flow|", float(length.mean()), "px", spread=float(length.std())),
        Score("median |flow|", float(length.median()), "px"),
        Score("folded cells", 100 * float(folded_share(flow).mean()), "%"),
    )
    return ResultTable("motion", dataset, scores, model=model, n=len(flow))


def _pairwise(images: Tensor) -> NDArray[np.float32]:
    """Root mean squared difference of every two images, (N, N), larger ones reduced to 64 pixels.

    Squares, because all of them are one product of matrices; absolute values take 15 times as long.
    """
    if images.shape[-1] > _SIDE:
        images = F.interpolate(images, (_SIDE, _SIDE), mode="bilinear", antialias=True)
    flat = images.flatten(2)  # (N, C, HW)
    flat = (flat - flat.mean(2, keepdim=True)) / flat.std(2, keepdim=True).clamp(min=1e-6)
    flat = flat.flatten(1)
    distance: NDArray[np.float32] = (torch.cdist(flat, flat) / flat.shape[1] ** 0.5).numpy()
    return distance


def _auc(larger: NDArray[np.float32], smaller: NDArray[np.float32]) -> float:
    """How often a value of `larger` exceeds one of `smaller`."""
    ordered = np.sort(smaller)
    below = np.searchsorted(ordered, larger, "left") + np.searchsorted(ordered, larger, "right")
    return float(below.mean() / (2 * len(ordered)))
