"""One training run: data and settings in, a weights file out."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning import Callback
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import nn
from torch.utils.data import Dataset

from facefactor import checkpoints
from facefactor.checkpoints import CheckpointHeader
from facefactor.data.crops import crop_faces
from facefactor.data.fitted import FittedFaces
from facefactor.data.held_out import hold_out_people, hold_out_photos
from facefactor.data.landmarks import crop_landmarks, landmarks_file, read_landmarks
from facefactor.data.pseudolabels import PseudoLabels, pseudo_labels
from facefactor.data.readers import READERS
from facefactor.data.records import DataError, FaceRecord, split_hash
from facefactor.data.samples import FacePairs, LabelledFaces
from facefactor.data.synthetic import FaceRenderer, RenderedFaces, synthetic_faces
from facefactor.factors import ModelSpec
from facefactor.files import atomic_path
from facefactor.geometry.morphable import MorphableModel, MorphableModelError, read_morphable
from facefactor.geometry.uv_grid import resample
from facefactor.instruments import INSTRUMENTS
from facefactor.methods import METHODS
from facefactor.perception.state_dicts import read_state_dict
from facefactor.stages import Stage
from facefactor.training.monitor import SampleSheets, Validation
from facefactor.training.run import TrainingError, run_stages

logger = logging.getLogger(__name__)

CACHE = Path(".cache") / "faces"
_PEOPLE = 10_000  # whose faces are rendered; those of higher numbers are held out


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

    Args:
        method: of METHODS, or one of the INSTRUMENTS.
        data: reader name (`data.readers.READERS`) -> folder; none for a preset that learns from
            rendered faces.
        output: folder for progress, logs, sample sheets and `model.safetensors`.
        changes: recipe settings by (dotted) name; "expression.gram" -> "0.1".
        fresh: forget an earlier run in `output`.
        start_from: weights of the same sizes to begin with, instead of random ones.
        recogniser: weights file of a face recogniser, for methods that begin with one.
        landmarks: folder of `<data set>.npz` with 68 landmarks a photo (`data.landmarks`).
        validation: share of the photos with an expression that are not trained on; how many of
            them are recognised is logged, and written to `validation.json`, ten times a stage.
        morphable: file of a morphable model (`geometry.morphable`), for methods that learn from
            one fitted to their faces, or from its rendered faces.

    Returns:
        The weights file.

    Raises:
        TrainingError: unknown method, preset or setting; an earlier run with other settings;
            nothing to learn from, or something that would not be looked at.
        DataError: the folders are not what their readers expect.
        InstrumentError: a frozen network the losses need is not at hand.
        MorphableModelError: `morphable` is no such file.
    """
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
    _check_sources(method, preset, stages, data, landmarks)
    shown = _read_model(method, recipe, stages, morphable)
    renderer = _renderer(stages, shown, morphable, wanted)
    if data:
        known = training_faces(data, wanted.crop, wanted.image_size, cache, landmarks)
    else:
        assert renderer is not None  # no other stage does without photos
        known = _no_photos(renderer, wanted, seed)
    kept_out = _validation_rows(method, model, known.records, validation)
    choosing, known = known.part(kept_out), known.part(~kept_out)
    _check_landmarks(method, stages, known.landmarks, landmarks)
    labels, shapes = _fitted(stages, known, shown, cache / "labels")
    if shapes is not None:
        model.set_mean_face(shapes.neutral, shapes.landmarks68)
    if fresh:
        for old in output.glob("progress-*.safetensors"):
            old.unlink()
        (output / "validation.json").unlink(missing_ok=True)
    settings = {
        "method": method,
        "recipe": dataclasses.asdict(recipe),
        "start_from": begun,
        "recogniser": _hash(recogniser) if recogniser else "",
        "landmarks": hashlib.sha256(known.landmarks.tobytes()).hexdigest() if landmarks else "",
        **({"morphable": _hash(morphable)} if morphable else {}),
        **({"validation": validation} if validation else {}),
        "data": {name: split_hash(part) for name, part in _by_name(data, known.records).items()},
    }
    output.mkdir(parents=True, exist_ok=True)
    _write_json(output / "settings.json", {**settings, "preset": preset, "seed": seed})

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
            return RenderedFaces(renderer, _PEOPLE, stage.batch_size, seed, **_variety(wanted))
        strangers = stage.samples == "faces"
        return FacePairs(
            known.faces, known.records, stage.batch_size // 2, seed, strangers=strangers
        )

    def watch(stage: Stage, start: int) -> list[Callback]:
        watchers: list[Callback] = []
        if spec:  # an instrument draws nothing
            watchers.append(SampleSheets(output / "samples", known.held_out, stage, start))
        if len(choosing.faces):
            labels = [str(record.expression) for record in choosing.records]
            file = output / "validation.json"
            watchers.append(Validation(file, choosing.faces, labels, stage, start))
        return watchers

    run_stages(
        stages,
        samples,
        output,
        seed,
        settings,
        callbacks=watch,
        precision="bf16-mixed" if _has_bf16() else "32-true",
    )
    path = output / "model.safetensors"
    seen = {stage.name: stage.steps * stage.batch_size for stage in stages}
    settled = json.loads(json.dumps(dataclasses.asdict(recipe)))
    if spec:
        header = CheckpointHeader(method, preset, settled, spec, seen)
        checkpoints.save(path, model.state_dict(), header)
    else:
        described = {"network": method, "preset": preset, "recipe": settled, "seen": seen}
        tensors = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
        with atomic_path(path) as temporary:
            save_file(tensors, temporary, {"facefactor": json.dumps(described)})
    return path


def _begin_with(model: nn.Module, path: Path, is_instrument: bool) -> str:
    """Fill `model` with the weights in a file; the file's hash."""
    if is_instrument:
        checkpoints.fill(model, read_state_dict(path), path)
        return _hash(path)
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


@dataclass(frozen=True, eq=False)
class TrainingFaces:
    """What a run trains on, and faces of people it does not train on."""

    faces: NDArray[np.uint8]  # (N, S, S, 3)
    records: list[FaceRecord]  # N
    landmarks: NDArray[np.float32]  # (N, 68, 2) in shares of the side, NaN where unknown
    held_out: NDArray[np.uint8]  # (M, S, S, 3), of the first set with people; may be empty

    def part(self, rows: NDArray[np.bool_]) -> TrainingFaces:
        """The chosen ones of the N; no copy where all are."""
        if rows.all():
            return self
        records = [record for record, chosen in zip(self.records, rows, strict=True) if chosen]
        return TrainingFaces(self.faces[rows], records, self.landmarks[rows], self.held_out)


def training_faces(
    data: Mapping[str, Path], crop: str, size: int, cache: Path, landmarks: Path | None = None
) -> TrainingFaces:
    """Faces to train on, cut from every data set.

    Test parts of a data set stay out, and so does a tenth of the people where people are known.
    """
    detector = None
    faces, records, points = [], [], []
    held_out = np.empty((0, size, size, 3), np.uint8)
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
        records += [_of_data_set(name, record) for record in kept]
        points.append(_landmarks_of(folder, kept, crop, landmarks))
        if people and not len(held_out):
            held_out = np.asarray(cut.faces)[~rows][:64]
    return TrainingFaces(np.concatenate(faces), records, np.concatenate(points), held_out)


def _of_data_set(name: str, record: FaceRecord) -> FaceRecord:
    """Two data sets may number their people alike, so the data set goes with the name."""
    return dataclasses.replace(
        record,
        subject=record.subject and f"{name}/{record.subject}",
        clip=record.clip and f"{name}/{record.clip}",
    )


def _landmarks_of(
    data: Path, records: Sequence[FaceRecord], crop: str, folder: Path | None
) -> NDArray[np.float32]:
    file = landmarks_file(data, folder) if folder else None
    if file is not None:
        return crop_landmarks(records, read_landmarks(file), crop)
    return np.full((len(records), 68, 2), np.nan, np.float32)


def _check_sources(
    method: str,
    preset: str,
    stages: Sequence[Stage],
    data: Mapping[str, Path],
    landmarks: Path | None,
) -> None:
    """TrainingError if there is nothing to learn from, or photos that no stage looks at."""
    if any(stage.samples != "rendered" for stage in stages):
        if not data:
            raise TrainingError(
                f"{method} learns from photos; name a folder of them (--data READER=FOLDER)"
            )
    elif data or landmarks:
        given = f"--data {next(iter(data))}" if data else "--landmarks"
        raise TrainingError(
            f"{method} with the preset {preset} learns from rendered faces only and would not look "
            f"at photos; leave {given} out, or take another preset"
        )


def _read_model(
    method: str, recipe: Any, stages: Sequence[Stage], morphable: Path | None
) -> MorphableModel | None:
    """The morphable model that stages ask for, with as many modes as the recipe says; None if none
    does."""
    kinds = {stage.samples for stage in stages}
    if not kinds & {"fitted", "rendered"}:
        return None
    if morphable is None:
        learns = "a morphable model fitted to its faces"
        if "rendered" in kinds:
            learns = "rendered faces of a morphable model"
        raise TrainingError(
            f"{method} learns from {learns}; name one (--morphable FILE), as `facefactor data "
            "morphable` makes it of a folder of ICT-FaceKit"
        )
    model = read_morphable(morphable)
    for name, modes in (("identity", model.identity), ("expression", model.expression)):
        wanted = getattr(recipe, f"{name}_modes", len(modes))
        if wanted != len(modes):
            raise TrainingError(
                f"{morphable} has {len(modes)} {name} modes and the recipe {wanted}; "
                f"--set {name}_modes={len(modes)}"
            )
    return model


def _renderer(
    stages: Sequence[Stage], model: MorphableModel | None, file: Path | None, spec: ModelSpec
) -> FaceRenderer | None:
    """None if no stage asks for rendered faces; MorphableModelError if the model cannot smile."""
    if model is None or all(stage.samples != "rendered" for stage in stages):
        return None
    try:
        return FaceRenderer(model, spec.crop, spec.image_size)
    except MorphableModelError as error:
        raise MorphableModelError(f"{file}: {error}") from error


def _no_photos(renderer: FaceRenderer, spec: ModelSpec, seed: int) -> TrainingFaces:
    """Nothing to train on, but faces to look at: rendered ones of people who are not trained on."""
    people = range(_PEOPLE, _PEOPLE + 6)
    shown = synthetic_faces(
        renderer, people, ["neutral", "happiness"], seed, plain=True, **_variety(spec)
    )
    size = renderer.image_size
    return TrainingFaces(
        np.empty((0, size, size, 3), np.uint8), [], np.empty((0, 68, 2), np.float32), shown.faces
    )


def _variety(spec: ModelSpec) -> dict[str, bool]:
    """Rendered faces differ in what a model separates: the paper's proof of concept has no light,
    and the first of its two networks no pose (Sec. 4.1, 4.2)."""
    return {"turned": "pose" in spec.factors, "lit": "illumination" in spec.factors}


def _fitted(
    stages: Sequence[Stage], known: TrainingFaces, model: MorphableModel | None, folder: Path
) -> tuple[PseudoLabels | None, MorphableModel | None]:
    """What a morphable model says of the faces, and that model on the grid; None if nobody asks."""
    if model is None or all(stage.samples != "fitted" for stage in stages):
        return None, None
    labels = pseudo_labels(known.faces, known.landmarks, model, folder, _tell_fitted)
    return labels, resample(model)


def _tell_fitted(done: int, total: int) -> None:
    logger.info("fitted %d of %d faces", done, total)


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _check_landmarks(
    method: str, stages: Sequence[Stage], known: NDArray[np.float32], folder: Path | None
) -> None:
    """TrainingError if landmarks are asked for, or a stage lives on them, and no face has any."""
    if not np.isnan(known).all():
        return
    advice = "name a folder with a DATASET.npz for at least one data set (--landmarks DIR)"
    if folder is not None:
        raise TrainingError(f"{folder} has landmarks of none of the data sets; {advice}")
    if any(stage.needs_landmarks for stage in stages):
        raise TrainingError(
            f"{method} learns from 68 landmarks a photo and none are given; {advice}"
        )


def _validation_rows(
    method: str, model: nn.Module, records: Sequence[FaceRecord], share: float
) -> NDArray[np.bool_]:
    """(N,) which photos to score; TrainingError where there is nothing to score, or no share."""
    if not 0 <= share < 1:
        raise TrainingError(f"a validation share of {share}; it must be at least 0 and below 1")
    rows = hold_out_photos(records, share)
    if not share:
        return rows
    if not hasattr(model, "expression_probabilities"):
        raise TrainingError(f"{method} recognises no expressions; train it without validation")
    if not rows.any():
        raise TrainingError(
            "no photo to validate by: none of unknown people has an expression, or the share is "
            "too small"
        )
    return rows


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
