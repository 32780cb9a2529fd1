"""The index of a folder of normalised faces (`facefactor augment`): written there, read here.

A table of comma-separated values with a line for each photo, beside a note of what drew the faces.
Lines with an error have no face.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, get_args

from facefactor.data.labels import csv_rows, expression_named
from facefactor.data.listing import existing_folder
from facefactor.data.records import DataError, FaceRecord, Points, Split
from facefactor.files import atomic_path
from facefactor.perception.align import CROPS, crop_points

INDEX, ABOUT = "index.csv", "about.json"
COLUMNS = (
    "file",  # the normalised face, from the index's folder on; empty with an error
    "source",  # the photo
    "frame",  # of it, from 0, where it is a film
    "label",  # of the normalised face: "neutral", or the photo's class where that is who it is
    "source_label",  # of the photo
    "subject",
    "split",  # where the photo's data set puts it
    "error",
)


def write_index(folder: Path, rows: Iterable[Mapping[str, Any]]) -> Path:
    """Write rows with some of `COLUMNS` as the folder's index; returns its path.

    Raises:
        WriteError: when the file system refuses.
    """
    path = folder / INDEX
    with atomic_path(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    return path


def read_augmented(folder: Path | str) -> list[FaceRecord]:
    """The normalised faces of a folder that `facefactor augment` made.

    A label that is a word for an expression is the record's expression. A subject has the name it
    has in the data set, so whoever is held out there is held out here.
    """
    top = existing_folder(folder)
    points = _points(top / ABOUT)
    records = []
    for line, row in csv_rows(top / INDEX, COLUMNS):
        if row["error"]:
            continue
        path = top / row["file"]
        if not path.is_file():
            raise DataError(f"{top / INDEX}, line {line}: {path} is not there; run augment again")
        records.append(
            FaceRecord(
                path,
                row["subject"] or None,
                expression_or_none(row["label"]),
                points=points,
                split=_split(row["split"], f"{top / INDEX}, line {line}"),
            )
        )
    if not records:
        raise DataError(f"{top / INDEX}: no faces in it, only errors")
    return records


def expression_or_none(word: str) -> str | None:
    """The expression a word like "happy" stands for; None if for none."""
    try:
        return expression_named(word, where="")
    except DataError:
        return None


def _points(about: Path) -> Points:
    """Where the crop puts the five points of every face, by the note beside the index."""
    try:
        said = json.loads(about.read_text(encoding="utf-8"))
        crop, size = str(said["crop"]), int(said["image_size"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{about}: does not say how the faces were cut; give a folder that `facefactor "
            "augment` made"
        ) from error
    if crop not in CROPS:
        raise DataError(f"{about}: no crop is called {crop!r}; there are {', '.join(CROPS)}")
    return tuple((float(x), float(y)) for x, y in crop_points(crop, size))


def _split(word: str, where: str) -> Split | None:
    known: dict[str, Split] = {name: name for name in get_args(Split)}
    if word and word not in known:
        raise DataError(f"{where}: no split is called {word!r}; there are {', '.join(known)}")
    return known.get(word)
