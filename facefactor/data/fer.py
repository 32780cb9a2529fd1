"""FER2013 and FERPlus: one set of 48x48 grey images, labelled once by their collectors and again
by ten people an image.

Both are read from the layout of the FERPlus release: folders `FER2013Train`, `FER2013Valid`,
`FER2013Test` of `fer0000000.png` ..., with `fer2013new.csv` beside them. An image whose label
cannot be trusted is a record without an expression (`records.labelled` leaves it out).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from facefactor.data.labels import csv_rows
from facefactor.data.listing import (
    existing_folder,
    expression_of,
    image_folder,
    image_names,
    image_size,
    label_file,
    match_labels,
)
from facefactor.data.records import EXPRESSION_ORDER, DataError, FaceRecord, Points, Split
from facefactor.files import atomic_path
from facefactor.images import write_image

# FER2013 faces were boxed by a detector, not aligned, so these are averages: on each axis half of
# the images lie within 1.5 px of them at the eyes and 2.1 px at the mouth. Medians over the faces
# `perception.mtcnn` finds in 3,000 training images and their mirror images, enlarged four times
# (it finds 86 %), made symmetric.
FER_POINTS: Points = (
    (14.48, 18.03),
    (32.52, 18.03),
    (23.5, 28.30),
    (16.06, 37.06),
    (30.94, 37.06),
)

_FOLDERS: dict[Split, str] = {
    "train": "FER2013Train",
    "valid": "FER2013Valid",
    "test": "FER2013Test",
}
_USAGES: dict[str, Split] = {"Training": "train", "PublicTest": "valid", "PrivateTest": "test"}
_VOTES = 10


def read_ferplus(folder: Path | str, split: Split | None = None) -> list[FaceRecord]:
    """FERPlus: the images of the three folders, by majority of the votes in `fer2013new.csv`.

    Majority voting as in Barsoum et al., ICMI 2016, with the release's clean-up: an emotion that
    one person alone chose is struck out; the image is labelled if one of the eight emotions then
    has more than half of the votes left, those for "unknown" and "no face" included. Otherwise its
    record has no expression.
    """
    top = existing_folder(folder)
    file = label_file(top, ["fer2013new.csv"], "FERPlus")
    votes = _read_votes(file)
    records = []
    for part in _parts(split):
        expressions = {name: _majority(counts) for name, counts in votes[part].items()}
        records += _records(top, part, expressions, file)
    return records


def read_fer2013(folder: Path | str, split: Split | None = None) -> list[FaceRecord]:
    """FER2013 with its own seven classes, from `fer2013_labels.csv` (image, emotion, ambiguous).

    Images flagged ambiguous, where the class could not be told for certain, are records without
    an expression. `unpack_fer2013` makes this layout of the official `fer2013.csv`.
    """
    top = existing_folder(folder)
    if (top / "fer2013.csv").is_file() and not (top / "fer2013_labels.csv").is_file():
        raise DataError(
            f"{top / 'fer2013.csv'} holds the pixels as text; unpack it once with "
            "facefactor.data.fer.unpack_fer2013"
        )
    file = label_file(top, ["fer2013_labels.csv"], "FER2013")
    expressions: dict[str, str | None] = {}
    for line, row in csv_rows(file, ["image", "emotion", "ambiguous"]):
        where = f"{file}, line {line}"
        if row["image"] in expressions:
            raise DataError(f"{where}: {row['image']} is named twice")
        expression = expression_of("fer2013", row["emotion"], first=0, where=where)
        expressions[row["image"]] = None if row["ambiguous"] == "1" else expression

    found = {part: image_names(_folder(top, part)) for part in _parts(None)}
    match_labels(set().union(*found.values()), expressions, top, file)
    return [
        record
        for part in _parts(split)
        for record in _records(top, part, {name: expressions[name] for name in found[part]}, file)
    ]


def unpack_fer2013(file: Path | str, folder: Path | str) -> int:
    """Write the images of the official `fer2013.csv` (emotion, pixels, Usage) where
    `read_fer2013` finds them, and the labels last; returns their number.

    They are numbered by row. FERPlus skips some numbers, so its labels do not fit these names.
    """
    source, top = Path(file), Path(folder)
    labels = ["image,emotion,ambiguous"]
    for line, row in csv_rows(source, ["emotion", "pixels", "Usage"]):
        where = f"{source}, line {line}"
        expression_of("fer2013", row["emotion"], first=0, where=where)
        pixels = row["pixels"].split()
        if len(pixels) != 48 * 48 or not all(p.isdecimal() and int(p) < 256 for p in pixels):
            raise DataError(f"{where}: expected {48 * 48} pixels of 0 to 255, found {len(pixels)}")
        name = f"fer{len(labels) - 1:07d}.png"
        grey = np.array(pixels, dtype=np.uint8).reshape(48, 48)
        part = _FOLDERS[_split_of(row["Usage"], where)]
        write_image(top / part / name, np.repeat(grey[..., None], 3, axis=2))
        labels.append(f"{name},{row['emotion']},0")
    with atomic_path(top / "fer2013_labels.csv") as temporary:
        temporary.write_text("\n".join(labels) + "\n", encoding="utf-8")
    return len(labels) - 1


def _records(
    top: Path, part: Split, expressions: dict[str, str | None], file: Path
) -> list[FaceRecord]:
    images = _folder(top, part)
    match_labels(image_names(images), expressions, images, file)
    points = FER_POINTS if image_size(images / min(expressions)) == (48, 48) else None
    return [
        FaceRecord(images / name, expression=expression, points=points, split=part)
        for name, expression in sorted(expressions.items())
    ]


def _folder(top: Path, part: Split) -> Path:
    return image_folder(top, [_FOLDERS[part]], "FERPlus")


def _read_votes(file: Path) -> dict[Split, dict[str, list[int]]]:
    """Votes for the eight emotions, "unknown" and "no face", by split and image name."""
    columns = [*EXPRESSION_ORDER["ferplus"], "unknown", "NF"]
    votes: dict[Split, dict[str, list[int]]] = {part: {} for part in _parts(None)}
    for line, row in csv_rows(file, ["Usage", "Image name", *columns]):
        where = f"{file}, line {line}"
        if not all(row[column].isdecimal() for column in columns):
            raise DataError(f"{where}: votes must be whole numbers, found {list(row.values())[2:]}")
        counts = [int(row[column]) for column in columns]
        name, part = row["Image name"].strip(), votes[_split_of(row["Usage"], where)]
        no_face = counts[-1] == _VOTES
        if not name or (no_face and name in part):
            continue  # the release does not name, nor ship, the photos in which nobody saw a face
        known = part.get(name)
        if known is not None and known[-1] != _VOTES and known != counts:
            raise DataError(f"{where}: {name} was given other votes before")
        part[name] = counts
    return votes


def _majority(counts: list[int]) -> str | None:
    """The emotion with more than half of the votes, lone votes struck out; None: there is none."""
    agreed = [count if count > 1 else 0 for count in counts]
    most = max(agreed)
    winner = agreed.index(most)
    emotions = EXPRESSION_ORDER["ferplus"]
    return emotions[winner] if winner < len(emotions) and 2 * most > sum(agreed) else None


def _parts(split: Split | None) -> list[Split]:
    return ["train", "valid", "test"] if split is None else [split]


def _split_of(usage: str, where: str) -> Split:
    if usage not in _USAGES:
        raise DataError(f"{where}: unknown Usage {usage!r}; known are {', '.join(_USAGES)}")
    return _USAGES[usage]
