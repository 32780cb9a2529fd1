"""Faces beside their neutral faces, for a training run: photographed, rendered, or drawn by a model
that was trained before."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset

from facefactor import checkpoints
from facefactor.checkpoints import CheckpointError
from facefactor.data.held_out import TRAINED_PEOPLE
from facefactor.data.neutralised import (
    NeutralisedFaces,
    RenderedNeutralised,
    draw_neutrals,
    find_neutrals,
)
from facefactor.data.samples import Mixed, NeutralisedBatch
from facefactor.data.synthetic import FaceRenderer
from facefactor.editing import FactorError
from facefactor.factors import FaceModel, ModelSpec
from facefactor.neutralising import Neutraliser
from facefactor.stages import Stage
from facefactor.training.run import TrainingError
from facefactor.training.sources import TrainingFaces
from facefactor.training.targets import rendered_faces

logger = logging.getLogger(__name__)


Pairs = tuple[NDArray[np.uint8], NDArray[np.uint8]]  # faces, neutral faces; (N, S, S, 3) both


@dataclass(frozen=True, eq=False)
class NeutralFaces:
    """What draws the neutral faces that were not photographed, and the hash of its weights; None
    and "" where nothing does."""

    neutraliser: Neutraliser | None
    sha256: str

    def of(self, known: TrainingFaces, cache: Path) -> Pairs:
        """The faces that have a neutral face, and these; drawn ones are drawn once, and kept.

        Raises:
            TrainingError: nothing draws them, and none was photographed.
        """
        photographed = find_neutrals(known.faces, known.records)
        rows = np.flatnonzero(photographed >= 0)
        logger.info("%d of %d faces have a neutral photo", len(rows), len(photographed))
        if self.neutraliser is None:
            if not len(rows):
                raise TrainingError(
                    "no photo has a neutral photo of the same person beside it; name data that has "
                    "(kdef, ckplus-pairs), or weights that draw them (--set neutraliser=FILE)"
                )
            return known.faces[rows], known.faces[photographed[rows]]
        neutrals = np.empty_like(known.faces)
        neutrals[rows] = known.faces[photographed[rows]]
        if len(rest := np.flatnonzero(photographed < 0)):
            neutrals[rest] = draw_neutrals(
                known.faces[rest], self.neutraliser, self.sha256, cache, _tell_drawn
            )
        return known.faces, neutrals


def neutralised_samples(
    pairs: Pairs, renderer: FaceRenderer | None, batch_size: int, seed: int, recipe: Any
) -> Dataset[NeutralisedBatch]:
    """Batches of photos, or of photos and rendered faces."""
    if renderer is None:
        return NeutralisedFaces(*pairs, batch_size, seed)
    rendered = rendered_faces(recipe, batch_size)
    return Mixed(
        NeutralisedFaces(*pairs, batch_size - rendered, seed),
        RenderedNeutralised(renderer, TRAINED_PEOPLE, rendered, seed),
    )


def read_neutraliser(
    method: str, recipe: Any, stages: Sequence[Stage], spec: ModelSpec
) -> NeutralFaces | None:
    """The model that a recipe's `neutraliser` names, for faces as `spec` has them; None if no stage
    learns from neutral faces.

    Raises:
        TrainingError: no such weights, or their model takes no expression off.
    """
    if all(stage.samples != "neutralised" for stage in stages):
        return None
    if not recipe.neutraliser:
        return NeutralFaces(None, "")
    try:
        file = checkpoints.weights_file(recipe.neutraliser)
        header, model = checkpoints.read_header(file), checkpoints.build_model(file)
        drawing = Neutraliser(cast(FaceModel, model), spec.crop, spec.image_size)
    except (CheckpointError, FactorError) as error:
        raise TrainingError(
            f"{method} learns from neutral faces that another model draws; train one (facefactor "
            f"train stargan) and name its weights (--set neutraliser=FILE): {error}"
        ) from error
    return NeutralFaces(drawing.eval(), header.sha256)


def _tell_drawn(done: int, total: int) -> None:
    logger.info("drew %d of %d neutral faces", done, total)
