"""KDEF and SFEW: data sets whose only labels are the names of files and folders."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

from facefactor.data.labels import expression_named
from facefactor.data.listing import existing_folder, image_folder, image_names, photos_below
from facefactor.data.records import DataError, FaceRecord, Split

KDEF_VIEWS = ("FL", "HL", "S", "HR", "FR")  # full left profile, half left, straight, right
_KDEF_EXPRESSIONS = {
    "AF": "fear",  # "afraid"
    "AN": "anger",
    "DI": "disgust",
    "HA": "happiness",
    "NE": "neutral",
    "SA": "sadness",
    "SU": "surprise",
}
_KDEF_NAME = re.compile(
    rf"(?P<session>[AB])(?P<subject>[FM]\d\d)(?P<code>{'|'.join(_KDEF_EXPRESSIONS)})"
    rf"(?P<view>{'|'.join(KDEF_VIEWS)})"
)
_KDEF_CUT_SHORT = ("AF31V", "AM31H")  # so in the release: their expressions are lost


class KdefName(NamedTuple):
    """What a file name of KDEF says."""

    session: str  # "A" or "B": every person came twice
    subject: str  # "F01" to "F35", "M01" to "M35"
    expression: str  # of EXPRESSIONS
    view: str  # of KDEF_VIEWS


def kdef_name(path: Path) -> KdefName:
    """Read a name like AF01ANS.JPG; DataError for any other."""
    named = _KDEF_NAME.fullmatch(path.stem.upper())
    if named is None:
        raise DataError(
            f"{path}: expected a name like AF01ANS.JPG (session A or B, F or M and number, "
            f"{' '.join(_KDEF_EXPRESSIONS)}, {' '.join(KDEF_VIEWS)})"
        )
    session, subject, code, view = named.group("session", "subject", "code", "view")
    return KdefName(session, subject, _KDEF_EXPRESSIONS[code], view)


def read_kdef(folder: Path | str, views: Collection[str] = KDEF_VIEWS) -> list[FaceRecord]:
    """KDEF (Lundqvist et al., 1998): 70 people, two sessions, seven expressions, five views.

    Photos with the official names, in `folder` or any sub-folder (`AF01/AF01ANS.JPG`). A subject
    is "F01": the same person in both sessions. Faces are found by the detector. The two photos
    whose names the release cut short, AF31V and AM31H, are left out.

    Args:
        views: which of KDEF_VIEWS to read; the others are left out.
    """
    top = existing_folder(folder)
    photos = photos_below(top)
    records = []
    for path in photos:
        if path.stem.upper() in _KDEF_CUT_SHORT:
            continue
        name = kdef_name(path)
        if name.view in views:
            straight = name.view == "S"
            records.append(FaceRecord(path, name.subject, name.expression, frontal=straight))
    if not records:
        raise DataError(f"{top}: no photos named as KDEF names them (AF01ANS.JPG) in it")
    return records


def read_sfew(folder: Path | str, split: Split | None = None) -> list[FaceRecord]:
    """SFEW 2.0, aligned faces: `Train/Train_Aligned_Faces/Angry/*.png`, `Val/...`.

    The folders of classes may also lie directly in `Train` and `Val`, or the aligned folders in
    `folder`. Labels of the test part were never released and the field tests on the validation
    part, whose records are therefore of split "test": nothing may be chosen by them ("valid" is
    empty). Faces are found by the detector. No subjects.
    """
    top = existing_folder(folder)
    parts: dict[Split, str] = {"train": "Train", "test": "Val"}
    records = []
    for part, name in parts.items():
        if split is not None and split != part:
            continue
        aligned = f"{name}_Aligned_Faces"
        homes = [f"{name}/{aligned}", f"{name}/{aligned}_new", aligned, f"{aligned}_new", name]
        records += _classes(image_folder(top, homes, "SFEW"), part)
    return records


def _classes(home: Path, split: Split) -> list[FaceRecord]:
    """The photos of a folder of classes, each of them named after its expression."""
    classes = sorted(path for path in home.iterdir() if path.is_dir())
    if not classes:
        raise DataError(f"{home}: no folders of classes (Angry, Disgust, ...) in it")
    records = []
    for of_class in classes:
        expression = expression_named(of_class.name, where=str(of_class))
        records += [
            FaceRecord(of_class / name, None, expression, split=split)
            for name in sorted(image_names(of_class))
        ]
    return records
