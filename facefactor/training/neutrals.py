"""Neutral faces of a training run's photos, drawn by a model that was trained before."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from facefactor import checkpoints
from facefactor.checkpoints import CheckpointError
from facefactor.data.neutralised import draw_neutrals
from facefactor.editing import FactorError
from facefactor.factors import FaceModel, ModelSpec
from facefactor.neutralising import Neutraliser
from facefactor.stages import Stage
from facefactor.training.run import TrainingError

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class NeutralFaces:
    """What draws them, and the hash of its weights."""

    neutraliser: Neutraliser
    sha256: str

    def of(self, faces: NDArray[np.uint8], cache: Path) -> NDArray[np.uint8]:
        """(N, S, S, 3) both; drawn once and kept in `cache`."""
        return draw_neutrals(faces, self.neutraliser, self.sha256, cache, _tell_drawn)


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
