"""CMU Multi-PIE (Gross et al., Image and Vision Computing 2010): 337 people under 18 flashes.

Folders and names as bob.db.multipie of the Idiap institute walks through the official release:

    session01/multiview/001/01/05_1/001_01_01_051_07.png
    session  /         /subject/recording/camera/subject_session_recording_camera_illumination

A recording is one expression of one person on one day: 20 shots of each camera within 0.7 s,
0 and 19 without a flash, each other by the light of the flash of its number.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import NamedTuple

from facefactor.data.listing import existing_folder, is_photo
from facefactor.data.records import DataError, FaceRecord

# The head's yaw in the picture of each camera at its height, in degrees, positive where the nose
# points to the image's left (300W-LP). Cameras are 15 degrees apart; bob.db.multipie calls what
# 24_0 sees the right profile and what 11_0 sees the left one.
CAMERA_YAW_DEG = {
    "24_0": -90,
    "01_0": -75,
    "20_0": -60,
    "19_0": -45,
    "04_1": -30,
    "05_0": -15,
    "05_1": 0,
    "14_0": 15,
    "13_0": 30,
    "08_0": 45,
    "09_0": 60,
    "12_0": 75,
    "11_0": 90,
}
CAMERAS = (*CAMERA_YAW_DEG, "19_1", "08_1")  # the last two look down from above the subject

# (session, recording) -> what it shows, in the words of the data set.
_EXPRESSIONS = {
    (1, 1): "neutral",
    (1, 2): "smile",
    (2, 1): "neutral",
    (2, 2): "surprise",
    (2, 3): "squint",
    (3, 1): "neutral",
    (3, 2): "smile",
    (3, 3): "disgust",
    (4, 1): "neutral",
    (4, 2): "neutral",
    (4, 3): "scream",
}
# Those of `factors.EXPRESSIONS`; a squint and a scream are none of them.
_NAMES = {
    "neutral": "neutral",
    "smile": "happiness",
    "surprise": "surprise",
    "disgust": "disgust",
}
_NAME = re.compile(
    r"(?P<subject>\d{3})_(?P<session>0[1-4])_(?P<recording>0[1-3])_(?P<camera>\d{3})_"
    r"(?P<illumination>[01]\d)"
)


class MultiPieName(NamedTuple):
    """What a file name of Multi-PIE says."""

    subject: str  # "001" to "346"
    session: int  # 1 to 4
    recording: int  # 1 to 3
    camera: str  # of CAMERAS
    illumination: int  # 0 to 19; of 0 and 19 no flash was fired

    @property
    def expression(self) -> str:
        """neutral, smile, surprise, squint, disgust or scream: by session and recording."""
        return _EXPRESSIONS[self.session, self.recording]

    @property
    def yaw_deg(self) -> int | None:
        """Of `CAMERA_YAW_DEG`; None for the cameras above the subject."""
        return CAMERA_YAW_DEG.get(self.camera)


def multipie_name(path: Path) -> MultiPieName:
    """Read a name like 001_01_01_051_07.png; DataError for any other."""
    named = _NAME.fullmatch(path.stem)
    if named is None:
        raise DataError(
            f"{path}: expected a name like 001_01_01_051_07.png (subject, session 01 to 04, "
            "recording, camera, illumination 00 to 19)"
        )
    camera = f"{named['camera'][:2]}_{named['camera'][2]}"
    if camera not in CAMERAS:
        raise DataError(
            f"{path}: there is no camera {camera}; expected one of {', '.join(CAMERAS)}"
        )
    session, recording = int(named["session"]), int(named["recording"])
    if (session, recording) not in _EXPRESSIONS:
        raise DataError(f"{path}: session {session} has no recording {recording}")
    return MultiPieName(named["subject"], session, recording, camera, int(named["illumination"]))


def read_multipie(folder: Path | str, cameras: Collection[str] = CAMERAS) -> list[FaceRecord]:
    """Multi-PIE as released; `folder` has `session01` to `session04` (one is enough), or `data` is.

    A subject is "001", the same person in all sessions. A record's expression is one of the
    project's, so none for squints and screams; those, camera and illumination are in its name:
    `multipie_name`. Shots of one recording differ in view and light, so there are no clips. Faces
    are found by the detector. The `highres` photos are left out.

    Args:
        cameras: which of CAMERAS to read; folders of others are not looked into.

    Raises:
        DataError: not the layout, or a photo whose name says another thing than its folders.
    """
    top = existing_folder(folder)
    homes = [home for home in (top, top / "data") if any(home.glob("session0[1-4]/multiview"))]
    if not homes:
        raise DataError(
            f"{top}: no session01/multiview (or another session) in it; is this the top folder of "
            "Multi-PIE?"
        )
    records = [
        FaceRecord(path, name.subject, _NAMES.get(name.expression))
        for path, name in _photos(homes[0], cameras)
    ]
    if not records:
        raise DataError(f"{homes[0]}: no photos 001_01_01_051_07.png of {', '.join(cameras)} in it")
    return records


def _photos(home: Path, cameras: Collection[str]) -> Iterator[tuple[Path, MultiPieName]]:
    """Every photo of these cameras, in the order of the names of the folders."""
    for of_camera in sorted(home.glob("session0[1-4]/multiview/*/*/*")):
        if of_camera.name not in cameras or not of_camera.is_dir():
            continue
        for path in sorted(path for path in of_camera.iterdir() if is_photo(path.name)):
            name = multipie_name(path)
            if path.parts[-6:-1] != _folders(name):
                raise DataError(
                    f"{path}: by its name it belongs into {'/'.join(_folders(name))}; its labels "
                    "are in doubt"
                )
            yield path, name


def _folders(name: MultiPieName) -> tuple[str, ...]:
    session, recording = f"session{name.session:02d}", f"{name.recording:02d}"
    return session, "multiview", name.subject, recording, name.camera
