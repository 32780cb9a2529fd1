"""The matrix of factors and codes: what each code tells of each factor, what that adds up to."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from facefactor.errors import FaceFactorError
from facefactor.evaluation.disentanglement import (
    Probe,
    Told,
    dci,
    importances,
    mig,
    tell,
    turned,
)
from facefactor.evaluation.floors import encode_faces, pixel_floor
from facefactor.evaluation.pictures import matrix_picture
from facefactor.evaluation.tables import ResultTable, Score
from facefactor.factors import FactorName
from facefactor.protocols.labelled import all_codes
from facefactor.protocols.probed import PROBED, ProbedFaces, photographed_faces, rendered_faces
from facefactor.protocols.subject import Findings, Subject, suitable

TITLE = "disentanglement"
ALL, UNTRAINED, PIXELS = "all codes", "untrained codes", "pixels"
_COMPONENTS = 128  # of the pixel floor
_SINGLE = 2048  # numbers of all codes, at most, to be looked at one by one
_ALL_KNOWN = 100  # faces of which every attribute is known, for what needs that
Matrix = dict[tuple[FactorName, str, Probe], Told]  # attribute, code, probe -> how well

logger = logging.getLogger(__name__)


def disentanglement(subject: Subject, folders: Mapping[str, Path], seed: int) -> Findings:
    """Every attribute from every code by a linear and an MLP probe; a table each data set.

    Floors beside the codes: all codes of the model untrained, and pixel PCA. "Informativeness" is
    how well the code that is to hold a factor tells it, "leakage" how well the others do, both by
    the MLP, above chance, in %, means over factors. An attribute that no code is to hold (FaceCycle
    and light) counts for neither, but stands in the matrix. DCI and MIG of single numbers mean
    something as far as they are above those of the same codes turned at random, which stand beside;
    codes of more than 2,048 numbers in all have none.

    Raises:
        FaceFactorError: no data set that is probed, and no morphable model.
    """
    names = [name for name in folders if name in PROBED]
    if not names and subject.morphable is None:
        suitable(folders, PROBED, TITLE)  # says what is missing
    shown = [photographed_faces(subject, name, folders[name], seed) for name in names]
    keys = list(names)
    if subject.morphable is not None:
        shown.append(rendered_faces(subject, seed))
        keys.append("rendered")
    tables, pictures = [], {}
    for key, known in zip(keys, shown, strict=True):
        codes = _codes(subject, known.faces, seed)
        matrix = _matrix(known, codes, seed)
        if not matrix:
            raise FaceFactorError(f"{known.title}: too few faces to tell anything from codes")
        scores = (*_summary(subject, known, codes, matrix, seed), *_scores(matrix))
        tables.append(
            ResultTable(
                protocol=TITLE,
                dataset=known.title,
                scores=scores,
                model=subject.name,
                n=len(known.faces),
                seed=seed,
                split_hash=known.split_hash,
                instruments=known.instruments,
            )
        )
        pictures[f"told-{key}.png"] = _picture(subject, key, matrix)
    return Findings(tables, pictures)


def holders(subject: Subject, attribute: FactorName) -> list[str]:
    """The codes that are to hold an attribute: its own, or one that it is folded into."""
    factors = subject.header.spec.factors
    own = [name for name, factor in factors.items() if attribute in (name, *factor.covers)]
    return [attribute] if attribute in factors else [str(name) for name in own]


def _codes(subject: Subject, faces: NDArray[np.uint8], seed: int) -> dict[str, Tensor]:
    """Name -> (N, D): of each factor, of all, and of all by the model untrained."""
    codes = all_codes(subject.model, faces)
    untrained = all_codes(subject.untrained(seed), faces)
    return {str(name): code for name, code in codes.items()} | {
        ALL: torch.cat(list(codes.values()), dim=1),
        UNTRAINED: torch.cat(list(untrained.values()), dim=1),
    }


def _matrix(known: ProbedFaces, codes: Mapping[str, Tensor], seed: int) -> Matrix:
    found: Matrix = {}
    for attribute in known.labels:
        rows, labels = known.known(attribute)
        test = known.split(attribute, seed)[rows]
        learnt = known.faces[rows[~test]]
        try:
            pca = pixel_floor(learnt, _COMPONENTS, seed)
            own = {name: code[torch.from_numpy(rows)] for name, code in codes.items()}
            own[PIXELS] = encode_faces(pca, known.faces[rows])
            for name, code in own.items():
                for probe, told in tell(code, labels, test, seed=seed).items():
                    found[attribute, name, probe] = told
        except ValueError as error:  # one class on a side, or hardly a face
            logger.warning("%s: %s cannot be told: %s", known.title, attribute, error)
            found = {key: told for key, told in found.items() if key[0] != attribute}
    return found


def _scores(matrix: Matrix) -> list[Score]:
    """Accuracy and above chance of each cell, chance once an attribute."""
    scores = []
    for attribute in dict.fromkeys(attribute for attribute, _, _ in matrix):
        cells = {key: told for key, told in matrix.items() if key[0] == attribute}
        first = next(iter(cells.values()))
        scores.append(Score(f"{attribute}, chance", 100 * first.chance, "%", n=first.n))
        for (_, code, probe), told in cells.items():
            name = f"{attribute} from {code}, {probe}"
            scores.append(Score(name, 100 * told.accuracy, "%", n=told.n))
            scores.append(Score(f"{name}, above chance", 100 * told.above_chance, "%", n=told.n))
    return scores


def _summary(
    subject: Subject, known: ProbedFaces, codes: Mapping[str, Tensor], matrix: Matrix, seed: int
) -> list[Score]:
    attributes = list(dict.fromkeys(attribute for attribute, _, _ in matrix))
    factors = [str(name) for name in subject.header.spec.factors]
    own: list[float] = []
    foreign: list[float] = []
    for attribute in attributes:
        inside = holders(subject, attribute)
        for code in factors if inside else ():
            told = 100 * matrix[attribute, code, "MLP"].above_chance
            (own if code in inside else foreign).append(told)
    scores = [_mean("informativeness", own), _mean("leakage", foreign)]
    whole = np.array(
        [
            [max(matrix[attribute, code, "MLP"].above_chance, 0.0) for attribute in attributes]
            for code in factors
        ]
    )
    scores += _dci_scores(whole, "whole codes")
    labels, rows = _all_known(known, attributes)
    numbers = codes[ALL][torch.from_numpy(rows)]
    if len(attributes) > 1 and len(rows) >= _ALL_KNOWN and numbers.shape[1] <= _SINGLE:
        for of, each in (
            ("single numbers", numbers),
            ("single numbers of codes turned at random", turned(numbers, seed)),
        ):
            scores += _dci_scores(importances(each, labels, seed), of)
            gaps = mig(each, labels)
            scores.append(_mean(f"MIG, {of}", [100 * gap for gap in gaps.values()]))
    return scores


def _dci_scores(importance: NDArray[np.float64], of: str) -> list[Score]:
    disentangled, complete = dci(importance)
    return [
        Score(f"{what}, {of}", None if value is None else 100 * value, "%")
        for what, value in (("DCI disentanglement", disentangled), ("DCI completeness", complete))
    ]


def _all_known(
    known: ProbedFaces, attributes: list[FactorName]
) -> tuple[dict[str, list[str]], NDArray[np.int64]]:
    """Labels of the faces of which every attribute is known, and their rows."""
    rows = [
        row
        for row in range(len(known.faces))
        if all(known.labels[attribute][row] is not None for attribute in attributes)
    ]
    labels = {str(name): [str(known.labels[name][row]) for row in rows] for name in attributes}
    varied = all(len(set(own)) > 1 for own in labels.values())
    return labels, np.array(rows if varied else [], np.int64)


def _mean(metric: str, values: list[float]) -> Score:
    return Score(metric, float(np.mean(values)) if values else None, "%")


def _picture(subject: Subject, key: str, matrix: Matrix) -> NDArray[np.uint8]:
    attributes = list(dict.fromkeys(attribute for attribute, _, _ in matrix))
    rows = list(dict.fromkeys(code for _, code, _ in matrix))
    values = [[100 * matrix[a, code, "MLP"].above_chance for a in attributes] for code in rows]
    framed = {
        (rows.index(code), place)
        for place, attribute in enumerate(attributes)
        for code in holders(subject, attribute)
    }
    title = f"{subject.name}, {key}: MLP, above chance"
    return matrix_picture(values, rows, list(map(str, attributes)), framed, title)
