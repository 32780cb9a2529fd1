"""Deep metric learning of expressions with identity-aware negatives: (N+M)-tuplet clusters.

The metric half of 2B(N+M)Softmax (Liu et al., CVPR workshops 2017), by which NFGAN (Sec. 5.4)
measures what its normalised faces are worth. NFGAN prints what the loss is for and no formula, and
the text of the reference was not at hand; from its abstract: clusters instead of anchors, N
positives against M negatives of the same people, and a threshold that need not be validated. The
hinge, the distance and the trained reference below are our reading of that.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def tuplet_clusters_loss(
    codes: Tensor, classes: Tensor, subjects: Tensor, reference: Tensor, margin: float
) -> Tensor:
    """Faces of one expression near their common centre, the same people's other expressions far.

        1/N sum_i max(0, D(x_i+, c) - T + tau)  +  1/M sum_j max(0, T - D(x_j-, c) + tau)

    Each class with two faces or more in the batch is a cluster: its N faces x+ are the positives, c
    their mean, and the M negatives x- are the faces of the positives' people in other classes
    (`identity_aware_negatives`). D is the squared Euclidean distance of codes of length 1, so in
    [0, 4]: the network cannot widen its margins by longer codes.

    Args:
        codes: (B, D) of any length but 0.
        classes: (B,) int64, the expressions.
        subjects: (B,) int64, who each face shows; negative where unknown: never a negative.
        reference: scalar T, the distance between inside and outside; trained with the network
            ("adaptive") or fixed. It settles where as many positives as negatives violate it.
        margin: tau, kept free on both sides of T.

    Returns:
        Scalar, the mean over clusters; a cluster without negatives counts its positives only, and
        a batch without clusters is 0.
    """
    unit = F.normalize(codes)
    clusters = torch.unique(classes)[:, None] == classes  # (K, B)
    clusters = clusters[clusters.sum(dim=1) >= 2]  # one face has no spread
    negatives = identity_aware_negatives(clusters, subjects)
    centres = clusters.to(unit) @ unit / clusters.sum(dim=1, keepdim=True)  # (K, D)
    beyond = (centres[:, None] - unit).square().sum(dim=2) - reference  # (K, B), D - T
    pulled = _mean_where(F.relu(beyond + margin), clusters)
    pushed = _mean_where(F.relu(margin - beyond), negatives)
    return (pulled + pushed).sum() / max(len(clusters), 1)


def identity_aware_negatives(clusters: Tensor, subjects: Tensor) -> Tensor:
    """Which faces are negatives of which cluster, (K, B) bool: its people, not its expression.

    Strangers with another expression would teach the network who is who as well.

    Args:
        clusters: (K, B) bool, the faces of each cluster.
        subjects: (B,) int64; negative where unknown.
    """
    one_person = (subjects[:, None] == subjects) & (subjects >= 0)  # (B, B)
    of_its_people = clusters.float() @ one_person.float() > 0
    return of_its_people & ~clusters


def _mean_where(values: Tensor, chosen: Tensor) -> Tensor:
    """Mean of each row's chosen values, (K, B) -> (K,); 0 for a row without any."""
    return (values * chosen).sum(dim=1) / chosen.sum(dim=1).clamp_min(1)
