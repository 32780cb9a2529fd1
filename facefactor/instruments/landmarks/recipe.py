"""Settings of the landmark network's training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from facefactor.perception.landmarks import LandmarkNetwork
from facefactor.stages import Stage


@dataclass(frozen=True)
class Recipe:
    """Everything that decides what is trained and how; data and machine aside."""

    wing_px: tuple[float, float]  # width and curvature of the loss, pixels of the 112-pixel crop
    batch_size: int
    images: int  # seen
    learning_rate: float
    weight_decay: float


PRESETS: Mapping[str, Recipe] = {
    "small": Recipe(
        # the paper's 10 and 2 belong to crops of 256 pixels
        wing_px=(4.0, 0.9),
        batch_size=64,
        images=800_000,
        learning_rate=2e-3,
        weight_decay=1e-4,
    )
}


def build(recipe: Recipe) -> LandmarkNetwork:
    """The network, untrained; its size is fixed, so every recipe builds the same one."""
    return LandmarkNetwork()


def begin(recipe: Recipe, recogniser: Path | None = None) -> LandmarkNetwork:
    """What a training begins with: the untrained network."""
    return build(recipe)


def load_instrument(recipe: Recipe) -> None:
    """Nothing is looked at through a frozen network."""


def stages(
    recipe: Recipe, model: LandmarkNetwork, instrument: nn.Module | None = None
) -> list[Stage]:
    """The one stage; `instrument` is there because whoever trains calls all recipes alike."""
    # Lightning takes seconds to import, and asking for settings does not need it
    from facefactor.instruments.landmarks.training import LandmarkStage

    def landmarks() -> LandmarkStage:
        return LandmarkStage(
            model,
            recipe.learning_rate,
            recipe.weight_decay,
            recipe.wing_px,
            steps=recipe.images // recipe.batch_size,
        )

    return [
        Stage(
            "landmarks",
            landmarks,
            "labelled",
            recipe.images,
            recipe.batch_size,
            needs_landmarks=True,
        )
    ]
