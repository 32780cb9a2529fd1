"""Where the light of a photo comes from: its angle to the camera, the field's subsets, its side."""

from __future__ import annotations

import math

from facefactor.data.records import FaceRecord

Light = tuple[float, float]  # azimuth and elevation in degrees, as in `geometry.lighting`

FRONTAL: Light = (0.0, 0.0)
# Degrees between light and camera that part the five subsets of Extended Yale B: 7, 12, 12, 14 and
# 19 of its 64 lights. Papers print 50 for 52, but count the two lights at 51.1 degrees in.
SUBSET_EDGES = (12, 25, 52, 77)
SIDES = ("front", "left", "right", "above", "below", "far left", "far right")


def light_of(record: FaceRecord) -> Light | None:
    """The record's light with azimuth counted to the subject's left, the photo's right.

    CroppedYale, the only reader that knows of lights, counts it to the subject's right: under
    A+070E+00 the left half of the photo is the bright one.
    """
    if record.light is None:
        return None
    azimuth, elevation = record.light
    return 0.0 - azimuth, elevation  # not -0.0


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
    right beyond 77 degrees. Of Extended Yale B's 64 lights 19, 7, 7, 10, 5, 8, 8 are from `SIDES`
    in that order.
    """
    azimuth, elevation = map(math.radians, light)
    across, up = math.sin(azimuth) * math.cos(elevation), math.sin(elevation)
    if light_subset(light) <= 2:
        return "front"
    if abs(up) >= abs(across):
        return "above" if up > 0 else "below"
    side = "left" if across > 0 else "right"
    return f"far {side}" if light_subset(light) == 5 else side
