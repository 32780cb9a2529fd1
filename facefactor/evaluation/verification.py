"""Face verification on labelled pairs, as LFW and CPLFW prescribe.

Used by FaceCycle, Sec. 3.4.1 and Table 3: identity codes are compared directly, nothing is trained.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.metrics import roc_auc_score, roc_curve
from torch import Tensor
from torch.nn import functional as F

from facefactor.evaluation.tables import ResultTable, Score

PUBLISHED = {  # % accuracy, Table 3
    ("facecycle", "lfw"): 73.72,
    ("facecycle", "cplfw"): 58.52,
    ("moco", "lfw"): 65.88,
    ("moco", "cplfw"): 55.12,
}


def verification(
    left_codes: ArrayLike | Tensor,
    right_codes: ArrayLike | Tensor,
    same: ArrayLike | Tensor,
    dataset: str,
    folds: int = 10,
    model: str = "",
) -> ResultTable:
    """Decide "same person?" by the cosine similarity of two codes.

    Each fold is scored with the threshold that is best on the other folds.

    Args:
        left_codes, right_codes: (P, D) codes of the pairs' photos, in the benchmark's order; its
            folds are consecutive and of equal size.
        same: (P,) bool, whether a pair shows one person.

    Returns:
        Accuracy, mean and standard deviation over folds; over all pairs the equal error rate and
        the area under the ROC curve; all in %.

    Raises:
        ValueError: pairs that do not split into equal folds, shapes that do not fit, NaN.
    """
    similarity = cosine(left_codes, right_codes)
    truth = torch.as_tensor(same, dtype=torch.bool)
    if truth.shape != similarity.shape:
        raise ValueError(f"{len(similarity)} pairs of codes, but {tuple(truth.shape)} answers")
    if len(truth) % folds or not len(truth):
        raise ValueError(f"{len(truth)} pairs do not split into {folds} equal folds")
    if truth.all() or not truth.any():
        raise ValueError("the pairs need people both same and different")

    hit_rates = []
    for held_out in torch.arange(len(truth)).chunk(folds):
        rest = torch.ones_like(truth)
        rest[held_out] = False
        threshold = best_threshold(similarity[rest], truth[rest])
        decision = similarity[held_out] >= threshold
        hit_rates.append((decision == truth[held_out]).double().mean())
    accuracy = 100 * torch.stack(hit_rates)

    spread = accuracy.std().item() if folds > 1 else None
    return ResultTable(
        protocol="verification",
        dataset=dataset,
        scores=(
            Score("accuracy", accuracy.mean().item(), "%", PUBLISHED.get((model, dataset)), spread),
            Score("equal error rate", 100 * equal_error_rate(similarity, truth), "%"),
            Score("AUC", 100 * float(roc_auc_score(truth.numpy(), similarity.numpy())), "%"),
        ),
        model=model,
        n=len(truth),
    )


def cosine(left_codes: ArrayLike | Tensor, right_codes: ArrayLike | Tensor) -> Tensor:
    """Cosine similarity of each pair of codes, both (P, D); (P,), 0 where a code is zero."""
    left, right = (
        torch.as_tensor(codes).detach().cpu().double() for codes in (left_codes, right_codes)
    )
    if left.shape != right.shape or left.ndim != 2:
        raise ValueError(
            f"codes must be (P, D) twice, got {tuple(left.shape)}, {tuple(right.shape)}"
        )
    similarity = F.cosine_similarity(left, right)
    if not torch.isfinite(similarity).all():
        bad = int((~torch.isfinite(similarity)).nonzero()[0])
        raise ValueError(f"the codes of pair {bad} hold NaN or infinity")
    return similarity


def best_threshold(similarity: Tensor, same: Tensor) -> Tensor:
    """The similarity, both inputs (P,), at and above which "same" is right most often."""
    candidates = torch.cat([similarity, similarity.new_tensor([torch.inf])])  # inf: never "same"
    taken = same.sum() - torch.searchsorted(similarity[same].sort().values, candidates)
    refused = torch.searchsorted(similarity[~same].sort().values, candidates)
    hits = taken + refused  # (P + 1,) of those at and above, and of those below
    return candidates[hits.argmax()]


def equal_error_rate(similarity: Tensor, same: Tensor) -> float:
    """The share of errors, in [0, 1], where as many "same" are missed as "different" are taken in.

    Between two thresholds the ROC curve is a straight line.
    """
    false_alarms, hits, _ = roc_curve(same.numpy(), similarity.numpy(), drop_intermediate=False)
    excess = false_alarms - (1 - hits)  # rises from -1 to 1
    after = int(np.argmax(excess >= 0))
    if excess[after] == 0:
        return float(false_alarms[after])
    share = -excess[after - 1] / (excess[after] - excess[after - 1])
    return float(false_alarms[after - 1] + share * (false_alarms[after] - false_alarms[after - 1]))


def threshold_at(similarity: Tensor, same: Tensor, false_match_rate: float) -> float:
    """The lowest similarity at and above which at most this share of "different" is taken for same.

    Args:
        similarity, same: (P,).
        false_match_rate: in [0, 1).

    Raises:
        ValueError: no pair of different people, or a rate outside of [0, 1).
    """
    others = similarity[~same].sort(descending=True).values
    if not len(others) or not 0 <= false_match_rate < 1:
        raise ValueError(
            f"needs pairs of different people and a rate in [0, 1), got {len(others)} pairs and "
            f"{false_match_rate}"
        )
    highest_refused = others[int(false_match_rate * len(others))]
    return float(torch.nextafter(highest_refused, torch.tensor(torch.inf, dtype=others.dtype)))


def error_rates(similarity: Tensor, same: Tensor, threshold: float) -> tuple[float, float]:
    """Shares of different pairs taken for same, and of same pairs taken for different."""
    taken = similarity >= threshold
    return taken[~same].double().mean().item(), (~taken)[same].double().mean().item()
