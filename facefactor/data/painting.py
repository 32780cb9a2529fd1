"""Skin, brows, lips and eyes as colours of a morphable face's vertices: people who do not exist.

Where brows, lips and nostrils are follows from the 68 landmarks of the neutral mean face, so one
painting fits all shapes and expressions. Lengths are in distances of the outer eye corners.

Crude: hair is paint on the scalp; eyes are flat, look straight ahead and have no lashes; teeth
are a band behind the upper lip; there are no wrinkles or pores; nothing shines.
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from facefactor.geometry.holes import ClosedFace

# Colours from light to dark, or in no order, between whose neighbours people's lie.
_SKIN = (
    (0.95, 0.79, 0.71), (0.91, 0.73, 0.62), (0.84, 0.64, 0.51), (0.73, 0.53, 0.40),
    (0.57, 0.39, 0.28), (0.41, 0.27, 0.19),
)  # fmt: skip
_HAIR = (
    (0.07, 0.06, 0.06), (0.16, 0.11, 0.08), (0.27, 0.18, 0.12), (0.42, 0.24, 0.13),
    (0.66, 0.51, 0.32), (0.60, 0.58, 0.56),
)  # fmt: skip
_IRIS = ((0.16, 0.09, 0.05), (0.28, 0.17, 0.09), (0.30, 0.33, 0.20), (0.30, 0.42, 0.52))
_WHITE, _PUPIL = (0.86, 0.84, 0.82), (0.03, 0.03, 0.03)
_INSIDE, _TEETH = (0.16, 0.05, 0.05), (0.80, 0.77, 0.71)
_NOSTRIL = (0.18, 0.09, 0.07)
_IRIS_RADIUS, _PUPIL_RADIUS = 0.068, 0.03  # 6 and 2.7 mm
_WAVES = 8  # of random mottling
_TRAITS = (
    "tone", "warmth", "redness", "hair", "hairline", "brow width", "brow darkness",
    "lip colour", "beard", "iris",
)  # fmt: skip
TRAITS = len(_TRAITS) + _WAVES  # numbers that make a person's colours


class FacePaint:
    """Albedo of the vertices of one closed face, from numbers in [0, 1] that belong to a person."""

    def __init__(self, face: ClosedFace) -> None:
        model = face.model
        marks = model.neutral[model.landmarks68]
        unit = (marks[45] - marks[36]).norm()
        places = model.neutral / unit
        marks = marks / unit
        self.brow_distance = torch.minimum(
            _distance_to_path(places, marks[17:22]), _distance_to_path(places, marks[22:27])
        )
        # how far above the brows, less at the temples, where hair comes further down
        side = (places[:, 0] - marks[27, 0]).abs()
        above = places[:, 1] - marks[17:27, 1].mean()
        self.hair_height = torch.maximum(above + 1.8 * (side - 0.5).clamp(min=0), above - 0.1)
        self.hair_height[above < -0.25] = -1.0  # ears and cheeks
        self.cheeks = _near(places, marks[[1, 15]].lerp(marks[[33, 33]], 0.5), 0.22)
        self.cheeks = torch.maximum(self.cheeks, 0.7 * _near(places, marks[[30]], 0.15))
        below_nose = _rise(marks[33, 1] - places[:, 1] + 0.25 * (side - 0.3), -0.04, 0.2)
        above_neck = _rise(places[:, 1] - marks[8, 1], -0.18, -0.02)
        self.beard = below_nose * above_neck * (1 - _rise(side, 0.62, 0.75))
        self.lips = _inside(model.uv, model.uv[model.landmarks68[48:60]], softness=0.012)
        # their linings, above and behind the marks between them
        linings = marks[[32, 34]] + marks.new_tensor(
            [[-0.017, 0.125, -0.11], [0.017, 0.125, -0.11]]
        )
        self.nostrils = 1 - _rise(torch.cdist(places, linings).amin(dim=1), 0.065, 0.095)
        self.lids, self.white, self.iris, self.pupil = _eyes(face, places, marks)
        self.mouth, self.teeth = _mouth(face, places, marks)
        self.waves = _random_waves(places)

    def albedo(self, traits: Tensor) -> Tensor:
        """(N, TRAITS) in [0, 1] -> RGB (N, V, 3) in [0, 1], as photos have it: not linear light."""
        named = dict(zip(_TRAITS, traits.T, strict=False))
        skin = _between(_SKIN, named["tone"])
        warmth = 0.06 * (named["warmth"] - 0.5)
        skin = skin * torch.stack([1 + warmth, torch.ones_like(warmth), 1 - warmth], dim=1)
        # fair hair goes with fair skin, grey with any
        fair = 1 - 0.65 * _rise(named["tone"], 0.2, 0.7)
        hair = _between(_HAIR, torch.where(named["hair"] > 0.9, 1.0, fair * named["hair"]))
        mottling = (2 * traits[:, len(_TRAITS) :] - 1) @ self.waves  # (N, V)
        colour = skin[:, None] * (1 + 0.05 * mottling)[..., None]

        red = colour * colour.new_tensor([1.02, 0.82, 0.82])
        colour = _lay(colour, red, named["redness"][:, None] * self.cheeks)
        shadow = 0.35 * skin + 0.35 * hair
        colour = _lay(colour, shadow, _rise(named["beard"], 0.5, 1.4)[:, None] * self.beard)
        lips = skin * skin.new_tensor([0.88, 0.60, 0.60])
        rouge = skin.new_tensor([0.62, 0.16, 0.20])
        lips = torch.lerp(lips, rouge.expand_as(lips), 0.5 * named["lip colour"][:, None])
        colour = _lay(colour, lips, 0.9 * self.lips)
        colour = _lay(colour, skin.new_tensor(_NOSTRIL), self.nostrils)
        width = 0.025 + 0.025 * named["brow width"][:, None]
        brow = 1 - _rise(self.brow_distance, 0.7 * width, 1.3 * width)
        colour = _lay(colour, 0.8 * hair, (0.6 + 0.35 * named["brow darkness"][:, None]) * brow)
        line = 0.38 + 0.3 * named["hairline"][:, None]
        colour = _lay(colour, hair, 0.95 * _rise(self.hair_height, line - 0.03, line + 0.03))

        colour = _lay(colour, 0.45 * skin, 0.7 * self.lids)
        colour = _lay(colour, skin.new_tensor(_WHITE), self.white)
        colour = _lay(colour, _between(_IRIS, named["iris"]), self.iris)
        colour = _lay(colour, skin.new_tensor(_PUPIL), self.pupil)
        colour = _lay(colour, skin.new_tensor(_INSIDE), self.mouth)
        colour = _lay(colour, skin.new_tensor(_TEETH), self.teeth)
        return colour.clamp(0, 1)


def _eyes(face: ClosedFace, places: Tensor, marks: Tensor) -> tuple[Tensor, ...]:
    """Masks (V,) of the rims of lids, of eyes, irises and pupils."""
    lids, white, iris, pupil = (torch.zeros(len(places)) for _ in range(4))
    for rim, fill in zip(face.rims, face.fills, strict=True):
        if not _is_mouth(places[fill[-1]], marks):
            away = (places[fill] - places[fill[-1]]).norm(dim=1)
            lids[rim], white[fill] = 1.0, 1.0
            iris[fill] = 1 - _rise(away, _IRIS_RADIUS - 0.015, _IRIS_RADIUS + 0.015)
            pupil[fill] = 1 - _rise(away, _PUPIL_RADIUS - 0.015, _PUPIL_RADIUS + 0.015)
    return lids, white, iris, pupil


def _mouth(face: ClosedFace, places: Tensor, marks: Tensor) -> tuple[Tensor, Tensor]:
    """Masks (V,) of the mouth's inside and of the upper teeth."""
    inside, teeth = torch.zeros(len(places)), torch.zeros(len(places))
    for rim, fill in zip(face.rims, face.fills, strict=True):
        if _is_mouth(places[fill[-1]], marks):
            inside[fill], inside[rim] = 1.0, 1.0
            v, u = face.model.uv[fill, 1], face.model.uv[fill, 0]
            above, aside = v - v[-1], (u - u[-1]).abs()
            teeth[fill] = ((above > 0.1 * above.max()) & (aside < 0.75 * aside.max())).float()
    return inside, teeth


def _is_mouth(centre: Tensor, marks: Tensor) -> bool:
    parts = [marks[36:42], marks[42:48], marks[60:68]]
    away = torch.stack([part.mean(dim=0) for part in parts]) - centre
    return int(away.norm(dim=1).argmin()) == 2


def _lay(under: Tensor, colour: Tensor, mask: Tensor) -> Tensor:
    """Colours (3,), (N, 3) or (N, V, 3) over (N, V, 3), as far as masks (V,) or (N, V) say."""
    if colour.ndim == 2:
        colour = colour[:, None]
    return under + mask[..., None] * (colour - under)


def _between(colours: tuple[tuple[float, float, float], ...], share: Tensor) -> Tensor:
    """(N, 3) on the path through colours, share (N,) of it."""
    table = share.new_tensor(colours)
    place = share.clamp(0, 1) * (len(table) - 1)
    first = place.floor().long().clamp(max=len(table) - 2)
    return torch.lerp(table[first], table[first + 1], (place - first)[:, None])


def _rise(value: Tensor, start: Tensor | float, end: Tensor | float) -> Tensor:
    """0 up to `start`, 1 from `end` on, smooth between."""
    share = ((value - start) / (end - start)).clamp(0, 1)
    return share * share * (3 - 2 * share)


def _near(places: Tensor, centres: Tensor, radius: float) -> Tensor:
    """(V,) 1 at the centres (K, 3), 0 a radius away."""
    return 1 - _rise(torch.cdist(places, centres).amin(dim=1), 0.0, radius)


def _distance_to_path(places: Tensor, path: Tensor) -> Tensor:
    """(V,) distances of (V, 3) from a line through points (K, 3)."""
    along = path[1:] - path[:-1]
    share = ((places[:, None] - path[:-1]) * along).sum(dim=2) / along.square().sum(dim=1)
    nearest = path[:-1] + share.clamp(0, 1)[..., None] * along
    return (places[:, None] - nearest).norm(dim=2).amin(dim=1)


def _inside(uv: Tensor, outline: Tensor, softness: float) -> Tensor:
    """(V,) 1 inside of a polygon (K, 2) of the chart, 0 beyond `softness` outside of it."""
    polygon = outline.numpy().astype(np.float32)[:, None]
    depth = [cv2.pointPolygonTest(polygon, point, True) for point in uv.double().tolist()]
    return _rise(torch.tensor(depth), -softness, softness)


def _random_waves(places: Tensor) -> Tensor:
    """(W, V) smooth patterns of mean square about 1/2, the same for all people."""
    random = torch.Generator().manual_seed(0)
    direction = F.normalize(torch.randn(_WAVES, 3, generator=random), dim=1)
    turns = torch.linspace(3.0, 14.0, _WAVES)[:, None] * direction  # radians in a unit
    phase = 2 * torch.pi * torch.rand(_WAVES, 1, generator=random)
    return torch.sin(turns @ places.T + phase)
