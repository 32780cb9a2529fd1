"""Rendered faces of people who do not exist, with every factor known exactly.

A `FaceRenderer` makes pictures of `scenes` in one of the crops that photos are cut to, by the same
alignment of five points.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from facefactor.data.painting import FacePaint
from facefactor.data.scenes import Scenes, draw_scenes, expression_blends
from facefactor.factors import EXPRESSIONS
from facefactor.files import atomic_path
from facefactor.geometry.holes import close_holes
from facefactor.geometry.lighting import shading
from facefactor.geometry.morphable import MorphableModel
from facefactor.geometry.projection import project
from facefactor.geometry.rasteriser import interpolate, normal_map, rasterise
from facefactor.geometry.rotations import rotation_matrix, yaw_pitch_roll
from facefactor.geometry.similarity import Affine, compose_affine
from facefactor.geometry.uv_grid import locate_grid
from facefactor.images import write_image
from facefactor.perception.align import crop_points, place


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
        ValueError: an unknown crop.
    """

    def __init__(
        self, model: MorphableModel, crop: str = "facecycle", image_size: int = 64
    ) -> None:
        crop_points(crop, image_size)  # these two say so at once
        expression_blends(model)
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

    def _camera(self, marks: Tensor, pose: Tensor, wobble: Tensor) -> tuple[Tensor, Tensor, Tensor]:
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

    Raises:
        ValueError: nobody, no expression, or one that is not of EXPRESSIONS.
    """
    if not people or not expressions:
        raise ValueError(f"{len(people)} people with {len(expressions)} expressions: no faces")
    made = [
        renderer.render(
            draw_scenes(
                [number] * len(expressions),
                np.random.default_rng((seed, 2, number)),
                renderer.model,
                seed,
                expressions,
                turned=turned,
                lit=lit,
                plain=plain,
            )
        )
        for number in people
    ]
    joined: dict[str, Any] = {}
    for field in fields(SyntheticFaces):
        parts = [getattr(each, field.name) for each in made]
        if isinstance(parts[0], Tensor):
            joined[field.name] = torch.cat(parts)
        elif isinstance(parts[0], tuple):
            joined[field.name] = tuple(name for part in parts for name in part)
        else:
            joined[field.name] = np.concatenate(parts)
    return SyntheticFaces(**joined)


def write_faces(
    folder: Path,
    renderer: FaceRenderer,
    people: int,
    seed: int,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """A folder of PNGs: a sub-folder a person, in it a picture for each of EXPRESSIONS.

    Beside a person's pictures lies `factors.npz`, all arrays of `SyntheticFaces` but the faces, in
    the order of EXPRESSIONS. `poses.csv`, which is returned, lists all pictures with subject,
    expression and angles; every fifth person is for testing. `data.poses.read_poses` reads it, and
    the reader `clips` the folder.

    Args:
        progress: called with (people done, people).
    """
    rows = []
    for number in range(people):
        made = synthetic_faces(renderer, [number], EXPRESSIONS, seed)
        subject = f"person{number:05d}"
        for face, name in zip(made.faces, EXPRESSIONS, strict=True):
            write_image(folder / subject / f"{name}.png", face)
        arrays: dict[str, Any] = {
            field.name: np.asarray(getattr(made, field.name))
            for field in fields(made)
            if field.name != "faces"
        }
        with atomic_path(folder / subject / "factors.npz") as temporary:
            with temporary.open("wb") as file:
                np.savez_compressed(file, **arrays)
        split = "test" if number % 5 == 4 else "train"
        for name, angles in zip(EXPRESSIONS, yaw_pitch_roll(made.rotation).tolist(), strict=True):
            image = f"{subject}/{name}.png"
            rows.append([image, subject, name, *(f"{angle:.3f}" for angle in angles), split])
        if progress is not None:
            progress(number + 1, people)
    table = folder / "poses.csv"
    with atomic_path(table) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(
            ["image", "subject", "expression", "yaw_deg", "pitch_deg", "roll_deg", "split"]
        )
        writer.writerows(rows)
    return table


def _wobbled(off: NDArray[np.float64], middle: NDArray[np.float64]) -> Affine:
    """(2, 3): a turn, a scaling about `middle` and a shift, in shares of the side."""
    angle, size = np.radians(off[0]), 1 + off[1]
    linear = size * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return np.column_stack([linear, middle - linear @ middle + off[2:]])


def _spread(ground: Tensor, size: int) -> Tensor:
    """Colours (N, 3, P, P) over pictures (N, 3, S, S)."""
    spread = F.interpolate(ground, (size, size), mode="bicubic", align_corners=True)
    return spread.clamp(0, 1)
