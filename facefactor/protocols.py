"""Protocols on data sets: read, cut, encode, hand the codes to `evaluation`; floors beside."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from facefactor import checkpoints, editing
from facefactor.data.crops import CroppedFaces, crop_faces
from facefactor.data.held_out import hold_out_people
from facefactor.data.poses import read_poses
from facefactor.data.readers import READERS, read_pairs
from facefactor.data.records import (
    DataError,
    FaceRecord,
    check_disjoint,
    labelled,
    of_split,
    split_hash,
)
from facefactor.errors import FaceFactorError
from facefactor.evaluation.consistency import motion, neutral_consistency
from facefactor.evaluation.floors import encode_faces, fit_pixel_pca
from facefactor.evaluation.probes import expression_probe, head_pose_probe
from facefactor.evaluation.tables import ResultTable, write_json
from facefactor.evaluation.verification import verification
from facefactor.factors import FactorName
from facefactor.files import atomic_path
from facefactor.methods import METHODS

CACHE = Path(".cache") / "faces"
_FLOOR_FACES = 6000  # enough for 256 components; more only takes longer
_MAP_FACE_SIZE = 100  # pixels, of the released script
_MAP_FLOOR_SIZE = 1024  # components; the map has more values than there are faces to fit on
Encode = Callable[[Tensor], Tensor]


class Subject:
    """The model under test, with the floors it is compared with."""

    def __init__(self, path: Path, cache: Path) -> None:
        self.header = checkpoints.read_header(path)
        self.model: Any = checkpoints.build_model(path)
        self.name = self.header.method
        self.cache = cache

    def cut(self, records: Sequence[FaceRecord], size: int | None = None) -> CroppedFaces:
        """Faces of `records` in the model's crop, at its own size or another."""
        spec = self.header.spec
        detect = None
        if any(record.points is None for record in records):
            from facefactor.perception.mtcnn import FaceDetector

            detect = FaceDetector().detect
        return crop_faces(records, spec.crop, size or spec.image_size, self.cache, detect)

    def encoders(
        self, factor: FactorName, floor_faces: NDArray[np.uint8] | None, seed: int
    ) -> dict[str, Encode]:
        """Name -> encoder of one factor: the model, itself untrained, and pixel PCA of one size."""
        size = int(np.prod(self.header.spec.factors[factor].shape))
        untrained = self.untrained(seed)
        encoders: dict[str, Encode] = {
            self.name: lambda faces: self.model.encode(faces)[factor],
            f"{self.name}, untrained": lambda faces: untrained.encode(faces)[factor],
        }
        if floor_faces is not None:
            encoders[f"pixel PCA, {size}"] = fit_pixel_pca(floor_faces, size, seed)
        return encoders

    def untrained(self, seed: int) -> Any:
        """The model as its recipe initialises it."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            recipe = checkpoints.build_recipe(self.header)
            return METHODS[self.header.method].build(recipe).eval()


def evaluate(
    model: str | Path,
    protocols: Sequence[str],
    datasets: Sequence[str],
    output: Path | None = None,
    seed: int = 0,
    cache: Path = CACHE,
) -> list[ResultTable]:
    """Every protocol on every data set it applies to; tables of the model and of its floors.

    Args:
        protocols: of `PROTOCOLS`.
        datasets: "reader=folder". Verification takes its pixel floor from the other data sets.
        output: folder for `results.json` and `results.md`.

    Raises:
        FaceFactorError: an unknown protocol, or none of the data sets suits one.
    """
    subject = Subject(checkpoints.weights_file(model), cache)
    folders = {}
    for text in datasets:
        name, _, folder = text.partition("=")
        folders[name] = Path(folder)
    tables: list[ResultTable] = []
    for protocol in protocols:
        if protocol not in PROTOCOLS:
            raise FaceFactorError(f"no protocol {protocol!r}; there are {', '.join(PROTOCOLS)}")
        found = PROTOCOLS[protocol](subject, folders, seed)
        command = f"facefactor evaluate {model} -p {protocol} " + " ".join(
            f"-d {name}=FOLDER" for name in folders
        )
        tables += [replace(table, command=command) for table in found]
    if output is not None:
        write_json(output / "results.json", tables)
        with atomic_path(output / "results.md") as temporary:
            text = "\n\n".join(table.to_markdown() for table in tables)
            temporary.write_text(text + "\n", encoding="utf-8")
    return tables


def _expression(subject: Subject, folders: Mapping[str, Path], seed: int) -> list[ResultTable]:
    """Linear probe of the expression code: train part -> test part, both recipes."""

    def encoders(floor_faces: NDArray[np.uint8]) -> dict[str, Encode]:
        return subject.encoders("expression", floor_faces, seed)

    tables = []
    for name in _suitable(folders, ("rafdb", "fer2013", "ferplus"), "expression-probe"):
        tables += _probe(subject, name, folders[name], encoders, None, seed)
    return tables


def _expression_map(subject: Subject, folders: Mapping[str, Path], seed: int) -> list[ResultTable]:
    """The same probe of the last convolution map, flattened, on faces of 100 pixels.

    This is what FaceCycle's released script probes on RAF-DB where the paper says "code": 6,272
    values instead of 256.
    """
    if not hasattr(subject.model, "expression_map"):
        raise FaceFactorError(f"{subject.name} has no expression map to probe")
    untrained = subject.untrained(seed)

    def encoders(floor_faces: NDArray[np.uint8]) -> dict[str, Encode]:
        size = min(_MAP_FLOOR_SIZE, len(floor_faces) // 2)
        return {
            subject.name: subject.model.expression_map,
            f"{subject.name}, untrained": untrained.expression_map,
            f"pixel PCA, {size}": fit_pixel_pca(floor_faces, size, seed),
        }

    tables = []
    for name in _suitable(folders, ("rafdb", "fer2013", "ferplus"), "expression-map-probe"):
        found = _probe(subject, name, folders[name], encoders, _MAP_FACE_SIZE, seed)
        tables += [
            replace(table, protocol=table.protocol.replace("probe", "map probe", 1))
            for table in found
        ]
    return tables


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
    chosen = np.random.default_rng(seed).permutation(len(cut_train.faces))[:_FLOOR_FACES]
    tables = []
    for title, encode in encoders(np.asarray(cut_train.faces)[np.sort(chosen)]).items():
        codes = encode_faces(encode, cut_train.faces)
        test_codes = encode_faces(encode, cut_test.faces)
        for recipe in ("standardised", "published"):
            try:
                table = expression_probe(
                    codes, train_labels, test_codes, test_labels, name, recipe, seed, title
                )
            except ValueError:  # the published rate diverges on codes of another scale
                continue
            tables.append(replace(table, split_hash=split_hash([*train, *test])))
    return tables


def _head_pose(subject: Subject, folders: Mapping[str, Path], seed: int) -> list[ResultTable]:
    """Linear regression of yaw, pitch and roll on the expression code."""
    tables = []
    for name in _suitable(folders, ("poses",), "head-pose"):
        records, angles = read_poses(folders[name])
        cut = subject.cut(records)
        kept = dict(zip(records, angles, strict=True))
        found = np.array([kept[record] for record in cut.records])
        train = np.array([record.split == "train" for record in cut.records])
        faces = np.asarray(cut.faces)
        for title, encode in subject.encoders("expression", faces[train], seed).items():
            codes = encode_faces(encode, faces)
            table = head_pose_probe(
                codes[train], found[train], codes[~train], found[~train], name, seed, title
            )
            tables.append(replace(table, split_hash=split_hash(records)))
    return tables


def _verification(subject: Subject, folders: Mapping[str, Path], seed: int) -> list[ResultTable]:
    """Same person or not, by cosine of identity codes, on LFW's pairs."""
    tables = []
    for name in _suitable(folders, ("lfw",), "verification"):
        pairs = read_pairs(folders[name])
        records = list(dict.fromkeys(record for pair in pairs for record in pair[:2]))
        cut = subject.cut(records)
        if cut.failures:
            path, reason = cut.failures[0]
            raise DataError(f"{path}: {reason}; every photo of the pairs is needed")
        row = {record: index for index, record in enumerate(cut.records)}
        left = [row[pair[0]] for pair in pairs]
        right = [row[pair[1]] for pair in pairs]
        same = [pair[2] for pair in pairs]
        floor_faces = _other_faces(subject, folders, name, seed)
        for title, encode in subject.encoders("identity", floor_faces, seed).items():
            codes = encode_faces(encode, cut.faces)
            table = verification(codes[left], codes[right], same, name, model=title)
            tables.append(replace(table, split_hash=split_hash(records), seed=seed))
    return tables


def _other_faces(
    subject: Subject, folders: Mapping[str, Path], name: str, seed: int
) -> NDArray[np.uint8] | None:
    """Faces to fit the pixel floor on, from a data set other than the tested one."""
    for other, folder in folders.items():
        if other != name:
            train, _ = hold_out_people(READERS[other](folder))
            train = [record for record in train if record.split in (None, "train")]
            chosen = np.random.default_rng(seed).permutation(len(train))[:_FLOOR_FACES]
            return np.asarray(subject.cut([train[i] for i in sorted(chosen)]).faces)
    return None


@torch.inference_mode()
def _neutral(subject: Subject, folders: Mapping[str, Path], seed: int) -> list[ResultTable]:
    """Neutral faces of held-out people: two photos of one person against two people."""
    tables = []
    for name in _suitable(folders, ("celeba", "lfw", "clips"), "neutral-consistency"):
        _, held_out = hold_out_people(READERS[name](folders[name]))
        cut = subject.cut(held_out)
        faces = torch.from_numpy(np.array(cut.faces)).permute(0, 3, 1, 2).float() / 255
        neutral = torch.cat([_neutralise(subject.model, part) for part in torch.split(faces, 64)])
        names = [str(record.subject) for record in cut.records]
        table = neutral_consistency(neutral, faces, names, name, subject.name)
        tables.append(replace(table, split_hash=split_hash(held_out)))
    return tables


def _neutralise(model: Any, faces: Tensor) -> Tensor:
    codes = model.encode(faces)
    neutral: Tensor = model.decode(editing.set_strength(codes, model, "expression", 0.0))
    return neutral


@torch.inference_mode()
def _motion(subject: Subject, folders: Mapping[str, Path], seed: int) -> list[ResultTable]:
    """Mean |flow| that neutralising asks for, on test faces that are not neutral."""
    model, tables = subject.model, []
    for name in _suitable(folders, ("rafdb", "fer2013", "ferplus"), "motion"):
        test = of_split(labelled(READERS[name](folders[name])), "test")
        cut = subject.cut([record for record in test if record.expression != "neutral"])
        faces = torch.from_numpy(np.array(cut.faces)).permute(0, 3, 1, 2).float() / 255
        flows = []
        for part in torch.split(faces, 128):
            codes = model.encode(part)
            after = editing.set_strength(codes, model, "expression", 0.0)
            flows.append(model.edit_flow(codes, after))
        size = subject.header.spec.image_size
        table = motion(torch.cat(flows), size, f"{name} test, not neutral", subject.name)
        tables.append(replace(table, split_hash=split_hash(cut.records)))
    return tables


PROTOCOLS: dict[str, Callable[[Subject, Mapping[str, Path], int], list[ResultTable]]] = {
    "expression-probe": _expression,
    "expression-map-probe": _expression_map,
    "head-pose": _head_pose,
    "verification": _verification,
    "neutral-consistency": _neutral,
    "motion": _motion,
}


def _suitable(folders: Mapping[str, Path], wanted: Sequence[str], protocol: str) -> list[str]:
    found = [name for name in folders if name in wanted]
    if not found:
        raise FaceFactorError(
            f"{protocol} needs one of the data sets {', '.join(wanted)}; "
            f"got {', '.join(folders) or 'none'} (--dataset NAME=FOLDER)"
        )
    return found
