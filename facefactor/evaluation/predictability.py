"""How well a linear classifier tells attributes from codes: which factor lies open in which code.

Neuro-Tensorial, Tables 2 and 3: a linear support vector machine in ten folds. The matrix of codes
and attributes is the score matrix of Kumar et al. ("separated attribute predictability", ICLR
2018); what stands off its diagonal is leakage, which the paper does not report.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import balanced_accuracy_score
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from torch import Tensor

FOLDS = 10
_PENALTY = 1.0  # C; the paper prints none

# % accuracy of (model, data set, attribute from its own code). Table 2: all poses of Multi-PIE;
# Table 3: frontal photos only.
PUBLISHED = {
    ("neurotensorial", "multipie", "identity"): 83.85,
    ("neurotensorial", "multipie", "expression"): 86.07,
    ("neurotensorial", "multipie", "pose"): 95.73,
    ("neurotensorial", "multipie-frontal", "identity"): 99.33,
    ("neurotensorial", "multipie-frontal", "expression"): 78.92,
    ("neurotensorial", "multipie-frontal", "illumination"): 64.11,
}


@dataclass(frozen=True)
class Predictability:
    """How well labels were told from codes that were not learnt from; shares, not percentages."""

    accuracy: float  # mean over folds
    spread: float  # standard deviation over folds
    # Mean recall of classes, moved and scaled: 0 is what any guess without a look gets, 1 is all
    # right. Comparable between attributes, whatever their number of classes and their sizes.
    above_chance: float


def predictability(
    codes: Tensor,
    labels: Sequence[str],
    subjects: Sequence[str] | None = None,
    folds: int = FOLDS,
    seed: int = 0,
) -> Predictability:
    """Train a linear classifier on all folds but one, test it on that one, for each fold.

    Each code value is brought to mean 0 and deviation 1 by the training part; C is 1; several
    classes are told apart two by two (LIBSVM).

    Args:
        codes: (N, D), any real numbers.
        labels: N names.
        subjects: N people. Given, all codes of a person are tested in one fold, by a classifier
            that never saw the person. None: photos are dealt at random, as published.
        seed: of the dealing; all else is determined.

    Raises:
        ValueError: shapes that do not fit, NaN, fewer than two classes, or too few photos or people
            for the folds.
    """
    values = _checked(codes, labels)
    names = np.asarray(labels)
    fold = deal_folds(labels, subjects, folds, seed)
    said = np.empty_like(names)
    hits = []
    for number in range(folds):
        test = fold == number
        learnt = names[~test]
        if len(set(learnt)) < 2:
            raise ValueError(f"fold {number} leaves only {str(learnt[0])!r} to learn from")
        scaler = StandardScaler().fit(values[~test])
        known, asked = scaler.transform(values[~test]), scaler.transform(values[test])
        # Products of all with all at once: LIBSVM's linear kernel takes three times as long.
        classifier = SVC(kernel="precomputed", C=_PENALTY).fit(known @ known.T, learnt)
        said[test] = classifier.predict(asked @ known.T)
        hits.append((said[test] == names[test]).mean())
    return Predictability(
        accuracy=float(np.mean(hits)),
        spread=float(np.std(hits, ddof=1)),
        above_chance=float(balanced_accuracy_score(names, said, adjusted=True)),
    )


def deal_folds(
    labels: Sequence[str], subjects: Sequence[str] | None, folds: int, seed: int
) -> NDArray[np.int64]:
    """(N,) in which fold each photo is tested, 0 to `folds` - 1.

    Photos of a label are dealt in turn, one label after the other, so that folds are of one size
    and as alike as they can be even where a label has fewer photos than there are folds. With
    subjects it is people who are dealt, in random order.

    Raises:
        ValueError: fewer than two folds, or more folds than photos or people.
    """
    random = np.random.default_rng(seed)
    dealt = len(labels) if subjects is None else len(set(subjects))
    if not 2 <= folds <= dealt:
        what = "photos" if subjects is None else "people"
        raise ValueError(f"{dealt} {what} do not make {folds} folds")
    if subjects is None:
        order = np.lexsort((random.random(len(labels)), np.asarray(labels)))
        fold = np.empty(len(labels), np.int64)
        fold[order] = np.arange(len(labels)) % folds
        return fold
    people = sorted(set(subjects))
    fold_of = dict(zip(people, random.permutation(len(people)) % folds, strict=True))
    return np.array([fold_of[person] for person in subjects], np.int64)


def _checked(codes: Tensor, labels: Sequence[str]) -> NDArray[np.float64]:
    if codes.ndim != 2 or not codes.numel():
        raise ValueError(f"codes must be (N, D), got shape {tuple(codes.shape)}")
    if len(codes) != len(labels):
        raise ValueError(f"{len(codes)} codes, but {len(labels)} labels")
    if not codes.isfinite().all():
        raise ValueError("codes hold NaN or infinity")
    if len(set(labels)) < 2:
        raise ValueError(f"two classes or more are needed, got {sorted(set(labels))}")
    values: NDArray[np.float64] = codes.detach().cpu().double().numpy()
    return values
