"""Settings of FaceCycle: published sizes and losses, and a size that two CPU cores can train."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from torch import nn

from facefactor.geometry.flow import FlowInverse, Padding
from facefactor.methods.facecycle.contrast import Contrast
from facefactor.methods.facecycle.losses import ExpressionWeights, IdentityWeights
from facefactor.methods.facecycle.model import FaceCycle
from facefactor.methods.facecycle.networks import (
    ExpressionDecoder,
    FaceEncoder,
    FlowDecoder,
    IdentityDecoder,
    LearnedStem,
    ResidualEncoder,
)
from facefactor.perception.frozen import Frozen, as_instrument
from facefactor.perception.instruments import feature_network, find_weights
from facefactor.perception.vgg import load_vgg19
from facefactor.stages import Stage


@dataclass(frozen=True)
class Recipe:
    """Everything that decides what is trained and how; data and machine aside."""

    # sizes
    stem: Literal["vgg19", "learned"]
    width: int  # of encoders and flow decoder
    half: int  # channels of the stem's maps at 1/2 resolution
    quarter: int  # at 1/4
    full: int  # of the decoders at full resolution
    expression_blocks: int
    identity_blocks: int
    # geometry
    encoder: Literal["published", "residual"]  # of E_exp and E_id; published has attention blocks
    noise: float  # standard deviation of what fills uncovered places while training
    flow_inverse: FlowInverse
    padding: Padding
    # objective
    instrument: str  # frozen network behind the perceptual terms
    expression: ExpressionWeights
    identity: IdentityWeights
    mean_from: Literal["swap", "batch_mean"]
    # schedule
    batch_size: int  # images a step; half as many pairs
    motion_images: int  # seen in the warm-up of flows; 0 for none, as published
    expression_images: int  # seen in stage 1
    identity_images: int  # seen in stage 2
    expression_rate: float
    identity_rate: float
    expression_betas: tuple[float, float]
    identity_betas: tuple[float, float]
    drop_at: float  # share of a stage after which its learning rate falls to a tenth
    # of the pairs of stage 1, at least: photos of one clip or session, only the expression differs
    clip_share: float = 0.0
    shake: float = 0.0  # pixels, either way, by which the instrument sees faces moved at random
    code_size: int = 256
    image_size: int = 64
    contrast: Contrast = Contrast(images=0, keys=0)  # of the paper's baseline MoCo


_PAPER = Recipe(
    stem="vgg19",
    width=64,
    half=128,
    quarter=256,
    full=128,
    expression_blocks=8,
    identity_blocks=7,
    encoder="published",
    noise=1.0,
    flow_inverse="paper",
    padding="zeros",
    instrument="vgg19",
    expression=ExpressionWeights(
        cycle=1.0,
        swapped_cycle=0.0,
        reexpression=1.0,
        warped_neutral=0.0,
        autoencoding=0.0,
        swapped_cycle_ssim=0.0,
        reexpression_ssim=0.0,
        autoencoding_ssim=0.0,
        gram=0.0,
        warped_gram=0.0,
        perceptual=0.05,  # lambda of Eq. 8
        symmetry=0.0,
        warped_symmetry=0.0,
        coarse_cycle=0.0,
        mean_flow=0.0,
        equivariance=0.0,
    ),
    identity=IdentityWeights(
        reidentity=1.0,
        identity_perceptual=0.05,  # lambda of Eq. 16
        reexpression=0.0,
        warped_neutral=0.0,
        reexpression_ssim=0.0,
        warped_neutral_ssim=0.0,
        gram=0.0,
        symmetry=0.0,
        margin=1.0,
    ),
    mean_from="swap",
    batch_size=32,
    motion_images=0,
    expression_images=40 * 2 * 299_085,  # 40 epochs of one pair a clip (Sec. 3.1)
    identity_images=20 * 2 * 299_085,
    expression_rate=5e-5,
    identity_rate=1e-4,
    expression_betas=(0.5, 0.999),
    identity_betas=(0.5, 0.999),
    drop_at=0.5,
)

_CODE_EXPRESSION = ExpressionWeights(
    cycle=0.0,
    swapped_cycle=1.5,
    reexpression=1.0,
    warped_neutral=1.0,
    autoencoding=1.0,
    swapped_cycle_ssim=7.5,
    reexpression_ssim=5.0,
    autoencoding_ssim=5.0,
    gram=0.01,
    warped_gram=0.01,
    perceptual=0.0,
    symmetry=1.5,
    warped_symmetry=0.75,
    coarse_cycle=0.0,
    mean_flow=0.0,
    equivariance=0.0,
)
_CODE_IDENTITY = IdentityWeights(
    reidentity=1.0,
    identity_perceptual=0.0,
    reexpression=1.0,
    warped_neutral=0.8,
    reexpression_ssim=5.0,
    warped_neutral_ssim=4.0,
    gram=0.01,
    symmetry=1.5,
    margin=1.0,
)
_CODE = replace(
    _PAPER,
    expression=_CODE_EXPRESSION,
    identity=_CODE_IDENTITY,
    mean_from="batch_mean",
    identity_betas=(0.5, 0.9),
)
_SMALL = replace(
    _CODE,
    stem="learned",
    width=32,
    half=48,
    quarter=96,
    full=24,
    expression_blocks=4,
    identity_blocks=4,
    encoder="residual",
    noise=0.0,  # what is absent at test time the decoder need not learn to expect
    flow_inverse="first_order",
    padding="border",
    instrument="mobilefacenet",
    expression=replace(
        _CODE_EXPRESSION,
        reexpression=3.0,
        autoencoding=3.0,
        gram=0.05,
        warped_gram=0.0,
        perceptual=0.5,
        coarse_cycle=2.0,
        mean_flow=200.0,
        equivariance=100.0,
    ),
    identity=replace(_CODE_IDENTITY, gram=0.05, identity_perceptual=0.5),
    shake=1.0,  # what is drawn for an instrument of stride 2 that looks at fixed pixels is a grid
    clip_share=0.25,  # else pairs of CelebA, taken years apart, say little of what an expression is
    motion_images=300_000,
    expression_images=200_000,
    identity_images=100_000,
    expression_rate=4e-4,
    identity_rate=4e-4,
    identity_betas=(0.5, 0.999),
    drop_at=0.75,
)
# by name: sizes `paper` and `small`, objectives as printed and as in the released code
PRESETS: Mapping[str, Recipe] = {
    "paper": _PAPER,
    "code": _CODE,
    "small": _SMALL,
    "small-paper": replace(
        _SMALL,
        # the printed objective, plus the autoencoding term without which a stem cannot be learnt
        expression=replace(_PAPER.expression, autoencoding=1.0),
        identity=_PAPER.identity,
        motion_images=0,
        mean_from="swap",
    ),
    # encoders alone, trained by MoCo: the baseline of Tables 1 to 3
    "paper-moco": replace(
        _PAPER,
        instrument="",
        batch_size=128,
        contrast=Contrast(images=40 * 2 * 299_085, keys=65_536),  # 40 epochs
    ),
    "small-moco": replace(
        _SMALL,
        instrument="",
        batch_size=128,
        contrast=Contrast(images=400_000, keys=4096),  # fewer than there are photos
    ),
}


def build(recipe: Recipe, vgg19: Path | None = None) -> FaceCycle:
    """The model of `recipe`, untrained; its VGG19 stem (if any) is frozen.

    Args:
        vgg19: torchvision's state dict; None gives fixed random weights, which a checkpoint's
            own stem replaces on loading.
    """
    stem: nn.Module
    if recipe.stem == "vgg19":
        stem = Frozen(load_vgg19(("conv2_1", "conv3_1"), vgg19))
    else:
        stem = LearnedStem(recipe.half, recipe.quarter)
    encoder = FaceEncoder if recipe.encoder == "published" else ResidualEncoder
    code = recipe.code_size
    return FaceCycle(
        stem=stem,
        expression_encoder=encoder(recipe.width, code),
        flow_decoder=FlowDecoder(recipe.width, code, attention=recipe.encoder == "published"),
        expression_decoder=ExpressionDecoder(
            recipe.half, recipe.quarter, recipe.full, recipe.expression_blocks, recipe.noise
        ),
        identity_encoder=encoder(recipe.width, code),
        identity_decoder=IdentityDecoder(
            recipe.quarter, recipe.half, recipe.full, recipe.identity_blocks, code
        ),
        flow_inverse=recipe.flow_inverse,
        padding=recipe.padding,
        code_size=code,
        image_size=recipe.image_size,
    )


def begin(recipe: Recipe, recogniser: Path | None = None) -> FaceCycle:
    """The model a training begins with; InstrumentError where the VGG19 of its stem is not at hand.

    Args:
        recogniser: not used; other methods begin with one.
    """
    return build(recipe, find_weights("vgg19") if recipe.stem == "vgg19" else None)


def load_instrument(recipe: Recipe) -> nn.Module | None:
    """Faces -> feature maps, for the perceptual terms; InstrumentError where it is not at hand."""
    return feature_network(recipe.instrument) if recipe.instrument else None


def stages(recipe: Recipe, model: FaceCycle, instrument: nn.Module | None) -> list[Stage]:
    """The stages in order; one is built when it starts, because it freezes parts of `model`."""
    # Lightning takes seconds to import and editing does not need it
    if recipe.contrast.images:
        return [_contrast(recipe, model)]
    from facefactor.methods.facecycle.training import (
        ExpressionStage,
        IdentityStage,
        MotionStage,
        Schedule,
    )

    assert instrument is not None
    seen = as_instrument(instrument)

    def schedule(rate: float, betas: tuple[float, float], images: int, drop_at: float) -> Schedule:
        return Schedule(rate, betas, max(1, int(images // recipe.batch_size * drop_at)))

    def motion() -> MotionStage:
        rate, betas = recipe.expression_rate, recipe.expression_betas
        whole = schedule(rate, betas, recipe.motion_images, drop_at=1.0)
        return MotionStage(model, seen, recipe.expression, whole)

    def expression() -> ExpressionStage:
        rate, betas = recipe.expression_rate, recipe.expression_betas
        dropping = schedule(rate, betas, recipe.expression_images, recipe.drop_at)
        return ExpressionStage(model, seen, recipe.expression, dropping, recipe.shake)

    def identity() -> IdentityStage:
        rate, betas = recipe.identity_rate, recipe.identity_betas
        dropping = schedule(rate, betas, recipe.identity_images, recipe.drop_at)
        return IdentityStage(model, seen, recipe.identity, recipe.mean_from, dropping, recipe.shake)

    batch = recipe.batch_size
    warm_up = [Stage("motion", motion, "pairs", recipe.motion_images, batch)]
    return (warm_up if recipe.motion_images else []) + [
        Stage("expression", expression, "pairs", recipe.expression_images, batch),
        Stage("identity", identity, "faces", recipe.identity_images, batch),
    ]


def _contrast(recipe: Recipe, model: FaceCycle) -> Stage:
    from facefactor.methods.facecycle.training import ContrastStage

    images, batch = recipe.contrast.images, recipe.batch_size

    def contrast() -> ContrastStage:
        return ContrastStage(model, recipe.contrast, images // batch)

    return Stage("contrast", contrast, "labelled", images, batch)
