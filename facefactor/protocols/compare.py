"""Methods side by side on the same faces: what their codes tell, what their drawings keep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from facefactor.checkpoints import read_header, weights_file
from facefactor.errors import FaceFactorError
from facefactor.evaluation.tables import ResultTable
from facefactor.factors import FactorName, ModelSpec
from facefactor.protocols.kept import Kept, Run
from facefactor.protocols.pages import Grid, Heading, Part, Text, number
from facefactor.protocols.probed import PROBED
from facefactor.protocols.redrawing import REDRAWN
from facefactor.protocols.reproduce import Weights, check_readers, of_runs
from facefactor.protocols.subject import model_title
from facefactor.protocols.wanted_edits import PHOTOGRAPHED

_DRAWN = tuple(name for name in REDRAWN if name != "lfw")  # CelebA's faces are of its kind
_NEUTRALS = ("celeba", "lfw")
COMPARED = tuple(dict.fromkeys((*PROBED, *_DRAWN, *_NEUTRALS, *PHOTOGRAPHED)))  # readers
_FLOORS = ("untrained codes", "pixels")
_ABOUT_MATRIX = (
    "Each attribute told from each code: mean accuracy of classes by a linear probe / by an MLP, "
    "in %, of faces the probes did not learn from. The code that is to hold it is marked *. "
    "Chance and the two floors, codes of the network untrained and pixels, stand at the right."
)
_ABOUT_SCALE = "The same by the MLP above chance: 0 is chance, 100 is all right."


@dataclass(frozen=True)
class Comparison:
    """What was measured of several weights files."""

    weights: tuple[Weights, ...]
    specs: Mapping[str, ModelSpec]  # as the user names the weights -> what they declare
    runs: Mapping[Run, Kept]
    failed: Mapping[Run, str]

    def to_dict(self) -> dict[str, Any]:
        """Plain types, for JSON."""
        return {
            "weights": [vars(weights) for weights in self.weights],
            "tables": [table.to_dict() for kept in self.runs.values() for table in kept.tables],
            "failed": {str(run): reason for run, reason in self.failed.items()},
        }


@dataclass(frozen=True)
class ComparisonPlan:
    """What is to be measured of several weights files."""

    weights: tuple[Weights, ...]
    specs: Mapping[str, ModelSpec]
    folders: Mapping[str, Path]
    morphable: Path | None

    def runs(self) -> list[Run]:
        return [
            run
            for model, spec in self.specs.items()
            for run in _runs(model, spec, self.folders, self.morphable)
        ]

    def comparison(self, kept: Mapping[Run, Kept], failed: Mapping[Run, str]) -> Comparison:
        """Of what was measured for it or for others too."""
        own = self.runs()
        return Comparison(self.weights, self.specs, of_runs(kept, own), of_runs(failed, own))


def plan_comparison(
    models: Sequence[str], folders: Mapping[str, Path], morphable: Path | None = None
) -> ComparisonPlan:
    """Every model by the same protocols on the same faces.

    Probes of codes, DCI and MIG on `PROBED` data sets and on rendered faces; drawings on most
    `REDRAWN` ones; expressions given to others on `PHOTOGRAPHED` ones, judged by networks that edit
    nothing; neutral faces on CelebA and LFW; identity codes on LFW's pairs; speed and size.

    Args:
        models: names of packaged weights, or files.
        folders: reader -> folder.

    Raises:
        FaceFactorError: no models, one named twice, an unknown reader, or no data of `COMPARED`.
    """
    check_readers(folders)
    if len(set(models)) != len(models) or not models:
        raise FaceFactorError("name the models to compare, each once")
    if not set(folders) & set(COMPARED) and morphable is None:
        raise FaceFactorError(
            f"faces to compare on are needed: a data set ({', '.join(COMPARED)}) as -d "
            "NAME=FOLDER, or a morphable model to render them from (--morphable FILE)"
        )
    weights, specs = [], {}
    for model in models:
        header = read_header(weights_file(model))
        weights.append(Weights(model, model_title(header), header.sha256))
        specs[model] = header.spec
    return ComparisonPlan(tuple(weights), specs, folders, morphable)


def _runs(
    model: str, spec: ModelSpec, folders: Mapping[str, Path], morphable: Path | None
) -> list[Run]:
    """What can be asked of a model: those that keep the expression have no neutral face."""

    def on(protocol: str, readers: Sequence[str], *beside: str) -> list[Run]:
        # in the user's order, as papers have them: a run of both is measured once
        return [
            Run(model, protocol, tuple(n for n in folders.items() if n[0] in (name, *beside)))
            for name in readers
            if name in folders
        ]

    runs = on("disentanglement", PROBED)
    if morphable is not None:
        runs.append(Run(model, "disentanglement", morphable=morphable))
    runs += on("redrawing", _DRAWN)
    if "expression" in spec.factors:
        runs += on("neutral-consistency", _NEUTRALS)
        runs += on("edited-expressions", PHOTOGRAPHED)
    if "identity" in spec.factors:
        runs += on("verification", ("lfw",), "celeba")
    return [*runs, Run(model, "speed")]


def comparison_parts(found: Comparison) -> list[Part]:
    """The page: a matrix for each set of faces, and all other figures side by side."""
    grid = [[each.title, each.model, each.sha256[:12]] for each in found.weights]
    parts: list[Part] = [
        Heading("Methods side by side"),
        Grid([["called", "weights", "hash"], *grid]),
    ]
    for (protocol, dataset), tables in _sets(found).items():
        parts.append(Heading(f"{protocol}: {dataset}", 3))
        parts += _setting([table for _, table in tables])
        if protocol == "disentanglement":
            parts += _matrices(found, tables)
            tables = [(name, _without_matrix(table)) for name, table in tables]
        parts.append(side_by_side(tables))
    return parts


def _sets(found: Comparison) -> dict[tuple[str, str], list[tuple[str, ResultTable]]]:
    """Protocol and faces -> (column, table) of each model and its floors, in the models' order."""
    titles = _columns(found)
    grouped: dict[tuple[str, str], list[tuple[str, ResultTable]]] = {}
    own = {each.model: each.title for each in found.weights}
    for run, kept in found.runs.items():
        for table in kept.tables:
            faces = "" if run.protocol == "speed" else table.dataset
            column = titles[run.model] if table.model == own[run.model] else table.model
            if column != titles[run.model]:
                column = f"{titles[run.model]}: {column.removeprefix(own[run.model] + ', ')}"
            grouped.setdefault((run.protocol, faces), []).append((column, table))
    order = {"disentanglement": 0, "redrawing": 1, "speed": 9}
    return dict(sorted(grouped.items(), key=lambda item: order.get(item[0][0], 5)))


def _columns(found: Comparison) -> dict[str, str]:
    """Model -> head of its column: what tables call it, with the hash where two are called so."""
    titles = [each.title for each in found.weights]
    return {
        each.model: each.title
        if titles.count(each.title) == 1
        else f"{each.title} {each.sha256[:6]}"
        for each in found.weights
    }


def _setting(tables: Sequence[ResultTable]) -> list[Part]:
    """How many faces, and whether they are the same for all."""
    splits = list(dict.fromkeys(table.split_hash for table in tables if table.split_hash))
    counts = sorted({table.n for table in tables if table.n is not None})
    instruments = list(dict.fromkeys(name for table in tables for name in table.instruments))
    facts = [f"n = {', '.join(f'{n:,}' for n in counts)}", f"seed {tables[0].seed or 0}"]
    facts += [f"split {', '.join(splits)}"] if splits else []
    facts += [f"instruments: {', '.join(instruments)}"] if instruments else []
    if len(splits) > 1:
        facts.append(
            "NOT the same faces for all: some models were trained on this data set, and only "
            "people held out of that are shown to them, or some photos have no face in their crop"
        )
    return [Text("; ".join(facts))]


def _matrices(found: Comparison, tables: Sequence[tuple[str, ResultTable]]) -> list[Part]:
    """Two grids: accuracy by both probes, and above chance by the MLP."""
    models = {column: model for model, column in _columns(found).items()}
    separated = {name for spec in found.specs.values() for name in spec.factors}
    codes = [str(name) for name in get_args(FactorName) if name in separated]
    head = ["attribute", "model", *codes, "all codes", *_FLOORS]
    accuracy, above = [[*head, "chance"]], [head]
    attributes = dict.fromkeys(
        score.metric.removesuffix(", chance")
        for _, table in tables
        for score in table.scores
        if score.metric.endswith(", chance")
    )
    for attribute in attributes:
        for column, table in tables:
            values = {score.metric: score.value for score in table.scores}
            if f"{attribute}, chance" not in values:
                continue
            spec = found.specs[models[column]]
            both, scaled = [], []
            for code in (*codes, "all codes", *_FLOORS):
                mark = "*" if _is_to_hold(spec, code, attribute) else ""
                name = f"{attribute} from {code}"
                linear, mlp = (values.get(f"{name}, {probe}") for probe in ("linear", "MLP"))
                scale = values.get(f"{name}, MLP, above chance")
                both.append("" if mlp is None else f"{_short(linear)} / {_short(mlp)}{mark}")
                scaled.append("" if scale is None else f"{_short(scale)}{mark}")
            accuracy.append([attribute, column, *both, _short(values[f"{attribute}, chance"])])
            above.append([attribute, column, *scaled])
    return [Text(_ABOUT_MATRIX), Grid(accuracy), Text(_ABOUT_SCALE), Grid(above)]


def _is_to_hold(spec: ModelSpec, code: str, attribute: str) -> bool:
    """Whether a model means a code to hold an attribute, its own or one folded into it."""
    factors = {str(name): factor for name, factor in spec.factors.items()}
    if code not in factors:
        return False
    return code == attribute or (attribute not in factors and attribute in factors[code].covers)


def _without_matrix(table: ResultTable) -> ResultTable:
    kept = [s for s in table.scores if " from " not in s.metric and ", chance" not in s.metric]
    return ResultTable(table.protocol, table.dataset, tuple(kept), table.model, table.n, table.seed)


def side_by_side(tables: Sequence[tuple[str, ResultTable]]) -> Grid:
    """A column for each table, a row for each metric that any of them has; floors that several
    models share, being no model's, stand once."""
    columns: dict[str, dict[str, str]] = {}
    for column, table in tables:
        cells = {
            score.metric: number(score.value, score.unit, score.spread) for score in table.scores
        }
        bare = column.partition(": ")[2] or column
        shared = next((name for name, other in columns.items() if other == cells), None)
        if shared is not None and (bare == shared or shared.endswith(f": {bare}")):
            columns = {bare if name == shared else name: own for name, own in columns.items()}
        else:
            columns[column] = cells
    metrics = dict.fromkeys(metric for cells in columns.values() for metric in cells)
    rows = [[metric, *(cells.get(metric, "") for cells in columns.values())] for metric in metrics]
    return Grid([["", *columns], *rows])


def _short(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"
