"""Settings of NFGAN: the published ones, grey, and some in colour that two CPU cores can train."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

from torch import nn

from facefactor.methods.nfgan.instruments import Instruments, load_instruments
from facefactor.methods.nfgan.losses import Space, Weights
from facefactor.methods.nfgan.model import NFGAN
from facefactor.methods.nfgan.networks import CODE, Decoder, Discriminator, Encoder, Upsampling
from facefactor.nn.schedules import Schedule
from facefactor.stages import Stage


@dataclass(frozen=True)
class Recipe:
    """Everything that decides what is trained and how; data and machine aside."""

    # networks
    colours: int  # 1: luminance, 3: RGB
    upsampling: Upsampling  # of Dec
    # objective
    instrument: str  # of Eq. 2; "" for the recogniser that comes with the package
    recogniser: str  # of Eq. 6; the same
    weights: Weights
    symmetry: Space  # where Eq. 3 compares
    balance_steps: int  # 0: weights multiply losses; else gradients, measured over so many steps
    # schedule
    batch_size: int
    unpaired_share: float  # of a batch's photos: others, of people without a frontal neutral photo
    autoencoding_images: int  # seen before, by Enc and Dec alone; 0: the paper's training only
    images: int  # seen in training
    autoencoding_rate: float
    learning_rate: float
    drop_at: tuple[float, ...]  # shares of either stage after which the rate falls to a tenth
    # weight of 1 - cosine of what is read off z and the code of Eq. 6; 0: nothing is read
    recognition: float = 0.0
    shake: float = 0.0  # pixels, either way, by which Eq. 2 and 6 see faces moved at random


# A step costs, a face, 3 passes of Enc (17 M multiplications), 5 of Dec, 7 of Dis (57 M), and 3 of
# either instrument, a backward pass counted as two, one to the input alone as one.
_PAPER = Recipe(
    colours=1,
    upsampling="transposed",  # Dec 59 M
    instrument="vggface",  # 460 M
    recogniser="lightcnn9",  # 980 M; a step 5,100 M
    weights=Weights(
        feature=1.0,
        identity=3e-3,  # lambda_1
        pixel=1e-3,  # lambda_2
        symmetry=0.3,  # lambda_3
        adversarial=0.1,  # eta
    ),
    symmetry="pixels",
    balance_steps=0,
    batch_size=64,
    unpaired_share=0.0,
    autoencoding_images=0,
    images=20 * 254_156,  # 20 epochs of the pairs of VGG-Face and Multi-PIE (Sec. 5.1)
    autoencoding_rate=0.0,
    learning_rate=2e-4,
    drop_at=(),
)
_PAPER_BALANCED = replace(_PAPER, balance_steps=500)
_SMALL = replace(
    _PAPER_BALANCED,
    colours=3,
    upsampling="nearest",  # Dec 106 M
    instrument="",  # 38 M
    recogniser="",  # 63 M; a step 1,300 M
    # Lengths of gradients at x~. At the weights of Enc and Dec those of pixels, which agree all
    # over the face, are ten times as long as the others: at 0.5 little was learnt of who it is.
    weights=replace(_PAPER.weights, identity=3.0, pixel=0.1),
    recognition=1.0,  # else z tells little more of a stranger than pixels do
    shake=1.0,  # else what is drawn for the instruments alone is a grid
    batch_size=32,
    unpaired_share=0.5,  # too few people are known frontal and neutral to learn who is who from
    autoencoding_images=112_000,  # a step 370 M: without it all faces stay one mean face for long
    images=600_000,
    autoencoding_rate=1e-3,
    learning_rate=4e-4,  # fewer steps
    drop_at=(2 / 3,),
)
PRESETS: Mapping[str, Recipe] = {
    "paper": _PAPER,
    "paper-balanced": _PAPER_BALANCED,
    "small": _SMALL,
    "small-grey": replace(_SMALL, colours=1, upsampling="transposed"),  # the published networks
}


def build(recipe: Recipe) -> NFGAN:
    """The model of `recipe`, untrained.

    Raises:
        ValueError: a setting has a value that is not among those it can have.
    """
    _check(recipe)
    encoder, decoder = Encoder(recipe.colours), Decoder(recipe.colours, recipe.upsampling)
    return NFGAN(encoder, decoder, recipe.colours)


def begin(recipe: Recipe, recogniser: Path | None = None) -> NFGAN:
    """The model a training begins with.

    Args:
        recogniser: not used; other methods begin with one.
    """
    return build(recipe)


def load_instrument(recipe: Recipe) -> nn.Module | None:
    """The `Instruments` of Eq. 2 and 6; None where both are the recogniser of the package.

    Raises:
        InstrumentError: one of them is not at hand.
    """
    if not recipe.instrument and not recipe.recogniser:
        return None
    return load_instruments(recipe.instrument, recipe.recogniser)


def stages(recipe: Recipe, model: NFGAN, instrument: nn.Module | None = None) -> list[Stage]:
    """Autoencoding, as long as the recipe says (the paper has none), then Algorithm 1.

    Args:
        instrument: the `Instruments` of Eq. 2 and 6.

    Raises:
        InstrumentError: none was given, and none comes with the package.
    """
    # Lightning takes seconds to import and editing does not need it
    from facefactor.methods.nfgan.training import AutoencodingStage, NFGANStage

    look = load_instruments("", "") if instrument is None else instrument
    assert isinstance(look, Instruments)
    reading = nn.Linear(CODE, look.code_size) if recipe.recognition else None  # of both stages

    def schedule(rate: float, images: int) -> Schedule:
        return Schedule.over(images // recipe.batch_size, rate, recipe.drop_at)

    def main() -> NFGANStage:
        return NFGANStage(
            model,
            Discriminator(recipe.colours),
            reading,
            look,
            recipe.weights,
            recipe.recognition,
            recipe.symmetry,
            recipe.shake,
            recipe.balance_steps,
            schedule(recipe.learning_rate, recipe.images),
        )

    def autoencoding() -> AutoencodingStage:
        falling = schedule(recipe.autoencoding_rate, recipe.autoencoding_images)
        return AutoencodingStage(model, reading, look.identity, recipe.recognition, falling)

    batch = recipe.batch_size
    before = Stage("autoencoding", autoencoding, "labelled", recipe.autoencoding_images, batch)
    last = Stage("main", main, "normalized", recipe.images, batch)
    return [before, last]


def _check(recipe: Recipe) -> None:
    choices: dict[str, tuple[object, ...]] = {
        "colours": (1, 3),
        "upsampling": get_args(Upsampling),
        "symmetry": get_args(Space),
    }
    for name, possible in choices.items():
        if getattr(recipe, name) not in possible:
            told = " or ".join(map(str, possible))
            raise ValueError(f"{name} is {getattr(recipe, name)}; set {told}")
    if not 0 <= recipe.unpaired_share < 1:
        raise ValueError(f"unpaired_share is {recipe.unpaired_share}; set 0 or more, less than 1")
