"""Rendered faces of people who do not exist, with every factor known exactly.

A scene says who is seen, with which expression, turned how, under which light, before what; a
`FaceRenderer` makes its picture in one of the crops that photos are cut to, by the same alignment
of five points. All of a person follows from (seed, number), all of a batch from (seed, step).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import Dataset

from facefactor.data.painting import TRAITS, FacePaint
from facefactor.data.samples import RenderedBatch
from facefactor.factors import EXPRESSIONS
from facefactor.geometry.holes import close_holes
from facefactor.geometry.lighting import directional_lighting, shading
from facefactor.geometry.morphable import MorphableModel, MorphableModelError
from facefactor.geometry.rasteriser import interpolate, normal_map, project, rasterise
from facefactor.geometry.rotations import rotation_matrix
from facefactor.geometry.similarity import Affine, compose_affine
from facefactor.geometry.uv_grid import locate_grid
from facefactor.perception.align import crop_points, place

# Seven poses as Neuro-Tensorial renders (Sec. 4.2, which prints no angles); these are Multi-PIE's.
YAWS = (-45.0, -30.0, -15.0, 0.0, 15.0, 30.0, 45.0)
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
    "happiness": _both(mouthSmile=0.8, cheekSquint=0.6, cheekRaiser=0.5, mouthUpperUp=0.2)
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


@dataclass(frozen=True, eq=False)
class SyntheticFaces:
    """N rendered faces and what is exactly so about them.

    A vertex X of the model (or of the model resampled) is seen at `scale (R X)[:2] (1, -1) + shift`
    in shares of the side, x right and y down; times the side less 1/2 in pixels.
    """

    faces: NDArray[np.uint8]  # (N, S, S, 3): in the mask, clamp(albedo * shading) to half a step
    subject: Tensor  # (N,) int64
    identity: Tensor  # (N, I)
    expression: Tensor  # (N, E)
    expression_name: tuple[str, ...]  # N of EXPRESSIONS, or "mixed"
    rotation: Tensor  # (N, 3, 3), as in `geometry.rotations`
    scale: Tensor  # (N,) sides in a unit of the model
    shift: Tensor  # (N, 2)
    landmarks: Tensor  # (N, 68, 2) in shares of the side; of the model's skin, hidden or not
    lighting: Tensor  # (N, 9), of `geometry.lighting`
    albedo: Tensor  # (N, 3, S, S) in [0, 1], 0 off the face
    normals: Tensor  # (N, 3, S, S) unit vectors, 0 off the face
    mask: Tensor  # (N, 1, S, S) in {0, 1}
    texture: Tensor  # (N, 3, S, S) albedo of the whole face on the grid of `geometry.uv_grid`

    def __len__(self) -> int:
        return len(self.faces)


class FaceRenderer:
    """Pictures of scenes, S pixels wide, in a named crop.

    Args:
        model: with ICT-FaceKit's expression shapes; its holes are closed here.
        crop: a key of `perception.align.CROPS`.

    Raises:
        MorphableModelError: the model lacks an expression shape that is asked for.
    """

    def __init__(
        self, model: MorphableModel, crop: str = "facecycle", image_size: int = 64
    ) -> None:
        self.blends = expression_blends(model)
        face = close_holes(model)
        self.model = face.model
        self.crop = crop
        self.image_size = image_size
        self.paint = FacePaint(face)
        self.chart = locate_grid(self.model.uv, self.model.triangles, image_size, image_size)

    @torch.no_grad()
    def render(self, scenes: Scenes) -> SyntheticFaces:
        size, model = self.image_size, self.model
        vertices = model.vertices(scenes.identity, scenes.expression)
        marks = vertices[:, model.landmarks68]
        rotation, scale, shift = self._camera(marks, scenes.pose, scenes.wobble)
        points = project(vertices, rotation, size * scale, size * shift - 0.5)
        raster = rasterise(points, model.triangles, (size, size))
        normals = normal_map(raster, points, model.triangles)
        painted = self.paint.albedo(scenes.traits)
        albedo, mask = interpolate(raster, painted), raster.mask
        lit = (albedo * shading(normals, scenes.lighting)).clamp(0, 1)
        pictures = torch.where(mask, lit, _spread(scenes.ground, size))
        texture = self.chart(painted).view(-1, size, size, 3)
        return SyntheticFaces(
            faces=(255 * pictures).round().byte().permute(0, 2, 3, 1).contiguous().numpy(),
            subject=scenes.subject,
            identity=scenes.identity,
            expression=scenes.expression,
            expression_name=scenes.expression_name,
            rotation=rotation,
            scale=scale,
            shift=shift,
            landmarks=project(marks, rotation, scale, shift)[..., :2],
            lighting=scenes.lighting,
            albedo=albedo,
            normals=normals,
            mask=mask.float(),
            texture=texture.permute(0, 3, 1, 2).contiguous(),
        )

    def _camera(
        self, marks: Tensor, pose: Tensor, wobble: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Rotation (N, 3, 3), scale (N,) and shift (N, 2) in sides: turned by its pose, the head is
        placed as a photo's is, which takes any tilt out, and then `wobble` away from there."""
        rotation = rotation_matrix(pose.double())
        seen = five_points(marks.double() @ rotation.mT * marks.new_tensor([1, -1, 1]).double())
        # in a crop of size 1 shares of the side are pixels plus 1/2
        middle = crop_points(self.crop, 1).mean(axis=0)
        to_crop = [
            compose_affine(place(points, self.crop, size=1).to_crop, _wobbled(off, middle))
            for points, off in zip(seen[..., :2].numpy(), wobble.double().numpy(), strict=True)
        ]
        found = torch.from_numpy(np.stack(to_crop))
        cosine, sine = found[:, 0, 0], found[:, 1, 0]  # times the scale; of a plane with y down
        scale = torch.hypot(cosine, sine)
        tilt = torch.zeros_like(rotation)
        tilt[:, 0, 0], tilt[:, 0, 1] = cosine / scale, sine / scale
        tilt[:, 1, 0], tilt[:, 1, 1] = -sine / scale, cosine / scale
        tilt[:, 2, 2] = 1.0
        return (tilt @ rotation).to(marks), scale.to(marks), (found[:, :, 2] + 0.5).to(marks)


def five_points(landmarks: Tensor) -> Tensor:
    """The points that place a crop, of 68 landmarks: (..., 68, C) -> (..., 5, C)."""
    eyes = [landmarks[..., first : first + 6, :].mean(dim=-2) for first in (36, 42)]
    return torch.stack([*eyes, *(landmarks[..., index, :] for index in (30, 48, 54))], dim=-2)


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


def draw_scenes(
    subjects: Sequence[int],
    draw: np.random.Generator,
    renderer: FaceRenderer,
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
    people = [_person(seed, number, len(renderer.model.identity)) for number in subjects]
    names, weights = _expressions(draw, renderer, count, expressions)
    pose, wobble = np.tile((0.0, FRONTAL_PITCH, 0.0), (count, 1)), np.zeros((count, 4))
    if turned:
        pose[:, 0] = draw.choice(YAWS, count) + yaw_spread * draw.uniform(-1, 1, count)
        pose[:, 1] += PITCH_SPREAD * draw.uniform(-1, 1, count)
        wobble = draw.uniform(-1, 1, (count, 4)) * (*WOBBLE, WOBBLE[2])
    light = np.tile(EVEN_LIGHT, (count, 1))
    if lit:
        ranges = np.array([AZIMUTHS, ELEVATIONS, STRENGTHS, AMBIENTS])
        light = draw.uniform(*ranges.T, (count, 4))
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


class RenderedFaces(Dataset[RenderedBatch]):
    """Batch number `step` of rendered faces, each of anybody among `people`.

    Args:
        people: how many there are; numbers from there on are people who are never seen.
        turned, lit: as for `draw_scenes`; grounds are plain.
    """

    def __init__(
        self,
        renderer: FaceRenderer,
        people: int,
        batch_size: int,
        seed: int,
        turned: bool = True,
        lit: bool = True,
    ) -> None:
        if people < 1:
            raise ValueError(f"{people} people; there must be somebody to draw")
        self.renderer = renderer
        self.people = people
        self.batch_size = batch_size
        self.seed = seed
        self.turned = turned
        self.lit = lit

    def __getitem__(self, step: int) -> RenderedBatch:
        draw = np.random.default_rng((self.seed, 0, step))
        subjects = draw.integers(self.people, size=self.batch_size)
        scenes = draw_scenes(
            subjects, draw, self.renderer, self.seed, turned=self.turned, lit=self.lit
        )
        made = self.renderer.render(scenes)
        return RenderedBatch(
            faces=torch.from_numpy(made.faces).permute(0, 3, 1, 2).float() / 255,
            rotation=made.rotation,
            identity=made.identity,
            expression=made.expression,
            texture=made.texture,
        )


def synthetic_faces(
    renderer: FaceRenderer,
    people: Sequence[int],
    expressions: Sequence[str],
    seed: int,
    turned: bool = True,
    lit: bool = True,
    plain: bool = False,
) -> SyntheticFaces:
    """A set of faces: each of the people with each of the expressions, people after people.

    What a person's pictures show does not depend on who else is asked for.
    """
    made = [
        renderer.render(
            draw_scenes(
                [number] * len(expressions),
                np.random.default_rng((seed, 2, number)),
                renderer,
                seed,
                expressions,
                turned=turned,
                lit=lit,
                plain=plain,
            )
        )
        for number in people
    ]
    joined = {}
    for field in fields(SyntheticFaces):
        parts = [getattr(each, field.name) for each in made]
        if isinstance(parts[0], Tensor):
            joined[field.name] = torch.cat(parts)
        elif isinstance(parts[0], tuple):
            joined[field.name] = sum(parts, ())
        else:
            joined[field.name] = np.concatenate(parts)
    return SyntheticFaces(**joined)


def _person(seed: int, number: int, modes: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Identity coefficients and traits."""
    draw = np.random.default_rng((seed, 1, number))
    traits = draw.random(TRAITS)  # first: with these a model of other modes has the same skin
    return draw.normal(size=modes).clip(-FURTHEST, FURTHEST), traits


def _expressions(
    draw: np.random.Generator, renderer: FaceRenderer, count: int, wanted: Sequence[str] | None
) -> tuple[tuple[str, ...], Tensor]:
    """Names and weights (N, E)."""
    strength = draw.uniform(0.5, 1.0, count)
    chosen = draw.integers(len(EXPRESSIONS), size=(count, 2))
    mixed = draw.random(count) < 0.5
    if wanted is not None:
        chosen[:, 0] = [EXPRESSIONS.index(name) for name in wanted]
        mixed[:] = False
    blends = renderer.blends.numpy()
    share = draw.random((count, 1))
    mixture = share * blends[chosen[:, 0]] + (1 - share) * blends[chosen[:, 1]]
    mixture += _single_shapes(draw, renderer.model, count)
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


def _wobbled(off: NDArray[np.float64], middle: NDArray[np.float64]) -> Affine:
    """(2, 3): a turn, a scaling about `middle` and a shift, in shares of the side."""
    angle, size = np.radians(off[0]), 1 + off[1]
    linear = size * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return np.column_stack([linear, middle - linear @ middle + off[2:]])


def _spread(ground: Tensor, size: int) -> Tensor:
    """Colours (N, 3, P, P) over pictures (N, 3, S, S)."""
    spread = F.interpolate(ground, (size, size), mode="bicubic", align_corners=True)
    return spread.clamp(0, 1)


def _floats(values: NDArray[np.float64]) -> Tensor:
    return torch.from_numpy(values).float()
