"""Sheets: labelled rows of pictures in one PNG, the way results are looked at."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from facefactor.images import Photo

_LABEL_PX = 22
_GAP_PX = 6
_PAPER = 255


def resize(photo: Photo, height: int) -> Photo:
    """The photo at another height, shape kept; averaged when shrinking, cubic when enlarging."""
    width = max(1, round(photo.shape[1] * height / photo.shape[0]))
    shrinking = height < photo.shape[0]
    method = cv2.INTER_AREA if shrinking else cv2.INTER_CUBIC
    return cv2.resize(photo, (width, height), interpolation=method).astype(np.uint8)


def around(photo: Photo, box: tuple[float, float, float, float], margin: float = 0.45) -> Photo:
    """The part of a photo around a face box (left, top, right, bottom), square where it can be."""
    left, top, right, bottom = box
    side = max(right - left, bottom - top) * (1 + 2 * margin)
    x, y = (left + right) / 2, (top + bottom) / 2
    rows = slice(max(0, round(y - side / 2)), min(photo.shape[0], round(y + side / 2)))
    columns = slice(max(0, round(x - side / 2)), min(photo.shape[1], round(x + side / 2)))
    return photo[rows, columns]


def row(photos: Sequence[Photo], labels: Sequence[str], height: int) -> Photo:
    """Pictures side by side at one height, each under its label."""
    cells = [
        labelled(resize(photo, height), text) for photo, text in zip(photos, labels, strict=True)
    ]
    gap = np.full((cells[0].shape[0], _GAP_PX, 3), _PAPER, np.uint8)
    joined = [part for cell in cells for part in (cell, gap)][:-1]
    return np.concatenate(joined, axis=1)


def stack(rows: Sequence[Photo]) -> Photo:
    """Rows under each other, filled up with white to the widest."""
    width = max(one.shape[1] for one in rows)
    padded = [
        np.pad(one, ((0, _GAP_PX), (0, width - one.shape[1]), (0, 0)), constant_values=_PAPER)
        for one in rows
    ]
    return np.concatenate(padded)


def labelled(photo: Photo, text: str) -> Photo:
    """The picture with a line of text above it; text too long for it is cut."""
    banner = Image.new("RGB", (photo.shape[1], _LABEL_PX), (_PAPER,) * 3)
    font = ImageFont.load_default(size=13)
    ImageDraw.Draw(banner).text((2, 3), text, fill=(30, 30, 30), font=font)
    return np.concatenate([np.asarray(banner), photo])


def interpolation_sheet(
    photos: Sequence[Photo], strengths: Sequence[float], box: tuple[float, float, float, float]
) -> Photo:
    """One row of the faces of a path, each under its strength."""
    faces = [around(photo, box) for photo in photos]
    return row(faces, [f"{strength:.2f}" for strength in strengths], height=160)
