"""Faces with their frontal neutral selves, for a training run: found in photos, or rendered."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch.utils.data import Dataset

from facefactor import checkpoints
from facefactor.data.crops import crop_faces, detector_for
from facefactor.data.frontal_neutral import Judges, frontal_neutral, judge_faces
from facefactor.data.held_out import TRAINED_PEOPLE
from facefactor.data.normalized import (
    TARGET_ANGLE,
    Normalized,
    NormalizedPairs,
    RenderedNormalized,
    find_targets,
)
from facefactor.data.records import DataError
from facefactor.data.samples import Mixed, NormalizedBatch
from facefactor.data.synthetic import FaceRenderer
from facefactor.factors import ModelSpec
from facefactor.nn.inference import quicken
from facefactor.perception.packaged import packaged_landmarks
from facefactor.stages import Stage
from facefactor.training.run import TrainingError
from facefactor.training.sources import TrainingFaces

logger = logging.getLogger(__name__)

RENDERED_SHARE = 0.25  # of a batch, where photos and rendered faces are mixed


def check_normalized(
    method: str,
    recipe: Any,
    stages: Sequence[Stage],
    data: Mapping[str, Path],
    morphable: Path | None,
) -> None:
    """For stages that learn from normalised faces: TrainingError if there is nothing to learn from,
    a data set that is for measuring, or a share of rendered faces that leaves something out."""
    batches = [stage.batch_size for stage in stages if stage.samples == "normalized"]
    if not batches:
        return
    if not data and morphable is None:
        raise TrainingError(
            f"{method} learns from photos of people of whom one is frontal and neutral, or from "
            "rendered faces; name a folder (--data READER=FOLDER), a morphable model (--morphable "
            "FILE) or both"
        )
    if "lfw" in data:
        raise TrainingError(
            f"what {method} does to faces is measured on LFW, so it must not learn from it; leave "
            "--data lfw out"
        )
    if data and morphable is not None:
        for batch_size in batches:
            rendered_faces(recipe, batch_size)


def packaged_judges() -> Judges:
    """The networks that come with the package: landmarks, and the expressions of IPD-FER."""
    expressions: Any = quicken(checkpoints.build_model(checkpoints.weights_file("ipdfer")))
    return Judges(packaged_landmarks(), expressions)


def normalized_targets(
    stages: Sequence[Stage], known: TrainingFaces, spec: ModelSpec, cache: Path
) -> Normalized | None:
    """Which of the faces are frontal and neutral, and whose; None if no stage asks, or no photos.

    Raises:
        DataError: nobody is known to have such a face; a photo cannot be cut for the networks that
            tell.
    """
    if not known.records or all(stage.samples != "normalized" for stage in stages):
        return None
    judges, faces = packaged_judges(), known.faces
    if (judges.crop, judges.image_size) != (spec.crop, spec.image_size):
        cut = crop_faces(
            known.records, judges.crop, judges.image_size, cache, detector_for(known.records)
        )
        if cut.failures:
            path, reason = cut.failures[0]
            raise DataError(f"{path}: {reason}; its pose and expression are needed")
        faces = cut.faces
    seen = judge_faces(faces, judges, cache / "labels", _tell_judged)
    who = find_targets(known.records, frontal_neutral(known.records, seen, TARGET_ANGLE))
    logger.info("%s", who)
    return who


def _tell_judged(done: int, total: int) -> None:
    logger.info("looked at %d of %d faces", done, total)


def normalized_samples(
    known: TrainingFaces,
    who: Normalized | None,
    renderer: FaceRenderer | None,
    batch_size: int,
    seed: int,
    recipe: Any,
) -> Dataset[NormalizedBatch]:
    """Batches of photos, of rendered faces, or of both where there are both."""
    if renderer is None:
        assert who is not None  # `check_normalized` wants one of the two
        return _pairs(known, who, batch_size, seed, recipe)
    if who is None:
        return RenderedNormalized(renderer, TRAINED_PEOPLE, batch_size, seed)
    rendered = rendered_faces(recipe, batch_size)
    return Mixed(
        _pairs(known, who, batch_size - rendered, seed, recipe),
        RenderedNormalized(renderer, TRAINED_PEOPLE, rendered, seed),
    )


def _pairs(
    known: TrainingFaces, who: Normalized, batch_size: int, seed: int, recipe: Any
) -> NormalizedPairs:
    """Photos with their targets, and the recipe's share of photos without any."""
    unpaired = min(round(recipe.unpaired_share * batch_size), batch_size - 1)
    return NormalizedPairs(known.faces, known.records, who, batch_size, seed, unpaired)


def rendered_faces(recipe: Any, batch_size: int) -> int:
    """How many of a mixed batch are rendered: the recipe's `rendered_share`, a quarter where it has
    none; TrainingError if that leaves out either."""
    share = getattr(recipe, "rendered_share", RENDERED_SHARE)
    rendered = max(1, round(share * batch_size))
    if not 0 < share < 1 or rendered >= batch_size:
        raise TrainingError(
            f"rendered_share={share} of batches of {batch_size} leaves out photos or rendered "
            "faces; give a share inside (0, 1), or only one of --data and --morphable"
        )
    return rendered
