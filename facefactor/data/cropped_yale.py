"""The Extended Yale Face Database B, cropped: people in a dark room, lit by one flash at a time.

Georghiades, Belhumeur & Kriegman, PAMI 2001; Lee, Ho & Kriegman, PAMI 2005.
"""

from __future__ import annotations

import math
import re
from pathlib import Path

from facefactor.data.listing import existing_folder, image_names, image_size
from facefactor.data.records import DataError, FaceRecord, Points

Light = tuple[float, float]  # azimuth and elevation in degrees, as in `geometry.lighting`

# Medians over people of the third-party landmarks of 126x144 images, each person's being the median
# over the photos where a face was found (the head does not move), made symmetric. People are off by
# 2 px across and 4 px up and down (standard deviation), 5 % of the distance of the eyes.
_POINTS_126X144: Points = (
    (25.7, 36.1),
    (98.2, 36.1),
    (62.0, 70.9),
    (34.1, 112.2),
    (89.8, 112.2),
)
# The official images are 168x192, four thirds of that. Half-pixel: a pixel centre at integer u lies
# at u + 0.5 from the outer edge, and edges are what scales.
YALE_POINTS: dict[tuple[int, int], Points] = {
    (126, 144): _POINTS_126X144,
    (168, 192): tuple(
        ((x + 0.5) * 4 / 3 - 0.5, (y + 0.5) * 4 / 3 - 0.5) for x, y in _POINTS_126X144
    ),
}

# Degrees between light and camera that part the five subsets of the field: 7, 12, 12, 14 and 19 of
# the 64 lights. Papers print 50 for 52, but count the two lights at 51.1 degrees in.
SUBSET_EDGES = (12, 25, 52, 77)
SIDES = ("front", "left", "right", "above", "below", "far left", "far right")

_NAME = re.compile(
    r"(?P<subject>yaleB\d\d)_P00A(?P<azimuth>[+-]\d{3})E(?P<elevation>[+-]\d\d)", re.ASCII
)


def read_cropped_yale(folder: Path | str) -> list[FaceRecord]:
    """CroppedYale: a folder a person, `yaleB01/yaleB01_P00A+035E-20.pgm`.

    38 people, 64 lights each; 18 of the 2,432 images were lost and are called `.bad` in the
    release. The names count azimuth to the subject's right; records count it to the subject's left,
    as all of this project does. Photos of the room's own light (`_Ambient`) are left out. Images of
    168x192, or of three quarters of that, are aligned; others have no fixed points. The first
    image's size is taken for all.
    """
    top = existing_folder(folder)
    records: list[FaceRecord] = []
    points: Points | None = None
    for person in sorted(path for path in top.iterdir() if path.is_dir()):
        for name in sorted(image_names(person)):
            if Path(name).stem.endswith("_Ambient"):
                continue
            subject, light = _subject_and_light(person / name)
            if not records:
                points = YALE_POINTS.get(image_size(person / name))
            records.append(FaceRecord(person / name, subject, points=points, light=light))
    if not records:
        raise DataError(f"{top}: no folders of people (yaleB01, ...) in it; is this CroppedYale?")
    return records


def light_angle(light: Light) -> float:
    """Degrees between the light and the camera, seen from the face."""
    azimuth, elevation = map(math.radians, light)
    cosine = math.cos(azimuth) * math.cos(elevation)
    return round(math.degrees(math.acos(cosine)), 6)  # 25 is 25, and not a little more


def light_subset(light: Light) -> int:
    """Which of the field's subsets a light is in, 1 to 5: up to 12, 25, 52, 77 degrees, beyond."""
    return 1 + sum(light_angle(light) > edge for edge in SUBSET_EDGES)


def light_side(light: Light) -> str:
    """Where a light comes from, one of `SIDES`; left is the subject's left.

    "front" up to 25 degrees from the camera; beyond, the nearest of the four sides; "far" left and
    right beyond 77 degrees. Of the 64 lights 19, 7, 7, 10, 5, 8, 8 are
    from `SIDES` in that order.
    """
    azimuth, elevation = map(math.radians, light)
    across, up = math.sin(azimuth) * math.cos(elevation), math.sin(elevation)
    if light_subset(light) <= 2:
        return "front"
    if abs(up) >= abs(across):
        return "above" if up > 0 else "below"
    side = "left" if across > 0 else "right"
    return f"far {side}" if light_subset(light) == 5 else side


def _subject_and_light(path: Path) -> tuple[str, Light]:
    named = _NAME.fullmatch(path.stem)
    if named is None or named["subject"] != path.parent.name:
        raise DataError(
            f"{path}: expected a name like {path.parent.name}_P00A+035E-20, after its folder; its "
            "subject and light are in doubt"
        )
    azimuth, elevation = int(named["azimuth"]), int(named["elevation"])
    if abs(azimuth) > 180 or abs(elevation) > 90:
        raise DataError(f"{path}: no light comes from azimuth {azimuth}, elevation {elevation}")
    return named["subject"], (float(-azimuth), float(elevation))
