"""Least-squares transforms of the plane: (2, 3) matrices [A | b] that map x to A x + b."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Affine = NDArray[np.float64]  # (2, 3)


def similarity_transform(source: ArrayLike, target: ArrayLike) -> Affine:
    """Rotation, uniform scale and shift that best map `source` onto `target` (Umeyama, 1991).

    Args:
        source, target: (K, 2) matching points, K >= 2; any unit.

    Returns:
        (2, 3) matrix. Never a mirror image, even where that would fit better.

    Raises:
        ValueError: shapes differ, a value is not finite, or all source points coincide.
    """
    start, end = _point_pairs(source, target, at_least=2)
    start_mean, end_mean = start.mean(0), end.mean(0)
    start, end = start - start_mean, end - end_mean
    variance = (start**2).sum()
    if variance <= 1e-18 * (1.0 + (start_mean**2).sum()):
        raise ValueError(
            f"all {len(start)} source points lie at {start_mean.tolist()}; a similarity needs two "
            "different ones"
        )
    # In the plane the optimal rotation times scale has a closed form: it is [[c, -s], [s, c]].
    c = (start * end).sum() / variance
    s = (start[:, 0] * end[:, 1] - start[:, 1] * end[:, 0]).sum() / variance
    linear = np.array([[c, -s], [s, c]])
    return np.column_stack([linear, end_mean - linear @ start_mean])


def affine_transform(source: ArrayLike, target: ArrayLike) -> Affine:
    """The affine map, six free numbers, that best maps `source` onto `target`.

    Args:
        source, target: (K, 2) matching points, K >= 3, not all on one line.

    Raises:
        ValueError: as above, or the source points lie on one line.
    """
    start, end = _point_pairs(source, target, at_least=3)
    mean = start.mean(0)  # centred for conditioning: landmarks are far from the origin
    centred = np.column_stack([start - mean, np.ones(len(start))])
    solution, _, rank, _ = np.linalg.lstsq(centred, end, rcond=1e-9)
    if rank < 3:
        raise ValueError(
            f"the {len(start)} source points lie on one line; an affine map needs three that do not"
        )
    linear = solution[:2].T
    return np.column_stack([linear, solution[2] - linear @ mean])


def invert_affine(transform: ArrayLike) -> Affine:
    """The (2, 3) map that undoes `transform`; ValueError where it squeezes the plane flat."""
    matrix = np.asarray(transform, dtype=np.float64)
    try:
        linear = np.linalg.inv(matrix[:, :2])
    except np.linalg.LinAlgError:
        raise ValueError(f"{matrix.tolist()} maps the plane to a line: no inverse") from None
    return np.column_stack([linear, -linear @ matrix[:, 2]])


def compose_affine(first: ArrayLike, then: ArrayLike) -> Affine:
    """The (2, 3) map that applies `first`, and `then` to its result."""
    inner, outer = np.asarray(first, np.float64), np.asarray(then, np.float64)
    return np.column_stack([outer[:, :2] @ inner[:, :2], outer[:, :2] @ inner[:, 2] + outer[:, 2]])


def apply_affine(transform: ArrayLike, points: ArrayLike) -> NDArray[np.float64]:
    """Points (..., 2) moved by a (2, 3) map."""
    matrix = np.asarray(transform, np.float64)
    return np.asarray(points, np.float64) @ matrix[:, :2].T + matrix[:, 2]


def _point_pairs(
    source: ArrayLike, target: ArrayLike, at_least: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    start, end = np.asarray(source, np.float64), np.asarray(target, np.float64)
    if start.shape != end.shape or start.ndim != 2 or start.shape[1] != 2:
        raise ValueError(f"expected two (K, 2) arrays of points, got {start.shape}, {end.shape}")
    if len(start) < at_least:
        raise ValueError(f"{at_least} points or more are needed, got {len(start)}")
    if not (np.isfinite(start).all() and np.isfinite(end).all()):
        raise ValueError("points must be finite numbers; found NaN or infinity")
    return start, end
