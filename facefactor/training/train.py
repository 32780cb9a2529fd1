"""One training run: data and settings in, a weights file out."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from facefactor import checkpoints
from facefactor.checkpoints import CheckpointHeader
from facefactor.data.crops import crop_faces
from facefactor.data.held_out import hold_out_people
from facefactor.data.readers import READERS
from facefactor.data.records import DataError, FaceRecord, split_hash
from facefactor.data.samples import FacePairs
from facefactor.files import atomic_path
from facefactor.methods import METHODS
from facefactor.perception.instruments import feature_network
from facefactor.stages import Stage
from facefactor.training.monitor import SampleSheets
from facefactor.training.run import TrainingError, run_stages

CACHE = Path(".cache") / "faces"


def train(
    method: str,
    data: Mapping[str, Path],
    output: Path,
    preset: str = "small",
    changes: Mapping[str, str] | None = None,
    seed: int = 0,
    fresh: bool = False,
    start_from: Path | None = None,
    cache: Path = CACHE,
) -> Path:
    """Train `method` on folders of faces; called again with the same arguments it continues.

    Args:
        data: reader name (`data.readers.READERS`) -> folder.
        output: folder for progress, logs, sample sheets and `model.safetensors`.
        changes: recipe settings by (dotted) name; "expression.gram" -> "0.1".
        fresh: forget an earlier run in `output`.
        start_from: weights of the same sizes to begin with, instead of random ones.

    Returns:
        The weights file.

    Raises:
        TrainingError: unknown method, preset or setting; an earlier run with other settings.
        DataError: the folders are not what their readers expect.
        InstrumentError: a frozen network the losses need is not at hand.
    """
    if method not in METHODS:
        raise TrainingError(f"no method {method!r}; there are {', '.join(METHODS)}")
    recipes = METHODS[method]
    if preset not in recipes.PRESETS:
        raise TrainingError(f"{method} has no preset {preset!r}; it has {list(recipes.PRESETS)}")
    recipe = change_settings(recipes.PRESETS[preset], changes or {})
    instrument = feature_network(recipe.instrument)
    torch.manual_seed(seed)  # initial weights
    model = recipes.build(recipe)
    begun = ""
    if start_from is not None:
        header, tensors = checkpoints.load(start_from)
        checkpoints.fill(model, tensors, start_from)
        begun = header.sha256
    faces, records, held_out = training_faces(data, model.spec.crop, model.spec.image_size, cache)
    if fresh:
        for old in output.glob("progress-*.safetensors"):
            old.unlink()
    settings = {
        "method": method,
        "recipe": dataclasses.asdict(recipe),
        "start_from": begun,
        "data": {name: split_hash(part) for name, part in _by_name(data, records).items()},
    }
    output.mkdir(parents=True, exist_ok=True)
    _write_json(output / "settings.json", {**settings, "preset": preset, "seed": seed})

    def samples(stage: Stage) -> FacePairs:
        return FacePairs(
            faces, records, stage.batch_size // 2, seed, strangers=stage.samples == "faces"
        )

    stages = recipes.stages(recipe, model, instrument)
    run_stages(
        stages,
        samples,
        output,
        seed,
        settings,
        callbacks=lambda stage, start: [SampleSheets(output / "samples", held_out, stage, start)],
        precision="bf16-mixed" if _has_bf16() else "32-true",
    )
    path = output / "model.safetensors"
    header = CheckpointHeader(
        method=method,
        preset=preset,
        recipe=json.loads(json.dumps(dataclasses.asdict(recipe))),
        spec=model.spec,
        seen={stage.name: stage.steps * stage.batch_size for stage in stages},
    )
    checkpoints.save(path, model.state_dict(), header)
    return path


def change_settings(recipe: Any, changes: Mapping[str, str]) -> Any:
    """A copy of a recipe with settings replaced; values are read as the type they replace.

    Raises:
        TrainingError: no such setting, or a value of another type.
    """
    for name, text in changes.items():
        head, _, rest = name.partition(".")
        known = {field.name for field in dataclasses.fields(recipe)}
        if head not in known:
            raise TrainingError(f"no setting {name!r}; there are {', '.join(sorted(known))}")
        old = getattr(recipe, head)
        if rest:
            if not dataclasses.is_dataclass(old):
                raise TrainingError(f"setting {head!r} has no part {rest!r}")
            new = change_settings(old, {rest: text})
        else:
            new = _read_as(old, text, name)
        recipe = dataclasses.replace(recipe, **{head: new})
    return recipe


def training_faces(
    data: Mapping[str, Path], crop: str, size: int, cache: Path
) -> tuple[NDArray[np.uint8], list[FaceRecord], NDArray[np.uint8]]:
    """Faces to train on, their records, and faces of held-out people.

    Test parts of a data set stay out, and so does a tenth of the people where people are known.

    Returns:
        (N, S, S, 3) uint8, N records, (M, S, S, 3) uint8 (of the first set; may be empty).
    """
    detector = None
    faces, records, held_out = [], [], np.empty((0, size, size, 3), np.uint8)
    for name, folder in data.items():
        if name not in READERS:
            raise DataError(f"no reader {name!r}; there are {', '.join(READERS)}")
        listed = [record for record in READERS[name](folder) if record.split in (None, "train")]
        if detector is None and any(record.points is None for record in listed):
            from facefactor.perception.mtcnn import FaceDetector

            detector = FaceDetector()
        cut = crop_faces(listed, crop, size, cache, detector.detect if detector else None)
        kept, people = hold_out_people(cut.records)
        strangers = set(people)
        rows = np.array([record not in strangers for record in cut.records])
        faces.append(np.asarray(cut.faces)[rows])
        records += kept
        if people and not len(held_out):
            held_out = np.asarray(cut.faces)[~rows][:64]
    return np.concatenate(faces), records, held_out


def _by_name(data: Mapping[str, Path], records: Sequence[FaceRecord]) -> dict[str, Any]:
    return {
        name: [record for record in records if record.path.is_relative_to(folder)]
        for name, folder in data.items()
    }


def _read_as(old: Any, text: str, name: str) -> Any:
    try:
        value = text if isinstance(old, str) else json.loads(text)
        if isinstance(old, tuple):
            value = tuple(value)
        if type(old) is float and type(value) is int:
            value = float(value)
    except ValueError as error:
        raise TrainingError(f"{name}={text}: not a {type(old).__name__} like {old!r}") from error
    if type(value) is not type(old):
        raise TrainingError(f"{name}={text}: not a {type(old).__name__} like {old!r}")
    return value


def _write_json(path: Path, value: Any) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2, default=str) + "\n", encoding="utf-8")


def _has_bf16() -> bool:
    """Whether bf16 arithmetic is native here; emulated it is slower than float32."""
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported()
    return bool(torch.cpu._is_avx512_bf16_supported())
