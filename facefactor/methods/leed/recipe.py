"""Settings of LEED: the published sizes, and a size that two CPU cores can train."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

from torch import nn

from facefactor.methods.leed.instruments import Instruments, load_instruments
from facefactor.methods.leed.losses import Weights
from facefactor.methods.leed.model import LEED
from facefactor.methods.leed.networks import (
    CodeNeutraliser,
    Critic,
    Decoder,
    Extractor,
    Interpolator,
    Regulariser,
    ResidualEncoder,
    Siamese,
    VGGEncoder,
)
from facefactor.nn.schedules import Schedule
from facefactor.perception.instruments import find_weights
from facefactor.perception.vgg import load_vgg19
from facefactor.stages import Stage

EncoderName = Literal["vgg19", "residual"]


@dataclass(frozen=True)
class Recipe:
    """Everything that decides what is trained and how; data and machine aside."""

    # networks
    encoder: EncoderName
    encoder_channels: tuple[
        int, ...
    ]  # of "residual", maps of side 64, 32, 16, 8; vgg19 has its own
    decoder_channels: tuple[int, ...]  # of the maps of side 16, 32, 64 and 128
    decoder_repeats: tuple[int, ...]  # convolutions at these sides that keep the width
    critic_channels: int
    siamese_channels: tuple[int, ...]  # of the maps of side 64, 32, 16, 8 and 4
    # objective
    instrument: str  # Phi of Eq. 14 and 15; "" for the recogniser that comes with the package
    expressions: str  # Psi of Eq. 3, a weights file of IPD-FER; "" for the packaged one
    # weights, a file or a packaged name, of what draws neutral faces for photos that have no
    # neutral photo beside them; "": nothing does, and these are for autoencoding only
    neutraliser: str
    weights: Weights
    # schedule
    batch_size: int
    critic_steps: int  # of the critic, X, Q and D for one of E, I and S
    autoencoding_images: int  # seen in stage 1
    editing_images: int  # seen in stage 2
    autoencoding_rate: float
    editing_rate: float
    drop_at: float  # share of a stage after which its learning rate falls to a tenth


_PAPER = Recipe(
    encoder="vgg19",
    encoder_channels=(),
    decoder_channels=(256, 128, 64, 64),
    decoder_repeats=(3, 3, 1, 0),
    critic_channels=256,
    siamese_channels=(64, 128, 256, 512, 512),
    instrument="vgg19",
    expressions="",
    neutraliser="stargan",
    weights=Weights(
        information=1.0,  # lambda_Q
        gradient_penalty=10.0,  # lambda_gp
        adversarial=1.0,
        reconstruction=10.0,  # lambda_recon
        siamese=1.0,  # lambda_S
        separation=1.0,
        drawn_neutral=0.1,
        pixel=1.0,
    ),
    batch_size=32,
    critic_steps=5,
    autoencoding_images=50 * 7_236,  # epochs of RaFD without a tenth (Sec. 4.1)
    editing_images=100 * 7_236,
    autoencoding_rate=1e-4,
    editing_rate=1e-4,
    drop_at=0.75,
)
_SMALL = replace(
    _PAPER,
    encoder="residual",
    encoder_channels=(16, 32, 64, 128),
    decoder_channels=(96, 48, 24, 16),
    decoder_repeats=(1, 0, 0, 0),
    critic_channels=96,
    siamese_channels=(16, 32, 64, 128, 128),
    instrument="",
    neutraliser="",
    # The recogniser hardly sees colours: at a weight of 1 faces were drawn nearly grey.
    # With S's margin edits were lost, once it was reached (README.md).
    weights=replace(_PAPER.weights, pixel=50.0, separation=0.0),
    autoencoding_images=300_000,
    editing_images=300_000,
    autoencoding_rate=4e-4,  # fewer steps, and no weights to begin with
    editing_rate=2e-4,
)
PRESETS: Mapping[str, Recipe] = {
    "paper": _PAPER,
    # Eq. 11 as it is printed, with nothing that keeps S from its trivial solution
    "paper-printed": replace(_PAPER, weights=replace(_PAPER.weights, separation=0.0)),
    "small": _SMALL,
}


def build(recipe: Recipe, vgg19: Path | None = None) -> LEED:
    """The model of `recipe`, untrained.

    Args:
        vgg19: torchvision's state dict, what E begins with in `paper`; None gives random weights,
            which a checkpoint's own replace on loading.

    Raises:
        InstrumentError: nothing at `vgg19`, or other weights.
        ValueError: a setting has a value that is not among those it can have.
    """
    _check(recipe)
    encoder: VGGEncoder | ResidualEncoder
    if recipe.encoder == "vgg19":
        encoder = VGGEncoder(load_vgg19(("conv5_1",), vgg19))
    else:
        encoder = ResidualEncoder(recipe.encoder_channels)
    channels = encoder.code_channels
    return LEED(
        encoder,
        CodeNeutraliser(channels),
        Extractor(channels),
        Interpolator(channels),
        Decoder(channels, recipe.decoder_channels, recipe.decoder_repeats),
        channels,
    )


def begin(recipe: Recipe, recogniser: Path | None = None) -> LEED:
    """The model a training begins with; InstrumentError where the VGG19 that E begins with is not
    at hand.

    Args:
        recogniser: not used; other methods begin with one.
    """
    return build(recipe, find_weights("vgg19") if recipe.encoder == "vgg19" else None)


def load_instrument(recipe: Recipe) -> nn.Module | None:
    """The `Instruments`, Phi and Psi; None where both are those that come with the package.

    Raises:
        InstrumentError: one of them is not at hand.
    """
    if not recipe.instrument and not recipe.expressions:
        return None
    return load_instruments(recipe.instrument, recipe.expressions)


def stages(recipe: Recipe, model: LEED, instrument: nn.Module | None = None) -> list[Stage]:
    """Autoencoding, then editing; the second is built on the work of the first.

    Args:
        instrument: the `Instruments`.

    Raises:
        InstrumentError: none was given, and none comes with the package.
    """
    # Lightning takes seconds to import and editing does not need it
    from facefactor.methods.leed.training import AutoencodingStage, EditingStage

    look = load_instruments("", "") if instrument is None else instrument
    assert isinstance(look, Instruments)
    channels, weights = model.code_shape[0], recipe.weights

    def schedule(rate: float, images: int) -> Schedule:
        steps = images // recipe.batch_size
        return Schedule.over(steps, rate, [recipe.drop_at])

    def autoencoding() -> AutoencodingStage:
        dropping = schedule(recipe.autoencoding_rate, recipe.autoencoding_images)
        return AutoencodingStage(model, look, weights, dropping)

    def editing() -> EditingStage:
        return EditingStage(
            model,
            Critic(channels, recipe.critic_channels) if weights.adversarial else None,
            Regulariser(channels, look.expression_size) if weights.information else None,
            Siamese(recipe.siamese_channels) if weights.siamese else None,
            look,
            weights,
            recipe.critic_steps,
            schedule(recipe.editing_rate, recipe.editing_images),
        )

    batch = recipe.batch_size
    return [
        Stage("autoencoding", autoencoding, "labelled", recipe.autoencoding_images, batch),
        Stage("editing", editing, "neutralised", recipe.editing_images, batch),
    ]


def _check(recipe: Recipe) -> None:
    if recipe.encoder not in get_args(EncoderName):
        told = " or ".join(get_args(EncoderName))
        raise ValueError(f"encoder is {recipe.encoder}; set {told}")
    lengths = {"decoder_channels": 4, "decoder_repeats": 4, "siamese_channels": 5}
    if recipe.encoder == "residual":
        lengths["encoder_channels"] = 4
    for name, expected in lengths.items():
        given = getattr(recipe, name)
        if len(given) != expected:
            raise ValueError(f"{name} is {given}; set {expected} numbers, one for each halving")
    if recipe.critic_steps < 1:
        raise ValueError(f"critic_steps is {recipe.critic_steps}; set 1 or more")
