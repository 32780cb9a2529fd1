"""Codes as others probe them: linear models of expression and pose, and pairs of one person."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from facefactor.data.held_out import hold_out_people
from facefactor.data.poses import read_poses
from facefactor.data.readers import READERS
from facefactor.data.records import check_disjoint, labelled, of_split, split_hash
from facefactor.errors import FaceFactorError
from facefactor.evaluation.descriptors import DESCRIPTORS
from facefactor.evaluation.floors import MAX_COMPONENTS, pixel_floor
from facefactor.evaluation.probes import Recipe, expression_probe, head_pose_probe
from facefactor.evaluation.tables import ResultTable
from facefactor.evaluation.verification import verification
from facefactor.protocols.kept_codes import encode_or_read
from facefactor.protocols.subject import (
    FLOOR_FACES,
    Encode,
    Findings,
    Subject,
    cut_pairs,
    some,
    suitable,
)

_MAP_FACE_SIZE = 100  # pixels, of the released script


def expression(subject: Subject, folders: Mapping[str, Path], seed: int) -> Findings:
    """Linear probe of the expression code: train part -> test part, both recipes; of descriptors
    the published one."""

    def encoders(floor_faces: NDArray[np.uint8]) -> dict[str, Encode]:
        return subject.encoders("expression", floor_faces, seed) | DESCRIPTORS

    tables = []
    for name in suitable(folders, ("rafdb", "fer2013", "ferplus"), "expression-probe"):
        tables += _probe(subject, name, folders[name], encoders, None, seed)
    return Findings(tables)


def expression_map(subject: Subject, folders: Mapping[str, Path], seed: int) -> Findings:
    """The same probe of the last convolution map, flattened, on faces of 100 pixels.

    This is what FaceCycle's released script probes on RAF-DB where the paper says "code": 6,272
    values instead of 256.
    """
    if not hasattr(subject.model, "expression_map"):
        raise FaceFactorError(f"{subject.name} has no expression map to probe")
    untrained = subject.untrained(seed)

    def encoders(floor_faces: NDArray[np.uint8]) -> dict[str, Encode]:
        floor = pixel_floor(floor_faces, MAX_COMPONENTS, seed)  # the map has more values
        return {
            subject.name: subject.model.expression_map,
            f"{subject.name}, untrained": untrained.expression_map,
            floor.title: floor,
        }

    tables = []
    for name in suitable(folders, ("rafdb", "fer2013", "ferplus"), "expression-map-probe"):
        found = _probe(subject, name, folders[name], encoders, _MAP_FACE_SIZE, seed)
        tables += [
            replace(table, protocol=table.protocol.replace("probe", "map probe", 1))
            for table in found
        ]
    return Findings(tables)


def _probe(
    subject: Subject,
    name: str,
    folder: Path,
    encoders: Callable[[NDArray[np.uint8]], Mapping[str, Encode]],
    size: int | None,
    seed: int,
) -> list[ResultTable]:
    """Expression probes on one data set of every encoder that `encoders(floor_faces)` gives."""
    records = labelled(READERS[name](folder))
    train, test = of_split(records, "train"), of_split(records, "test")
    check_disjoint(train, test)
    cut_train, cut_test = subject.cut(train, size), subject.cut(test, size)
    train_labels = [str(record.expression) for record in cut_train.records]
    test_labels = [str(record.expression) for record in cut_test.records]
    chosen = np.random.default_rng(seed).permutation(len(cut_train.faces))[:FLOOR_FACES]
    tables = []
    for title, encode in encoders(np.asarray(cut_train.faces)[np.sort(chosen)]).items():
        codes, test_codes = (
            encode_or_read(title, encode, part.faces, subject.cache)
            for part in (cut_train, cut_test)
        )
        recipes: tuple[Recipe, ...] = ("standardised", "published")
        # solved to the end, thousands of numbers take longer than all the rest
        for recipe in recipes[1:] if title in DESCRIPTORS else recipes:
            try:
                table = expression_probe(
                    codes, train_labels, test_codes, test_labels, name, recipe, seed, title
                )
            except ValueError:  # the published rate diverges on codes of another scale
                continue
            tables.append(replace(table, split_hash=split_hash([*train, *test])))
    return tables


def head_pose(subject: Subject, folders: Mapping[str, Path], seed: int) -> Findings:
    """Linear regression of yaw, pitch and roll on the expression code."""
    tables = []
    for name in suitable(folders, ("poses",), "head-pose"):
        records, angles = read_poses(folders[name])
        cut = subject.cut(records)
        kept = dict(zip(records, angles, strict=True))
        found = np.array([kept[record] for record in cut.records])
        train = np.array([record.split == "train" for record in cut.records])
        faces = np.asarray(cut.faces)
        encoders = subject.encoders("expression", faces[train], seed) | DESCRIPTORS
        for title, encode in encoders.items():
            codes = encode_or_read(title, encode, faces, subject.cache)
            table = head_pose_probe(
                codes[train], found[train], codes[~train], found[~train], name, seed, title
            )
            tables.append(replace(table, split_hash=split_hash(records)))
    return Findings(tables)


def verification_of_pairs(subject: Subject, folders: Mapping[str, Path], seed: int) -> Findings:
    """Same person or not, by cosine of identity codes, on LFW's pairs; the descriptors are beside
    FaceCycle, whose Table 3 has them."""
    tables = []
    for name in suitable(folders, ("lfw",), "verification"):
        pairs = cut_pairs(folders[name], subject.cut)
        floor_faces = _other_faces(subject, folders, name, seed)
        encoders = subject.encoders("identity", floor_faces, seed)
        if subject.header.method == "facecycle":
            encoders |= DESCRIPTORS
        for title, encode in encoders.items():
            codes = encode_or_read(title, encode, pairs.cut.faces, subject.cache)
            table = verification(
                codes[pairs.left], codes[pairs.right], pairs.same, name, model=title
            )
            tables.append(replace(table, split_hash=split_hash(pairs.cut.records), seed=seed))
    return Findings(tables)


def _other_faces(
    subject: Subject, folders: Mapping[str, Path], name: str, seed: int
) -> NDArray[np.uint8] | None:
    """Faces to fit the pixel floor on, from a data set other than the tested one."""
    for other, folder in folders.items():
        if other != name:
            train, _ = hold_out_people(READERS[other](folder))
            train = [record for record in train if record.split in (None, "train")]
            return np.asarray(subject.cut(some(train, FLOOR_FACES, seed)).faces)
    return None
