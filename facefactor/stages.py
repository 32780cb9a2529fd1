"""One training phase of a method."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from lightning import LightningModule


@dataclass(frozen=True)
class Stage:
    """What is trained, on what, for how long; a recipe is a list of these."""

    name: str
    module: Callable[[], LightningModule]  # built when the stage starts, on the earlier ones' work
    # two photos of one person; two photos of anybody; single photos with their labels; photos with
    # what a morphable model fitted to them says; such a model's rendered faces; photos with a
    # frontal neutral face of the same person, and such faces of anybody; photos with their own
    # neutral faces as another model draws them
    samples: Literal[
        "pairs", "faces", "labelled", "fitted", "rendered", "normalized", "neutralised"
    ]
    images: int  # training images the stage sees
    batch_size: int  # images a step
    needs_landmarks: bool = False  # without any it would learn nothing, or not what it is for

    @property
    def steps(self) -> int:
        return self.images // self.batch_size
