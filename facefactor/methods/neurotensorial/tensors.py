"""Multilinear algebra of the decoder: synthesis, projection and rotation (Sec. 3.4, 3.5).

The paper stacks the codes of a batch in columns; here a face is a row, so all of its matrices are
transposed. Products are unfolded with the last factor running fastest (row-major, as TensorLy
unfolds): that order, not Kolda and Bader's, makes Eq. 2 as printed equal to Eq. 1.
"""

from __future__ import annotations

from functools import reduce

from torch import Tensor, nn


def synthesis(*codes: Tensor) -> Tensor:
    """M-way synthesis: the Khatri-Rao product of M codes, (N, k_1), ..., (N, k_M).

    Returns:
        (N, k_1 * ... * k_M); row n is the Kronecker product of the n-th rows.
    """
    return reduce(lambda left, right: (left[:, :, None] * right[:, None]).flatten(1), codes)


def projection(inputs: int, outputs: int, rank: int) -> nn.Module:
    """Multiplication by an unfolded core tensor, a linear layer without bias (Sec. 3.5).

    Args:
        rank: of the unfolded core (outputs, inputs), which is then kept as two factors; 0 for the
            whole matrix, as published.
    """
    if not rank:
        return nn.Linear(inputs, outputs, bias=False)
    return nn.Sequential(nn.Linear(inputs, rank, bias=False), nn.Linear(rank, outputs, bias=False))


def rotate(features: Tensor, rotation: Tensor) -> Tensor:
    """Synthesised features as 3 x K/3 matrices, multiplied by rotations from the left (Sec. 3.4).

    Args:
        features: (N, K), K a multiple of 3; the matrix is filled row by row.
        rotation: (N, 3, 3).

    Returns:
        (N, K). Written out as products and sums: autocast would multiply matrices in bfloat16.
    """
    rows = features.reshape(-1, 1, 3, features.shape[1] // 3)  # (N, 1, 3, K/3)
    return (rotation[..., None] * rows).sum(dim=2).flatten(1)
