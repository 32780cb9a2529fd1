"""CMU Multi-PIE (Gross et al., 2010): people in up to four sessions, cameras and flashes around."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

from facefactor.data.listing import existing_folder, is_photo
from facefactor.data.records import DataError, FaceRecord

FRONTAL = "051"
# The seven cameras within 45 degrees of it, 15 degrees apart, as file names write "08_0", ...
CAMERAS = ("080", "130", "140", FRONTAL, "050", "041", "190")
DARK = ("00", "19")  # lights of the room only, no flash

# What was recorded first, second and third in a session.
_RECORDED = {
    "01": ("neutral", "smile"),
    "02": ("neutral", "surprise", "squint"),
    "03": ("neutral", "smile", "disgust"),
    "04": ("neutral", "neutral", "scream"),
}
_EXPRESSIONS = {  # those of `factors.EXPRESSIONS` among them
    "neutral": "neutral",
    "smile": "happiness",
    "surprise": "surprise",
    "disgust": "disgust",
}
_NAME = re.compile(
    r"(?P<subject>\d{3})_(?P<session>0[1-4])_(?P<recording>\d\d)_(?P<camera>\d{3})_(?P<light>\d\d)",
    re.ASCII,
)


class MultiPieName(NamedTuple):
    """What a file name of Multi-PIE says."""

    subject: str  # "001" to "346"
    expression: str  # neutral, smile, surprise, squint, disgust or scream
    camera: str  # "051" is the frontal one
    light: str  # "00" to "19": the flash that fired; see DARK


def multipie_name(path: Path) -> MultiPieName:
    """Read a name like 001_01_01_051_07.png; DataError for any other."""
    named = _NAME.fullmatch(path.stem)
    if named is None:
        raise DataError(
            f"{path}: expected a name like 001_01_01_051_07.png (subject, session, recording, "
            "camera, flash)"
        )
    recorded = _RECORDED[named["session"]]
    number = int(named["recording"])
    if not 1 <= number <= len(recorded):
        raise DataError(
            f"{path}: session {named['session']} has recordings 01 to {len(recorded):02d}, this "
            f"is {named['recording']}"
        )
    return MultiPieName(named["subject"], recorded[number - 1], named["camera"], named["light"])


def read_multipie(
    folder: Path | str, cameras: Collection[str] = CAMERAS, flashes_only: bool = False
) -> list[FaceRecord]:
    """Multi-PIE's `multiview` photos, `session01/multiview/001/01/05_1/001_01_01_051_07.png`.

    Photos with the official names, in `folder` or any sub-folder; those of other cameras are left
    out. Squint and scream are no expressions that this project names: their records have none, and
    `multipie_name` tells. Faces are found by the detector.

    Args:
        flashes_only: leave out photos without a flash.
    """
    top = existing_folder(folder)
    photos = sorted(path for path in top.rglob("*_*_*_*_*") if is_photo(path.name))
    records = []
    for path in photos:
        name = multipie_name(path)
        if name.camera in cameras and not (flashes_only and name.light in DARK):
            expression = _EXPRESSIONS.get(name.expression)
            records.append(FaceRecord(path, name.subject, expression))
    if not records:
        raise DataError(
            f"{top}: no photos of these cameras named as Multi-PIE names them "
            "(001_01_01_051_07.png) in it"
        )
    return records


def read_multipie_frontal(folder: Path | str) -> list[FaceRecord]:
    """The frontal camera's photos with a flash: 18 lights (Neuro-Tensorial's Table 3 has 16, and
    does not say which)."""
    return read_multipie(folder, (FRONTAL,), flashes_only=True)
