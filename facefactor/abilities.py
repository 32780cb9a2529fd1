"""What some models can do beyond encoding and decoding, and which methods can."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, Protocol

import torch
from torch import Tensor

from facefactor.editing import FactorError, check_factor, has_rotation
from facefactor.errors import FaceFactorError
from facefactor.factors import FaceModel, FactorName, Factors
from facefactor.methods import METHODS


class LitModel(FaceModel, Protocol):
    """A model whose illumination code follows from nine lighting coefficients."""

    def illumination_of(self, lighting: Tensor) -> Tensor:
        """Lighting (N, 9) of `geometry.lighting` -> codes (N, *shape)."""
        ...


class Drawn(Protocol):
    """N faces and what they are made of; images (N, 3, S, S) in [0, 1] unless said otherwise."""

    @property
    def image(self) -> Tensor: ...

    @property
    def albedo(self) -> Tensor: ...  # above 0

    @property
    def normals(self) -> Tensor: ...  # in [-1, 1]; x to the right, y up, z to the camera

    @property
    def shading(self) -> Tensor: ...  # (N, 1 or 3, S, S), about 0.75

    @property
    def mask(self) -> Tensor: ...  # (N, 1, S, S), 1 where the face is

    @property
    def background(self) -> Tensor: ...


class SolidModel(FaceModel, Protocol):
    """A model that knows the shape of a face, such as Neuro-Tensorial."""

    def render(self, factors: Factors) -> Drawn: ...

    def lighting(self, illumination: Tensor) -> Tensor:
        """Codes -> coefficients of `geometry.lighting`, (N, 9) or (N, 27)."""
        ...

    def shape(self, identity: Tensor, expression: Tensor) -> Tensor:
        """Codes -> displacements of the grid (`geometry.uv_grid`) from the mean face, (N, 3, 9375)
        in cm."""
        ...

    def mean_face(self) -> tuple[Tensor, Tensor] | None:
        """Vertices (9375, 3) of the mean face in cm and which (68,) are its landmarks; None where
        the weights do not know."""
        ...

    def coefficients(self, factors: Factors) -> tuple[Tensor, Tensor]:
        """Of the identity and expression modes of the morphable model, (N, I) and (N, E)."""
        ...

    def frontal_face(self, factors: Factors) -> Tensor: ...

    def frontal_normals(self, factors: Factors) -> Tensor: ...


class NormalisingModel(FaceModel, Protocol):
    """A model that draws the normalised face of whoever it is shown, such as NFGAN."""

    def normalise(self, faces: Tensor) -> Tensor:
        """Faces (N, C, S, S) in [0, 1] -> the same people, frontal and neutral, same shape."""
        ...


_SOLID = (
    "render",
    "lighting",
    "shape",
    "mean_face",
    "coefficients",
    "frontal_face",
    "frontal_normals",
)


def check_separates(model: FaceModel, name: FactorName) -> None:
    """Raise FactorError, naming the methods that have it, when the model has no factor `name`."""
    if name in model.spec.factors:
        return
    factors = model.spec.factors
    covering = [other for other, factor in factors.items() if name in factor.covers]
    what = f"keeps {name} inside {covering[0]}" if covering else f"does not separate {name}"
    raise FactorError(_instead_of(model, what, lambda other: name in other.spec.factors))


def check_removable(model: FaceModel, name: FactorName) -> None:
    """`editing.check_factor` for edits that take a factor off: of a model that has no such factor
    because all it draws is normalised, the FactorError says what to ask for."""
    if name not in model.spec.factors and normalises(model):
        raise FactorError(
            f"{model.spec.name} does not separate {name}: every face it draws is frontal and "
            "neutral; ask for the normalised face (facefactor normalize)"
        )
    check_factor(model.spec, name)


def lit_model(model: FaceModel) -> LitModel:
    """The model, if light from a direction has a code.

    Raises:
        FactorError: it has no illumination, or one that follows from no direction.
    """
    check_separates(model, "illumination")
    if not is_lit(model):
        raise FactorError(
            f"{model.spec.name} has no code for light from a direction; take the light of another "
            "photo (--from)"
        )
    told: Any = model
    return told


def solid_model(model: FaceModel) -> SolidModel:
    """The model, if it knows the shape of a face.

    Raises:
        FaceFactorError: it does not; names the methods that do.
    """
    if not is_solid(model):
        raise FaceFactorError(_instead_of(model, "knows no shapes, albedo and light", is_solid))
    told: Any = model
    return told


def normalising_model(model: FaceModel) -> NormalisingModel:
    """The model, if it draws normalised faces.

    Raises:
        FaceFactorError: it does not; names the methods that do.
    """
    if not normalises(model):
        raise FaceFactorError(_instead_of(model, "draws no normalised faces", normalises))
    told: Any = model
    return told


def is_lit(model: FaceModel) -> bool:
    """Whether light from a direction has a code."""
    return "illumination" in model.spec.factors and hasattr(model, "illumination_of")


def normalises(model: FaceModel) -> bool:
    """Whether it draws normalised faces."""
    # of its class: a network inside, which brings pixels into another range, may have the name
    return callable(getattr(type(model), "normalise", None))


def is_solid(model: FaceModel) -> bool:
    """Whether it knows the shape of a face."""
    lit = "illumination" in model.spec.factors and has_rotation(model.spec)
    return lit and all(hasattr(model, name) for name in _SOLID)


def _instead_of(model: FaceModel, what: str, can: Callable[[FaceModel], bool]) -> str:
    """What a model does or lacks, what it separates, and the methods that can."""
    others = " or ".join(name for name, other in _methods().items() if can(other))
    factors = ", ".join(model.spec.factors)
    return f"{model.spec.name} {what} (its factors: {factors}); take weights of {others}"


@cache
def _methods() -> dict[str, FaceModel]:
    """Each method's `small` model, without weights: for what it declares."""
    with torch.device("meta"):
        return {name: recipe.build(recipe.PRESETS["small"]) for name, recipe in METHODS.items()}
