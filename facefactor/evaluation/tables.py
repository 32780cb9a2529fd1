"""What every protocol returns: numbers together with the setting they were measured in."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facefactor.files import atomic_path


@dataclass(frozen=True)
class Score:
    """One number of a results table, next to what the paper reports for the same setting."""

    metric: str
    value: float | None  # None: there were no samples to measure it on
    unit: str
    published: float | None = None
    spread: float | None = None  # standard deviation over folds or seeds
    n: int | None = None  # samples behind it, where these are not all of the table's


@dataclass(frozen=True)
class Confusion:
    """How often each true class (row) was taken for each class (column)."""

    classes: tuple[str, ...]  # K
    counts: tuple[tuple[int, ...], ...]  # (K, K)

    @property
    def accuracy(self) -> float:
        """The share of right answers, in [0, 1]."""
        counts = np.array(self.counts)
        return float(counts.trace() / counts.sum())

    @property
    def class_mean(self) -> float:
        """Mean over classes of the share of right answers, in [0, 1]; absent classes left out."""
        counts = np.array(self.counts)
        photos = counts.sum(axis=1)
        present = photos > 0
        return float((counts.diagonal()[present] / photos[present]).mean())

    def scores(self, published: float | None = None) -> tuple[Score, Score]:
        """Accuracy and class mean in %; `published` is the paper's accuracy."""
        return (
            Score("accuracy", 100 * self.accuracy, "%", published),
            Score("class mean", 100 * self.class_mean, "%"),
        )

    def to_markdown(self) -> str:
        rows = [["true \\ said", *self.classes]]
        rows += [
            [name, *map(str, row)] for name, row in zip(self.classes, self.counts, strict=True)
        ]
        return _markdown(rows)


def class_numbers(
    labels: Sequence[str], classes: Sequence[str], of: str = "classes"
) -> NDArray[np.int64]:
    """The place of each label in `classes`, (N,); ValueError for one that is not among them."""
    place = {name: number for number, name in enumerate(classes)}
    for label in labels:
        if label not in place:
            raise ValueError(f"{label!r} is not among the {of} {', '.join(classes)}")
    return np.array([place[label] for label in labels], dtype=np.int64)


def count_confusion(
    classes: Sequence[str], truth: NDArray[np.int64], said: NDArray[np.int64]
) -> Confusion:
    """Count answers: true and said class numbers, both (N,), N > 0."""
    counts = np.zeros((len(classes), len(classes)), dtype=np.int64)
    np.add.at(counts, (truth, said), 1)
    return Confusion(tuple(classes), tuple(tuple(map(int, row)) for row in counts))


@dataclass(frozen=True)
class ResultTable:
    """The scores of one model under one protocol on one data set, and how to get them again."""

    protocol: str
    dataset: str
    scores: tuple[Score, ...]
    model: str = ""
    n: int | None = None  # test samples (photos, or pairs)
    seed: int | None = None
    split_hash: str | None = None  # of train and test records, `data.records.split_hash`
    instruments: tuple[str, ...] = ()  # frozen networks that took part in the measurement
    command: str | None = None
    confusion: Confusion | None = None

    def __getitem__(self, metric: str) -> float:
        for score in self.scores:
            if score.metric == metric:
                if score.value is None:
                    raise ValueError(f"{metric!r} has no value: there were no samples")
                return score.value
        known = ", ".join(score.metric for score in self.scores)
        raise KeyError(f"no {metric!r} in this table; it has {known}")

    def to_dict(self) -> dict[str, Any]:
        """All of it in plain types, for JSON."""
        return asdict(self)

    def to_markdown(self) -> str:
        """A line that says the setting, then the scores: paper, ours, difference, their own n."""
        rows = [["metric", "paper", "ours", "difference"]]
        for score in self.scores:
            published, ours, difference = "–", "no samples", "–"
            if score.published is not None:
                published = _number(score.published, score.unit)
            if score.value is not None:
                ours = _number(score.value, score.unit, score.spread)
            if score.value is not None and score.published is not None:
                difference = f"{score.value - score.published:+.2f}"
            rows.append([score.metric, published, ours, difference])
        if any(score.n is not None for score in self.scores):
            for row, n in zip(rows, ["n", *(score.n for score in self.scores)], strict=True):
                row.append("–" if n is None else n if isinstance(n, str) else f"{n:,}")
        return f"{self._setting()}\n\n{_markdown(rows)}"

    def _setting(self) -> str:
        facts = [
            f"**{self.protocol}** on **{self.dataset}**",
            f"model {self.model}" if self.model else "",
            f"n = {self.n:,}" if self.n is not None else "",
            f"seed {self.seed}" if self.seed is not None else "",
            f"split {self.split_hash}" if self.split_hash else "",
            f"instruments: {', '.join(self.instruments)}" if self.instruments else "",
            f"`{self.command}`" if self.command else "",
        ]
        return "; ".join(fact for fact in facts if fact)


def write_json(path: Path | str, tables: Sequence[ResultTable]) -> None:
    """The tables as a JSON list: whole, or not there (WriteError names the file)."""
    text = json.dumps([table.to_dict() for table in tables], indent=2, ensure_ascii=False)
    with atomic_path(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def _number(value: float, unit: str, spread: float | None = None) -> str:
    around = f" ± {spread:.2f}" if spread is not None else ""
    gap = "" if unit in ("", "°") else " "
    return f"{value:.2f}{around}{gap}{unit}"


def _markdown(rows: Sequence[Sequence[str]]) -> str:
    """The first row is the head; the first column is text, the others are numbers."""
    head, *body = rows
    rule = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, rule, *body])
