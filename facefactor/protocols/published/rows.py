"""One row of a paper's table, and which score of which protocol stands beside it: plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Over = Literal["mean", "best"]

USER_STUDY = "people were asked; no code answers that"
ANOTHER = "another method, which facefactor does not have"


@dataclass(frozen=True)
class Answer:
    """Which score of a protocol's tables answers a row.

    `table`, `dataset` and `model` are patterns (`*` for anything) for the fields of `ResultTable`;
    in `model` "{model}" is what tables call the weights under test.
    """

    protocol: str  # a key of `protocols.PROTOCOLS`
    metric: str
    reader: str | None = None  # the data set that the user names; None: a morphable model is named
    table: str = "*"
    dataset: str = "*"
    model: str = "{model}"
    beside: tuple[str, ...] = ()  # data sets that the protocol is given too where they are named
    # In what the measurement departs from the paper's: it is shown, and nothing is subtracted.
    differs: str = ""


@dataclass(frozen=True)
class Row:
    """One figure that a paper prints."""

    table: str  # "Table 3, RAF-DB"
    name: str  # as the paper has it
    value: float
    unit: str = "%"
    of: str = ""  # which weights: a method, or a variant as `model_title` calls it
    answers: tuple[Answer, ...] = ()  # the first whose data are at hand is taken
    over: Over = "mean"  # of several weights that differ in the seed of training
    n: int | None = None  # test samples of the paper, where it says
    reason: str = ""  # why no code answers it; a row has answers or a reason


@dataclass(frozen=True)
class Extra:
    """A measurement without a figure in the paper, or a picture: shown below the rows."""

    protocol: str
    readers: tuple[str, ...] = ()  # each data set that is named is measured; none: morphable model
    beside: tuple[str, ...] = ()


@dataclass(frozen=True)
class Paper:
    """What a method's paper publishes in figures."""

    title: str
    rows: tuple[Row, ...]
    extras: tuple[Extra, ...] = ()


def of_others(
    table: str, values: Mapping[str, float], reason: str = ANOTHER, unit: str = "%"
) -> tuple[Row, ...]:
    """Rows of a table that no code here answers: the paper's name -> its figure."""
    return tuple(Row(table, name, value, unit, reason=reason) for name, value in values.items())
