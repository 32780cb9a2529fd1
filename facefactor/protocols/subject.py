"""What is under test: the model, what it was trained on, and the floors it is compared with."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from facefactor import checkpoints
from facefactor.checkpoints import CheckpointHeader
from facefactor.data.crops import CroppedFaces, crop_faces, detector_for
from facefactor.data.readers import read_pairs
from facefactor.data.records import DataError, FaceRecord
from facefactor.errors import FaceFactorError
from facefactor.evaluation.floors import pixel_floor
from facefactor.evaluation.tables import ResultTable
from facefactor.factors import FactorName, encode_code
from facefactor.images import Photo
from facefactor.methods import METHODS
from facefactor.nn.inference import quicken

CACHE = Path(".cache") / "faces"
FLOOR_FACES = 6000  # enough for 256 components; more only takes longer
Encode = Callable[[Tensor], Tensor]
Item = TypeVar("Item")

# Presets that are a method of their own in its paper's tables.
_TITLES = {
    ("facecycle", "paper-moco"): "moco",
    ("facecycle", "small-moco"): "moco",
    ("ipdfer", "paper-id"): "id-fer",
    ("ipdfer", "small-id"): "id-fer",
    ("ipdfer", "paper-baseline"): "baseline",
    ("ipdfer", "small-baseline"): "baseline",
}


@dataclass(frozen=True)
class Findings:
    """What a protocol gives: tables, and pictures by the names of their files."""

    tables: list[ResultTable] = field(default_factory=list)
    pictures: Mapping[str, Photo] = field(default_factory=dict)


class Subject:
    """The model under test, with the floors it is compared with.

    `name` is that of the method, or of the row its preset has in the paper's tables ("id-fer",
    "baseline"); `trained_on` the data sets (readers) that a run's folder names beside its weights,
    empty where it is not known; `morphable` the file of a morphable model, for protocols that need
    one; `parameters` and `stored_numbers` count those of the weights as they are trained and kept.
    """

    def __init__(self, path: Path, cache: Path, morphable: Path | None = None) -> None:
        self.header = checkpoints.read_header(path)
        built = checkpoints.build_model(path)
        self.parameters = sum(weight.numel() for weight in built.parameters())
        self.stored_numbers = sum(tensor.numel() for tensor in built.state_dict().values())
        self.model: Any = quicken(built)
        self.name = model_title(self.header)
        self.trained_on = _trained_on(path)
        self.cache = cache
        self.morphable = morphable

    def cut(
        self, records: Sequence[FaceRecord], size: int | None = None, crop: str | None = None
    ) -> CroppedFaces:
        """Faces of `records` in the model's crop, at its own size, or in others."""
        spec = self.header.spec
        return cut_faces(records, crop or spec.crop, size or spec.image_size, self.cache)

    def encoders(
        self, factor: FactorName, floor_faces: NDArray[np.uint8] | None, seed: int
    ) -> dict[str, Encode]:
        """Name -> encoder of one factor: the model, itself untrained, and the pixel floor."""
        size = int(np.prod(self.header.spec.factors[factor].shape))
        untrained = self.untrained(seed)
        encoders: dict[str, Encode] = {
            self.name: lambda faces: encode_code(self.model, faces, factor),
            f"{self.name}, untrained": lambda faces: encode_code(untrained, faces, factor),
        }
        if floor_faces is not None:
            floor = pixel_floor(floor_faces, size, seed)
            encoders[floor.title] = floor
        return encoders

    def untrained(self, seed: int) -> Any:
        """The model as its recipe initialises it."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            recipe = checkpoints.build_recipe(self.header)
            return quicken(METHODS[self.header.method].build(recipe).eval())


def cut_faces(records: Sequence[FaceRecord], crop: str, size: int, cache: Path) -> CroppedFaces:
    """Faces in a named crop; the detector finds those whose place the data set does not tell."""
    return crop_faces(records, crop, size, cache, detector_for(records))


@dataclass(frozen=True, eq=False)
class Pairs:
    """Pairs of photos, each photo cut once."""

    cut: CroppedFaces
    left: list[int]  # rows of `cut`, of each pair's first photo
    right: list[int]
    same: list[bool]  # whether a pair shows one person


def cut_pairs(folder: Path, cut: Callable[[Sequence[FaceRecord]], CroppedFaces]) -> Pairs:
    """LFW's pairs, in their order; DataError where a photo's face cannot be cut."""
    pairs = read_pairs(folder)
    faces = cut(list(dict.fromkeys(record for pair in pairs for record in pair[:2])))
    if faces.failures:
        path, reason = faces.failures[0]
        raise DataError(f"{path}: {reason}; every photo of the pairs is needed")
    row = {record: index for index, record in enumerate(faces.records)}
    left, right, same = zip(*((row[a], row[b], same) for a, b, same in pairs), strict=True)
    return Pairs(faces, list(left), list(right), list(same))


def model_title(header: CheckpointHeader) -> str:
    """What tables call the weights: the method or its published variant, less what was left out.

    A loss that the preset has and the recipe weighs by zero is named, as in "ipdfer without
    confusion": published figures are those of the whole method.
    """
    title = _TITLES.get((header.method, header.preset), header.method)
    preset = getattr(METHODS[header.method].PRESETS.get(header.preset), "weights", None)
    weights = header.recipe.get("weights") or {}
    left_out = [name for name, weight in weights.items() if getattr(preset, name, 0) and not weight]
    return f"{title} without {' and '.join(left_out)}" if left_out else title


def suitable(folders: Mapping[str, Path], wanted: Sequence[str], protocol: str) -> list[str]:
    """The data sets given that a protocol can use; FaceFactorError where there are none."""
    found = [name for name in folders if name in wanted]
    if not found:
        raise FaceFactorError(
            f"{protocol} needs one of the data sets {', '.join(wanted)}; "
            f"got {', '.join(folders) or 'none'} (--dataset NAME=FOLDER)"
        )
    return found


def some(records: Sequence[Item], count: int, seed: int) -> list[Item]:
    """At most `count` of the records (or whatever else), chosen by the seed, in their order."""
    chosen = np.random.default_rng(seed).permutation(len(records))[:count]
    return [records[place] for place in sorted(chosen)]


def _trained_on(weights: Path) -> tuple[str, ...]:
    """The data sets in the settings that training leaves beside its weights."""
    try:
        settings = json.loads((weights.parent / "settings.json").read_text(encoding="utf-8"))
        return tuple(settings["data"])
    except (OSError, ValueError, KeyError, TypeError):
        return ()  # weights that were copied away from their run
