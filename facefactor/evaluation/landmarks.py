"""How far predicted landmarks lie from labelled ones, and what that does to head pose."""

from __future__ import annotations

import torch
from torch import Tensor

from facefactor.evaluation.tables import ResultTable, Score
from facefactor.perception.head_pose import head_pose
from facefactor.perception.landmarks import interocular_error

_FAILURE = 10.0  # % of the eye distance: the field counts a face beyond it as missed
_PARTS = {"jaw": slice(0, 17), "brows": slice(17, 27), "nose": slice(27, 36)}
_PARTS |= {"eyes": slice(36, 48), "mouth": slice(48, 68)}


def landmark_error(predicted: Tensor, truth: Tensor, dataset: str, model: str = "") -> ResultTable:
    """Error in % of the distance of the outer eye corners, and of the head pose fitted to it.

    Args:
        predicted, truth: (N, 68, 2) in one unit, the same along x and y; y down. Faces whose truth
            holds NaN are left out.

    Returns:
        Means over faces with their deviation; the share of faces beyond 10 %; the mean error of
        each part of the face; mean absolute differences of yaw, pitch and roll in degrees.

    Raises:
        ValueError: shapes that do not fit, NaN in `predicted`, or no face with a truth.
    """
    if predicted.shape != truth.shape or truth.shape[1:] != (68, 2):
        raise ValueError(f"both must be (N, 68, 2), got {predicted.shape} and {truth.shape}")
    known = truth.isfinite().flatten(1).all(dim=1)
    if not known.any():
        raise ValueError("no face has landmarks to compare with")
    if not predicted[known].isfinite().all():
        raise ValueError("predicted landmarks hold NaN or infinity")
    predicted, truth = predicted[known].double(), truth[known].double()
    error = interocular_error(predicted, truth)
    scores = [
        Score("mean error", error.mean().item(), "%", spread=error.std(correction=0).item()),
        Score("median error", error.median().item(), "%"),
        Score("faces beyond 10 %", 100 * (error > _FAILURE).double().mean().item(), "%"),
    ]
    eyes = torch.linalg.vector_norm(truth[:, 45] - truth[:, 36], dim=-1)  # (N,)
    away = torch.linalg.vector_norm(predicted - truth, dim=-1) / eyes[:, None]  # (N, 68)
    for name, points in _PARTS.items():
        scores.append(Score(name, 100 * away[:, points].mean().item(), "%"))
    turned = (head_pose(predicted) - head_pose(truth)).abs().mean(dim=0)
    for name, angle in zip(("yaw", "pitch", "roll"), turned.tolist(), strict=True):
        scores.append(Score(name, angle, "°"))
    return ResultTable("landmark error", dataset, tuple(scores), model, n=len(error))
