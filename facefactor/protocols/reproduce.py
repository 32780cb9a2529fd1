"""Our figures beside those of a method's paper: one line for each row that it publishes."""

from __future__ import annotations

import logging
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

from facefactor.checkpoints import packaged_weights, read_header, weights_file
from facefactor.data.readers import READERS
from facefactor.engines import do_all
from facefactor.errors import FaceFactorError
from facefactor.evaluation.tables import ResultTable, Score
from facefactor.outcomes import Progress
from facefactor.protocols.kept import Kept, Run, measure
from facefactor.protocols.published import PAPERS, Answer, Extra, Row
from facefactor.protocols.published.data_sets import DATA, MORPHABLE
from facefactor.protocols.subject import model_title

# Beyond this share of the paper's photos more or fewer, figures are not of the same thing.
_OTHER_PHOTOS = 0.05

_Outcome = TypeVar("_Outcome")

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Weights:
    """A weights file under test."""

    model: str  # as the user names it
    title: str  # what tables call it
    sha256: str


@dataclass(frozen=True)
class Line:
    """A row of the paper, and what was measured for it, or why nothing was."""

    row: Row
    ours: float | None = None
    spread: float | None = None  # over weights where there are several, else over folds
    n: int | None = None
    seed: int | None = None
    split_hash: str | None = None
    instruments: tuple[str, ...] = ()
    weights: tuple[str, ...] = ()  # twelve hex digits of each
    comparable: bool = False
    note: str = ""

    @property
    def difference(self) -> float | None:
        """Ours less the paper's; None where the two are not of the same thing."""
        return self.ours - self.row.value if self.comparable and self.ours is not None else None

    def to_dict(self) -> dict[str, Any]:
        """Plain types, for JSON."""
        return {
            "table": self.row.table,
            "row": self.row.name,
            "unit": self.row.unit,
            "paper": self.row.value,
            "ours": self.ours,
            "difference": self.difference,
            "spread": self.spread,
            "n": self.n,
            "seed": self.seed,
            "split_hash": self.split_hash,
            "instruments": list(self.instruments),
            "weights": list(self.weights),
            "note": self.note,
        }


@dataclass(frozen=True)
class Reproduction:
    """A paper's rows with ours, and all that was measured for them."""

    method: str
    title: str
    weights: tuple[Weights, ...]
    lines: tuple[Line, ...]
    runs: Mapping[Run, Kept]
    failed: Mapping[Run, str]

    def to_dict(self) -> dict[str, Any]:
        """Plain types, for JSON."""
        return {
            "method": self.method,
            "paper": self.title,
            "weights": [vars(weights) for weights in self.weights],
            "rows": [line.to_dict() for line in self.lines],
            "tables": [table.to_dict() for kept in self.runs.values() for table in kept.tables],
            "failed": {str(run): reason for run, reason in self.failed.items()},
        }


def plan_papers(
    methods: Sequence[str],
    folders: Mapping[str, Path],
    models: Sequence[str] = (),
    morphable: Path | None = None,
    seed: int = 0,
) -> list[PaperPlan]:
    """What answers the rows of papers that the data sets named can answer.

    Args:
        methods: keys of `PAPERS`.
        folders: reader -> folder.
        models: weights of the one method or of its variants; several of one variant are taken for
            runs that differ in the seed of training. None: those that come with the package.

    Raises:
        FaceFactorError: an unknown method or reader, or weights of another method.
    """
    check_readers(folders)
    plans = []
    for method in methods:
        if method not in PAPERS:
            raise FaceFactorError(f"no paper of {method!r}; there are {', '.join(PAPERS)}")
        weights = [_weights(model, method) for model in models or _packaged(method)]
        plans.append(PaperPlan(method, weights, folders, morphable, seed))
    return plans


def measure_all(
    runs: Sequence[Run],
    seed: int,
    cache: Path,
    fresh: bool = False,
    progress: Progress | None = None,
    workers: int | None = 1,
) -> tuple[dict[Run, Kept], dict[Run, str]]:
    """What each run gave, and why others gave nothing: one that fails does not end the rest.

    What a run gave is kept in `cache`/results, so that a call that was cut off goes on.

    Args:
        fresh: measure anew what is kept.
        progress: called with (runs done, runs).
        workers: see `engines.do_all`; each takes up to 3 GB. Speed is measured when all else is
            done, here and alone.
    """
    kept: dict[Run, Kept] = {}
    failed: dict[Run, str] = {}
    measured = _Measured(seed, cache, fresh)
    alone = [run for run in runs if run.protocol == "speed"]
    together = [run for run in runs if run not in alone]
    if progress is not None:
        progress(0, len(runs))
    for run, outcome in chain(do_all(measured, together, workers), map(measured, alone)):
        if isinstance(outcome, Kept):
            kept[run] = outcome
        else:
            failed[run] = outcome
        done = len(kept) + len(failed)
        told = f"{outcome.seconds:.0f} s" if isinstance(outcome, Kept) else outcome
        logger.info("%d of %d, %s: %s", done, len(runs), run, told)
        if progress is not None:
            progress(done, len(runs))
    return of_runs(kept, runs), of_runs(failed, runs)


def of_runs(found: Mapping[Run, _Outcome], runs: Sequence[Run]) -> dict[Run, _Outcome]:
    """What some of the runs gave, in their order: processes end in any other."""
    return {run: found[run] for run in runs if run in found}


@dataclass(frozen=True)
class _Measured:
    """Called with a run: the run, and what it gave or why it gave nothing. Goes to processes."""

    seed: int
    cache: Path
    fresh: bool

    def __call__(self, run: Run) -> tuple[Run, Kept | str]:
        try:
            return run, measure(run, self.seed, self.cache, self.fresh)
        except (FaceFactorError, ValueError) as error:  # evaluation tells of too few faces so
            return run, str(error)


def check_readers(folders: Mapping[str, Path]) -> None:
    """FaceFactorError for a data set that nothing reads."""
    for name in folders:
        if name != "poses" and name not in READERS:
            raise FaceFactorError(f"no reader {name!r}; there are poses, {', '.join(READERS)}")


@dataclass(frozen=True)
class PaperPlan:
    """Which runs answer which rows of a paper."""

    method: str
    weights: Sequence[Weights]
    folders: Mapping[str, Path]
    morphable: Path | None
    seed: int

    def runs(self) -> list[Run]:
        paper = PAPERS[self.method]
        wanted = [
            self._run(weights.model, answers[0])
            for row in paper.rows
            if (answers := self._at_hand(row))
            for weights in self._of(row)
        ]
        mine = [weights for weights in self.weights if weights.title == self.method]
        wanted += [
            run for extra in paper.extras for each in mine for run in self._more(each, extra)
        ]
        return list(dict.fromkeys(wanted))

    def reproduction(self, kept: Mapping[Run, Kept], failed: Mapping[Run, str]) -> Reproduction:
        """The paper's rows, of what was measured for them or for others too."""
        own, paper = self.runs(), PAPERS[self.method]
        kept, failed = of_runs(kept, own), of_runs(failed, own)
        lines = tuple(self.line(row, kept, failed) for row in paper.rows)
        return Reproduction(self.method, paper.title, tuple(self.weights), lines, kept, failed)

    def line(self, row: Row, runs: Mapping[Run, Kept], failed: Mapping[Run, str]) -> Line:
        """What the runs say to a row."""
        if not row.answers:
            return Line(row, note=row.reason)
        weights, answers = self._of(row), self._at_hand(row)
        if not weights:
            return Line(row, note=f"needs weights of {row.of}; name them with --model FILE")
        if not answers:
            return Line(row, note=_to_get(row.answers[0]))
        found = []
        for each in weights:
            run = self._run(each.model, answers[0])
            if run in failed:
                return Line(row, note=f"not measured: {failed[run]}")
            same_run = [one for one in answers if self._run(each.model, one) == run]
            found += [(each, *hit) for one in same_run if (hit := _find(one, each, runs[run]))][:1]
        if not found:
            return Line(row, note=f"{answers[0].protocol} gave no such figure for these weights")
        return _line(row, found, self.seed)

    def _of(self, row: Row) -> list[Weights]:
        return [weights for weights in self.weights if weights.title == row.of]

    def _at_hand(self, row: Row) -> list[Answer]:
        """Answers whose data the user has named."""
        return [
            answer
            for answer in row.answers
            if (answer.reader in self.folders if answer.reader else self.morphable)
        ]

    def _run(self, model: str, answer: Answer) -> Run:
        if answer.reader is None:
            return Run(model, answer.protocol, morphable=self.morphable)
        return Run(model, answer.protocol, self._named((answer.reader, *answer.beside)))

    def _more(self, weights: Weights, extra: Extra) -> list[Run]:
        if not extra.readers:
            needed = (self.morphable,) if self.morphable else ()
            return [Run(weights.model, extra.protocol, morphable=file) for file in needed]
        named = [name for name in extra.readers if name in self.folders]
        return [
            Run(weights.model, extra.protocol, self._named((name, *extra.beside))) for name in named
        ]

    def _named(self, readers: Sequence[str]) -> tuple[tuple[str, Path], ...]:
        """In the user's order, so that rows of several data sets may share one run."""
        return tuple((name, self.folders[name]) for name in self.folders if name in readers)


def _find(answer: Answer, weights: Weights, kept: Kept) -> tuple[Answer, ResultTable, Score] | None:
    """The score that an answer means, of the first table that it fits."""
    model = answer.model.format(model=weights.title)
    for table in kept.tables:
        fits = (
            fnmatchcase(table.protocol, answer.table)
            and fnmatchcase(table.dataset, answer.dataset)
            and fnmatchcase(table.model, model)
        )
        for score in table.scores if fits else ():
            if score.metric == answer.metric and score.value is not None:
                return answer, table, score
    return None


def _line(row: Row, found: Sequence[tuple[Weights, Answer, ResultTable, Score]], seed: int) -> Line:
    """Ours, of one or several weights that differ in the seed of training."""
    values = [score.value for *_, score in found if score.value is not None]
    _, answer, table, score = found[0]
    n = table.n if score.n is None else score.n
    other = row.n is not None and n is not None and abs(n - row.n) > _OTHER_PHOTOS * row.n
    notes = [answer.differs] if answer.differs else []
    if other:
        notes.append(f"the paper has {row.n:,} photos here")
    if "seeds" in row.name or len(values) > 1:
        notes.append(f"{len(values)} {'seeds' if len(values) > 1 else 'seed'} of training")
    return Line(
        row,
        ours=max(values) if row.over == "best" else statistics.mean(values),
        spread=statistics.stdev(values) if len(values) > 1 else score.spread,
        n=n,
        seed=seed,
        split_hash=table.split_hash,
        instruments=table.instruments,
        weights=tuple(weights.sha256[:12] for weights, *_ in found),
        comparable=not answer.differs and not other,
        note="; ".join(notes),
    )


def _to_get(answer: Answer) -> str:
    if answer.reader is None:
        return f"get {MORPHABLE}"
    return f"get {DATA[answer.reader].to_get(answer.reader)}"


def _packaged(method: str) -> list[str]:
    return [file.stem for file in packaged_weights() if file.stem == method]


def _weights(model: str, method: str) -> Weights:
    header = read_header(weights_file(model))
    if header.method != method:
        raise FaceFactorError(f"{model}: weights of {header.method}, not of {method}")
    return Weights(model, model_title(header), header.sha256)
