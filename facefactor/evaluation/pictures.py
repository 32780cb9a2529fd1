"""Results as pictures, drawn with Pillow alone."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import cv2
import numpy as np
from numpy.typing import ArrayLike
from PIL import Image, ImageDraw, ImageFont

from facefactor.evaluation.tables import Confusion
from facefactor.factors import EXPRESSIONS
from facefactor.images import Photo

_CELL_PX = 84  # holds "happiness" at the size of the names
_NAMES_PX = 150  # left of the cells: a name and its photos
_HEAD_PX = 74  # above the cells: title, what the columns are, their names
_MARGIN_PX = 12
_NAME_SIZE, _VALUE_SIZE, _TITLE_SIZE = 15, 17, 18
_PAPER, _INK, _FULL = (255, 255, 255), (30, 30, 30), (20, 70, 140)
_RULE = (210, 210, 210)

_MAP_PX, _LEGEND_PX = 720, 190  # side of the map's square; width of the names beside it
_DOT_PX, _TITLE_PX, _LINE_PX = 8, 40, 26
# Expressions in the order of EXPRESSIONS; told apart with any colour vision (Okabe and Ito, 2008).
_COLOURS = (
    (120, 120, 120),
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (0, 114, 178),
    (240, 228, 66),
    (213, 94, 0),
    (204, 121, 167),
)
_FACE_PX, _ROW_NAMES_PX, _GAP_PX = 140, 240, 6
_WIDE_PX, _LOW_PX = 132, 44  # a cell of a matrix holds "split by subject"


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
        box = (left, top, left + _CELL_PX - 2, top + _CELL_PX - 2)
        draw.rectangle(box, fill=_blue(share), outline=_RULE)
        if photos:
            ink = _PAPER if share > 0.7 else _INK  # readable on both ends of the scale
            at = (left + _CELL_PX // 2 - 1, top + _CELL_PX // 2 - 1)
            draw.text(at, f"{100 * share:.1f}", fill=ink, font=font, anchor="mm")


def matrix_picture(
    values: ArrayLike,
    rows: Sequence[str],
    columns: Sequence[str],
    framed: Collection[tuple[int, int]] = (),
    title: str = "",
) -> Photo:
    """A table of percentages, the deeper the blue the higher, as (H, W, 3).

    Args:
        values: (R, C) in %; what is below 0 is as white as 0.
        columns: C names, each of one line or several ("pose\\nceleba").
        framed: (row, column) of the cells to put a frame around.
    """
    shares = np.asarray(values, dtype=np.float64)
    if shares.shape != (len(rows), len(columns)) or not shares.size:
        raise ValueError(f"values must be ({len(rows)}, {len(columns)}), got {shares.shape}")
    size = (
        _ROW_NAMES_PX + len(columns) * _WIDE_PX + _MARGIN_PX,
        _TITLE_PX + _HEAD_PX + len(rows) * _LOW_PX + _MARGIN_PX,
    )
    picture = Image.new("RGB", size, _PAPER)
    draw = ImageDraw.Draw(picture)
    draw.text((_MARGIN_PX, 8), title, fill=_INK, font=ImageFont.load_default(size=_TITLE_SIZE))
    name_font = ImageFont.load_default(size=_NAME_SIZE)
    value_font = ImageFont.load_default(size=_VALUE_SIZE)
    for column, name in enumerate(columns):
        middle = (_ROW_NAMES_PX + column * _WIDE_PX + _WIDE_PX // 2, _TITLE_PX + _HEAD_PX // 2)
        draw.multiline_text(middle, name, fill=_INK, font=name_font, anchor="mm", align="center")
    for row, name in enumerate(rows):
        top = _TITLE_PX + _HEAD_PX + row * _LOW_PX
        at = (_ROW_NAMES_PX - 10, top + _LOW_PX // 2)
        draw.text(at, name, fill=_INK, font=name_font, anchor="rm")
        for column, value in enumerate(shares[row].tolist()):
            left = _ROW_NAMES_PX + column * _WIDE_PX
            box = (left, top, left + _WIDE_PX - 2, top + _LOW_PX - 2)
            mark = (_INK, 3) if (row, column) in framed else (_RULE, 1)
            draw.rectangle(box, fill=_blue(value / 100), outline=mark[0], width=mark[1])
            ink = _PAPER if value > 70 else _INK  # readable on both ends of the scale
            middle = (left + _WIDE_PX // 2 - 1, top + _LOW_PX // 2 - 1)
            draw.text(middle, f"{value:.1f}", fill=ink, font=value_font, anchor="mm")
    return np.asarray(picture)


def _blue(share: float) -> tuple[int, ...]:
    """From white, at 0 and below, to the full blue at 1."""
    depth = min(max(share, 0.0), 1.0)
    return tuple(
        round(paper + depth * (full - paper)) for paper, full in zip(_PAPER, _FULL, strict=True)
    )


def map_picture(
    points: ArrayLike,
    labels: Sequence[str],
    title: str = "",
    classes: Sequence[str] = EXPRESSIONS,
) -> Photo:
    """A dot for each code at its place on a map, coloured by its label, as (H, W, 3).

    The map keeps its shape: one unit is as long across as up. Names and their numbers of dots stand
    beside it.

    Args:
        points: (N, 2) finite places, x and y up, in any unit.
        labels: N names of `classes`.
        classes: 8 names at most; the place of one decides its colour.
    """
    if len(classes) > len(_COLOURS):
        raise ValueError(f"{len(classes)} classes, but {len(_COLOURS)} colours to tell them by")
    places = np.asarray(points, dtype=np.float64)
    if places.shape != (len(labels), 2) or not len(labels) or not np.isfinite(places).all():
        raise ValueError(f"points must be ({len(labels)}, 2), finite, got shape {places.shape}")
    if unknown := sorted(set(labels) - set(classes)):
        raise ValueError(f"{unknown[0]!r} is not among {', '.join(classes)}")
    picture = Image.new("RGB", (_MAP_PX + _LEGEND_PX, _TITLE_PX + _MAP_PX), _PAPER)
    draw = ImageDraw.Draw(picture)
    draw.text((_MARGIN_PX, 8), title, fill=_INK, font=ImageFont.load_default(size=_TITLE_SIZE))
    low, high = places.min(axis=0), places.max(axis=0)
    room = _MAP_PX - 2 * (_MARGIN_PX + _DOT_PX)
    scale = room / max((high - low).max(), 1e-12)
    offset = (places - (low + high) / 2) * scale * (1, -1)  # pixels from the middle, y down
    for (x, y), label in zip(offset + _MAP_PX / 2, labels, strict=True):
        _draw_dot(draw, x, _TITLE_PX + y, _COLOURS[classes.index(label)])
    font = ImageFont.load_default(size=_NAME_SIZE)
    for line, name in enumerate(name for name in classes if name in labels):
        y = _TITLE_PX + _MARGIN_PX + line * _LINE_PX
        _draw_dot(draw, _MAP_PX + _DOT_PX, y, _COLOURS[classes.index(name)])
        text = f"{name} ({list(labels).count(name):,})"
        draw.text((_MAP_PX + 3 * _DOT_PX, y), text, fill=_INK, font=font, anchor="lm")
    return np.asarray(picture)


def faces_picture(rows: Mapping[str, Sequence[Photo]], title: str = "") -> Photo:
    """Rows of square faces, each row under one name at its left, as (H, W, 3).

    Args:
        rows: name -> faces (S, S, 3), as many in each row; a column is one photo's.
    """
    counts = {len(row) for row in rows.values()}
    if len(counts) != 1 or 0 in counts:
        raise ValueError(f"rows must hold as many faces as one another, got {sorted(counts)}")
    step = _FACE_PX + _GAP_PX
    size = (_ROW_NAMES_PX + counts.pop() * step, _TITLE_PX + len(rows) * step)
    picture = Image.new("RGB", size, _PAPER)
    draw = ImageDraw.Draw(picture)
    draw.text((_MARGIN_PX, 8), title, fill=_INK, font=ImageFont.load_default(size=_TITLE_SIZE))
    font = ImageFont.load_default(size=_NAME_SIZE)
    for line, (name, row) in enumerate(rows.items()):
        top = _TITLE_PX + line * step
        at = (_ROW_NAMES_PX - 10, top + _FACE_PX // 2)
        draw.text(at, name, fill=_INK, font=font, anchor="rm")
        for column, face in enumerate(row):
            shrinking = face.shape[0] > _FACE_PX
            method = cv2.INTER_AREA if shrinking else cv2.INTER_CUBIC
            drawn = cv2.resize(face, (_FACE_PX, _FACE_PX), interpolation=method)
            picture.paste(Image.fromarray(drawn), (_ROW_NAMES_PX + column * step, top))
    return np.asarray(picture)


def _draw_dot(draw: ImageDraw.ImageDraw, x: float, y: float, colour: tuple[int, int, int]) -> None:
    half = _DOT_PX / 2
    draw.ellipse((x - half, y - half, x + half, y + half), fill=colour, outline=_PAPER)
