"""One training run: data and settings in, a weights file out."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from lightning import Callback
from safetensors.torch import save_file
from torch import nn
from torch.utils.data import Dataset

from facefactor import checkpoints
from facefactor.checkpoints import CheckpointHeader
from facefactor.data.fitted import FittedFaces
from facefactor.data.held_out import TRAINED_PEOPLE
from facefactor.data.records import FaceRecord, split_hash
from facefactor.data.rendered import RenderedFaces
from facefactor.data.samples import FacePairs, LabelledFaces
from facefactor.files import atomic_path, file_hash
from facefactor.instruments import INSTRUMENTS
from facefactor.methods import METHODS
from facefactor.perception.state_dicts import read_state_dict
from facefactor.stages import Stage
from facefactor.training.monitor import SampleSheets, Validation
from facefactor.training.neutrals import neutralised_samples, read_neutraliser
from facefactor.training.processes import is_first, join_others, wait_for_others
from facefactor.training.run import (
    TrainingError,
    refuse_other_settings,
    run_stages,
    sole_run,
)
from facefactor.training.sources import (
    TrainingFaces,
    check_landmarks,
    check_sources,
    fitted_labels,
    make_renderer,
    read_model,
    rendered_only,
    training_faces,
    validation_rows,
    variety,
)
from facefactor.training.targets import check_normalized, normalized_samples, normalized_targets

__all__ = ["CACHE", "TrainingFaces", "change_settings", "train", "training_faces"]

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
    landmarks: Path | None = None,
    recogniser: Path | None = None,
    validation: float = 0.0,
    morphable: Path | None = None,
    cache: Path = CACHE,
) -> Path:
    """Train `method` on folders of faces; called again with the same arguments it continues.

    Started by torchrun, several processes share each batch: see `training.processes`.

    Args:
        method: of METHODS, or one of the INSTRUMENTS.
        data: reader name (`data.readers.READERS`) -> folder; none where all is learnt from
            rendered faces.
        output: folder for progress, logs, sample sheets and `model.safetensors`.
        changes: recipe settings by (dotted) name; "expression.gram" -> "0.1".
        fresh: forget an earlier run in `output`.
        start_from: weights of the same sizes to begin with, instead of random ones. Where the run
            that made them left its progress files beside them, critics and the like go on, too.
        recogniser: weights file of a face recogniser, for methods that begin with one.
        landmarks: folder of `<data set>.npz` with 68 landmarks a photo (`data.landmarks`).
        validation: share of the photos with an expression that are not trained on; how many of
            them are recognised is logged, and written to `validation.json`, ten times a stage.
        morphable: file of a morphable model (`geometry.morphable`), for methods that learn from
            one fitted to their faces, or from its rendered faces; beside photos or instead of them
            where a method takes either.

    Returns:
        The weights file.

    Raises:
        TrainingError: unknown method, preset or setting; another process trains into `output`, or
            an earlier run with other settings did; nothing to learn from, or something that would
            not be looked at.
        DataError: the folders are not what their readers expect.
        InstrumentError: a frozen network the losses need is not at hand.
        MorphableModelError: `morphable` is no such file.
    """
    join_others()
    if not is_first():
        wait_for_others()  # until the first has cut the faces, which are then read
    trainable = {**METHODS, **INSTRUMENTS}
    if method not in trainable:
        raise TrainingError(f"no method {method!r}; there are {', '.join(trainable)}")
    recipes = trainable[method]
    if preset not in recipes.PRESETS:
        raise TrainingError(f"{method} has no preset {preset!r}; it has {list(recipes.PRESETS)}")
    recipe = change_settings(recipes.PRESETS[preset], changes or {})
    instrument = recipes.load_instrument(recipe)
    torch.manual_seed(seed)  # initial weights
    model = recipes.begin(recipe, recogniser)
    begun = ""
    if start_from is not None:
        begun = _begin_with(model, start_from, is_instrument=method in INSTRUMENTS)
    spec = getattr(model, "spec", None)  # an instrument has none: it separates nothing
    wanted = spec or model
    stages = recipes.stages(recipe, model, instrument)
    check_sources(method, preset, stages, data, landmarks)
    check_normalized(method, recipe, stages, data, morphable)
    neutralising = read_neutraliser(method, recipe, stages, wanted)
    shown = read_model(method, recipe, stages, morphable)
    renderer = make_renderer(stages, shown, morphable, wanted)
    if data:
        known = training_faces(data, wanted.crop, wanted.image_size, cache, landmarks)
    else:
        assert renderer is not None  # no other stage does without photos
        known = rendered_only(renderer, stages, wanted, seed)
    kept_out = validation_rows(method, model, known.records, validation)
    choosing, known = known.part(kept_out), known.part(~kept_out)
    check_landmarks(method, stages, known.landmarks, landmarks)
    labels, shapes = fitted_labels(stages, known, shown, cache / "labels")
    if shapes is not None:
        model.set_mean_face(shapes.neutral, shapes.landmarks68)
    who = normalized_targets(stages, known, wanted, cache)
    neutrals = neutralising.of(known, cache / "labels") if neutralising else None
    settings = {
        "method": method,
        "recipe": dataclasses.asdict(recipe),
        "start_from": begun,
        **({"begun_beside": beside} if (beside := _progress_beside(start_from)) else {}),
        "recogniser": file_hash(recogniser) if recogniser else "",
        "landmarks": hashlib.sha256(known.landmarks.tobytes()).hexdigest() if landmarks else "",
        **({"morphable": file_hash(morphable)} if morphable else {}),
        **({"targets": hashlib.sha256(who.guides.tobytes()).hexdigest()} if who else {}),
        **({"neutraliser": neutralising.sha256} if neutralising else {}),
        **({"validation": validation} if validation else {}),
        "data": {name: split_hash(part) for name, part in _by_name(data, known.records).items()},
    }

    def samples(stage: Stage) -> Dataset[Any]:
        if stage.samples == "labelled":
            return LabelledFaces(
                known.faces, known.records, stage.batch_size, seed, known.landmarks
            )
        if stage.samples == "fitted":
            assert labels is not None and shapes is not None
            return FittedFaces(known.faces, labels, shapes, stage.batch_size, seed)
        if stage.samples == "rendered":
            assert renderer is not None
            return RenderedFaces(
                renderer, TRAINED_PEOPLE, stage.batch_size, seed, **variety(wanted)
            )
        if stage.samples == "normalized":
            return normalized_samples(known, who, renderer, stage.batch_size, seed, recipe)
        if stage.samples == "neutralised":
            assert neutrals is not None
            return neutralised_samples(neutrals, renderer, stage.batch_size, seed, recipe)
        pairs = stage.batch_size // 2
        if stage.samples == "faces":
            return FacePairs(known.faces, known.records, pairs, seed, strangers=True)
        return FacePairs(known.faces, known.records, pairs, seed, clip_share=recipe.clip_share)

    def watch(stage: Stage, start: int) -> list[Callback]:
        watchers: list[Callback] = []
        if spec:  # an instrument draws nothing
            watchers.append(SampleSheets(output / "samples", known.held_out, stage, start))
        if len(choosing.faces):
            labels = [str(record.expression) for record in choosing.records]
            file = output / "validation.json"
            watchers.append(Validation(file, choosing.faces, labels, stage, start))
        return watchers

    path = output / "model.safetensors"
    with sole_run(output) if is_first() else nullcontext():  # it alone writes
        if is_first():
            if fresh:
                _forget_run(output)
            refuse_other_settings(output, {**settings, "seed": seed})
            _write_json(output / "settings.json", {**settings, "preset": preset, "seed": seed})
            wait_for_others()
        run_stages(
            stages,
            samples,
            output,
            seed,
            settings,
            callbacks=watch,
            precision="bf16-mixed" if _has_bf16() else "32-true",
            earlier=start_from.parent if start_from else None,
        )
        if is_first():
            _save(path, method, preset, recipe, model, stages)
    return path


def _forget_run(output: Path) -> None:
    for old in output.glob("progress-*.safetensors"):
        old.unlink()
    (output / "validation.json").unlink(missing_ok=True)


def _save(
    path: Path, method: str, preset: str, recipe: Any, model: nn.Module, stages: Sequence[Stage]
) -> None:
    """The weights file of a model, or of an instrument."""
    seen = {stage.name: stage.steps * stage.batch_size for stage in stages}
    settled = json.loads(json.dumps(dataclasses.asdict(recipe)))
    spec = getattr(model, "spec", None)
    if spec:
        header = CheckpointHeader(method, preset, settled, spec, seen)
        checkpoints.save(path, model.state_dict(), header)
        return
    described = {"network": method, "preset": preset, "recipe": settled, "seen": seen}
    tensors = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    with atomic_path(path) as temporary:
        save_file(tensors, temporary, {"facefactor": json.dumps(described)})


def _progress_beside(weights: Path | None) -> list[str]:
    """Hashes of the progress files of the run that made the weights, where they are still there."""
    files = sorted(weights.parent.glob("progress-*.safetensors")) if weights else []
    return [file_hash(file) for file in files]


def _begin_with(model: nn.Module, path: Path, is_instrument: bool) -> str:
    """Fill `model` with the weights in a file; the file's hash."""
    if is_instrument:
        checkpoints.fill(model, read_state_dict(path), path)
        return file_hash(path)
    header, tensors = checkpoints.load(path)
    checkpoints.fill(model, tensors, path)
    return header.sha256


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
