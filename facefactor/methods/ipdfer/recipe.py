"""Settings of IPD-FER: the published sizes, and a size that two CPU cores can train; each also
without its pose branch (ID-FER) and without any disentangling (the baseline), as in Table 8."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from torch import Tensor, nn

from facefactor.factors import EXPRESSIONS
from facefactor.methods.ipdfer.losses import Weights, class_weights
from facefactor.methods.ipdfer.model import IPDFER
from facefactor.methods.ipdfer.networks import Decoder
from facefactor.nn.resnet import IResNet18
from facefactor.nn.schedules import Schedule
from facefactor.perception.frozen import Frozen, as_instrument
from facefactor.perception.head_pose import head_pose, yaw_bins, yaw_of_paper
from facefactor.perception.instruments import find_weights
from facefactor.perception.recognition import MobileFaceNet, Recogniser, load_recogniser
from facefactor.perception.state_dicts import InstrumentError
from facefactor.stages import Stage


@dataclass(frozen=True)
class Recipe:
    """Everything that decides what is trained and how; data and machine aside."""

    # sizes
    trunk: Literal["iresnet18", "mobilefacenet"]  # of the three encoders and D
    width: float  # of MobileFaceNet; iresnet18 has one size
    decoder_channels: tuple[int, ...]  # of the maps of side 7, 14, 28, 56 and 112
    # classes
    classes: tuple[str, ...]  # K expressions; faces of others count as unlabelled
    class_counts: tuple[int, ...]  # training images of each; read only for class_balance
    class_balance: float  # exponent of the inverse frequency that weighs Eq. 5 and 8; 0 for none
    # objective
    yaw: Literal["formula", "fitted"]  # pose labels: the paper's formula, or a mean face fitted
    adversary: Literal["shared", "own_head"]  # whose pose verdict expression codes confuse
    instrument: str  # recogniser N of Eq. 2; "" for E_id itself
    weights: Weights
    # schedule
    batch_size: int  # images a step
    drawn: int  # of these, line 4 of Algorithm 1 encodes again, draws and judges so many
    images: int  # seen in training
    learning_rate: float
    drop_at: tuple[float, ...]  # shares of training after which the rate falls to a tenth
    code_size: int = 512


# A step costs 24 forward passes of the trunk (6 of them in line 2 of Algorithm 1, 3 in line 3 and
# 14 in line 4) and 6 of the decoder, a backward pass counted as two, one to the input alone as one.
_PAPER = Recipe(
    trunk="iresnet18",  # 24.0 M parameters, 2,610 M multiplications a face
    width=1.0,
    decoder_channels=(512, 256, 128, 64, 32),  # 21.9 M and 1,591 M; a step 72,200 M a face
    classes=EXPRESSIONS[:7],  # of RAF-DB; FERPlus has contempt, too
    class_counts=(2524, 4772, 1982, 1290, 281, 717, 705),  # training part of RAF-DB
    class_balance=0.0,
    yaw="formula",
    adversary="shared",
    instrument="",
    weights=Weights(
        pose=1.0,
        orthogonality=0.5,  # beta_1
        confusion=1.0,  # beta_2
        fake_neutral=0.001,  # lambda_1
        fake_expression=0.001,  # lambda_2
        identity=1.0,  # lambda_3
        reconstruction=10.0,  # lambda_4
    ),
    batch_size=32,
    drawn=32,
    images=30 * 12_271,  # 30 epochs of RAF-DB
    learning_rate=1e-4,
    drop_at=(1 / 3, 2 / 3),  # every 10 epochs
)
_SMALL = replace(
    _PAPER,
    trunk="mobilefacenet",
    width=0.5,  # 0.55 M parameters, 63 M multiplications a face
    decoder_channels=(128, 96, 64, 32, 16),  # 4.1 M and 309 M
    yaw="fitted",
    drawn=8,  # a step costs 1,310 M a face; with all 32 drawn it would be 3,370 M
    images=10 * 12_271,
    learning_rate=1e-3,  # fewer steps; see the README for what was tried
)


def _without_pose(recipe: Recipe) -> Recipe:
    """ID-FER: a face is the sum of identity and expression."""
    return replace(recipe, weights=replace(recipe.weights, pose=0.0, confusion=0.0))


def _baseline(recipe: Recipe) -> Recipe:
    """E_exp and C_exp alone learn, by L_exp; the decoder stays as it is built."""
    return replace(recipe, weights=Weights(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0))


PRESETS: Mapping[str, Recipe] = {
    "paper": _PAPER,
    "paper-id": _without_pose(_PAPER),
    "paper-baseline": _baseline(_PAPER),
    "small": _SMALL,
    "small-id": _without_pose(_SMALL),
    "small-baseline": _baseline(_SMALL),
}


def build(recipe: Recipe, recogniser: Path | None = None) -> IPDFER:
    """The model of `recipe`, untrained.

    Args:
        recogniser: state dict of a face recogniser of the recipe's trunk and code size. E_id is
            that recogniser, and E_pose and E_exp start from it (Sec. 4.2). None gives random
            weights, which a checkpoint replaces on loading: E_id is part of it.

    Raises:
        InstrumentError: nothing at `recogniser`, or no recogniser of this trunk and these sizes.
        ValueError: the classes of the recipe are unknown, twice there, or do not go with its other
            settings.
    """
    _check_classes(recipe)
    start = None if recogniser is None else _load_trunk(recipe, recogniser)

    def trunk() -> nn.Module:
        return _trunk(recipe) if start is None else copy.deepcopy(start)

    return IPDFER(
        identity_encoder=Frozen(trunk()),
        pose_encoder=trunk() if recipe.weights.pose else None,
        expression_encoder=trunk(),
        decoder=Decoder(recipe.code_size, recipe.decoder_channels),
        classes=recipe.classes,
        code_size=recipe.code_size,
    )


def begin(recipe: Recipe, recogniser: Path | None) -> IPDFER:
    """The model a training begins with.

    Raises:
        InstrumentError: no recogniser: a random E_id would say nothing of who somebody is.
    """
    if recogniser is None:
        raise InstrumentError(
            "ipdfer begins with a trained face recogniser; train one (facefactor train recogniser) "
            "and name its file (--recogniser FILE)"
        )
    return build(recipe, recogniser)


def load_instrument(recipe: Recipe) -> nn.Module | None:
    """N of Eq. 2, faces -> embeddings; None for E_id. InstrumentError where it is not at hand."""
    return load_recogniser(find_weights(recipe.instrument)) if recipe.instrument else None


def stages(recipe: Recipe, model: IPDFER, instrument: nn.Module | None = None) -> list[Stage]:
    """The one stage.

    Args:
        instrument: the recogniser N of Eq. 2, faces in [0, 1] -> embeddings (N, D); None for E_id.
    """
    # Lightning takes seconds to import and editing does not need it
    from facefactor.methods.ipdfer.training import IPDFERStage

    counts = recipe.class_counts if recipe.class_balance else (1,) * len(recipe.classes)
    steps = recipe.images // recipe.batch_size
    schedule = Schedule.over(steps, recipe.learning_rate, recipe.drop_at)

    def main() -> IPDFERStage:
        return IPDFERStage(
            model,
            build_discriminator(recipe, model),
            None if instrument is None else as_instrument(instrument),
            fitted_pose if recipe.yaw == "fitted" else formula_pose,
            [recipe.classes.index(n) if n in recipe.classes else -1 for n in EXPRESSIONS],
            class_weights(counts, recipe.class_balance),
            recipe.weights,
            recipe.adversary,
            recipe.drawn,
            schedule,
        )

    return [
        Stage(
            "main",
            main,
            "labelled",
            recipe.images,
            recipe.batch_size,
            needs_landmarks=bool(recipe.weights.pose),  # pose labels are made of them
        )
    ]


def build_discriminator(recipe: Recipe, model: IPDFER) -> nn.Module:
    """D: a trunk that starts from the weights of E_id (Sec. 4.2), and K logits."""
    trunk = _trunk(recipe)
    trunk.load_state_dict(model.identity_encoder.network.state_dict())
    return nn.Sequential(trunk, nn.Linear(model.code_size, len(model.classes)))


def fitted_pose(landmarks: Tensor) -> Tensor:
    """Bins of |yaw| (Table 1) of landmarks (N, 68, 2), by a mean face fitted to them; (N,) int64"""
    return yaw_bins(head_pose(landmarks)[:, 0])


def formula_pose(landmarks: Tensor) -> Tensor:
    """The same by the formula that made the paper's labels (Sec. 4.2)."""
    return yaw_bins(yaw_of_paper(landmarks))


def _trunk(recipe: Recipe) -> Recogniser:
    """Faces in [0, 1] -> codes (N, code_size), random weights."""
    if recipe.trunk == "mobilefacenet":
        return MobileFaceNet(recipe.code_size, recipe.width)
    return IResNet18(recipe.code_size)


def _load_trunk(recipe: Recipe, path: Path) -> Recogniser:
    network, found = _trunk(recipe), load_recogniser(path)
    try:
        network.load_state_dict(found.state_dict())
    except RuntimeError as error:
        raise InstrumentError(
            f"{path}: a {type(found).__name__} with codes of {found.code_size}, where the recipe "
            f"has {recipe.trunk} of width {recipe.width} with codes of {recipe.code_size}; set "
            "trunk, width and code_size to what it is, or give another recogniser"
        ) from error
    return network


def _check_classes(recipe: Recipe) -> None:
    classes = recipe.classes
    if unknown := [name for name in classes if name not in EXPRESSIONS]:
        raise ValueError(f"no expression {unknown[0]!r}; there are {', '.join(EXPRESSIONS)}")
    if len(set(classes)) < max(2, len(classes)):
        raise ValueError(f"classes must be two or more, each once, got {list(classes)}")
    if recipe.weights.draw and "neutral" not in classes:
        raise ValueError(
            "the neutral faces this recipe draws need the class neutral; add it to classes, or set "
            "the weights fake_neutral, fake_expression, identity and reconstruction to 0"
        )
    if recipe.class_balance and len(recipe.class_counts) != len(classes):
        raise ValueError(
            f"class_balance needs class_counts of the {len(classes)} classes, "
            f"got {len(recipe.class_counts)}"
        )
