"""Holes of a face mesh closed: eyeballs and the inside of the mouth are no part of a face area."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from facefactor.geometry.morphable import MorphableModel

# Where the added rings lie between a hole's centre (0) and its rim (1): the first close to the rim,
# so that colours of vertices do not run from the lid far over the eye.
_RINGS = (0.92, 0.72, 0.48, 0.24)


@dataclass(frozen=True, eq=False)
class ClosedFace:
    """A morphable face whose last vertices fill its holes."""

    model: MorphableModel
    rims: tuple[Tensor, ...]  # for each hole its (B,) vertices in order
    fills: tuple[Tensor, ...]  # for each hole the (4 B + 1,) vertices added, the centre last


def close_holes(model: MorphableModel) -> ClosedFace:
    """Every hole filled by rings around its centre, the mean of its rim; the outline stays open.

    All that a vertex has (place, modes, texture coordinates) is linear in what the rim has, so lids
    that close squeeze the fill to nothing. A model without holes comes back as it is.

    The outline is the longest border in the neutral face.
    """
    borders = sorted(_borders(model.triangles), key=lambda loop: _length(model.neutral[loop]))
    rims = tuple(borders[:-1])
    fills, triangles = [], [model.triangles]
    first = len(model.neutral)
    for rim in rims:
        added = torch.arange(first, first + len(_RINGS) * len(rim) + 1, device=rim.device)
        fills.append(added)
        triangles.append(_fill_triangles(rim, added))
        first += len(added)

    def extend(values: Tensor) -> Tensor:
        return torch.cat([values, *(_fill(values[..., rim, :]) for rim in rims)], dim=-2)

    closed = replace(
        model,
        neutral=extend(model.neutral),
        identity=extend(model.identity),
        expression=extend(model.expression),
        uv=extend(model.uv),
        triangles=torch.cat(triangles),
    )
    return ClosedFace(closed, rims, tuple(fills))


def _fill(rim: Tensor) -> Tensor:
    """What the rim has (..., B, C) -> what the vertices that fill it have (..., 4 B + 1, C)."""
    centre = rim.mean(dim=-2, keepdim=True)
    rings = [centre + share * (rim - centre) for share in _RINGS]
    return torch.cat([*rings, centre], dim=-2)


def _fill_triangles(rim: Tensor, added: Tensor) -> Tensor:
    """Wound as the face: a border runs along its triangles, so against those beyond it."""
    rings = [rim, *added[:-1].view(-1, len(rim))]
    triangles = []
    for outer, inner in zip(rings, rings[1:], strict=False):
        after, next_inner = outer.roll(-1), inner.roll(-1)
        triangles += [
            torch.stack([after, outer, inner], dim=1),
            torch.stack([after, inner, next_inner], dim=1),
        ]
    last = rings[-1]
    triangles.append(torch.stack([last.roll(-1), last, added[-1].expand(len(last))], dim=1))
    return torch.cat(triangles)


def _borders(triangles: Tensor) -> list[Tensor]:
    """Loops of vertices along edges that belong to one triangle alone, in that triangle's sense."""
    edges = torch.cat([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
    both_ways = {(start, end) for start, end in edges.tolist()}
    following = {start: end for start, end in both_ways if (end, start) not in both_ways}
    loops = []
    while following:
        loop = [min(following)]
        while loop[-1] in following:
            loop.append(following.pop(loop[-1]))
        loops.append(torch.tensor(loop[:-1], device=triangles.device))
    return loops


def _length(loop: Tensor) -> float:
    return float((loop - loop.roll(-1, dims=0)).norm(dim=1).sum())
