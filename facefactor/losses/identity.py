"""Distances between codes of faces, all through cosines: what a recogniser's codes are compared by.

Computed in float32 whatever the precision of the run: in bfloat16 the cosines of near photos of one
person are all 1.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def cosine_distance(codes: Tensor, targets: Tensor) -> Tensor:
    """1 - cosine of each face's two codes, both (N, D), averaged; scalar in [0, 2].

    A code of zero has the cosine 0 with any other.
    """
    return (1 - (F.normalize(codes.float()) * F.normalize(targets.float())).sum(dim=1)).mean()


def cosine_matrix(codes: Tensor) -> Tensor:
    """Cosines of all pairs of codes (N, D): (N, N) float32, symmetric."""
    with torch.autocast(codes.device.type, enabled=False):  # it would multiply in bfloat16
        unit = F.normalize(codes.float())
        return unit @ unit.mT


def relational_loss(codes: Tensor, targets: Tensor) -> Tensor:
    """Are the same pairs of faces alike? (Relational distillation; Park et al., CVPR 2019.)

        mean over i != j of (cos(codes_i, codes_j) - cos(targets_i, targets_j))^2

    Nothing is asked of the codes themselves: rotating them changes nothing, and they may have
    another size than the targets.

    Args:
        codes: (N, D); targets: (N, E).

    Returns:
        Scalar in [0, 4]; 0 for fewer than two faces.
    """
    difference = cosine_matrix(codes) - cosine_matrix(targets)
    itself = torch.eye(len(codes), dtype=torch.bool, device=codes.device)
    pairs = len(codes) * (len(codes) - 1)
    return difference.masked_fill(itself, 0.0).square().sum() / max(pairs, 1)
