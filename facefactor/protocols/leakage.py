"""What each code gives away of the other factors: identity, pose and expression, beside pixels."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from facefactor.data.crops import CroppedFaces
from facefactor.data.held_out import hold_out_people
from facefactor.data.readers import READERS
from facefactor.data.records import DataError, FaceRecord, labelled, of_split, split_hash
from facefactor.evaluation.floors import encode_faces, pixel_floor
from facefactor.evaluation.leakage import leakage_scores
from facefactor.evaluation.tables import ResultTable, Score
from facefactor.perception.head_pose import YAW_EDGES, yaw_bins
from facefactor.protocols.labelled import all_codes
from facefactor.protocols.subject import FLOOR_FACES, Findings, Subject, some, suitable
from facefactor.protocols.yaw import measure_yaw

PEOPLE = 100  # told apart by the identity probe
_PHOTOS = 4  # a person needs at least so many: two to learn from, two to be known on
_EDGES = (0, *map(int, YAW_EDGES))
_BIN_NAMES = [f"from {edge} degrees" for edge in _EDGES]


def leakage(subject: Subject, folders: Mapping[str, Path], seed: int) -> Findings:
    """Probes of identity and pose on CelebA, of expression and pose on RAF-DB."""
    measure = {"celeba": _of_people, "rafdb": _of_expressions}
    tables = []
    for name in suitable(folders, tuple(measure), "leakage"):
        tables.append(measure[name](subject, name, READERS[name](folders[name]), seed))
    return Findings(tables)


def _of_people(
    subject: Subject, name: str, records: Sequence[FaceRecord], seed: int
) -> ResultTable:
    """Identity of people that no training here has seen, photos split within each of them; pose
    learnt from other people and tested on these."""
    others, held_out = hold_out_people(records)
    if not held_out or not others:
        raise DataError(f"{name}: too few people to hold any out; leakage needs more")
    train, test = subject.cut(some(others, FLOOR_FACES, seed)), subject.cut(held_out)
    codes = _codes(subject, train, test, seed)
    learnt, asked = _photos_of_people(test.records, seed)
    of_person = [str(record.subject) for record in test.records]
    within = {code: (own[learnt], own[asked]) for code, (_, own) in codes.items()}
    identity = leakage_scores(
        "identity", within, [of_person[i] for i in learnt], [of_person[i] for i in asked], seed
    )
    people = len({of_person[i] for i in learnt})
    pose = _pose_scores(subject, codes, train, test, seed)
    dataset = f"{name}, held-out people, identity of {people}"
    return _table(subject, dataset, (*identity, *pose), [*train.records, *test.records], seed)


def _of_expressions(
    subject: Subject, name: str, records: Sequence[FaceRecord], seed: int
) -> ResultTable:
    """Expression and pose, learnt from the training part and tested on the test part."""
    known = labelled(records)
    train, test = subject.cut(of_split(known, "train")), subject.cut(of_split(known, "test"))
    codes = _codes(subject, train, test, seed)
    labels, test_labels = (
        [str(record.expression) for record in cut.records] for cut in (train, test)
    )
    expression = leakage_scores("expression", codes, labels, test_labels, seed)
    pose = _pose_scores(subject, codes, train, test, seed)
    return _table(subject, name, (*expression, *pose), [*train.records, *test.records], seed)


def _table(
    subject: Subject,
    dataset: str,
    scores: tuple[Score, ...],
    records: Sequence[FaceRecord],
    seed: int,
) -> ResultTable:
    return ResultTable(
        protocol="leakage, mean accuracy of classes",
        dataset=dataset,
        scores=scores,
        model=subject.name,
        seed=seed,
        split_hash=split_hash(records),
        instruments=("landmarks",),
    )


def _codes(
    subject: Subject, train: CroppedFaces, test: CroppedFaces, seed: int
) -> dict[str, tuple[Tensor, Tensor]]:
    """Name -> training and test codes: of every factor, and as many coordinates of the pixels."""
    parts = [all_codes(subject.model, cut.faces) for cut in (train, test)]
    codes = {str(name): (parts[0][name], parts[1][name]) for name in parts[0]}
    size = max(own.shape[1] for own, _ in codes.values())
    chosen = np.random.default_rng(seed).permutation(len(train.faces))[:FLOOR_FACES]
    fitted = np.asarray(train.faces)[np.sort(chosen)]
    pca = pixel_floor(fitted, size, seed)
    codes["pixels"] = (encode_faces(pca, train.faces), encode_faces(pca, test.faces))
    return codes


def _photos_of_people(records: Sequence[FaceRecord], seed: int) -> tuple[list[int], list[int]]:
    """Places of photos to learn people from, and of others to know them on; all have as many."""
    photos: defaultdict[str, list[int]] = defaultdict(list)
    for place, record in enumerate(records):
        photos[str(record.subject)].append(place)
    enough = sorted(person for person, places in photos.items() if len(places) >= _PHOTOS)
    if len(enough) < 2:
        raise DataError(
            f"identity needs two held-out people with {_PHOTOS} photos or more, "
            f"found {len(enough)} among {len(photos)}"
        )
    chosen = np.random.default_rng(seed).permutation(len(enough))[:PEOPLE]
    people = [enough[place] for place in sorted(chosen)]
    each = min(len(photos[person]) for person in people)
    learnt = [place for person in people for place in photos[person][: each - each // 2]]
    asked = [place for person in people for place in photos[person][each - each // 2 : each]]
    return learnt, asked


def _pose_scores(
    subject: Subject,
    codes: Mapping[str, tuple[Tensor, Tensor]],
    train: CroppedFaces,
    test: CroppedFaces,
    seed: int,
) -> tuple[Score, ...]:
    """Bins of |yaw|, those of IPD-FER's Table 1."""
    bins, test_bins = (yaw_bins(measure_yaw(subject, cut)).numpy() for cut in (train, test))
    known, test_known = bins >= 0, test_bins >= 0
    seen = {
        name: (own[_places(known)], other[_places(test_known)])
        for name, (own, other) in codes.items()
    }
    if len(set(bins[known]) & set(test_bins[test_known])) < 2:
        raise DataError("the heads of both parts are turned alike; pose cannot be probed on them")
    labels = [_BIN_NAMES[number] for number in bins[known]]
    test_labels = [_BIN_NAMES[number] for number in test_bins[test_known]]
    return leakage_scores("pose", seen, labels, test_labels, seed)


def _places(known: NDArray[np.bool_]) -> Tensor:
    return torch.from_numpy(np.flatnonzero(known))
