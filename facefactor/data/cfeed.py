"""CFEED, Compound Facial Expressions of Emotion (Du, Tao and Martinez, PNAS 2014): 230 people."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from facefactor.data.listing import existing_folder, photos_below
from facefactor.data.records import DataError, FaceRecord

CFEED_CLASSES = 26

# The seven basic ones of 26. The others are compound (happily surprised, ...) and have no name
# here; 04, a second kind of sadness, is none of the paper's 22 categories. These numbers are those
# of public loaders, of which two agree on 1, 2, 3, 5 and 6, and one has 7 and 8; the release names
# them in `AU_annotation_all_subjects.xls`.
CFEED_EXPRESSIONS = {
    1: "neutral",
    2: "happiness",
    3: "sadness",
    5: "anger",
    6: "surprise",
    7: "disgust",
    8: "fear",
}
_NAMES = (
    re.compile(r"(?P<number>\d\d)_(?P<subject>\d{3})(?:_\d+)?"),  # 02_339_3470, 26_222
    re.compile(r"(?P<subject>\d{3})_(?P<number>\d\d)(?:\.png)?"),  # 260_19.png, as a few are named
)


class CfeedName(NamedTuple):
    """What a file name of CFEED says."""

    number: int  # of its class, 1 to CFEED_CLASSES
    subject: str  # three digits


def cfeed_name(path: Path) -> CfeedName:
    """Read a name like 02_339_3470.jpg: class, person, shot; DataError for any other."""
    for name in _NAMES:
        named = name.fullmatch(path.stem)
        if named is not None and 1 <= int(named["number"]) <= CFEED_CLASSES:
            return CfeedName(int(named["number"]), named["subject"])
    raise DataError(
        f"{path}: expected a name like 02_339_3470.jpg (class 01 to {CFEED_CLASSES}, person, shot)"
    )


def read_cfeed(folder: Path | str) -> list[FaceRecord]:
    """CFEED as released: `01-04/Images1/02_339_3470.jpg`, ..., `21-26/Images6/26_222_....jpg`.

    `folder` is `CFEE_Database_230` or the one above it; only photos in folders called `Images...`
    count. Photos of compound expressions have no expression here (None): `data.records.labelled`
    leaves them out. It has no split of its own. Faces are found by the detector.
    """
    top = existing_folder(folder)
    photos = [path for path in photos_below(top) if path.parent.name.startswith("Images")]
    if not photos:
        raise DataError(
            f"{top}: no photos in folders Images1 to Images6; is this the top folder of CFEED "
            "(CFEE_Database_230)?"
        )
    names = [cfeed_name(path) for path in photos]
    return [
        FaceRecord(path, name.subject, CFEED_EXPRESSIONS.get(name.number))
        for path, name in zip(photos, names, strict=True)
    ]
