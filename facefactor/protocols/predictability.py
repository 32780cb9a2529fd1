"""Which attribute can be told from which code: one matrix, with baselines (Tables 2 and 3)."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from facefactor.data.held_out import hold_out_people
from facefactor.data.readers import READERS
from facefactor.data.records import DataError, split_hash
from facefactor.evaluation.autoencoder import kept_autoencoder
from facefactor.evaluation.floors import encode_faces, pixel_floor
from facefactor.evaluation.pictures import matrix_picture
from facefactor.evaluation.predictability import (
    FOLDS,
    PUBLISHED,
    Predictability,
    predictability,
)
from facefactor.evaluation.tables import ResultTable, Score
from facefactor.factors import FactorName
from facefactor.protocols.labelled import (
    DATASETS,
    LabelledFaces,
    Labels,
    all_codes,
    code_sizes,
    known_rows,
    labelled_faces,
)
from facefactor.protocols.subject import FLOOR_FACES, Encode, Findings, Subject, suitable

TITLE = "predictability"
_OF_CLASS = 10  # photos that a class needs, people aside: one a fold
_DATASETS = tuple(name for name in DATASETS if name != "rafdb")  # its test part is for testing

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class _Column:
    """One attribute of one data set under one split, told from each code."""

    attribute: FactorName
    head: str
    found: Mapping[str, Predictability]  # row -> how well
    table: ResultTable


def predictability_matrix(subject: Subject, folders: Mapping[str, Path], seed: int) -> Findings:
    """Every attribute that the data sets label, from every code, in a table each and one picture.

    Rows are the subject's codes, all of them side by side, the same untrained, and two baselines of
    as many numbers as all codes together, made on CelebA's training people: an autoencoder of
    100,000 images and pixel PCA. Without CelebA these two are left out.

    Photos are split at random, as published, and but for identity again by subject.
    """
    baselines = _baselines(subject, folders, seed)
    columns = []
    for name in suitable(folders, _DATASETS, TITLE):
        for known in labelled_faces(subject, name, folders[name], seed):
            codes = _codes(subject, baselines, known.cut.faces, seed)
            for attribute, labels in known.labels.items():
                columns += _measure(subject, known, codes, attribute, labels, seed)
    if not columns:
        raise DataError(f"{', '.join(folders)}: too few photos of two classes to tell them apart")
    return Findings([column.table for column in columns], {f"{TITLE}.png": _picture(columns)})


def _baselines(subject: Subject, folders: Mapping[str, Path], seed: int) -> dict[str, Encode]:
    """Name -> encoder that learnt from the faces of CelebA's training people, and no labels."""
    if "celeba" not in folders:
        logger.warning("no autoencoder and pixels beside the codes: they learn from celeba")
        return {}
    size = sum(code_sizes(subject.header.spec).values())
    train, _ = hold_out_people(READERS["celeba"](folders["celeba"]))
    faces = subject.cut(train).faces
    autoencoder = kept_autoencoder(faces, size, subject.cache, seed)
    chosen = np.random.default_rng(seed).permutation(len(faces))[:FLOOR_FACES]
    floor = pixel_floor(faces[np.sort(chosen)], size, seed)
    return {f"autoencoder, {size}": autoencoder.encode, floor.title: floor}


def _codes(
    subject: Subject, baselines: Mapping[str, Encode], faces: NDArray[np.uint8], seed: int
) -> dict[str, Tensor]:
    """Row of the matrix -> (N, D) codes of faces (N, S, S, 3)."""
    rows: dict[str, Tensor] = {}
    for suffix, model in (("", subject.model), (", untrained", subject.untrained(seed))):
        codes = all_codes(model, faces)
        rows |= {f"{name}{suffix}": code for name, code in codes.items()}
        if len(codes) > 1:
            rows[f"all codes{suffix}"] = torch.cat(list(codes.values()), dim=1)
    return rows | {title: encode_faces(encode, faces) for title, encode in baselines.items()}


def _measure(
    subject: Subject,
    known: LabelledFaces,
    codes: Mapping[str, Tensor],
    attribute: FactorName,
    labels: Labels,
    seed: int,
) -> list[_Column]:
    """One attribute under each split that makes sense; none where its faces are all alike."""
    rows, names = known_rows(labels if attribute == "identity" else frequent(labels, _OF_CLASS))
    classes = len(set(names))
    if classes < 2 or len(names) < FOLDS:
        logger.warning("%s: %s is not varied enough to be told", known.title, attribute)
        return []
    splits: dict[str, list[str] | None] = {"random split": None}
    people = known.people()
    if attribute != "identity" and people is not None:
        of_photo = [people[row] for row in rows.tolist()]
        if len(set(of_photo)) >= FOLDS:
            splits["split by subject"] = of_photo
    records = [known.cut.records[row] for row in rows.tolist()]
    columns = []
    for split, subjects in splits.items():
        found = {
            title: predictability(own[rows], names, subjects, seed=seed)
            for title, own in codes.items()
        }
        as_published = (subject.name, known.name, attribute) if subjects is None else None
        table = ResultTable(
            protocol=f"{TITLE} of {attribute}, linear SVM, {FOLDS} folds, {split}",
            dataset=f"{known.title}, {classes} classes",
            scores=_scores(found, attribute, names, as_published),
            model=subject.name,
            n=len(names),
            seed=seed,
            split_hash=split_hash(records),
            instruments=known.instruments,
        )
        columns.append(_Column(attribute, f"{attribute}\n{known.name}\n{split}", found, table))
    return columns


def frequent(labels: Labels, least: int) -> Labels:
    """The labels, None in place of those that occur fewer than `least` times."""
    count = Counter(labels)
    return [label if count[label] >= least else None for label in labels]


def _scores(
    found: Mapping[str, Predictability],
    attribute: FactorName,
    labels: list[str],
    as_published: tuple[str, str, str] | None,
) -> tuple[Score, ...]:
    """Accuracy of each row, and above chance; below them what the most frequent label gets."""
    scores = []
    for title, each in found.items():
        published = PUBLISHED.get(as_published) if as_published and title == attribute else None
        scores.append(Score(title, 100 * each.accuracy, "%", published, 100 * each.spread))
        scores.append(Score(f"{title}, above chance", 100 * each.above_chance, "%"))
    most = max(labels.count(name) for name in set(labels))
    return (*scores, Score("the most frequent label", 100 * most / len(labels), "%"))


def _picture(columns: list[_Column]) -> NDArray[np.uint8]:
    rows = list(columns[0].found)
    values = [[100 * column.found[row].above_chance for column in columns] for row in rows]
    diagonal = {
        (rows.index(column.attribute), place)
        for place, column in enumerate(columns)
        if column.attribute in rows
    }
    title = "Told from each code, linear SVM: 0 is chance, 100 is all right; framed: its own factor"
    return matrix_picture(values, rows, [column.head for column in columns], diagonal, title)
