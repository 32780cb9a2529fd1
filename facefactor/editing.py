"""Edits are functions from factors to factors; decoding is left to the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

import torch
from torch import Tensor

from facefactor.errors import FaceFactorError
from facefactor.factors import FaceModel, FactorName, Factors, ModelSpec

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
