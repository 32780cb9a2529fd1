"""Results as pictures, drawn with Pillow alone."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from facefactor.evaluation.tables import Confusion
from facefactor.images import Photo

_CELL_PX = 84  # holds "happiness" at the size of the names
_NAMES_PX = 150  # left of the cells: a name and its photos
_HEAD_PX = 74  # above the cells: title, what the columns are, their names
_MARGIN_PX = 12
_NAME_SIZE, _VALUE_SIZE, _TITLE_SIZE = 15, 17, 18
_PAPER, _INK, _FULL = (255, 255, 255), (30, 30, 30), (20, 70, 140)


def confusion_picture(confusion: Confusion, title: str = "") -> Photo:
    """Row by row the percentage of a class's photos that were taken for each class, as (H, W, 3).

    The deeper the blue the higher; the number of a class's photos stands by its name, and a class
    without photos has empty cells. Write it with `images.write_image`.
    """
    counts = np.array(confusion.counts)
    side = len(confusion.classes) * _CELL_PX
    size = (_NAMES_PX + side + _MARGIN_PX, _HEAD_PX + side + _MARGIN_PX)
    picture = Image.new("RGB", size, _PAPER)
    draw = ImageDraw.Draw(picture)
    name_font = ImageFont.load_default(size=_NAME_SIZE)
    draw.text((_MARGIN_PX, 8), title, fill=_INK, font=ImageFont.load_default(size=_TITLE_SIZE))
    draw.text((_MARGIN_PX, _HEAD_PX - 24), "true \\ said, %", fill=_INK, font=name_font)
    for place, name in enumerate(confusion.classes):
        middle = place * _CELL_PX + _CELL_PX // 2
        across = (_NAMES_PX + middle, _HEAD_PX - 14)
        draw.text(across, name, fill=_INK, font=name_font, anchor="mm")
        left = f"{name} ({counts[place].sum():,})"
        down = (_NAMES_PX - 8, _HEAD_PX + middle)
        draw.text(down, left, fill=_INK, font=name_font, anchor="rm")
        _draw_row(draw, counts[place], _HEAD_PX + place * _CELL_PX)
    return np.asarray(picture)


def _draw_row(draw: ImageDraw.ImageDraw, counts: np.ndarray, top: int) -> None:
    font = ImageFont.load_default(size=_VALUE_SIZE)
    photos = counts.sum()
    for place, count in enumerate(counts):
        left = _NAMES_PX + place * _CELL_PX
        share = float(count / photos) if photos else 0.0
        colour = tuple(
            round(paper + share * (full - paper)) for paper, full in zip(_PAPER, _FULL, strict=True)
        )
        box = (left, top, left + _CELL_PX - 2, top + _CELL_PX - 2)
        draw.rectangle(box, fill=colour, outline=(210, 210, 210))
        if photos:
            ink = _PAPER if share > 0.7 else _INK  # readable on both ends of the scale
            at = (left + _CELL_PX // 2 - 1, top + _CELL_PX // 2 - 1)
            draw.text(at, f"{100 * share:.1f}", fill=ink, font=font, anchor="mm")
