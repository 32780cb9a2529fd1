"""All that the models at hand can tell of one face."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from facefactor import api
from facefactor.serving.desk import Shelf, face_codes

_BRIGHTEST = 1.5  # shading that is shown white


@dataclass(frozen=True, eq=False)
class Seen:
    """Empty, or None, where no model can tell."""

    probabilities: Mapping[str, float]  # of expressions
    angles: str  # Markdown
    axes: api.Photo | None
    views: Sequence[tuple[api.Photo, str]]  # neutral face, normals and others, with their names
    told_by: str  # which model told what
    codes: Mapping[str, list[float]]
    mesh: Path | None


def look_at(shelf: Shelf, model: str, face: api.PhotoFace, mesh: Path) -> Seen:
    """What `model` tells, and others where it has not the ability.

    Args:
        mesh: where to write one (.glb), if a model knows shapes.
    """
    probabilities: Mapping[str, float] = {}
    angles, axes = "", None
    views: list[tuple[api.Photo, str]] = []
    teller = shelf.first_that("expressions", model)
    if teller is not None:
        seen = api.expressions(shelf[teller], face)
        probabilities = seen.probabilities
        if seen.yaw_deg is not None:
            axes, angles = api.pose_axes(face, seen), _angles(seen)
    calm = shelf.first_with_neutral("expression", model)
    if calm is not None:
        neutral = api.neutral_face(shelf[calm], face)
        views.append((api.around(neutral, face.found.box), "neutral"))
    solid, written = shelf.first_that("shape", model), None
    if solid is not None:
        found = api.reconstruct_face(shelf[solid], face)
        views += _surfaces(found)
        if found.mesh is not None:
            found.write(mesh)
            written = mesh
    tellers = {"expression": teller, "neutral face": calm, "normals and mesh": solid}
    told_by = "; ".join(f"{what}: {name}" for what, name in tellers.items() if name is not None)
    codes = face_codes(shelf[model], face)
    return Seen(probabilities, angles, axes, views, told_by, codes, written)


def _angles(seen: api.Expressions) -> str:
    rows = [
        f"| {name} | {angle:+.0f}° |"
        for name, angle in (
            ("yaw", seen.yaw_deg),
            ("pitch", seen.pitch_deg),
            ("roll", seen.roll_deg),
        )
    ]
    signs = "Above 0: nose to the photo's left; looks up; tilted clockwise."
    return "\n".join(["| angle | |", "|---|---:|", *rows, "", signs])


def _surfaces(found: api.Reconstruction) -> list[tuple[api.Photo, str]]:
    arrays = found.arrays()
    return [
        (_picture((arrays["normals"] + 1) / 2), "normals"),
        (_picture((arrays["frontal_normals"] + 1) / 2), "frontal normals"),
        (_picture(arrays["albedo"]), "albedo"),
        (_picture(arrays["shading"] / _BRIGHTEST), "shading"),
    ]


def _picture(values: NDArray[np.floating]) -> api.Photo:
    """(S, S, 1 or 3) in [0, 1] -> (S, S, 3) uint8."""
    pixels = (values.clip(0, 1) * 255).round().astype(np.uint8)
    return np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels
