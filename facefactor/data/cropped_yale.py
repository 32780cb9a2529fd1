"""Extended Yale B, cropped (Georghiades et al., PAMI 2001): 38 people under 64 lights each."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from facefactor.data.listing import existing_folder, image_size, is_photo
from facefactor.data.records import DataError, FaceRecord, Points

# Medians over people of the medians over their lights, in the photos at three quarters of their
# size. A person's head does not move between lights, so all of a person's crops are alike; people
# differ from these points by 3 px (a standard deviation), eyes being 72 apart.
_YALE_126X144_PX: Points = (
    (25.68, 36.17),
    (98.18, 36.01),
    (60.78, 70.94),
    (34.14, 112.17),
    (89.98, 112.31),
)
# pixel centres are whole numbers, so it is edges, at -0.5, that scale
_YALE_168X192_PX: Points = tuple(
    ((x + 0.5) * 4 / 3 - 0.5, (y + 0.5) * 4 / 3 - 0.5) for x, y in _YALE_126X144_PX
)
CROPPED_YALE_POINTS = {(126, 144): _YALE_126X144_PX, (168, 192): _YALE_168X192_PX}

_NAME = re.compile(
    r"(?P<subject>yaleB\d\d)_P00(A(?P<azimuth>[+-]\d{3})E(?P<elevation>[+-]\d\d)|_Ambient)"
)


class CroppedYaleName(NamedTuple):
    """What a file name of CroppedYale says."""

    subject: str  # "yaleB01" to "yaleB39"
    light: tuple[float, float] | None  # azimuth and elevation, degrees; None: the room's alone


def cropped_yale_name(path: Path) -> CroppedYaleName:
    """Read a name like yaleB01_P00A+000E+00.pgm or yaleB01_P00_Ambient.pgm; DataError for any
    other."""
    named = _NAME.fullmatch(path.stem)
    if named is None:
        raise DataError(
            f"{path}: expected a name like yaleB01_P00A+000E+00 (azimuth and elevation of the "
            "light in degrees)"
        )
    subject, azimuth, elevation = named.group("subject", "azimuth", "elevation")
    return CroppedYaleName(subject, (float(azimuth), float(elevation)) if azimuth else None)


def read_cropped_yale(folder: Path | str) -> list[FaceRecord]:
    """CroppedYale: `yaleB01/yaleB01_P00A+000E+00.pgm`, in `folder` or any sub-folder.

    Everybody looks into the camera with a neutral face; a name ends in azimuth and elevation of the
    light, in degrees. Photos with the room's light only ("_Ambient") are left out, and so are those
    the release marks as bad. Photos of 168x192, or of 126x144, have fixed points; of any other size
    none. The first photo's size is taken for all.
    """
    top = existing_folder(folder)
    photos = sorted(path for path in top.rglob("yaleB*") if path.is_file() and is_photo(path.name))
    if not photos:
        raise DataError(f"{top}: no photos like yaleB01/yaleB01_P00A+000E+00.pgm in it")
    points = CROPPED_YALE_POINTS.get(image_size(photos[0]))
    records = []
    for path in photos:
        name = cropped_yale_name(path)
        if name.light is not None:
            records.append(
                FaceRecord(path, name.subject, "neutral", points, frontal=True, light=name.light)
            )
    return records
