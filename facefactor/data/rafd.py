"""RaFD, the Radboud Faces Database (Langner et al., Cognition and Emotion 2010)."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

from facefactor.data.labels import expression_named
from facefactor.data.listing import existing_folder, photos_below
from facefactor.data.records import DataError, FaceRecord

RAFD_ANGLES = ("000", "045", "090", "135", "180")  # of the camera, degrees; 090 sees the front

_WORDS = {  # those of its names that are not everybody's
    "contemptuous": "contempt",
    "fearful": "fear",
}
_EXPRESSIONS = (
    "angry",
    "contemptuous",
    "disgusted",
    "fearful",
    "happy",
    "neutral",
    "sad",
    "surprised",
)
_NAME = re.compile(
    rf"rafd(?P<angle>{'|'.join(RAFD_ANGLES)})_(?P<subject>\d\d)_[a-z]+_(?:female|male)"
    rf"_(?P<expression>{'|'.join(_EXPRESSIONS)})_(?P<gaze>left|frontal|right)"
)


class RafdName(NamedTuple):
    """What a file name of RaFD says."""

    angle: str  # of RAFD_ANGLES
    subject: str  # "01" to "73", six of which are nobody
    expression: str  # of EXPRESSIONS
    gaze: str  # "left", "frontal" or "right": where the eyes look, whatever the camera


def rafd_name(path: Path) -> RafdName:
    """Read a name like Rafd090_01_Caucasian_female_angry_frontal.jpg; DataError for any other."""
    named = _NAME.fullmatch(path.stem.lower())
    if named is None:
        raise DataError(
            f"{path}: expected a name like Rafd090_01_Caucasian_female_angry_frontal.jpg (camera "
            f"{' '.join(RAFD_ANGLES)}; {', '.join(_EXPRESSIONS)}; left, frontal or right)"
        )
    angle, subject, word, gaze = named.group("angle", "subject", "expression", "gaze")
    return RafdName(angle, subject, expression_named(_WORDS.get(word, word), str(path)), gaze)


def read_rafd(folder: Path | str, angles: Collection[str] = RAFD_ANGLES) -> list[FaceRecord]:
    """RaFD as released: 67 people, eight expressions, three directions of gaze, five cameras.

    8,040 photos with the official names, in `folder` or any sub-folder. Subjects are "01" to "73".
    RaFD has no split of its own: LEED and StarGAN split it by image, which puts everybody on both
    sides (`data.records.split_by_subject` does not). Faces are found by the detector; in profile
    (000, 180) it may find none.

    Args:
        angles: which of RAFD_ANGLES to read; the others are left out.
    """
    top = existing_folder(folder)
    photos = photos_below(top)
    records = []
    for path in photos:
        name = rafd_name(path)
        if name.angle in angles:
            records.append(FaceRecord(path, name.subject, name.expression))
    if not records:
        raise DataError(
            f"{top}: no photos named as RaFD names them "
            "(Rafd090_01_Caucasian_female_angry_frontal.jpg) in it"
        )
    return records
