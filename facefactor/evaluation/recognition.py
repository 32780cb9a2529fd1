"""Expression recognition: how often a classifier names the expression that the data set names.

IPD-FER (Jiang & Deng), Sec. 4: one split, several seeds, ten folds by person, and by head yaw.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from facefactor.evaluation.tables import (
    Confusion,
    ResultTable,
    Score,
    class_numbers,
    count_confusion,
)

# % accuracy by (model, data set, number of classes): the best of four seeds, chosen by the test
# part. "baseline" is the paper's ResNet-18; for SFEW both also start from their RAF-DB weights.
PUBLISHED_RECOGNITION = {
    ("ipdfer", "rafdb", 7): 88.89,
    ("baseline", "rafdb", 7): 87.48,
    ("ipdfer", "ferplus", 8): 88.42,
    ("baseline", "ferplus", 8): 87.75,
    ("ipdfer", "affectnet", 7): 62.23,
    ("baseline", "affectnet", 7): 59.06,
    ("ipdfer", "sfew", 7): 52.43,
    ("baseline", "sfew", 7): 46.88,
    ("ipdfer from rafdb", "sfew", 7): 58.43,
    ("baseline from rafdb", "sfew", 7): 56.12,
}
# Mean and standard deviation over the same four seeds.
PUBLISHED_OVER_SEEDS = {
    ("ipdfer", "rafdb", 7): (88.67, 0.15),
    ("baseline", "rafdb", 7): (87.32, 0.16),
    ("ipdfer", "ferplus", 8): (88.32, 0.09),
    ("baseline", "ferplus", 8): (87.63, 0.11),
    ("ipdfer", "affectnet", 7): (61.98, 0.19),
    ("baseline", "affectnet", 7): (58.74, 0.22),
    ("ipdfer", "sfew", 7): (50.69, 1.35),
    ("ipdfer from rafdb", "sfew", 7): (58.05, 0.11),
}
# Ten folds by person. CK+ is frontal, so the pose branch is left out there ("ID-FER"). Six classes
# are the basic expressions without neutral; the seventh is contempt.
PUBLISHED_OVER_TEN_FOLDS = {
    ("id-fer", "ckplus", 6): 99.28,
    ("id-fer", "ckplus", 7): 98.65,
    ("baseline", "ckplus", 6): 98.22,
    ("baseline", "ckplus", 7): 97.39,
}
# RAF-DB test, Table 8: % accuracy of all photos (0) and of those turned by more than 10 to 40
# degrees; 3068, 1704, 990, 574 and 308 photos. Its baseline is another run than Table 3's.
PUBLISHED_BY_YAW = {
    ("ipdfer", "rafdb"): {0: 88.89, 10: 88.67, 20: 88.79, 30: 87.11, 40: 87.66},
    ("id-fer", "rafdb"): {0: 87.65, 10: 86.74, 20: 86.46, 30: 85.02, 40: 84.09},
    ("baseline", "rafdb"): {0: 87.06, 10: 86.44, 20: 85.56, 30: 83.45, 40: 81.49},
}


def expression_recognition(
    probabilities: ArrayLike | Tensor,
    labels: Sequence[str],
    classes: Sequence[str],
    dataset: str,
    model: str = "",
    seed: int | None = None,
) -> ResultTable:
    """Accuracy, mean accuracy of the classes, and confusion, of one run on one test part.

    Args:
        probabilities: (N, K), or any scores that order the classes alike; the first of equals wins.
        labels: N names from `classes`.
        classes: the K names, in the order of the columns.
        dataset: a key of `data.readers.READERS`; published figures are found by it.

    Returns:
        Percentages. Classes without test photos are left out of the class mean.

    Raises:
        ValueError: shapes that do not fit, NaN, or an unknown label.
    """
    truth, said = _answers(probabilities, labels, classes)
    confusion = count_confusion(classes, truth, said)
    published = PUBLISHED_RECOGNITION.get((model, dataset, len(classes)))
    return ResultTable(
        protocol="expression recognition",
        dataset=dataset,
        scores=confusion.scores(published),
        model=model,
        n=len(truth),
        seed=seed,
        confusion=confusion,
    )


def over_folds(tables: Sequence[ResultTable]) -> ResultTable:
    """One table of the tables of two or more folds.

    Accuracy is the mean over folds, its spread their standard deviation (n - 1). The class mean is
    that of all answers together: a rare class may be absent from a fold.
    """
    confusion = _added(tables)
    key = (tables[0].model, tables[0].dataset, len(confusion.classes))
    published = PUBLISHED_OVER_TEN_FOLDS.get(key) if len(tables) == 10 else None
    return replace(
        tables[0],
        protocol=f"{tables[0].protocol}, {len(tables)} folds",
        scores=(
            _mean("accuracy", tables, published),
            Score("class mean", 100 * confusion.class_mean, "%"),
        ),
        n=sum(map(sum, confusion.counts)),
        split_hash=None,
        confusion=confusion,
    )


def over_seeds(tables: Sequence[ResultTable]) -> ResultTable:
    """One table of two or more runs on the same photos, and the answers of all runs counted.

    Means over runs, standard deviations (n - 1), and the best run as the paper reports it: chosen
    by the test part, so too good by about the spread.
    """
    confusion = _added(tables)
    if len({table.n for table in tables}) > 1:
        raise ValueError("runs to average must be on the same photos; their numbers differ")
    key = (tables[0].model, tables[0].dataset, len(confusion.classes))
    mean, _ = PUBLISHED_OVER_SEEDS.get(key, (None, None))
    best = max(table["accuracy"] for table in tables)
    return replace(
        tables[0],
        protocol=f"{tables[0].protocol}, {len(tables)} seeds",
        scores=(
            _mean("accuracy", tables, mean),
            Score("accuracy, best seed", best, "%", PUBLISHED_RECOGNITION.get(key)),
            _mean("class mean", tables),
        ),
        seed=None,
        confusion=confusion,
    )


def accuracy_by_yaw(
    probabilities: ArrayLike | Tensor,
    labels: Sequence[str],
    classes: Sequence[str],
    yaw: ArrayLike | Tensor,
    thresholds: Sequence[int] = (10, 20, 30, 40),
    dataset: str = "rafdb",
    model: str = "",
    seed: int | None = None,
) -> ResultTable:
    """Accuracy of all photos, and of those turned to either side by a threshold or more (Table 8).

    The paper prints ">"; a row here holds its threshold, as the rows are sums of the pose classes
    [0, 10), [10, 20) ... of Table 1. A row without photos has no value.

    Args:
        probabilities, labels, classes: as for `expression_recognition`.
        yaw: (N,) degrees, either sign; NaN, where it is unknown, counts under "all" only.
        thresholds: degrees, rising from above 0.
    """
    truth, said = _answers(probabilities, labels, classes)
    turned = np.abs(_plain(yaw))
    if turned.shape != truth.shape or np.isinf(turned).any():
        raise ValueError(f"yaw must be ({len(truth)},) finite degrees, got shape {turned.shape}")
    if any(low >= high for low, high in pairwise((0, *thresholds))):
        raise ValueError(f"thresholds must rise from above 0, got {list(thresholds)}")
    published = PUBLISHED_BY_YAW.get((model, dataset), {})
    scores = []
    for threshold in (0, *thresholds):
        rows = turned >= threshold if threshold else np.ones_like(turned, dtype=bool)
        right, n = int((truth == said)[rows].sum()), int(rows.sum())
        metric = f"yaw ≥ {threshold}°" if threshold else "all"
        value = 100 * right / n if n else None
        scores.append(Score(metric, value, "%", published.get(threshold), n=n))
    return ResultTable(
        "expression recognition by yaw", dataset, tuple(scores), model, len(truth), seed
    )


def _answers(
    probabilities: ArrayLike | Tensor, labels: Sequence[str], classes: Sequence[str]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """True and said class numbers, both (N,)."""
    scores = _plain(probabilities)
    if scores.ndim != 2 or not len(scores) or scores.shape[1] != len(classes):
        raise ValueError(f"probabilities must be (N, {len(classes)}), got shape {scores.shape}")
    if len(scores) != len(labels):
        raise ValueError(f"{len(scores)} probabilities, but {len(labels)} labels")
    if np.isnan(scores).any():
        raise ValueError("probabilities hold NaN")
    return class_numbers(labels, classes), scores.argmax(axis=1).astype(np.int64)


def _plain(values: ArrayLike | Tensor) -> NDArray[np.float64]:
    array = values.detach().cpu().double().numpy() if isinstance(values, Tensor) else values
    return np.asarray(array, dtype=np.float64)


def _added(tables: Sequence[ResultTable]) -> Confusion:
    """The answers of all tables together; ValueError unless they are of one kind."""
    if len(tables) < 2:
        raise ValueError(f"two tables or more are needed, got {len(tables)}")
    first = tables[0].confusion
    kinds = {(t.protocol, t.dataset, t.model, t.confusion and t.confusion.classes) for t in tables}
    if first is None or len(kinds) > 1:
        raise ValueError(
            "tables to average must agree in protocol, data set, model and classes of a confusion"
        )
    counts = np.sum([t.confusion.counts for t in tables if t.confusion], axis=0)
    return Confusion(first.classes, tuple(tuple(map(int, row)) for row in counts))


def _mean(metric: str, tables: Sequence[ResultTable], published: float | None = None) -> Score:
    values = [table[metric] for table in tables]
    return Score(metric, statistics.mean(values), "%", published, statistics.stdev(values))
