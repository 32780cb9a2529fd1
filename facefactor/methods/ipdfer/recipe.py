"""Settings of IPD-FER: the published sizes, and a size that two CPU cores can train; each also
without its pose branch (ID-FER) and without any disentangling (the baseline), as in Table 8."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from facefactor.methods.ipdfer.losses import Weights, class_weights
from facefactor.methods.ipdfer.model import IPDFER
from facefactor.methods.ipdfer.networks import Decoder
from facefactor.perception.frozen import Frozen
from facefactor.perception.recognition import MobileFaceNet, load_mobilefacenet
from facefactor.stages import Stage

# what the expression numbers of a batch mean; `data.records` has the same names
EXPRESSIONS = (
    "neutral",
    "happiness",
    "sadness",
    "surprise",
    "fear",
    "disgust",
    "anger",
    "contempt",
)


@dataclass(frozen=True)
class Recipe:
    """Everything that decides what is trained and how; data and machine aside."""

    # sizes
    trunk: Literal["iresnet18", "mobilefacenet"]  # of the three encoders and D
    decoder_channels: tuple[int, ...]  # of the maps of side 7, 14, 28, 56 and 112
    # classes
    classes: tuple[str, ...]  # K expressions; faces of others count as unlabelled
    class_counts: tuple[int, ...]  # training images of each; read only for class_balance
    class_balance: float  # exponent of the inverse frequency that weighs Eq. 5 and 8; 0 for none
    # objective
    adversary: Literal["shared", "own_head"]  # whose pose verdict expression codes confuse
    instrument: str  # recogniser N of Eq. 2; "" for E_id itself
    weights: Weights
    # schedule
    batch_size: int  # images a step
    images: int  # seen in training
    learning_rate: float
    drop_at: tuple[float, ...]  # shares of training after which the rate falls to a tenth
    code_size: int = 512


_PAPER = Recipe(
    trunk="iresnet18",
    decoder_channels=(512, 256, 128, 64, 32),
    classes=EXPRESSIONS[:7],  # of RAF-DB; FERPlus has contempt, too
    class_counts=(2524, 4772, 1982, 1290, 281, 717, 705),  # training part of RAF-DB
    class_balance=0.0,
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
    images=30 * 12_271,  # 30 epochs of RAF-DB
    learning_rate=1e-4,
    drop_at=(1 / 3, 2 / 3),  # every 10 epochs
)
_SMALL = replace(
    _PAPER,
    trunk="mobilefacenet",
    decoder_channels=(128, 96, 64, 32, 16),
    images=12 * 12_271,
    learning_rate=3e-4,  # fewer steps
)


def _without_pose(recipe: Recipe) -> Recipe:
    """ID-FER: a face is the sum of identity and expression."""
    return replace(recipe, weights=replace(recipe.weights, pose=0.0, confusion=0.0))


def _baseline(recipe: Recipe) -> Recipe:
    """E_exp and C_exp alone learn, by L_exp; the decoder stays as it is built."""
    return replace(recipe, weights=Weights(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0))


PRESETS: Mapping[str, Recipe] = {
    f"{size}{part}": change(recipe)
    for size, recipe in (("small", _SMALL), ("paper", _PAPER))
    for part, change in (("", replace), ("-id", _without_pose), ("-baseline", _baseline))
}


def build(recipe: Recipe, recogniser: Path | None = None) -> IPDFER:
    """The model of `recipe`, untrained.

    Args:
        recogniser: state dict of a face recogniser of the recipe's trunk and code size. E_id is
            that recogniser, and E_pose and E_exp start from it (Sec. 4.2). None gives random
            weights, which a checkpoint replaces on loading: E_id is part of it.

    Raises:
        FileNotFoundError: nothing at `recogniser`.
        ValueError: it is no recogniser of this trunk and size; or the classes of the recipe are
            unknown, twice there, or do not go with its other settings.
    """
    _check_classes(recipe)
    start = None if recogniser is None else _load_trunk(recipe, recogniser)

    def trunk() -> nn.Module:
        return _trunk(recipe) if start is None else copy.deepcopy(start).train()

    return IPDFER(
        identity_encoder=Frozen(trunk()),
        pose_encoder=trunk() if recipe.weights.pose else None,
        expression_encoder=trunk(),
        decoder=Decoder(recipe.code_size, recipe.decoder_channels),
        classes=recipe.classes,
        code_size=recipe.code_size,
    )


def stages(recipe: Recipe, model: IPDFER, instrument: nn.Module | None = None) -> list[Stage]:
    """The one stage.

    Args:
        instrument: the recogniser N of Eq. 2, faces in [0, 1] -> embeddings (N, D); None for E_id.
    """
    # Lightning takes seconds to import and editing does not need it
    from facefactor.methods.ipdfer.training import IPDFERStage

    counts = recipe.class_counts if recipe.class_balance else (1,) * len(recipe.classes)

    def main() -> IPDFERStage:
        return IPDFERStage(
            model,
            build_discriminator(model),
            None if instrument is None else Frozen(instrument),
            pose_bins,
            [recipe.classes.index(n) if n in recipe.classes else -1 for n in EXPRESSIONS],
            class_weights(counts, recipe.class_balance),
            recipe.weights,
            recipe.adversary,
            recipe.learning_rate,
            steps=recipe.images // recipe.batch_size,
            drop_at=recipe.drop_at,
        )

    return [Stage("main", main, "labelled", recipe.images, recipe.batch_size)]


def build_discriminator(model: IPDFER) -> nn.Module:
    """D: the trunk of the model's recogniser, with its weights to start from (Sec. 4.2), and K
    logits."""
    trunk = copy.deepcopy(model.identity_encoder.network)
    return nn.Sequential(trunk, nn.Linear(model.code_size, len(model.classes)))


def pose_bins(landmarks: Tensor) -> Tensor:
    """Bins of |yaw| (Table 1) of landmarks (N, 68, 2); (N,) int64."""
    from facefactor.perception.head_pose import head_pose, yaw_bins

    return yaw_bins(head_pose(landmarks)[:, 0])


def _trunk(recipe: Recipe) -> nn.Module:
    """Faces in [0, 1] -> codes (N, code_size), random weights."""
    if recipe.trunk == "mobilefacenet":
        return MobileFaceNet(recipe.code_size)
    from facefactor.nn.resnet import iresnet18

    return iresnet18(code_size=recipe.code_size)


def _load_trunk(recipe: Recipe, path: Path) -> nn.Module:
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such weights file; expected a face recogniser")
    if recipe.trunk == "mobilefacenet":
        network = load_mobilefacenet(path)
        if (found := network.bn.num_features) != recipe.code_size:
            raise ValueError(
                f"{path}: its embeddings have {found} numbers, codes of this recipe "
                f"{recipe.code_size}; set code_size={found} or give another recogniser"
            )
        return network
    network = _trunk(recipe)
    try:
        network.load_state_dict(_read_state_dict(path))
    except RuntimeError as error:
        raise ValueError(f"{path}: not a state dict of {recipe.trunk} ({error})") from error
    return network


def _read_state_dict(path: Path) -> dict[str, Tensor]:
    if path.suffix == ".safetensors":
        return load_file(path)
    return dict(torch.load(path, map_location="cpu", weights_only=True))


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
