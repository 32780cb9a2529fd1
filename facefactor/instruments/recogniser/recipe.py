"""Settings of the recogniser: ArcFace's as published, and a size that two CPU cores can train."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch
from torch import nn

from facefactor.nn.resnet import IResNet18
from facefactor.perception.frozen import as_instrument
from facefactor.perception.instruments import find_weights
from facefactor.perception.recognition import MobileFaceNet, Recogniser, load_mobilefacenet
from facefactor.stages import Stage

if TYPE_CHECKING:
    from facefactor.instruments.recogniser.training import RecogniserStage


@dataclass(frozen=True)
class TermWeights:
    """Weights of the terms."""

    cosine: float  # 1 - cosine of the teacher's embedding and the student's, mapped linearly
    relational: float  # squared differences of the two networks' cosines of pairs of faces
    maps: float  # share of the variance of the teacher's feature maps that the student's miss
    margin: float  # margin softmax over known people


@dataclass(frozen=True)
class Recipe:
    """Everything that decides what is trained and how; data and machine aside."""

    # sizes
    network: Literal["mobilefacenet", "iresnet18"]
    width: float  # of MobileFaceNet; iresnet18 has one size
    # objective
    instrument: str | None  # frozen network that is imitated; None: people's names alone
    weights: TermWeights
    people: int  # known subjects in the training data, at least
    margin: float  # radians
    scale: float
    # schedule
    batch_size: int
    images: int  # seen
    warm_up_images: int  # seen while the learning rate rises
    optimiser: Literal["sgd", "adamw"]
    learning_rate: float
    weight_decay: float
    drops: tuple[float, ...]  # shares after which the rate falls to a tenth; none: cosine to 0
    code_size: int = 512


# by name: ArcFace on CASIA-WebFace as published (Deng et al., Sec. 3.1), and `small`
PRESETS: Mapping[str, Recipe] = {
    "paper": Recipe(
        network="iresnet18",  # 24.0 M parameters, 2,610 M multiplications a face
        width=1.0,
        instrument=None,
        weights=TermWeights(cosine=0.0, relational=0.0, maps=0.0, margin=1.0),
        people=10_575,  # CASIA-WebFace
        margin=0.5,
        scale=64.0,
        batch_size=512,
        images=32_000 * 512,
        warm_up_images=0,
        optimiser="sgd",
        learning_rate=0.1,
        weight_decay=5e-4,
        drops=(20 / 32, 28 / 32),
    ),
    "small": Recipe(
        # 0.55 M parameters and 63 M multiplications a face, against 1.2 M and 234 M at width 1.
        # A step costs three forward passes of it (190 M) and one of the teacher (234 M); what is
        # written to memory, 4.8 M numbers a forward pass for 9.4 M at width 1, counts for more.
        network="mobilefacenet",
        width=0.5,
        instrument="mobilefacenet",
        # at the start the four are about 1, 0.02, 1 and 15 (ln 2,602 and scale x margin): so
        # weighted none outweighs another by more than a few times
        weights=TermWeights(cosine=1.0, relational=20.0, maps=1.0, margin=0.05),
        people=2_602,  # CelebA-128 without the held-out tenth of its people
        margin=0.2,  # five photos a person and 0.5 M parameters: a wide margin is out of reach
        scale=32.0,
        batch_size=64,
        images=300_000,  # 80 minutes of two cores
        warm_up_images=8_000,
        optimiser="adamw",
        learning_rate=2e-3,
        weight_decay=0.05,
        drops=(),
    ),
}


def build(recipe: Recipe) -> Recogniser:
    """The network of `recipe`, untrained; `load_recogniser` reads what its training saves."""
    if recipe.network == "iresnet18":
        return IResNet18(recipe.code_size)
    return MobileFaceNet(recipe.code_size, recipe.width)


def begin(recipe: Recipe, recogniser: Path | None = None) -> Recogniser:
    """What a training begins with: the untrained network. (`recogniser`: for other recipes.)"""
    return build(recipe)


def load_instrument(recipe: Recipe) -> nn.Module | None:
    """The teacher, faces -> embeddings; InstrumentError where it is not at hand."""
    if recipe.instrument is None:
        return None
    return load_mobilefacenet(find_weights(recipe.instrument))


def stages(recipe: Recipe, model: Recogniser, instrument: nn.Module | None) -> list[Stage]:
    """The one stage.

    Args:
        instrument: the teacher, faces (N, 3, 112, 112) in [0, 1] -> (N, E) embeddings; not looked
            at when both weights of distillation are zero.

    Raises:
        ValueError: no teacher where one is to be imitated.
    """
    distils = any((recipe.weights.cosine, recipe.weights.relational, recipe.weights.maps))
    if distils and instrument is None:
        raise ValueError(
            "the recipe imitates a teacher and none is given; give one, or set weights.cosine, "
            "weights.relational and weights.maps to 0"
        )
    teacher = as_instrument(instrument) if distils and instrument is not None else None

    def recognition() -> RecogniserStage:
        # Lightning takes seconds to import and recognising does not need it
        from facefactor.instruments.recogniser.training import RecogniserStage, Schedule

        schedule = Schedule(
            recipe.optimiser,
            recipe.learning_rate,
            recipe.weight_decay,
            steps=recipe.images // recipe.batch_size,
            warm_up=recipe.warm_up_images // recipe.batch_size,
            drops=recipe.drops,
        )
        return RecogniserStage(
            model,
            teacher,
            _size(teacher, model.image_size) if teacher else 0,
            recipe.people,
            recipe.weights,
            recipe.margin,
            recipe.scale,
            schedule,
        )

    return [Stage("recognition", recognition, "labelled", recipe.images, recipe.batch_size)]


@torch.no_grad()
def _size(teacher: nn.Module, image_size: int) -> int:
    """Of a teacher's embeddings."""
    return teacher(torch.zeros(1, 3, image_size, image_size)).shape[1]
