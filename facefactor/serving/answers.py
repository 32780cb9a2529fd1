"""What the REST service answers, typed: OpenAPI is drawn from these."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel

from facefactor import api
from facefactor.serving.desk import Shelf


class Box(BaseModel):
    """Of a face, in pixels of its photo."""

    left: float
    top: float
    right: float
    bottom: float


class Codes(BaseModel):
    box: Box
    codes: dict[str, list[float]]  # factor -> its code, flat


class Encoded(BaseModel):
    model: str
    faces: list[Codes]


class Expression(BaseModel):
    box: Box
    expression: str
    probability: float
    probabilities: dict[str, float]
    yaw_deg: float | None  # signs of 300W-LP; None where no landmark network is at hand
    pitch_deg: float | None
    roll_deg: float | None


class Expressed(BaseModel):
    model: str
    faces: list[Expression]


class Verified(BaseModel):
    similarity: float  # cosine, in [-1, 1]
    same_person: bool | None  # None: no threshold was measured
    threshold: float | None
    false_match_rate: float | None
    false_non_match_rate: float | None
    measured_on: str | None
    pairs: int | None


class Factor(BaseModel):
    shape: list[int]
    meaning: str
    covers: list[str]
    removable: bool  # neutral, or strength 0, can be asked for


class Served(BaseModel):
    name: str
    image_size: int
    factors: dict[str, Factor]
    abilities: list[str]


class Health(BaseModel):
    status: Literal["ok"]
    running_or_waiting: int


class Version(BaseModel):
    facefactor: str


def served(shelf: Shelf, name: str) -> Served:
    model = shelf[name]
    removable = api.removable_factors(model)
    factors: dict[str, Factor] = {
        factor: Factor(
            shape=list(told.shape),
            meaning=told.meaning,
            covers=list(told.covers),
            removable=factor in removable,
        )
        for factor, told in model.spec.factors.items()
    }
    return Served(
        name=name,
        image_size=model.spec.image_size,
        factors=factors,
        abilities=sorted(api.abilities(model)),
    )


def box_of(face: api.PhotoFace) -> Box:
    left, top, right, bottom = map(float, face.found.box)
    return Box(left=left, top=top, right=right, bottom=bottom)


def expression_of(model: api.FaceModel, face: api.PhotoFace) -> Expression:
    seen = api.expressions(model, face)
    return Expression(
        box=box_of(face),
        expression=seen.expression,
        probability=seen.probability,
        probabilities=dict(seen.probabilities),
        yaw_deg=seen.yaw_deg,
        pitch_deg=seen.pitch_deg,
        roll_deg=seen.roll_deg,
    )
