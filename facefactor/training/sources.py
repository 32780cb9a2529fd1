"""What a training run learns from: photos of data sets, what is known of them, rendered faces."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from facefactor.data.crops import crop_faces, detector_for
from facefactor.data.held_out import TRAINED_PEOPLE, hold_out_people, hold_out_photos
from facefactor.data.landmarks import crop_landmarks, landmarks_file, read_landmarks
from facefactor.data.pseudolabels import PseudoLabels, pseudo_labels
from facefactor.data.readers import READERS
from facefactor.data.records import DataError, FaceRecord
from facefactor.data.synthetic import FaceRenderer, synthetic_faces
from facefactor.factors import ModelSpec
from facefactor.geometry.morphable import MorphableModel, naming, read_morphable
from facefactor.geometry.uv_grid import resample
from facefactor.stages import Stage
from facefactor.training.run import TrainingError

logger = logging.getLogger(__name__)

_RENDERED = {"rendered", "normalized", "neutralised"}  # kinds of samples that can be, or must be


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
    faces, records, points = [], [], []
    held_out = np.empty((0, size, size, 3), np.uint8)
    for name, folder in data.items():
        if name not in READERS:
            raise DataError(f"no reader {name!r}; there are {', '.join(READERS)}")
        listed = [record for record in READERS[name](folder) if record.split in (None, "train")]
        cut = crop_faces(listed, crop, size, cache, detector_for(listed))
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


def check_sources(
    method: str,
    preset: str,
    stages: Sequence[Stage],
    data: Mapping[str, Path],
    landmarks: Path | None,
) -> None:
    """TrainingError if there is nothing to learn from, or photos that no stage looks at."""
    kinds = {stage.samples for stage in stages}
    if kinds == {"rendered"} and (data or landmarks):
        given = f"--data {next(iter(data))}" if data else "--landmarks"
        raise TrainingError(
            f"{method} with the preset {preset} learns from rendered faces only and would not look "
            f"at photos; leave {given} out, or take another preset"
        )
    if kinds - {"rendered", "normalized"} and not data:
        raise TrainingError(
            f"{method} learns from photos; name a folder of them (--data READER=FOLDER)"
        )


def read_model(
    method: str, recipe: Any, stages: Sequence[Stage], morphable: Path | None
) -> MorphableModel | None:
    """The morphable model that stages ask for, with as many modes as the recipe says; None if none
    does."""
    kinds = {stage.samples for stage in stages}
    if not kinds & {"fitted", *_RENDERED}:
        return None
    if morphable is None and not kinds & {"fitted", "rendered"}:
        return None  # photos alone will do
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


def make_renderer(
    stages: Sequence[Stage], model: MorphableModel | None, file: Path | None, spec: ModelSpec
) -> FaceRenderer | None:
    """None if no stage asks for rendered faces; MorphableModelError if the model cannot smile."""
    if model is None or not {stage.samples for stage in stages} & _RENDERED:
        return None
    with naming(file):
        return FaceRenderer(model, spec.crop, spec.image_size)


def rendered_only(
    renderer: FaceRenderer, stages: Sequence[Stage], spec: ModelSpec, seed: int
) -> TrainingFaces:
    """Nothing to train on, but faces to look at: rendered ones of people who are not trained on."""
    people = range(TRAINED_PEOPLE, TRAINED_PEOPLE + 6)
    varied = variety(spec)
    if any(stage.samples == "normalized" for stage in stages):
        varied = {"turned": True, "lit": True}  # it is what the model takes out
    shown = synthetic_faces(renderer, people, ["neutral", "happiness"], seed, plain=True, **varied)
    size = renderer.image_size
    return TrainingFaces(
        np.empty((0, size, size, 3), np.uint8), [], np.empty((0, 68, 2), np.float32), shown.faces
    )


def variety(spec: ModelSpec) -> dict[str, bool]:
    """Rendered faces differ in what a model separates: the paper's proof of concept has no light,
    and the first of its two networks no pose (Sec. 4.1, 4.2)."""
    return {"turned": "pose" in spec.factors, "lit": "illumination" in spec.factors}


def fitted_labels(
    stages: Sequence[Stage], known: TrainingFaces, model: MorphableModel | None, folder: Path
) -> tuple[PseudoLabels | None, MorphableModel | None]:
    """What a morphable model says of the faces, and that model on the grid; None if nobody asks."""
    if model is None or all(stage.samples != "fitted" for stage in stages):
        return None, None
    labels = pseudo_labels(known.faces, known.landmarks, model, folder, _tell_fitted)
    return labels, resample(model)


def _tell_fitted(done: int, total: int) -> None:
    logger.info("fitted %d of %d faces", done, total)


def check_landmarks(
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


def validation_rows(
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
