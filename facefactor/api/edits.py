"""One face of a photo edited, or that of a clip put onto it; pictures in, pictures out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import torch

from facefactor import editing
from facefactor.abilities import check_removable, check_separates
from facefactor.clips import clip_factors
from facefactor.face_lighting import Light, light_code, relit
from facefactor.face_normalising import normalise_faces
from facefactor.face_turning import Angles, pose_code, turned
from facefactor.factors import FaceModel, FactorName, Factors
from facefactor.following import Reading
from facefactor.images import Photo
from facefactor.outcomes import Progress
from facefactor.photo_edits import Change, PhotoFace, edit_all, edit_face, encode_face, factor_for


def neutral_face(model: FaceModel, face: PhotoFace, raw: bool = False) -> Photo:
    """The photo with this face's expression taken off."""
    return edit_face(model, face, remove(model, "expression"), raw)


def frontalize_face(model: FaceModel, face: PhotoFace, raw: bool = False) -> Photo:
    """The photo with this face seen from the front (and neutral, where the model keeps pose
    inside expression)."""
    return edit_face(model, face, remove(model, factor_for(model.spec, "pose")), raw)


def normalize_face(model: FaceModel, face: PhotoFace, raw: bool = False) -> Photo:
    """The photo with the normalised face, frontal and neutral, in the place of this one.

    Raises:
        FaceFactorError: the model draws no normalised faces; names the methods that do.
    """
    return normalise_faces(model, [face], raw)


def transfer_face(
    model: FaceModel,
    target: PhotoFace,
    source: PhotoFace,
    factors: Sequence[FactorName] = ("expression",),
    strength: float = 1.0,
    raw: bool = False,
) -> Photo:
    """The target's photo with factors of the source's face."""
    taken = encode_face(model, source, factors)
    return edit_face(model, target, take(model, taken, factors, strength), raw)


def transfer_clip(
    model: FaceModel,
    target: PhotoFace | Sequence[PhotoFace],
    clip: str | Path,
    factors: Sequence[FactorName] = ("expression",),
    strength: float = 1.0,
    raw: bool = False,
    reading: Reading | None = None,
    progress: Progress | None = None,
    smooth: float = 0.0,
) -> Iterator[Photo]:
    """The target's photo with factors of each frame of a clip, as many photos as it has frames.

    See `clips.clip_factors` for whose they are, smoothing and frames without this face.

    Args:
        target: one face, or several of one photo.
    """
    faces = [target] if isinstance(target, PhotoFace) else target
    for taken in clip_factors(model, clip, reading, progress, smooth, factors):
        yield edit_all(model, faces, take(model, taken, factors, strength), raw)


def relight_face(
    model: FaceModel,
    face: PhotoFace,
    light: PhotoFace | Light,
    strength: float = 1.0,
    raw: bool = False,
) -> Photo:
    """The photo with another light on this face: that of another face, or from a direction.

    Args:
        strength: 0 keeps the photo's own light, 1 replaces it, beyond 1 the change is exaggerated.

    Raises:
        FactorError: the model has no illumination; names the methods that have.
    """
    return edit_face(model, face, relit(model, light_code(model, light), strength), raw)


def pose_face(
    model: FaceModel, face: PhotoFace, goal: PhotoFace | Angles, raw: bool = False
) -> Photo:
    """The photo with this head turned: as another head in its (levelled) square, or to angles.

    Raises:
        FactorError: the model has no pose, or angles are asked of one that knows none.
    """
    return edit_face(model, face, turned(model, face, _pose_goal(model, goal)), raw)


def _pose_goal(model: FaceModel, goal: PhotoFace | Angles) -> torch.Tensor | Angles:
    return pose_code(model, goal) if isinstance(goal, PhotoFace) else goal


def scale_face(
    model: FaceModel, face: PhotoFace, factor: FactorName, strength: float, raw: bool = False
) -> Photo:
    """The photo with one factor of this face scaled about its neutral code: 0 removes it, 1 keeps
    it, beyond 1 it is exaggerated.

    Raises:
        FactorError: the model has no such factor.
        ValueError: it has, but none that is neutral; see `removable_factors`.
    """
    check_separates(model, factor)
    change = partial(editing.set_strength, model=model, name=factor, strength=strength)
    return edit_face(model, face, change, raw)


def remove(model: FaceModel, name: FactorName) -> Change:
    """The change that takes one factor off.

    Raises:
        FactorError: the model has no such factor; says what to ask for.
    """
    check_removable(model, name)
    return partial(editing.set_strength, model=model, name=name, strength=0.0)


def take(
    model: FaceModel, source: Factors, factors: Sequence[FactorName], strength: float
) -> Change:
    """The change that brings factors of `source`: 0 none of it, 1 all of it, beyond exaggerates.

    A strength other than 1 scales the source's code about the neutral one; a factor that cannot
    be neutral is scaled about the target's own.
    """

    def change(target: Factors) -> Factors:
        scaled = source
        for name in factors:
            editing.check_factor(model.spec, name)
            if strength != 1:
                scaled = scaled.replace({name: _scaled(model, target, source, name, strength)})
        return editing.transfer(target, scaled, factors, model.spec)

    return change


def _scaled(
    model: FaceModel, target: Factors, source: Factors, name: FactorName, strength: float
) -> torch.Tensor:
    try:
        origin = model.neutral(name)
    except ValueError:
        origin = target[name]
    return torch.lerp(origin, source[name], strength)
