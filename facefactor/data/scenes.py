"""What rendered faces show: who, with which expression, turned how, under which light.

All of a person follows from (seed, number), all of a batch from (seed, step).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from facefactor.data.painting import TRAITS
from facefactor.factors import EXPRESSIONS
from facefactor.geometry.lighting import directional_lighting
from facefactor.geometry.morphable import MorphableModel, MorphableModelError

# Seven poses as Neuro-Tensorial renders (Sec. 4.2, which prints no angles); these are Multi-PIE's.
YAWS = (-45.0, -30.0, -15.0, 0.0, 15.0, 30.0, 45.0)
YAW_SPREAD = 7.5  # degrees either way of these: no gaps between them
# ICT-FaceKit's head at rest looks up; nodding by 10 degrees it lies like people who look into the
# camera (`perception.head_pose`).
FRONTAL_PITCH = -10.0
PITCH_SPREAD = 10.0  # either way
# What five points found by a detector are off by: degrees, share of the size, shares of the side.
WOBBLE = (3.0, 0.03, 0.015)
AZIMUTHS, ELEVATIONS = (-90.0, 90.0), (-20.0, 60.0)  # degrees, of the light
STRENGTHS, AMBIENTS = (0.45, 0.75), (0.4, 0.65)  # of shading: by the light, and everywhere
EVEN_LIGHT = (0.0, 20.0, 0.45, 0.65)  # azimuth, elevation, strength, ambient
FURTHEST = 2.5  # identity coefficients beyond are cut to it
MIXED = "mixed"  # the expression's name where it is none of EXPRESSIONS

_GROUND = 0.5
_PATCHES = 4  # random colours along a side of a ground that is not plain
_TINT = 0.06  # what their channels differ by


def _both(**weights: float) -> dict[str, float]:
    """Shapes of both sides of the face."""
    return {f"{name}_{side}": weight for name, weight in weights.items() for side in "LR"}


# Weights of ICT-FaceKit's shapes (ARKit's names), by eye, after what FACS says moves.
BLENDS: Mapping[str, Mapping[str, float]] = {
    "neutral": {},
    "happiness": _both(mouthSmile=0.8, cheekSquint=0.5, cheekRaiser=0.2, mouthUpperUp=0.2)
    | {"jawOpen": 0.05},
    "sadness": _both(browInnerUp=0.9, browDown=0.3, mouthFrown=0.9, eyeSquint=0.3, eyeBlink=0.25)
    | {"mouthShrugLower": 0.5},
    "surprise": _both(browInnerUp=1.0, browOuterUp=1.0, eyeWide=1.0) | {"jawOpen": 0.6},
    "fear": _both(browInnerUp=1.0, browDown=0.4, eyeWide=1.0, mouthStretch=0.9, mouthLowerDown=0.4)
    | {"jawOpen": 0.2},
    "disgust": _both(noseSneer=1.0, browDown=0.6, mouthUpperUp=0.8, mouthFrown=0.4, eyeSquint=0.6)
    | {"mouthShrugLower": 0.3},
    "anger": _both(browDown=1.0, noseSneer=0.4, eyeSquint=0.4, mouthPress=0.8, mouthFrown=0.3)
    | {"mouthRollUpper": 0.3, "mouthRollLower": 0.3, "jawForward": 0.3},
    "contempt": {
        "mouthSmile_L": 0.6, "mouthDimple_L": 0.8, "mouthUpperUp_L": 0.2, "cheekSquint_L": 0.3,
    },
}  # fmt: skip
# Shapes that do not show in a painted face, or only make sense with others.
_NOT_ALONE = ("Pupil", "eyeLook", "mouthClose")


@dataclass(frozen=True, eq=False)
class Scenes:
    """N pictures to be rendered; everything that decides them."""

    subject: Tensor  # (N,) int64 number of the person
    identity: Tensor  # (N, I) coefficients, about standard normal, within 2.5
    traits: Tensor  # (N, TRAITS) in [0, 1]: the person's colours, of `painting`
    expression: Tensor  # (N, E) weights in [0, 1]
    expression_name: tuple[str, ...]  # N of EXPRESSIONS, or "mixed"
    pose: Tensor  # (N, 3) yaw, pitch, roll in degrees, before alignment tilts the head
    wobble: Tensor  # (N, 4) what alignment is off by: degrees, share of size, shares of side x, y
    lighting: Tensor  # (N, 9)
    ground: Tensor  # (N, 3, P, P) in [0, 1], colours behind the head, spread over the picture


def expression_blends(model: MorphableModel) -> Tensor:
    """(8, E) weights at full strength, in the order of EXPRESSIONS.

    Raises:
        MorphableModelError: a shape is missing.
    """
    try:
        return torch.cat([model.expression_weights(BLENDS[name]) for name in EXPRESSIONS])
    except ValueError as error:
        raise MorphableModelError(
            f"{error}; rendered faces need the expression shapes of ICT-FaceKit"
        ) from error


def without_expression(scenes: Scenes) -> Scenes:
    """The same people, poses, lights and grounds; nobody shows an expression."""
    return replace(
        scenes,
        expression=torch.zeros_like(scenes.expression),
        expression_name=("neutral",) * len(scenes.subject),
    )


def draw_scenes(
    subjects: Sequence[int],
    draw: np.random.Generator,
    model: MorphableModel,
    seed: int,
    expressions: Sequence[str] | None = None,
    turned: bool = True,
    yaw_spread: float = 0.0,
    lit: bool = True,
    plain: bool = True,
) -> Scenes:
    """One scene for each subject: who that is follows from seed and number, the rest is drawn.

    Args:
        subjects: N numbers of people, which may repeat.
        expressions: N names of EXPRESSIONS, drawn at strengths of 0.5 to 1. None: half of the
            scenes have one of these, half a mixture of two and of single shapes.
        turned: False has everybody look into the camera, without a wobble (Sec. 4.1).
        yaw_spread: degrees that a yaw may be off its pose, either way; 7.5 leaves no gaps.
        lit: False has one even light for all, as the paper's proof of concept does.
        plain: False has smooth random colours behind the head in place of grey.
    """
    count = len(subjects)
    people = [_person(seed, number, len(model.identity)) for number in subjects]
    names, weights = _expressions(draw, model, count, expressions)
    pose, wobble = np.tile((0.0, FRONTAL_PITCH, 0.0), (count, 1)), np.zeros((count, 4))
    if turned:
        pose[:, 0] = draw.choice(YAWS, count) + yaw_spread * draw.uniform(-1, 1, count)
        pose[:, 1] += PITCH_SPREAD * draw.uniform(-1, 1, count)
        wobble = draw.uniform(-1, 1, (count, 4)) * (*WOBBLE, WOBBLE[2])
    light = np.tile(EVEN_LIGHT, (count, 1))
    if lit:
        low, high = np.array([AZIMUTHS, ELEVATIONS, STRENGTHS, AMBIENTS]).T
        light = draw.uniform(low, high, (count, 4))
    ground = np.full((count, 3, 1, 1), _GROUND)
    if not plain:
        ground = draw.random((count, 1, _PATCHES, _PATCHES))
        ground = ground + _TINT * draw.normal(size=(count, 3, _PATCHES, _PATCHES))
    return Scenes(
        subject=torch.tensor([int(number) for number in subjects]),
        identity=_floats(np.stack([identity for identity, _ in people])),
        traits=_floats(np.stack([traits for _, traits in people])),
        expression=weights,
        expression_name=names,
        pose=_floats(pose),
        wobble=_floats(wobble),
        lighting=light_from(*_floats(light).unbind(dim=1)),
        ground=_floats(ground),
    )


def light_from(azimuth: Tensor, elevation: Tensor, strength: Tensor, ambient: Tensor) -> Tensor:
    """Coefficients (N, 9): shading of `ambient` everywhere and about `strength` more where a
    distant light falls straight on. Angles in degrees, as in `geometry.lighting`."""
    distant = directional_lighting(azimuth, elevation)
    everywhere = directional_lighting(azimuth, elevation, ambient=1.0) - distant
    return strength[:, None] * distant + ambient[:, None] * everywhere


def _person(seed: int, number: int, modes: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Identity coefficients and traits."""
    draw = np.random.default_rng((seed, 1, number))
    traits = draw.random(TRAITS)  # first: with these a model of other modes has the same skin
    return draw.normal(size=modes).clip(-FURTHEST, FURTHEST), traits


def _expressions(
    draw: np.random.Generator, model: MorphableModel, count: int, wanted: Sequence[str] | None
) -> tuple[tuple[str, ...], Tensor]:
    """Names and weights (N, E); ValueError for a name that is none."""
    if unknown := sorted({*(wanted or ())} - {*EXPRESSIONS}):
        raise ValueError(f"no expression {unknown[0]!r}; there are {', '.join(EXPRESSIONS)}")
    strength = draw.uniform(0.5, 1.0, count)
    chosen = draw.integers(len(EXPRESSIONS), size=(count, 2))
    mixed = draw.random(count) < 0.5
    if wanted is not None:
        chosen[:, 0] = [EXPRESSIONS.index(name) for name in wanted]
        mixed[:] = False
    blends = expression_blends(model).numpy()
    share = draw.random((count, 1))
    mixture = share * blends[chosen[:, 0]] + (1 - share) * blends[chosen[:, 1]]
    mixture += _single_shapes(draw, model, count)
    weights = np.where(mixed[:, None], mixture, blends[chosen[:, 0]]) * strength[:, None]
    names = [
        MIXED if is_mixed else EXPRESSIONS[first]
        for is_mixed, first in zip(mixed, chosen[:, 0], strict=True)
    ]
    return tuple(names), _floats(weights.clip(0, 1))


def _single_shapes(
    draw: np.random.Generator, model: MorphableModel, count: int
) -> NDArray[np.float64]:
    """(N, E) weights up to 0.6 of about three shapes."""
    alone = np.array([not name.startswith(_NOT_ALONE) for name in model.expression_names])
    shown = draw.random((count, len(alone))) < 3 / alone.sum()
    return 0.6 * draw.random(shown.shape) * (shown & alone)


def _floats(values: NDArray[np.float64]) -> Tensor:
    return torch.from_numpy(values).float()
