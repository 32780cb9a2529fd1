"""AffectNet (Mollahosseini et al., IEEE TAC 2019): photos from the web, an annotator each.

Its test part was never released, so the field tests on the validation part. Its records are
therefore of split "test" here: nothing may be chosen by them. None are of split "valid".
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from facefactor.data.labels import csv_rows
from facefactor.data.listing import (
    existing_folder,
    image_folder,
    image_names,
    is_photo,
    label_file,
    match_labels,
)
from facefactor.data.records import EXPRESSION_ORDER, DataError, FaceRecord, Points, Split

_NOT_EXPRESSIONS = ("8", "9", "10")  # none, uncertain, no face
_COLUMNS = (
    "subDirectory_filePath",
    "face_x",
    "face_y",
    "face_width",
    "face_height",
    "facial_landmarks",
    "expression",
    "valence",
    "arousal",
)
_FILES: dict[Split, str] = {"train": "training.csv", "test": "validation.csv"}
_SETS: dict[Split, str] = {"train": "train_set", "test": "val_set"}


def read_affectnet(folder: Path | str, split: Split | None = None) -> list[FaceRecord]:
    """AffectNet, manually annotated: the full release, or the smaller one of eight classes.

    The full release has `training.csv`, `validation.csv` and `Manually_Annotated_Images`; rows
    of no expression (numbers 8 to 10) are left out, and photos in no row too. Fixed points are
    taken from the 68 landmarks of each row, which count in pixels of the stored photo. The smaller
    release has `train_set` and `val_set`, each with `images/0.jpg` and `annotations/0_exp.npy`;
    there faces are found by the detector. No subjects.
    """
    top = existing_folder(folder)
    read = _read_sets if (top / _SETS["train"]).is_dir() else _read_tables
    parts: list[Split] = ["train", "test"] if split is None else [split]
    return [record for part in parts if part in _FILES for record in read(top, part)]


def _read_tables(top: Path, part: Split) -> list[FaceRecord]:
    name = _FILES[part]
    homes = ("", "Manually_Annotated_file_lists/", "Manually_Annotated/")
    file = label_file(top, [home + name for home in homes], "AffectNet")
    homes = ("", "Manually_Annotated/", "Manually_Annotated_compressed/")
    images = image_folder(top, [f"{home}Manually_Annotated_Images" for home in homes], "AffectNet")
    stored = _photos_below(images)
    records: dict[str, FaceRecord] = {}
    needed = ["subDirectory_filePath", "facial_landmarks", "expression"]
    for line, row in csv_rows(file, needed, otherwise=_COLUMNS):
        where = f"{file}, line {line}"
        if row["expression"] in _NOT_EXPRESSIONS:
            continue
        photo = row["subDirectory_filePath"]
        expression = _expression(row["expression"], where)
        if photo not in stored:
            raise DataError(f"{where}: {images / photo} does not exist; unpack the images again")
        if photo in records and records[photo].expression != expression:
            raise DataError(f"{where}: {photo} was {records[photo].expression} before")
        points = _five_points(row["facial_landmarks"], where)
        records[photo] = FaceRecord(images / photo, None, expression, points, split=part)
    if not records:
        raise DataError(f"{file}: no photo with an expression in it")
    return [records[photo] for photo in sorted(records)]


def _read_sets(top: Path, part: Split) -> list[FaceRecord]:
    images = image_folder(top, [f"{_SETS[part]}/images"], "AffectNet")
    annotations = image_folder(top, [f"{_SETS[part]}/annotations"], "AffectNet")
    stems = {name.rpartition(".")[0]: name for name in image_names(images)}
    ending = "_exp.npy"
    with os.scandir(annotations) as entries:
        labelled = {e.name.removesuffix(ending) for e in entries if e.name.endswith(ending)}
    match_labels(set(stems), labelled, images, annotations)
    return [
        FaceRecord(
            images / stems[stem], None, _annotated(annotations / f"{stem}{ending}"), split=part
        )
        for stem in sorted(stems)
    ]


def _annotated(file: Path) -> str:
    """The expression in a `_exp.npy` file: one number, stored as text or as a number."""
    try:
        values = np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{file} cannot be read as an array of one number: {error}") from error
    if values.size != 1:
        raise DataError(f"{file}: expected one number, found {values.size} values")
    return _expression(str(values.item()), str(file))


def _expression(number: str, where: str) -> str:
    order = EXPRESSION_ORDER["affectnet"]
    if not number.isdecimal() or int(number) >= len(order):
        known = ", ".join(f"{i} {name}" for i, name in enumerate(order))
        raise DataError(f"{where}: expected one of {known}; found {number!r}")
    return order[int(number)]


def _five_points(text: str, where: str) -> Points:
    """Eyes, nose and mouth corners of 68 landmarks "x;y;x;y;...", in pixels."""
    try:
        landmarks = np.array(text.split(";"), dtype=np.float64).reshape(68, 2)
    except ValueError:
        raise DataError(
            f"{where}: expected 68 landmarks x;y;x;y..., found {len(text.split(';'))} values"
        ) from None
    eyes = landmarks[36:42].mean(axis=0), landmarks[42:48].mean(axis=0)
    points = (*eyes, landmarks[30], landmarks[48], landmarks[54])
    return tuple((float(x), float(y)) for x, y in points)


def _photos_below(folder: Path) -> set[str]:
    """All photos in a folder's sub-folders, "1/a.jpg"; one walk instead of 400,000 questions."""
    found: set[str] = set()
    for home, _, names in os.walk(folder):
        inside = Path(home).relative_to(folder)
        found.update((inside / name).as_posix() for name in names if is_photo(name))
    return found
