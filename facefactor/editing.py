"""Edits are functions from factors to factors; decoding is left to the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

import torch
from torch import Tensor

from facefactor.errors import FaceFactorError
from facefactor.factors import FaceModel, FactorName, Factors, ModelSpec, encode_codes
from facefactor.geometry import rotations

_Name = TypeVar("_Name", bound=str)


class FactorError(FaceFactorError, ValueError):
    """The model cannot do this with this factor, or these faces do not go together."""


def check_factor(spec: ModelSpec, name: FactorName) -> None:
    """Raise FactorError, saying what to ask for instead, when the model has no factor `name`."""
    if name in spec.factors:
        return
    for other, factor in spec.factors.items():
        if name in factor.covers:
            raise FactorError(f"{spec.name} keeps {name} inside {other}; ask for {other}")
    raise FactorError(
        f"{spec.name} does not separate {name}; ask for one of {', '.join(spec.factors)}"
    )


def transfer(
    target: Factors, source: Factors, names: Sequence[FactorName], spec: ModelSpec
) -> Factors:
    """`target` with the `names` codes of `source`, and the residual entries those factors own.

    One face on either side goes with any number on the other: one expression for all frames of a
    film, or a film of expressions for one photo. An owned entry the source lacks is dropped, so
    that nothing of the target's stays behind in it.

    Raises:
        FactorError: the model has no such factor, or N and M faces do not pair.
    """
    for name in names:
        check_factor(spec, name)
    count = _count(target, source)
    moved = [entry for name in names for entry in spec.factors[name].owns]
    stays = {entry: value for entry, value in target.residual.items() if entry not in moved}
    comes = {entry: source.residual[entry] for entry in moved if entry in source.residual}
    codes = {**target.codes, **{name: source[name] for name in names}}
    return Factors(_expand(codes, count), _expand({**stays, **comes}, count))


def encode_source(model: FaceModel, faces: Tensor, names: Sequence[FactorName]) -> Factors:
    """Codes of faces from which the `names` factors are to be taken: without a residual that none
    of them owns, which takes most of the time of some models."""
    for name in names:
        check_factor(model.spec, name)
    owning = any(model.spec.factors[name].owns for name in names)
    return model.encode(faces) if owning else encode_codes(model, faces)


def set_strength(factors: Factors, model: FaceModel, name: FactorName, strength: float) -> Factors:
    """Scale one factor about its neutral code: 0 removes it, 1 keeps it, above 1 exaggerates it."""
    check_factor(model.spec, name)
    return factors.replace({name: torch.lerp(model.neutral(name), factors[name], strength)})


def interpolate(
    start: Factors,
    end: Factors,
    names: Sequence[FactorName],
    strengths: Sequence[float],
    spec: ModelSpec,
) -> Factors:
    """The path of one face `start` on which its `names` codes go straight to those of `end`.

    Args:
        start, end: one face each; all that is not in `names` stays as in `start`.
        strengths: K places on the way: 0 is `start`, 1 is `end`, others extrapolate.

    Returns:
        The codes of K faces. Residual entries owned by a moved factor are dropped, because between
        two people there is no photo to take them from: the model then draws from its codes alone,
        at 0 and 1 too.
    """
    for name in names:
        check_factor(spec, name)
    if _count(start) != 1 or _count(end) != 1:
        raise FactorError(
            f"interpolation is between one face and one face, not {_count(start)} and {_count(end)}"
        )
    codes = _expand(start.codes, len(strengths))
    for name in names:
        codes[name] = torch.cat([torch.lerp(start[name], end[name], at) for at in strengths])
    owned = {entry for name in names for entry in spec.factors[name].owns}
    kept = {entry: value for entry, value in start.residual.items() if entry not in owned}
    return Factors(codes, _expand(kept, len(strengths)))


def move_towards(
    factors: Factors, name: FactorName, code: Tensor, share: float, spec: ModelSpec
) -> Factors:
    """One factor moved straight to `code`, (1 or N, *shape): 0 keeps the own one, 1 takes `code`,
    others extrapolate. The residual stays, of what the factor owns too: a code has no photo."""
    check_factor(spec, name)
    return factors.replace({name: torch.lerp(factors[name], code, share)})


def turn(factors: Factors, rotation: Tensor, spec: ModelSpec, share: float = 1.0) -> Factors:
    """Heads turned to `rotation`, (3, 3) or (N, 3, 3), on the shortest path between rotations.

    For models whose pose code is a rotation, row by row. A code that is none counts as the nearest.
    The residual stays: an outline that belongs to the pose is then that of the head not turned.

    Args:
        share: 0 is the own pose, 1 is `rotation`, others go on along the path.

    Raises:
        FactorError: the model has no pose, or one that is no rotation.
    """
    check_rotation(spec)
    own = rotations.nearest_rotation(factors["pose"].reshape(-1, 3, 3))
    turned = rotations.interpolate(own, rotation.to(own).expand_as(own), share)
    return factors.replace({"pose": turned.flatten(1)})


def has_rotation(spec: ModelSpec) -> bool:
    """Whether the pose code is a rotation matrix, row by row."""
    return "pose" in spec.factors and spec.factors["pose"].shape == (9,)


def check_rotation(spec: ModelSpec) -> None:
    """Raise FactorError unless the model has a pose and it is a rotation."""
    check_factor(spec, "pose")
    if not has_rotation(spec):
        numbers = ", ".join(map(str, spec.factors["pose"].shape))
        raise FactorError(
            f"the pose code of {spec.name} ({numbers} numbers) is no rotation: it cannot be set to "
            "angles; take the pose of another photo (--from)"
        )


def _count(*factors: Factors) -> int:
    """How many faces these are together, one going with any number."""
    counts = {code.shape[0] for each in factors for code in each.codes.values()}
    if len(counts - {1}) > 1:
        raise FactorError(f"{' and '.join(map(str, sorted(counts)))} faces do not pair")
    return max(counts)


def _expand(tensors: Mapping[_Name, Tensor], count: int) -> dict[_Name, Tensor]:
    return {
        name: tensor.expand(count, *tensor.shape[1:]) if tensor.shape[0] == 1 else tensor
        for name, tensor in tensors.items()
    }
