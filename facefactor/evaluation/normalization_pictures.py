"""Normalised faces to be looked at, and how far recognisers find them from their photos."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike
from PIL import Image, ImageDraw, ImageFont

from facefactor.evaluation.pictures import faces_picture
from facefactor.images import Photo

FARTHEST = 4.0  # squared distance of two opposite unit vectors
BINS = 80

_BIN_PX, _PANEL_PX, _NAME_PX = 10, 120, 26  # a panel is its name above its bars
_TITLE_PX, _AXIS_PX, _MARGIN_PX = 40, 34, 20
_TEXT_SIZE, _TITLE_SIZE = 15, 18
_PAPER, _INK, _BAR, _RULE = (255, 255, 255), (30, 30, 30), (20, 70, 140), (213, 94, 0)


def distances_picture(series: Mapping[str, ArrayLike], threshold: float, title: str = "") -> Photo:
    """Histograms of squared distances one below the other, as (H, W, 3) (Fig. 4).

    Each is as high as its own fullest bin asks for. The threshold is a line through all of them;
    by a name stand how many distances there are, and the share of those at most the threshold.

    Args:
        series: name -> distances in [0, 4], at least one.

    Raises:
        ValueError: nothing to draw, or a distance that is none.
    """
    width = BINS * _BIN_PX
    height = _TITLE_PX + len(series) * _PANEL_PX + _AXIS_PX
    picture = Image.new("RGB", (width + 2 * _MARGIN_PX, height), _PAPER)
    draw = ImageDraw.Draw(picture)
    draw.text((_MARGIN_PX, 8), title, fill=_INK, font=ImageFont.load_default(size=_TITLE_SIZE))
    font = ImageFont.load_default(size=_TEXT_SIZE)
    if not series:
        raise ValueError("there are no distances to draw")
    for place, (name, values) in enumerate(series.items()):
        distances = _checked(name, values)
        top = _TITLE_PX + place * _PANEL_PX
        within = f"{100 * (distances <= threshold).mean():.1f} % at most {threshold:.2f}"
        text = f"{name} (n = {len(distances):,}): {within}"
        draw.text((_MARGIN_PX, top + 4), text, fill=_INK, font=font)
        _draw_bars(draw, distances, top + _PANEL_PX)
    bottom = _TITLE_PX + len(series) * _PANEL_PX
    at = _MARGIN_PX + round(threshold / FARTHEST * width)
    for place in range(len(series)):
        top = _TITLE_PX + place * _PANEL_PX + _NAME_PX
        draw.line((at, top, at, top + _PANEL_PX - _NAME_PX), fill=_RULE, width=2)
    for tick in range(int(FARTHEST) + 1):
        x = _MARGIN_PX + round(tick / FARTHEST * width)
        draw.line((x, bottom, x, bottom + 5), fill=_INK)
        draw.text((x, bottom + 8), str(tick), fill=_INK, font=font, anchor="ma")
    return np.asarray(picture)


def people_picture(
    rows: Mapping[str, Sequence[Photo]], title: str = "", columns: int = 10
) -> Photo:
    """Rows as of `faces_picture`, broken after `columns` faces and stacked, (H, W, 3).

    Args:
        rows: name -> faces (S, S, 3), as many in each row; a column is one photo's.
    """
    count = len(next(iter(rows.values()), ()))
    blocks = [
        faces_picture(
            {name: row[start : start + columns] for name, row in rows.items()},
            title if start == 0 else "",
        )
        for start in range(0, max(count, 1), columns)
    ]
    widest = max(block.shape[1] for block in blocks)
    return np.concatenate(
        [
            np.pad(block, ((0, 0), (0, widest - block.shape[1]), (0, 0)), constant_values=255)
            for block in blocks
        ]
    )


def _checked(name: str, values: ArrayLike) -> np.ndarray:
    distances = np.asarray(values, dtype=np.float64)
    slack = 1e-6  # of rounding
    inside = (distances >= -slack) & (distances <= FARTHEST + slack)  # NaN is not, either
    if distances.ndim != 1 or not len(distances) or not inside.all():
        raise ValueError(f"{name}: needs distances (N,) in [0, 4], got shape {distances.shape}")
    return distances.clip(0, FARTHEST)


def _draw_bars(draw: ImageDraw.ImageDraw, distances: np.ndarray, bottom: int) -> None:
    counts, _ = np.histogram(distances, bins=BINS, range=(0, FARTHEST))
    room = _PANEL_PX - _NAME_PX - 4
    for place, count in enumerate(counts):
        if count:
            left = _MARGIN_PX + place * _BIN_PX
            high = max(1, round(room * count / counts.max()))  # one face in a thousand is seen, too
            draw.rectangle((left, bottom - high, left + _BIN_PX - 2, bottom - 1), fill=_BAR)
    draw.line((_MARGIN_PX, bottom, _MARGIN_PX + BINS * _BIN_PX, bottom), fill=_INK)
