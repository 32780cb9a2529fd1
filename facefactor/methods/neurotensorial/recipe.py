"""Settings of Neuro-Tensorial: the published sizes, and a size that two CPU cores can train; each
also as the two networks of the proof of concept (Fig. 3)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch
from torch import nn

from facefactor.methods.neurotensorial.losses import ProofWeights, Weights
from facefactor.methods.neurotensorial.model import (
    CROP,
    HIDDEN,
    IDENTITY,
    ILLUMINATION,
    SYNTHESISED,
    VERTICES,
    NeuroTensorial,
)
from facefactor.methods.neurotensorial.networks import (
    Discriminator,
    Encoder,
    UnpoolingDecoder,
    UpsamplingDecoder,
)
from facefactor.methods.neurotensorial.proof import ProofOfConcept
from facefactor.methods.neurotensorial.tensors import projection
from facefactor.nn.schedules import Schedule
from facefactor.perception.frozen import as_instrument
from facefactor.perception.instruments import find_weights
from facefactor.perception.packaged import packaged_instrument
from facefactor.perception.recognition import load_recogniser
from facefactor.perception.reframe import Reframed
from facefactor.stages import Stage


@dataclass(frozen=True)
class Recipe:
    """Everything that decides what is trained and how; data and machine aside."""

    # sizes
    network: Literal["whole", "proof", "turned proof"]  # of Fig. 2, Fig. 3a, Fig. 3b
    channels: tuple[int, ...]  # of the encoder; decoders have them backwards
    face_rank: int  # of Q, see `tensors.projection`; 0 for all of it
    shape_rank: int  # of B
    identity_modes: int  # of the morphable model that fits the faces
    expression_modes: int
    lighting_colours: int  # 1: grey light, 3: a light of each colour
    # objective
    instrument: str  # recogniser V of Eq. 8; "" for the one that comes with the package
    weights: Weights
    proof_weights: ProofWeights
    balance_ratio: float  # gamma of BEGAN
    balance_rate: float  # lambda_k of BEGAN
    # schedule
    batch_size: int
    unjudged_images: int  # seen first, without discriminator and recogniser
    images: int  # seen with all terms
    learning_rate: float
    drop_at: tuple[float, ...]  # shares of training after which the rate falls to a tenth
    image_size: int = 64


# A step costs, a face: encoder and four decoders forward and backward (three passes), D forward and
# back to its input, D forward and backward on a real and on a drawn face (eight passes in all), V
# forward on both and back to the drawn one, 63 M multiplications each. Convolutions of enlarged
# maps count with 9/25 of what the paper's would cost, see `nn/enlarging.py`.
_PAPER = Recipe(
    network="whole",
    channels=(96, 48, 24),  # encoder 155 M, decoders 1,080 M with places, 396 M without; 13,900 M
    face_rank=0,  # 132.7 M weights
    shape_rank=0,  # 33.75 M
    identity_modes=157,
    expression_modes=28,
    lighting_colours=3,
    instrument="",
    weights=Weights(
        reconstruction=1.0,  # Eq. 8 has no weight before it
        image=2.0,  # [N], as all that say so
        face=4.0,  # [N]
        adversarial=0.1,  # ours: lambda_adv and lambda_veri are not published
        verification=0.1,
        pose=1.0,  # no weights are printed before Eq. 9 to 14
        expression=1.0,
        identity=1.0,
        shape=1.0,
        frontal_face=1.0,
        frontal_normals=1.0,
        normals=0.2,  # [N]
        normals_smoothness=0.2,  # [N]
        unit_norm=5.0,  # [N]
        albedo_smoothness=0.2,  # [N]
        lighting=5.0,  # [N], for each colour
        white_shading=1.0,  # [N], for each colour
        mask=5.0,  # [N]
        mask_smoothness=2.0,  # [N]
    ),
    proof_weights=ProofWeights(
        reconstruction=1.0, texture=1.0, pose=1.0, expression=1.0, identity=1.0
    ),
    balance_ratio=0.5,
    balance_rate=1e-3,
    batch_size=64,
    unjudged_images=0,
    images=20 * 162_770,  # 20 epochs of CelebA's training part
    learning_rate=1e-4,
    drop_at=(2 / 3,),
)
_SMALL = replace(
    _PAPER,
    channels=(32, 32, 24),  # 41 M, 140 M and 52 M; D 93 M; a step 2,200 M, unjudged 1,280 M
    face_rank=128,  # 3.0 M weights
    shape_rank=64,  # 1.9 M
    identity_modes=100,  # of ICT-FaceKit
    expression_modes=57,
    lighting_colours=1,
    batch_size=32,
    unjudged_images=400_000,  # a third of a step's cost, and there is no face to judge at first
    images=100_000,
    learning_rate=1e-3,  # fewer steps; after 360 of them the sum of losses was 1.10, with 3e-4 1.55
)
PRESETS: Mapping[str, Recipe] = {
    "paper": _PAPER,
    "paper-proof": replace(_PAPER, network="proof"),
    "paper-proof-turned": replace(_PAPER, network="turned proof"),
    "small": _SMALL,
    "small-proof": replace(_SMALL, network="proof"),
    "small-proof-turned": replace(_SMALL, network="turned proof"),
}


def build(recipe: Recipe) -> NeuroTensorial | ProofOfConcept:
    """The model of `recipe`, untrained.

    Raises:
        ValueError: the image size cannot be halved as often as there are channels, or light has
            neither one colour nor three.
    """
    if recipe.lighting_colours not in (1, 3):
        raise ValueError(f"lighting_colours is {recipe.lighting_colours}; set 1 (grey) or 3")
    return _whole(recipe) if recipe.network == "whole" else _proof(recipe)


def begin(recipe: Recipe, recogniser: Path | None = None) -> NeuroTensorial | ProofOfConcept:
    """The model a training begins with.

    Args:
        recogniser: not used; other methods begin with one.
    """
    return build(recipe)


def load_instrument(recipe: Recipe) -> nn.Module | None:
    """V of Eq. 8, faces of our crop -> embeddings; None for the one of the package.

    Raises:
        InstrumentError: it is not at hand.
    """
    if not recipe.instrument or not _verifies(recipe):
        return None
    return _verifier(find_weights(recipe.instrument))


def stages(
    recipe: Recipe, model: NeuroTensorial | ProofOfConcept, instrument: nn.Module | None = None
) -> list[Stage]:
    """The one stage; a shorter one before it where the recipe has images that nobody judges.

    Args:
        instrument: V of Eq. 8, faces of our crop in [0, 1] -> embeddings (N, D).

    Raises:
        InstrumentError: none was given, and none comes with the package.
    """
    # Lightning takes seconds to import and editing does not need it
    from facefactor.methods.neurotensorial.training import NeuroTensorialStage, ProofStage

    if instrument is None and _verifies(recipe):
        instrument = _verifier(packaged_instrument("recogniser"))
    steps = recipe.images // recipe.batch_size
    schedule = Schedule.over(steps, recipe.learning_rate, recipe.drop_at)

    def unjudged() -> NeuroTensorialStage:
        assert isinstance(model, NeuroTensorial)
        weights = replace(recipe.weights, adversarial=0.0, verification=0.0)
        whole = Schedule(recipe.learning_rate, drops=())
        return NeuroTensorialStage(model, None, None, weights, 0.0, 0.0, whole)

    def main() -> NeuroTensorialStage | ProofStage:
        if isinstance(model, ProofOfConcept):
            return ProofStage(model, recipe.proof_weights, schedule)
        return NeuroTensorialStage(
            model,
            Discriminator(recipe.channels, HIDDEN, recipe.image_size),
            None if instrument is None else as_instrument(instrument),
            recipe.weights,
            recipe.balance_ratio,
            recipe.balance_rate,
            schedule,
        )

    if recipe.network == "whole":
        fitted: list[tuple[str, Callable[[], NeuroTensorialStage | ProofStage], int]] = [
            ("unjudged", unjudged, recipe.unjudged_images),
            ("main", main, recipe.images),
        ]
        return [
            Stage(name, module, "fitted", images, recipe.batch_size, needs_landmarks=True)
            for name, module, images in fitted
            if images
        ]
    return [Stage("main", main, "rendered", recipe.images, recipe.batch_size)]


def _whole(recipe: Recipe) -> NeuroTensorial:
    channels, size = recipe.channels, recipe.image_size
    return NeuroTensorial(
        encoder=Encoder(channels, HIDDEN, size),
        mask_decoder=UnpoolingDecoder(HIDDEN, channels, 1, size),
        background_decoder=UnpoolingDecoder(HIDDEN, channels, 3, size),
        albedo_decoder=UpsamplingDecoder(SYNTHESISED, channels, 3, size),
        normal_decoder=UpsamplingDecoder(SYNTHESISED, channels, 2, size, torch.tanh),
        shape_core=projection(SYNTHESISED, 3 * VERTICES, recipe.shape_rank),
        face_core=projection(ILLUMINATION * SYNTHESISED, 3 * size**2, recipe.face_rank),
        expression_modes=recipe.expression_modes,
        identity_modes=recipe.identity_modes,
        lighting_colours=recipe.lighting_colours,
        image_size=size,
    )


def _proof(recipe: Recipe) -> ProofOfConcept:
    channels, size = recipe.channels, recipe.image_size
    turns = recipe.network == "turned proof"
    image_decoder: nn.Module = nn.Sequential(
        projection(SYNTHESISED, 3 * size**2, recipe.shape_rank), nn.Unflatten(1, (3, size, size))
    )
    if turns:
        image_decoder = UpsamplingDecoder(SYNTHESISED, channels, 3, size)
    return ProofOfConcept(
        encoder=Encoder(channels, HIDDEN, size),
        image_decoder=image_decoder,
        texture_decoder=UpsamplingDecoder(IDENTITY, channels, 3, size),
        expression_modes=recipe.expression_modes,
        identity_modes=recipe.identity_modes,
        turns=turns,
        image_size=size,
    )


def _verifies(recipe: Recipe) -> bool:
    return recipe.network == "whole" and bool(recipe.weights.verification)


def _verifier(path: Path) -> nn.Module:
    """The recogniser in a file, given faces of our crop."""
    network = load_recogniser(path)
    return Reframed(network, network.crop, network.image_size, CROP)
