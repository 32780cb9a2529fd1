"""Linear models trained on frozen codes: how much of an attribute the codes give away.

FaceCycle, Sec. 3.4: expression classes (Table 1) and head pose (Table 2).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn
from torch.nn import functional as F

from facefactor.evaluation.tables import ResultTable, Score, class_numbers, count_confusion
from facefactor.factors import EXPRESSIONS

Recipe = Literal["published", "standardised"]

# % accuracy on the test set, Table 1; 28,709 / 3,589 and 12,271 / 3,068 photos.
PUBLISHED_EXPRESSION = {
    ("facecycle", "fer2013"): 48.76,
    ("facecycle", "rafdb"): 71.01,
    ("moco", "fer2013"): 47.24,
    ("moco", "rafdb"): 68.32,
}
# Mean absolute error in degrees, 300W-LP to AFLW2000, Table 2.
PUBLISHED_HEAD_POSE = {
    ("facecycle", "aflw2000"): {"yaw": 11.70, "pitch": 12.76, "roll": 12.94, "mean": 12.47},
    ("moco", "aflw2000"): {"yaw": 28.49, "pitch": 16.29, "roll": 15.55, "mean": 20.11},
}

_EPOCHS, _DROP_EVERY, _DROP_BY = 300, 80, 0.1  # of both published probes, as far as they say
_STRENGTHS = tuple(10.0**power for power in (-4, -3.5, -3, -2.5, -2, -1.5, -1, 0, 1))


def expression_probe(
    train_codes: ArrayLike | Tensor,
    train_labels: Sequence[str],
    test_codes: ArrayLike | Tensor,
    test_labels: Sequence[str],
    dataset: str,
    recipe: Recipe = "published",
    seed: int = 0,
    model: str = "",
) -> ResultTable:
    """Train a linear classifier of expressions on codes, test it on others.

    Args:
        train_codes, test_codes: (N, D) and (M, D), any real numbers.
        train_labels, test_labels: names from EXPRESSIONS, N and M of them.
        recipe: "published": SGD on the raw codes, learning rate 30, times 0.1 every 80 of 300
            epochs, batch 256, momentum 0.9, weight decay 1e-4 (the last two from the released
            code). A learning rate of 30 suits codes of one scale only, so its figure mixes scale
            with content. "standardised": each code value to mean 0, deviation 1 by the training
            part; softmax regression solved to the end; the strength of its L2 penalty chosen by the
            likelihood of a tenth of the training part; of the seed only that tenth depends.

    Returns:
        Accuracy and mean recall over classes in %, and the confusion of classes.

    Raises:
        ValueError: shapes that do not fit, NaN, a class only in the test labels, or codes on
            whose scale the published recipe diverges.
    """
    train, test = _codes(train_codes, "train_codes"), _codes(test_codes, "test_codes")
    classes = tuple(name for name in EXPRESSIONS if name in set(train_labels))
    _check_match(train, test, train_labels, test_labels)
    targets = class_numbers(train_labels, classes, of="training labels")
    truth = class_numbers(test_labels, classes, of="training labels")
    fit = _published if recipe == "published" else _standardised
    said = fit(train, targets, test, len(classes), seed)

    confusion = count_confusion(classes, truth, said)
    published = PUBLISHED_EXPRESSION.get((model, dataset)) if recipe == "published" else None
    return ResultTable(
        protocol=f"expression probe, {recipe} recipe",
        dataset=dataset,
        scores=confusion.scores(published),
        model=model,
        n=len(truth),
        seed=seed,
        confusion=confusion,
    )


def head_pose_probe(
    train_codes: ArrayLike | Tensor,
    train_pose: ArrayLike,
    test_codes: ArrayLike | Tensor,
    test_pose: ArrayLike,
    dataset: str,
    seed: int = 0,
    model: str = "",
) -> ResultTable:
    """Train a linear regression from codes to yaw, pitch and roll, test it on others.

    Published: SGD, 300 epochs, batch 16. Learning rate and loss are not; here the squared error in
    degrees, and 0.5 / D for standardised codes of size D, times 0.1 every 80 epochs, which stays
    stable whatever the codes' correlation.

    Args:
        train_codes, test_codes: (N, D) and (M, D).
        train_pose, test_pose: (N, 3) and (M, 3): yaw, pitch, roll in degrees.

    Returns:
        Mean absolute error of each angle and of all three, in degrees.
    """
    train, test = _standardise(_codes(train_codes, "train_codes"), _codes(test_codes, "test_codes"))
    target, truth = (np.asarray(pose, dtype=np.float32) for pose in (train_pose, test_pose))
    _check_match(train, test, target, truth)
    if target.shape[1:] != (3,) or truth.shape[1:] != (3,):
        raise ValueError(f"poses must be (N, 3) in degrees, got {target.shape}, {truth.shape}")
    mean = target.mean(axis=0)
    weight = _regress(torch.from_numpy(train), torch.from_numpy(target - mean), seed)
    error = np.abs(test @ weight.numpy() + mean - truth).mean(axis=0)  # (3,)

    published = PUBLISHED_HEAD_POSE.get((model, dataset), {})
    angles = {**dict(zip(("yaw", "pitch", "roll"), error, strict=True)), "mean": error.mean()}
    return ResultTable(
        protocol="head pose probe",
        dataset=dataset,
        scores=tuple(
            Score(name, float(value), "°", published.get(name)) for name, value in angles.items()
        ),
        model=model,
        n=len(truth),
        seed=seed,
    )


def _published(
    train: NDArray[np.float32],
    targets: NDArray[np.int64],
    test: NDArray[np.float32],
    classes: int,
    seed: int,
) -> NDArray[np.int64]:
    random = torch.Generator().manual_seed(seed)
    with torch.inference_mode(False), torch.enable_grad():  # the caller may be in neither
        codes, labels = torch.from_numpy(train), torch.from_numpy(targets)
        linear = nn.Linear(codes.shape[1], classes)
        nn.init.kaiming_uniform_(linear.weight, generator=random)
        nn.init.zeros_(linear.bias)
        sgd = torch.optim.SGD(linear.parameters(), lr=30, momentum=0.9, weight_decay=1e-4)
        schedule = torch.optim.lr_scheduler.StepLR(sgd, _DROP_EVERY, _DROP_BY)
        for _ in range(_EPOCHS):
            for batch in _batches(len(codes), 256, random):
                sgd.zero_grad()
                loss = F.cross_entropy(linear(codes.index_select(0, batch)), labels[batch])
                torch.autograd.backward(loss)
                sgd.step()
            schedule.step()
    if not torch.isfinite(linear.weight).all():
        size = float(np.sqrt((train.astype(np.float64) ** 2).mean()))
        raise ValueError(
            f"the published probe (learning rate 30) diverged on codes of rms {size:.3g}; it is "
            'meant for codes in [-1, 1]; use recipe="standardised"'
        )
    with torch.inference_mode():
        said: NDArray[np.int64] = linear(torch.from_numpy(test)).argmax(dim=1).numpy()
    return said


def _standardised(
    train: NDArray[np.float32],
    targets: NDArray[np.int64],
    test: NDArray[np.float32],
    classes: int,
    seed: int,
) -> NDArray[np.int64]:
    fitted, held_out = _hold_out(targets, share=0.1, seed=seed)
    part, rest = _standardise(train[fitted], train[held_out])
    # From the strongest penalty to the weakest, each solution the start of the next.
    classifier = LogisticRegression(max_iter=2000, warm_start=True)
    best, least = _STRENGTHS[0], math.inf
    for strength in _STRENGTHS:
        classifier.set_params(C=strength).fit(part, targets[fitted])
        known = np.searchsorted(classifier.classes_, targets[held_out])
        likelihood = classifier.predict_proba(rest)[np.arange(len(known)), known]
        # not the accuracy: on few photos it is too coarse to choose by
        loss = -np.log(np.maximum(likelihood, 1e-12)).mean()
        if loss > 1.02 * least:  # past the best; weaker penalties only take longer
            break
        if loss < least:
            best, least = strength, loss
    whole, test = _standardise(train, test)
    final = LogisticRegression(C=best, max_iter=2000).fit(whole, targets)
    return np.asarray(final.predict(test), dtype=np.int64)


def _hold_out(
    targets: NDArray[np.int64], share: float, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Positions to fit on and to choose by: at least one of each class to fit on."""
    random = np.random.default_rng(seed)
    held_out = []
    for label in np.unique(targets):
        of_class = random.permutation(np.flatnonzero(targets == label))
        held_out.append(of_class[: min(round(share * len(of_class)), len(of_class) - 1)])
    chosen = np.sort(np.concatenate(held_out))
    if not len(chosen):
        raise ValueError(f"{len(targets)} training codes are too few to choose a penalty by")
    return np.setdiff1d(np.arange(len(targets)), chosen), chosen


def _regress(codes: Tensor, target: Tensor, seed: int) -> Tensor:
    """(D, 3) weights that predict the centred target (N, 3) from standardised codes (N, D)."""
    random = torch.Generator().manual_seed(seed)
    weight = torch.zeros(codes.shape[1], 3)
    for epoch in range(_EPOCHS):
        rate = 0.5 / codes.shape[1] * _DROP_BY ** (epoch // _DROP_EVERY)
        for batch in _batches(len(codes), 16, random):
            error = codes[batch] @ weight - target[batch]
            weight -= rate / len(batch) * codes[batch].T @ error  # half the squared error's slope
    return weight


def _batches(count: int, size: int, random: torch.Generator) -> Iterator[Tensor]:
    """All positions once, in random order, `size` at a time; the last batch may be smaller."""
    order = torch.randperm(count, generator=random)
    for start in range(0, count, size):
        yield order[start : start + size]


def _standardise(
    train: NDArray[np.float32], other: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Both by the mean and deviation of `train`; values that never vary there become 0."""
    mean, deviation = train.mean(axis=0), train.std(axis=0)
    scale = np.where(deviation > 1e-8 * np.abs(train).max(), 1 / np.maximum(deviation, 1e-30), 0)
    scale = scale.astype(np.float32)
    return (train - mean) * scale, (other - mean) * scale


def _codes(codes: ArrayLike | Tensor, name: str) -> NDArray[np.float32]:
    array = codes.detach().cpu().numpy() if isinstance(codes, Tensor) else codes
    plain = np.ascontiguousarray(array, dtype=np.float32)
    if plain.ndim != 2 or not plain.size:
        raise ValueError(f"{name} must be (N, D), got shape {plain.shape}")
    if not np.isfinite(plain).all():
        raise ValueError(f"{name} holds NaN or infinity")
    return plain


def _check_match(
    train: NDArray[np.float32],
    test: NDArray[np.float32],
    train_labels: Sequence[object] | NDArray[np.float32],
    test_labels: Sequence[object] | NDArray[np.float32],
) -> None:
    if train.shape[1] != test.shape[1]:
        raise ValueError(f"training codes have {train.shape[1]} values, test codes {test.shape[1]}")
    for codes, labels in ((train, train_labels), (test, test_labels)):
        if len(codes) != len(labels):
            raise ValueError(f"{len(codes)} codes, but {len(labels)} labels")
