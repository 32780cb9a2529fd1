"""Does a model name the expression that a data set names: all photos, and by head yaw."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from facefactor.data.crops import CroppedFaces
from facefactor.data.held_out import hold_out_people
from facefactor.data.readers import READERS
from facefactor.data.records import FaceRecord, check_disjoint, labelled, of_split, split_hash
from facefactor.errors import FaceFactorError
from facefactor.evaluation.floors import (
    encode_faces,
    majority_class,
    one_answer,
    pixel_floor,
)
from facefactor.evaluation.pictures import confusion_picture
from facefactor.evaluation.probes import expression_probe
from facefactor.evaluation.recognition import accuracy_by_yaw, expression_recognition
from facefactor.evaluation.tables import ResultTable
from facefactor.protocols.subject import FLOOR_FACES, Findings, Subject, some, suitable
from facefactor.protocols.yaw import measure_yaw

_DATASETS = ("rafdb", "ferplus", "affectnet", "sfew", "ckplus", "ckplus48")
# Releases of the same photos under other labels or cuts: to be trained on one is to know the other.
_SAME_PHOTOS = ({"ckplus", "ckplus48", "ckplus-pairs"}, {"ferplus", "fer2013"})
# By the number of classes: what the recipes are for, where a file does not say what it learnt from.
_HOME = {7: "rafdb", 8: "ferplus"}
_FLOOR_SIZE = 256  # components

logger = logging.getLogger(__name__)


def recognition(subject: Subject, folders: Mapping[str, Path], seed: int) -> Findings:
    """Accuracy and class mean on each data set, beside a constant answer and pixels."""
    classes = _classes(subject, "recognition")
    tables: list[ResultTable] = []
    pictures = {}
    for name in suitable(folders, _DATASETS, "recognition"):
        part = _tested_part(subject, name, folders[name], classes)
        answers = encode_faces(subject.model.expression_probabilities, part.cut.faces)
        own = expression_recognition(answers, part.labels, classes, name, part.model)
        for table in (own, *_floors(subject, name, part, classes, seed)):
            protocol = ", ".join(["expression recognition", *part.setting])
            tables.append(replace(table, protocol=protocol, split_hash=part.split_hash))
        if own.confusion is not None:
            title = f"{part.model}: {name}, {own['accuracy']:.2f} % of {own.n:,} photos"
            file = re.sub(r"[^a-z0-9]+", "-", f"confusion {name} {part.model}")
            pictures[f"{file}.png"] = confusion_picture(own.confusion, title)
    return Findings(tables, pictures)


def recognition_by_yaw(subject: Subject, folders: Mapping[str, Path], seed: int) -> Findings:
    """The same on RAF-DB's test part, by how far the head is turned (Table 8)."""
    classes = _classes(subject, "recognition-by-yaw")
    tables = []
    for name in suitable(folders, ("rafdb",), "recognition-by-yaw"):
        part = _tested_part(subject, name, folders[name], classes)
        yaw = measure_yaw(subject, part.cut)
        answers = encode_faces(subject.model.expression_probabilities, part.cut.faces)
        constant = majority_class(part.train_labels or part.labels, classes)
        for title, scores in (
            (part.model, answers),
            (f"always {constant}", one_answer(constant, classes, len(part.labels))),
        ):
            table = accuracy_by_yaw(scores, part.labels, classes, yaw, dataset=name, model=title)
            tables.append(
                replace(
                    table,
                    protocol=", ".join([table.protocol, *part.setting]),
                    split_hash=part.split_hash,
                    instruments=("landmarks",),
                )
            )
    return Findings(tables)


@dataclass(frozen=True, eq=False)
class _Part:
    """The faces of one data set that a model is tested on, and what tables must say of them."""

    train: list[FaceRecord]  # the data set's own training part; may be empty
    cut: CroppedFaces  # N faces to test on
    model: str  # what tables call the model: published figures are found by it
    setting: tuple[str, ...]  # in what the test departs from "trained here, tested on all here"
    split_hash: str

    @property
    def labels(self) -> list[str]:
        return _expressions(self.cut.records)

    @property
    def train_labels(self) -> list[str]:
        return _expressions(self.train)


def _tested_part(subject: Subject, name: str, folder: Path, classes: Sequence[str]) -> _Part:
    """The test part, or all of a data set that has none, of the model's classes.

    Of a data set without parts that the model was trained on, the people held out of training.
    """
    records = labelled(READERS[name](folder))
    train, test = of_split(records, "train"), of_split(records, "test")
    check_disjoint(train, test)
    trained_on = subject.trained_on or tuple(
        home for count, home in _HOME.items() if count == len(classes)
    )
    same = next((names for names in _SAME_PHOTOS if name in names), {name})
    known = bool(same & set(trained_on))
    setting = [] if known else ["cross-database"]
    if not test:
        _, held_out = hold_out_people(records)
        test = held_out if known else records
        setting += ["held-out people"] if known else []
    if absent := sorted({str(record.expression) for record in test} - set(classes)):
        setting.append(f"without photos of {' and '.join(absent)}")
    train, test = _of_classes(train, classes), _of_classes(test, classes)
    if not test:
        raise FaceFactorError(f"{folder}: no photos of {', '.join(classes)} to test on")
    cut = subject.cut(test)
    if cut.failures:
        setting.append(f"{len(cut.failures):,} photos without a face left out")
    title = subject.name
    if trained_on != (name,):
        others = " and ".join(subject.trained_on)
        title += f", trained on {others}" if others else ", trained elsewhere"
    return _Part(train, cut, title, tuple(setting), split_hash([*train, *test]))


def _floors(
    subject: Subject, name: str, part: _Part, classes: Sequence[str], seed: int
) -> list[ResultTable]:
    """Always the most frequent class of the training part; softmax regression on pixels of it."""
    constant = majority_class(part.train_labels or part.labels, classes)
    scores = one_answer(constant, classes, len(part.labels))
    tables = [expression_recognition(scores, part.labels, classes, name, f"always {constant}")]
    if part.train:
        cut = subject.cut(some(part.train, FLOOR_FACES, seed))
        try:
            pca = pixel_floor(cut.faces, _FLOOR_SIZE, seed)
            title = f"{pca.title}, fitted on {len(cut.faces):,} faces of {name}"
            codes, test_codes = (encode_faces(pca, faces) for faces in (cut.faces, part.cut.faces))
            labels = _expressions(cut.records)
            tables.append(
                expression_probe(
                    codes, labels, test_codes, part.labels, name, "standardised", seed, title
                )
            )
        except ValueError as error:  # a class has no face among those fitted on, or they are few
            logger.warning("%s: no pixel floor: %s", name, error)
    return tables


def _classes(subject: Subject, protocol: str) -> tuple[str, ...]:
    """The model's classes; FaceFactorError where it is no classifier."""
    if not hasattr(subject.model, "expression_probabilities"):
        raise FaceFactorError(
            f"{subject.name} names no expressions; {protocol} needs a model that does (ipdfer)"
        )
    classes: tuple[str, ...] = subject.model.classes
    return classes


def _of_classes(records: Sequence[FaceRecord], classes: Sequence[str]) -> list[FaceRecord]:
    return [record for record in records if record.expression in classes]


def _expressions(records: Sequence[FaceRecord]) -> list[str]:
    return [str(record.expression) for record in records]
