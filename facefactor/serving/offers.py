"""What can be done with a model, as data: pages draw their controls from it, for any method."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

from facefactor import api

# (model, face, reference face or None, values by slider's name) -> the edited photo
Edit: TypeAlias = Callable[..., api.Photo]
Film: TypeAlias = Callable[..., Iterator[api.Photo]]


@dataclass(frozen=True)
class Slider:
    """A number to be set."""

    name: str
    low: float
    high: float
    value: float
    step: float
    label: str  # what its numbers mean


@dataclass(frozen=True)
class Offer:
    """One edit that a model makes of a face."""

    name: str
    about: str  # what it does, with what the model itself says of the factor
    edit: Edit  # called with a face, a reference or None, and the sliders' values by name
    sliders: tuple[Slider, ...] = ()
    reference: bool = False  # needs another face
    film: Film | None = None  # called with a face, a clip, and the sliders' values


def offers(model: api.FaceModel) -> list[Offer]:
    """The edits that follow from the factors a model declares and from what else it can do."""
    able, found = api.abilities(model), []
    for name in api.removable_factors(model):
        if name != "pose" or "angles" not in able:  # a rotation has angles, not a strength
            found.append(_strength(model, name))
    if "angles" in able:
        found.append(_angles(model))
    if "light" in able:
        found.append(_light(model))
    if "normalised" in able:
        found.append(_normalised(model))
    found += [_taken(model, name) for name in model.spec.factors]
    return found


def _taken(model: api.FaceModel, name: api.FactorName) -> Offer:
    return Offer(
        f"{name} of another face",
        _meaning(model, name),
        partial(_take, model, name),
        (Slider("strength", 0, 2, 1, 0.05, "0 keeps, 1 takes, above 1 exaggerates"),),
        reference=True,
        film=partial(_take_clip, model, name),
    )


def _take(
    model: api.FaceModel,
    name: api.FactorName,
    face: api.PhotoFace,
    reference: api.PhotoFace,
    strength: float,
) -> api.Photo:
    if name == "illumination":  # these two keep what of the photo is not the factor's
        return api.relight_face(model, face, reference, strength)
    if name == "pose" and strength == 1:
        return api.pose_face(model, face, reference)
    return api.transfer_face(model, face, reference, [name], strength)


def _take_clip(
    model: api.FaceModel,
    name: api.FactorName,
    face: api.PhotoFace,
    clip: Path,
    strength: float,
) -> Iterator[api.Photo]:
    return api.transfer_clip(model, face, clip, [name], strength)


def _strength(model: api.FaceModel, name: api.FactorName) -> Offer:
    def edit(face: api.PhotoFace, reference: Any, strength: float) -> api.Photo:
        return api.scale_face(model, face, name, strength)

    label = "0 removes, 1 keeps, above 1 exaggerates"
    slider = Slider("strength", 0, 2, 0, 0.05, label)
    return Offer(f"{name} strength", _meaning(model, name), edit, (slider,))


def _angles(model: api.FaceModel) -> Offer:
    def edit(face: api.PhotoFace, reference: Any, yaw: float, pitch: float, roll: float) -> Any:
        return api.pose_face(model, face, api.Angles(yaw, pitch, roll))

    sliders = (
        Slider("yaw", -60, 60, 0, 1, "degrees; above 0: the nose to the photo's left"),
        Slider("pitch", -45, 45, 0, 1, "degrees; above 0: looks up"),
        Slider("roll", -60, 60, 0, 1, "degrees; above 0: tilted clockwise"),
    )
    return Offer("turn the head", _meaning(model, "pose"), edit, sliders)


def _light(model: api.FaceModel) -> Offer:
    def edit(
        face: api.PhotoFace,
        reference: Any,
        azimuth: float,
        elevation: float,
        ambient: float,
        strength: float,
    ) -> Any:
        return api.relight_face(model, face, api.Light(azimuth, elevation, ambient), strength)

    sliders = (
        Slider("azimuth", -90, 90, 60, 1, "degrees; above 0: from the photo's right"),
        Slider("elevation", -90, 90, 0, 1, "degrees; above 0: from above"),
        Slider("ambient", 0, 1, 0.3, 0.05, "light from all sides; the lamp has 1"),
        Slider("strength", 0, 2, 1, 0.05, "0 keeps, 1 replaces, above 1 exaggerates"),
    )
    return Offer("light from a lamp", _meaning(model, "illumination"), edit, sliders)


def _normalised(model: api.FaceModel) -> Offer:
    def edit(face: api.PhotoFace, reference: Any) -> Any:
        return api.normalize_face(model, face)

    return Offer("normalised face", "Frontal and neutral, drawn anew.", edit)


def _meaning(model: api.FaceModel, name: api.FactorName) -> str:
    factor = model.spec.factors[name]
    covers = f" It covers {', '.join(factor.covers)}." if factor.covers else ""
    return f"{name}: {factor.meaning}.{covers}"
