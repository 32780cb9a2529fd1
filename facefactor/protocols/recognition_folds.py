"""Recognition by generation (NFGAN, Table 4): do normalised faces help to train a recogniser?"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from facefactor.data.crops import CroppedFaces
from facefactor.data.folds import subject_folds
from facefactor.data.patches import centre_patches, recrop, register, training_patches
from facefactor.data.readers import READERS
from facefactor.data.records import FaceRecord, check_disjoint, labelled, split_hash
from facefactor.errors import FaceFactorError
from facefactor.evaluation.floors import encode_faces, fit_pixel_pca, majority_class, one_answer
from facefactor.evaluation.probes import expression_probe
from facefactor.evaluation.recognition import expression_recognition, over_folds
from facefactor.evaluation.tables import ResultTable, class_numbers
from facefactor.evaluation.two_branches import class_probabilities, train_two_branches
from facefactor.factors import EXPRESSIONS
from facefactor.images import face_to_photo
from facefactor.perception.landmarks import LandmarkNetwork, load_landmark_network
from facefactor.perception.packaged import packaged_instrument
from facefactor.protocols.normalisers import normaliser
from facefactor.protocols.pictures import check_draws
from facefactor.protocols.subject import Findings, Subject, suitable

# Sec. 5.1. Folds deal people in turn, in the order of their names; the paper's are not published.
FOLDS = {"ckplus": 8, "ckplus48": 8, "mmi": 10}
# % accuracy, Table 4; of its reference 2B(N+M)Softmax alone, as cited there.
PUBLISHED = {
    ("2B(N+M)Softmax", "ckplus"): 97.1,
    ("2B(N+M)Softmax", "mmi"): 78.53,
    ("2B(N+M)Softmax and faces normalised by nfgan", "ckplus"): 97.49,
    ("2B(N+M)Softmax and faces normalised by nfgan", "mmi"): 80.26,
}
_SAME_PEOPLE = {"ckplus", "ckplus48", "ckplus-pairs"}  # releases of one data set
_FLOOR_SIZE = 64  # components

logger = logging.getLogger(__name__)


def expression_folds(subject: Subject, folders: Mapping[str, Path], seed: int) -> Findings:
    """Accuracy over folds by person, with and without the subject's normalised faces.

    Four trainings a fold: softmax alone and 2B(N+M)Softmax, each on the faces of the training
    people, and on these and their normalised faces. Folds, seed, first weights and number of steps
    are the same for all four. Beside them the floors: a constant answer, and pixels. A training
    takes about two minutes of one core, so CK+ a good hour of it.

    Raises:
        InstrumentError: the landmark network, which registers the faces, is not at hand.
        FaceFactorError: fewer people than folds, or no expressions.
    """
    network = load_landmark_network(packaged_instrument("landmarks"))
    tables: list[ResultTable] = []
    for name in suitable(folders, tuple(FOLDS), "expression-folds"):
        records = _with_expression(READERS[name](folders[name]), folders[name], FOLDS[name])
        cut_faces = subject.cut(records, network.image_size, network.crop)
        photos = _register(cut_faces.faces, cut_faces.records, network)
        normalised = normalised_faces(subject, cut_faces.records, network)
        setting = _setting(subject, name, cut_faces)
        for table in over_all_folds(photos, normalised, name, subject.name, seed):
            tables.append(
                replace(
                    table,
                    protocol=", ".join([table.protocol, *setting]),
                    seed=seed,
                    split_hash=split_hash(cut_faces.records),
                    instruments=("landmarks",),
                )
            )
    return Findings(tables)


@dataclass(frozen=True, eq=False)
class Faces:
    """Registered faces and whose they are."""

    grey: NDArray[np.uint8]  # (N, 64, 64)
    records: list[FaceRecord]  # N

    def of(self, people: Sequence[FaceRecord]) -> Faces:
        """The faces of those who are in `people`."""
        known = {record.subject for record in people}
        rows = [row for row, record in enumerate(self.records) if record.subject in known]
        return Faces(self.grey[rows], [self.records[row] for row in rows])

    def with_others(self, others: Faces) -> Faces:
        return Faces(np.concatenate([self.grey, others.grey]), [*self.records, *others.records])

    @property
    def labels(self) -> list[str]:
        return [str(record.expression) for record in self.records]


def normalised_faces(
    subject: Subject, records: Sequence[FaceRecord], network: LandmarkNetwork
) -> Faces:
    """One normalised face of each clip, registered like photos and labelled "neutral".

    It is drawn from the clip's last photo, which is its peak: frames of one clip give nearly one
    normalised face, which would only be counted more often.
    """
    check_draws(subject)
    last = {record.clip or str(record.path): record for record in records}
    own = subject.cut(list(last.values()))
    spec, size = subject.header.spec, network.image_size
    normalise = normaliser(subject.model)
    drawn = encode_faces(
        lambda faces: normalise(_with_channels(faces, spec.channels)), own.faces
    ).view(len(own.faces), -1, spec.image_size, spec.image_size)
    faces = [recrop(face, spec.crop, network.crop, size) for face in face_to_photo(drawn)]
    neutral = [replace(record, expression="neutral") for record in own.records]
    return _register(np.stack(faces), neutral, network)


def over_all_folds(
    photos: Faces, normalised: Faces, dataset: str, normaliser: str, seed: int
) -> list[ResultTable]:
    """Train and test on every fold: a table for each of the four trainings, then the floors."""
    classes = tuple(
        name for name in EXPRESSIONS if name in {record.expression for record in photos.records}
    )
    of_fold: dict[str, list[ResultTable]] = {}
    folds = subject_folds(photos.records, FOLDS[dataset])
    for number, (train, test) in enumerate(folds, start=1):
        check_disjoint(train, test)
        known, asked = photos.of(train), photos.of(test)
        more = known.with_others(normalised.of(train))
        for title, faces, with_metric in (
            ("softmax", known, False),
            (f"softmax and faces normalised by {normaliser}", more, False),
            ("2B(N+M)Softmax", known, True),
            (f"2B(N+M)Softmax and faces normalised by {normaliser}", more, True),
        ):
            answers = _train_and_answer(faces, asked, classes, with_metric, seed)
            table = expression_recognition(answers, asked.labels, classes, dataset, title, seed)
            logger.info("fold %d, %s: %.2f %%", number, title, table["accuracy"])
            of_fold.setdefault(title, []).append(table)
        for table in _floors(known, asked, classes, dataset, seed):
            of_fold.setdefault(table.model, []).append(table)
    return [_mean(tables) for tables in of_fold.values() if len(tables) == len(folds)]


def _train_and_answer(
    faces: Faces, asked: Faces, classes: Sequence[str], with_metric: bool, seed: int
) -> Tensor:
    """Probabilities (N, K) of the classes, for faces of people who were not trained on.

    "neutral" is one more class to train on, of which only normalised faces are, and no answer.
    """
    trained = [*classes, "neutral"]
    people = [str(record.subject) for record in faces.records]
    network = train_two_branches(
        torch.from_numpy(training_patches(faces.grey)),
        torch.from_numpy(class_numbers(faces.labels, trained)),
        torch.from_numpy(class_numbers(people, sorted(set(people)))),
        len(trained),
        with_metric,
        seed,
    )
    answers = class_probabilities(network, torch.from_numpy(centre_patches(asked.grey)))
    return answers[:, : len(classes)]


def _floors(
    known: Faces, asked: Faces, classes: Sequence[str], dataset: str, seed: int
) -> list[ResultTable]:
    """Always the most frequent class; softmax regression on the registered pixels."""
    labels, test_labels = known.labels, asked.labels
    constant = one_answer(majority_class(labels, classes), classes, len(test_labels))
    title = "always the most frequent class"
    tables = [expression_recognition(constant, test_labels, classes, dataset, title, seed)]
    faces = known.grey[..., None]
    size = min(_FLOOR_SIZE, len(faces) // 2)
    try:
        pca = fit_pixel_pca(faces, size, seed)
        codes, test_codes = (encode_faces(pca, grey) for grey in (faces, asked.grey[..., None]))
        title = f"pixel PCA, {_FLOOR_SIZE}"
        probe = expression_probe(
            codes, labels, test_codes, test_labels, dataset, "standardised", seed, title
        )
        tables.append(replace(probe, protocol=tables[0].protocol))
    except ValueError as error:  # faces are few, or a class has none among them
        logger.warning("%s: no pixel floor: %s", dataset, error)
    return tables


def _mean(tables: Sequence[ResultTable]) -> ResultTable:
    """One table of those of all folds, with the paper's figure."""
    table = over_folds(tables)
    accuracy, *others = table.scores
    published = PUBLISHED.get((table.model, table.dataset))
    return replace(
        table,
        protocol=f"{table.protocol} by person, trained in each",
        scores=(replace(accuracy, published=published), *others),
    )


def _register(
    faces: NDArray[np.uint8], records: Sequence[FaceRecord], network: LandmarkNetwork
) -> Faces:
    landmarks = encode_faces(network, faces).view(-1, 68, 2).numpy()
    return Faces(register(faces, landmarks), list(records))


def _with_expression(records: Sequence[FaceRecord], folder: Path, folds: int) -> list[FaceRecord]:
    """The labelled records but for neutral ones, which the paper's classes leave out."""
    shown = [record for record in labelled(records) if record.expression != "neutral"]
    people = len({record.subject for record in shown})
    if people < folds:
        raise FaceFactorError(
            f"{folder}: photos with an expression of {people} people; {folds} folds by person "
            f"need {folds} or more"
        )
    return shown


def _setting(subject: Subject, dataset: str, faces: CroppedFaces) -> list[str]:
    """What departs from a clean measurement."""
    setting = []
    same = _SAME_PEOPLE if dataset in _SAME_PEOPLE else {dataset}
    if same & set(subject.trained_on):
        setting.append(f"{subject.name} itself was trained on some of these people")
    if faces.failures:
        setting.append(f"{len(faces.failures):,} photos without a face left out")
    return setting


def _with_channels(faces: Tensor, channels: int) -> Tensor:
    """RGB faces (N, 3, S, S) as they are, or in grey for a model of one channel."""
    if channels == 3:
        return faces
    weights = faces.new_tensor([0.299, 0.587, 0.114]).view(3, 1, 1)
    return (faces * weights).sum(dim=1, keepdim=True)
