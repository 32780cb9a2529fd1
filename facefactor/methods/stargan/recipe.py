"""Settings of StarGAN: the published ones, and a size that two CPU cores can train."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from torch import nn

from facefactor.factors import EXPRESSIONS
from facefactor.methods.stargan.losses import Weights
from facefactor.methods.stargan.model import StarGAN
from facefactor.methods.stargan.networks import LAYERS, Discriminator, Generator
from facefactor.perception.align import CROPS
from facefactor.stages import Stage


@dataclass(frozen=True)
class Recipe:
    """Everything that decides what is trained and how; data and machine aside."""

    # sizes
    width: int  # channels of G at full resolution
    discriminator_width: int  # channels of D after its first layer
    image_size: int  # a multiple of 64
    crop: str  # that of the method it takes expressions off for
    classes: tuple[str, ...]  # K expressions; faces of others count as unlabelled
    # objective
    weights: Weights
    # schedule
    batch_size: int  # images a step
    images: int  # seen in training
    critic_steps: int  # n_critic: updates of D for one of G
    learning_rate: float
    decay_from: float  # share of training after which the rate falls in a straight line to 0
    instrument: str = ""  # none: the losses look through no network


# A step costs, a face, 1 pass of G and about 12 of D, and every critic_steps-th another 6 of G and
# 2 of D; a backward pass counted as two, one to the input alone as one.
_PAPER = Recipe(
    width=64,  # 8.4 M parameters, 10,115 M multiplications a face
    discriminator_width=64,  # 44.8 M and 684 M; a step 30,700 M a face
    image_size=128,
    crop="facecycle",  # LEED's
    classes=EXPRESSIONS,  # the eight of RaFD
    weights=Weights(classification=1.0, reconstruction=10.0, penalty=10.0),
    batch_size=16,
    images=200_000 * 16,
    critic_steps=5,
    learning_rate=1e-4,
    decay_from=0.5,
)
_SMALL = replace(
    _PAPER,
    width=16,  # 0.5 M parameters, 754 M multiplications a face
    discriminator_width=16,  # 2.8 M and 45 M; a step 2,830 M a face
    classes=EXPRESSIONS[:7],  # those of RAF-DB and KDEF
    images=30_000 * 16,
    critic_steps=3,  # fewer steps: more of them are G's
    learning_rate=2e-4,
)
PRESETS: Mapping[str, Recipe] = {"paper": _PAPER, "small": _SMALL}


def build(recipe: Recipe) -> StarGAN:
    """The model of `recipe`, untrained.

    Raises:
        ValueError: a setting has a value it cannot have.
    """
    _check(recipe)
    classes = len(recipe.classes)
    return StarGAN(
        Generator(classes, recipe.width),
        Discriminator(classes, recipe.discriminator_width, recipe.image_size),
        recipe.classes,
        recipe.crop,
        recipe.image_size,
    )


def begin(recipe: Recipe, recogniser: Path | None = None) -> StarGAN:
    """The model a training begins with.

    Args:
        recogniser: not used; other methods begin with one.
    """
    return build(recipe)


def load_instrument(recipe: Recipe) -> nn.Module | None:
    """None: no frozen network is looked through."""
    return None


def stages(recipe: Recipe, model: StarGAN, instrument: nn.Module | None = None) -> list[Stage]:
    """The one stage; `instrument` is for other recipes."""
    # Lightning takes seconds to import and editing does not need it
    from facefactor.methods.stargan.training import Schedule, StarGANStage

    steps = recipe.images // recipe.batch_size

    def main() -> StarGANStage:
        return StarGANStage(
            model,
            [recipe.classes.index(n) if n in recipe.classes else -1 for n in EXPRESSIONS],
            recipe.weights,
            Schedule(
                recipe.learning_rate, steps, int(steps * recipe.decay_from), recipe.critic_steps
            ),
        )

    return [Stage("main", main, "labelled", recipe.images, recipe.batch_size)]


def _check(recipe: Recipe) -> None:
    unknown = [name for name in recipe.classes if name not in EXPRESSIONS]
    if unknown or len(set(recipe.classes)) != len(recipe.classes):
        raise ValueError(f"classes are {recipe.classes}; each must be another of {EXPRESSIONS}")
    if "neutral" not in recipe.classes:
        raise ValueError(f"classes are {recipe.classes}; without neutral no expression comes off")
    if recipe.image_size < 1 or recipe.image_size % 2**LAYERS:
        raise ValueError(f"image_size is {recipe.image_size}; set a multiple of {2**LAYERS}")
    if recipe.crop not in CROPS:
        raise ValueError(f"crop is {recipe.crop!r}; set {' or '.join(CROPS)}")
    if recipe.critic_steps < 1:
        raise ValueError(f"critic_steps is {recipe.critic_steps}; set 1 or more")
    if not 0 <= recipe.decay_from <= 1:
        raise ValueError(f"decay_from is {recipe.decay_from}; set a share of training, 0 to 1")
    if recipe.instrument:
        raise ValueError(
            f"instrument is {recipe.instrument!r}; StarGAN looks through none, leave it empty"
        )
