"""Which factor can be told from which code, beside chance, and what follows of the whole.

Probes are scikit-learn's. DCI is Eastwood and Williams (ICLR 2018), MIG is Chen et al. (NeurIPS
2018), both weighted and binned as in Locatello et al. (ICML 2019).
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import xlogy
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import mutual_info_score
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import StandardScaler
from torch import Tensor

Probe = Literal["linear", "MLP"]
PROBES: tuple[Probe, ...] = ("linear", "MLP")

_HIDDEN = 128  # units of the MLP's one hidden layer
_PENALTY = 0.1  # C of the softmax regression, on standardised codes: many more numbers than faces
_DECAY = 3.0  # of the MLP, for the same reason
_STEPS = 60  # of the MLP; two hundred tell no more
_TREES = 30
_TRIED = 256  # numbers of a code that a split chooses from; all would take a minute a factor
_BINS = 20  # of a number of a code, equally wide


@dataclass(frozen=True)
class Told:
    """How well a probe told labels of faces that it did not learn from; shares."""

    accuracy: float  # mean over the classes of the test part
    chance: float  # what a guess without a look gets: one by the number of these classes
    n: int  # faces of the test part

    @property
    def above_chance(self) -> float:
        """0 at chance, 1 where all are right; the same scale for any number of classes."""
        return (self.accuracy - self.chance) / (1 - self.chance)


def tell(
    codes: ArrayLike | Tensor,
    labels: Sequence[str],
    test: NDArray[np.bool_],
    probes: Sequence[Probe] = PROBES,
    seed: int = 0,
) -> dict[Probe, Told]:
    """Train classifiers of labels on the codes that are not for testing, ask them about the others.

    Each number of a code is brought to mean 0 and deviation 1 by the training part. Faces to be
    asked about whose label nobody has in the training part are left out.

    Args:
        codes: (N, D), any real numbers.
        labels: N names.
        test: (N,) which faces are for testing.
        probes: "linear": softmax regression. "MLP": one hidden layer of 128 units with ReLU.
        seed: of the MLP's first weights.

    Raises:
        ValueError: shapes that do not fit, NaN, or fewer than two classes on either side.
    """
    values, names = _checked(codes, labels), _numbered(labels)
    if test.shape != names.shape:
        raise ValueError(f"{len(names)} labels, but a split of {test.shape}")
    learnt = np.unique(names[~test])
    asked = test & np.isin(names, learnt)
    classes = np.unique(names[asked])
    if len(learnt) < 2 or len(classes) < 2:
        raise ValueError(
            f"two classes or more are needed on both sides of the split, got {len(learnt)} to "
            f"learn and {len(classes)} of them to be told"
        )
    scaler = StandardScaler().fit(values[~test])
    known, shown = scaler.transform(values[~test]), scaler.transform(values[asked])
    if known.shape[1] > len(known):
        known, shown = _in_span(known, shown)
    found = {}
    for probe in probes:
        classifier = _classifier(probe, seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # the steps are the setting
            classifier.fit(known, names[~test])
        said = classifier.predict(shown)
        recall = [(said[names[asked] == name] == name).mean() for name in classes]
        found[probe] = Told(float(np.mean(recall)), 1 / len(classes), int(asked.sum()))
    return found


def _in_span(
    known: NDArray[np.floating], shown: NDArray[np.floating]
) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """Codes (N, D) and (M, D), N < D, in the K <= N principal axes that span the first: (N, K) and
    (M, K).

    A probe with decay that learns from N codes moves in their span only, so nothing that it could
    find is lost, and codes of thousands of numbers take seconds.
    """
    wide = known.astype(np.float64)  # products square what is small
    length, axes = np.linalg.eigh(wide @ wide.T)
    length = np.maximum(length, np.finfo(np.float64).tiny)  # codes that never vary are all zeros
    spanning = length > 1e-10 * length[-1]
    scale, axes = np.sqrt(length[spanning]), axes[:, spanning]
    told = shown @ (wide.T @ (axes / scale))
    return (axes * scale).astype(known.dtype), told.astype(known.dtype)


def importances(
    codes: ArrayLike | Tensor, factors: Mapping[str, Sequence[str]], seed: int = 0
) -> NDArray[np.float64]:
    """How much each number of a code matters to tell each factor, (D, K); columns sum to 1.

    By the impurity that splits on it take away in randomised trees; a factor that has one class
    only has a column of zeros. Trees take a few of many numbers that tell the same, and others for
    another factor: codes of hundreds of numbers look disentangled by that alone. What `turned`
    codes get is the floor.

    Args:
        codes: (N, D).
        factors: name -> N labels.
    """
    columns = []
    for labels in factors.values():
        values = _checked(codes, labels)
        if len(set(labels)) < 2:
            columns.append(np.zeros(values.shape[1]))
            continue
        trees = ExtraTreesClassifier(
            _TREES,
            # Many: a split that must be made on noise counts as one that helps.
            max_features=min(values.shape[1], _TRIED),
            class_weight="balanced",
            random_state=seed,
        )
        columns.append(trees.fit(values, _numbered(labels)).feature_importances_)
    return np.stack(columns, axis=1)


def turned(codes: ArrayLike | Tensor, seed: int = 0) -> NDArray[np.float64]:
    """Codes (N, D) turned at random in their space, each number standardised first.

    All that could be told still can be, but no number is any factor's own: what single numbers of
    these codes score is the floor under any claim that axes mean something.
    """
    values = _numbers(codes)
    axes, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((values.shape[1],) * 2))
    return np.asarray(StandardScaler().fit_transform(values) @ axes)


def dci(importance: ArrayLike) -> tuple[float | None, float | None]:
    """Disentanglement and completeness of a matrix of importances, in [0, 1].

    Disentanglement is 1 where every code (or number of one) matters to one factor only;
    completeness is 1 where every factor is told from one code only. Each row, or column, counts by
    its share of all importance. One factor alone cannot be disentangled, one code alone cannot be
    incomplete: None.

    Args:
        importance: (D, K), not negative, of D codes (or numbers) and K factors; some above 0.
    """
    matrix = np.asarray(importance, dtype=np.float64)
    if matrix.ndim != 2 or not np.isfinite(matrix).all() or (matrix < 0).any():
        raise ValueError(f"importances must be (D, K) and not negative, got {matrix.shape}")
    if not matrix.any():
        return None, None
    return _concentration(matrix), _concentration(matrix.T)


def mig(codes: ArrayLike | Tensor, factors: Mapping[str, Sequence[str]]) -> dict[str, float]:
    """Factor -> mutual information gap, in [0, 1].

    The gap is between the number of a code that tells most of the factor and the next, in shares
    of the factor's entropy: 1 where one number tells all and no other anything. Codes of many
    numbers, which nothing asks to put a factor into a single one, are near 0 however good they are.

    Args:
        codes: (N, D), D > 1; each number is put into 20 bins, equally wide.
        factors: name -> N labels of two classes or more.
    """
    gaps = {}
    for name, labels in factors.items():
        values = _checked(codes, labels)
        if values.shape[1] < 2 or len(set(labels)) < 2:
            raise ValueError(
                f"a gap needs two numbers and two classes, got {values.shape[1]} and "
                f"{len(set(labels))} of {name}"
            )
        truth = _numbered(labels)
        told = np.sort(_mutual_information(_binned(values), truth))
        gaps[name] = float((told[-1] - told[-2]) / mutual_info_score(truth, truth))
    return gaps


def _concentration(matrix: NDArray[np.float64]) -> float | None:
    """1 less the entropy of each row, in units of that of an even row; mean by the rows' sums."""
    columns = matrix.shape[1]
    if columns < 2:
        return None
    total = matrix.sum(axis=1)
    share = matrix / np.where(total > 0, total, 1)[:, None]
    entropy = -(share * np.log(np.where(share > 0, share, 1))).sum(axis=1) / np.log(columns)
    return float(((1 - entropy) * total).sum() / total.sum())


def _binned(values: NDArray[np.floating]) -> NDArray[np.int64]:
    """(N, D) in which bin of its column each number is; all in the first where they are equal."""
    low = values.min(axis=0)
    width = (values.max(axis=0) - low) / _BINS
    bins = (values - low) / np.where(width > 0, width, 1)
    return np.minimum(bins, _BINS - 1).astype(np.int64)


def _mutual_information(bins: NDArray[np.int64], truth: NDArray[np.int64]) -> NDArray[np.float64]:
    """(D,) of each column of bins (N, D) with labels (N,), in nats; scikit-learn's function takes
    one column at a time, and a second for a thousand."""
    classes, columns = truth.max() + 1, bins.shape[1]
    cell = (np.arange(columns) * _BINS + bins) * classes + truth[:, None]
    counts = np.bincount(cell.ravel(), minlength=columns * _BINS * classes)
    both = counts.reshape(columns, _BINS, classes) / len(truth)
    alone = both.sum(axis=2, keepdims=True) * both.sum(axis=1, keepdims=True)
    return np.asarray((xlogy(both, both) - xlogy(both, alone)).sum(axis=(1, 2)))


def _classifier(probe: Probe, seed: int) -> Any:
    if probe == "linear":
        return LogisticRegression(C=_PENALTY, class_weight="balanced", max_iter=300)
    # Of all faces at once: passes over small batches told less of people than a linear probe.
    return MLPClassifier(
        (_HIDDEN,), solver="lbfgs", alpha=_DECAY, max_iter=_STEPS, random_state=seed
    )


def _numbered(labels: Sequence[str]) -> NDArray[np.int64]:
    """Labels as numbers from 0, in their order: scikit-learn takes a name like "1027" for a number
    when it weighs classes, and then misses the name."""
    return np.unique(np.asarray(labels), return_inverse=True)[1]


def _checked(codes: ArrayLike | Tensor, labels: Sequence[str]) -> NDArray[np.floating]:
    values = _numbers(codes)
    if len(values) != len(labels):
        raise ValueError(f"{len(values)} codes, but {len(labels)} labels")
    return values


def _numbers(codes: ArrayLike | Tensor) -> NDArray[np.floating]:
    """Tensors keep their precision: probes of single precision take half of the time."""
    array = codes.detach().cpu().numpy() if isinstance(codes, Tensor) else codes
    values = np.asarray(array)
    if values.dtype != np.float32:
        values = values.astype(np.float64)
    if values.ndim != 2 or not values.size:
        raise ValueError(f"codes must be (N, D), got shape {values.shape}")
    if not np.isfinite(values).all():
        raise ValueError("codes hold NaN or infinity")
    return values
