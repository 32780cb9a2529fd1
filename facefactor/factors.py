"""A face photo taken apart into factors, and what a model must offer to do so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from torch import Tensor

FactorName = Literal["identity", "expression", "pose", "illumination"]

# Their names everywhere; a place in it is the number of an expression in a training batch.
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


@dataclass(frozen=True, eq=False)
class Factors:
    """The codes of N faces: one (N, *shape) tensor per factor the model separates.

    `residual` keeps what redrawing these photos needs and no factor explains: background,
    face mask, skip connections.
    """

    codes: Mapping[FactorName, Tensor]
    residual: Mapping[str, Tensor] = field(default_factory=dict)

    def __getitem__(self, name: FactorName) -> Tensor:
        if name not in self.codes:
            raise KeyError(f"no {name!r} here; this model separates {', '.join(self.codes)}")
        return self.codes[name]

    def replace(self, codes: Mapping[FactorName, Tensor]) -> Factors:
        """These factors with some codes exchanged; the residual stays."""
        return Factors({**self.codes, **codes}, self.residual)

    def of(self, rows: Tensor) -> Factors:
        """The factors of some of the faces, (M,) numbers, in any order and again."""
        return Factors(
            {name: code[rows] for name, code in self.codes.items()},
            {entry: value[rows] for entry, value in self.residual.items()},
        )


@dataclass(frozen=True)
class FactorSpec:
    """One factor as one paper defines it."""

    shape: tuple[int, ...]  # of one code, without the batch axis
    meaning: str  # what varies with this code, with the section that says so
    covers: tuple[FactorName, ...] = ()  # folded into this one: FaceCycle's expression covers pose
    owns: tuple[str, ...] = ()  # residual entries that go where this code goes


@dataclass(frozen=True)
class ModelSpec:
    """What a model takes, and which factors it separates."""

    name: str
    crop: str  # name of the face crop it was made for, a key of `perception.align.CROPS`
    image_size: int  # side of the square face crop, pixels
    channels: int  # 3 for RGB, 1 for grey
    factors: Mapping[FactorName, FactorSpec]


class FaceModel(Protocol):
    """Every method in `facefactor.methods`, seen from outside.

    Faces are float tensors (N, C, H, W), RGB or grey, in [0, 1], cropped by `perception.align`.
    """

    @property
    def spec(self) -> ModelSpec: ...

    def encode(self, faces: Tensor) -> Factors: ...

    def decode(self, factors: Factors) -> Tensor: ...

    def neutral(self, name: FactorName) -> Tensor:
        """The code that removes factor `name` (a neutral expression, a frontal pose)."""
        ...


def encode_codes(model: Any, faces: Tensor) -> Factors:
    """What `model.encode` gives, perhaps without the residual: for those who draw nothing.

    Models whose residual takes long have a way around it, a method of this name.
    """
    shorter = getattr(model, "encode_codes", model.encode)
    return shorter(faces)


def encode_code(model: Any, faces: Tensor, name: FactorName) -> Tensor:
    """The code of factor `name` as `model.encode` gives it.

    Models of which each factor has an encoder of its own have a way around the others, a method of
    this name.
    """
    alone = getattr(model, "encode_code", None)
    code: Tensor = encode_codes(model, faces)[name] if alone is None else alone(faces, name)
    return code
