"""What codes give away of an attribute: probes of frozen codes, beside chance.

A code is meant to hold one factor. What a linear probe reads of another one lies open in it; what
only a small network reads is still there, in another form (IPD-FER's orthogonality loss, Eq. 3,
removes the first at most).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from facefactor.evaluation.tables import Confusion, Score, class_numbers, count_confusion

Probe = Literal["linear", "MLP"]
PROBES: tuple[Probe, ...] = ("linear", "MLP")

_HIDDEN = 128  # units of the MLP's one hidden layer
_STEPS, _BATCH = 1000, 256
_CHECK_EVERY, _PATIENCE = 25, 200  # steps
_RATE, _DECAY = 3e-3, 0.01  # of AdamW


def probe_codes(
    train_codes: Tensor,
    train_labels: Sequence[str],
    test_codes: Tensor,
    test_labels: Sequence[str],
    probe: Probe,
    seed: int = 0,
) -> Confusion:
    """Train a classifier of labels on codes, test it on others.

    Each code value is brought to mean 0 and deviation 1 by the training part. Batches are drawn
    with the classes even, so that a rare class counts as much as a frequent one. The number of
    steps, up to 1,000, is the one with the least loss on a tenth of the training part; the probe is
    then trained anew on all of it.

    Args:
        train_codes, test_codes: (N, D) and (M, D), any real numbers.
        train_labels, test_labels: N and M names.
        probe: "linear": softmax regression. "MLP": one hidden layer of 128 units with ReLU.
        seed: of the initial weights, the batches and the tenth. The caller's random state is kept.

    Raises:
        ValueError: shapes that do not fit, NaN, fewer than two classes, or a label that only the
            test part has.
    """
    _check(train_codes, train_labels, "training")
    _check(test_codes, test_labels, "test")
    if train_codes.shape[1] != test_codes.shape[1]:
        raise ValueError(
            f"training codes have {train_codes.shape[1]} values, test codes {test_codes.shape[1]}"
        )
    classes = tuple(sorted(set(train_labels)))
    if len(classes) < 2:
        raise ValueError(f"a probe needs two classes or more, got {list(classes)}")
    numbers = class_numbers(train_labels, classes, of="training labels")
    truth = class_numbers(test_labels, classes, of="training labels")
    # A tensor made in inference mode cannot be trained on; and the caller may be in it.
    with torch.inference_mode(False), torch.enable_grad(), torch.random.fork_rng(devices=[]):
        train, test = _standardise(train_codes.clone().float(), test_codes.clone().float())
        targets = torch.from_numpy(numbers)
        torch.manual_seed(seed)
        order = torch.randperm(len(train))
        chosen, fitted = order[: max(1, len(order) // 10)], order[max(1, len(order) // 10) :]
        check = train[chosen], targets[chosen]
        _, steps = _fit(train[fitted], targets[fitted], len(classes), probe, seed, _STEPS, check)
        network, _ = _fit(train, targets, len(classes), probe, seed, steps)
        said = network(test).argmax(dim=1).numpy()
    return count_confusion(classes, truth, said)


def leakage_scores(
    attribute: str,
    codes: Mapping[str, tuple[Tensor, Tensor]],
    train_labels: Sequence[str],
    test_labels: Sequence[str],
    seed: int = 0,
) -> tuple[Score, ...]:
    """How well each probe reads an attribute from each code: mean accuracy of its classes, in %.

    A constant answer and a blind guess both get 100 / K, the score "<attribute>, chance".

    Args:
        codes: name -> (N, D) training codes and (M, D) test codes.
        train_labels, test_labels: N and M names. Test photos whose label no training photo has are
            left out, as no probe could answer them.
    """
    kept = [place for place, label in enumerate(test_labels) if label in set(train_labels)]
    labels = [test_labels[place] for place in kept]
    scores = [
        Score(
            f"{attribute} from {name}, {probe}",
            100 * probe_codes(train, train_labels, test[kept], labels, probe, seed).class_mean,
            "%",
            n=len(labels),
        )
        for name, (train, test) in codes.items()
        for probe in PROBES
    ]
    chance = Score(f"{attribute}, chance", 100 / len(set(labels)), "%", n=len(labels))
    return (*scores, chance)


def _fit(
    codes: Tensor,
    targets: Tensor,
    classes: int,
    probe: Probe,
    seed: int,
    steps: int,
    check: tuple[Tensor, Tensor] | None = None,
) -> tuple[nn.Module, int]:
    """A probe after `steps`, and after how many its loss on `check` was least (or `steps`)."""
    torch.manual_seed(seed)
    network = _network(codes.shape[1], classes, probe)
    adam = torch.optim.AdamW(network.parameters(), lr=_RATE, weight_decay=_DECAY)
    count = torch.bincount(targets, minlength=classes)
    even = (1 / count)[targets]  # (N,), the chance of each photo in a draw
    least, best = math.inf, 0
    for step in range(1, steps + 1):
        batch = torch.multinomial(even, _BATCH, replacement=True)
        loss = F.cross_entropy(network(codes[batch]), targets[batch])
        adam.zero_grad()
        torch.autograd.backward(loss)
        adam.step()
        if check is not None and step % _CHECK_EVERY == 0:
            found = _even_loss(network, *check)
            if found < least:
                least, best = found, step
            if step - best >= _PATIENCE:
                break
    return network, best or steps


@torch.no_grad()
def _even_loss(network: nn.Module, codes: Tensor, targets: Tensor) -> float:
    """Cross-entropy, averaged within each class that is there and then over classes."""
    losses = F.cross_entropy(network(codes), targets, reduction="none")
    return float(torch.stack([losses[targets == k].mean() for k in torch.unique(targets)]).mean())


def _network(size: int, classes: int, probe: Probe) -> nn.Module:
    if probe == "linear":
        return nn.Linear(size, classes)
    return nn.Sequential(nn.Linear(size, _HIDDEN), nn.ReLU(), nn.Linear(_HIDDEN, classes))


def _standardise(train: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    """Both by the mean and deviation of `train`; values that never vary there become 0."""
    mean, deviation = train.mean(dim=0), train.std(dim=0, correction=0)
    varies = deviation > 1e-8 * train.abs().max()
    scale = torch.where(varies, 1 / deviation.clamp_min(1e-30), 0)
    return (train - mean) * scale, (other - mean) * scale


def _check(codes: Tensor, labels: Sequence[str], part: str) -> None:
    if codes.ndim != 2 or not codes.numel():
        raise ValueError(f"{part} codes must be (N, D), got shape {tuple(codes.shape)}")
    if len(codes) != len(labels):
        raise ValueError(f"{len(codes)} {part} codes, but {len(labels)} labels")
    if not codes.isfinite().all():
        raise ValueError(f"{part} codes hold NaN or infinity")
