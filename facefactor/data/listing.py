"""Look through a data set's folder and match its images with its labels."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from facefactor.data.records import DataError

# What the readers look for; anything else in a folder is left alone.
PHOTO_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"})


def existing_folder(folder: Path | str) -> Path:
    """`folder` as a Path; DataError where it is missing or a file."""
    path = Path(folder)
    if not path.is_dir():
        what = "is a file" if path.exists() else "does not exist"
        raise DataError(f"{path} {what}; give the folder of the data set")
    return path


def label_file(folder: Path, names: Iterable[str], of: str) -> Path:
    """The first of the named label files that exists; DataError naming them all otherwise."""
    tried = list(names)
    for name in tried:
        if (folder / name).is_file():
            return folder / name
    raise DataError(
        f"{folder}: no label file {' or '.join(tried)}; is this the top folder of {of}?"
    )


def image_folder(folder: Path, names: Iterable[str], of: str) -> Path:
    """The first of the named folders that exists; DataError naming them all otherwise."""
    tried = list(names)
    for name in tried:
        if (folder / name).is_dir():
            return folder / name
    raise DataError(
        f"{folder}: no image folder {' or '.join(tried)}; is this the top folder of {of}?"
    )


def image_names(folder: Path) -> set[str]:
    """The names of the images directly in a folder; DataError where there are none."""
    with os.scandir(folder) as entries:
        names = {entry.name for entry in entries if is_photo(entry.name)}
    if not names:
        raise DataError(f"{folder}: no images in it")
    return names


def is_photo(name: str) -> bool:
    """By its suffix; hidden files (".x.jpg", "._x.jpg" of macOS archives) are none."""
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in PHOTO_SUFFIXES


def match_labels(images: set[str], labels: Iterable[str], folder: Path, file: Path) -> None:
    """DataError unless exactly the images of `folder` have a label in `file`."""
    known = set(labels)
    if missing := known - images:
        raise DataError(
            f"{file} names {_some(missing)}, but {folder} does not have "
            f"{'it' if len(missing) == 1 else 'them'}; unpack the images again"
        )
    if unlabelled := images - known:
        raise DataError(
            f"{folder} holds {_some(unlabelled)} without a label in {file}; take "
            f"{'it' if len(unlabelled) == 1 else 'them'} out, or add the label"
        )


def _some(names: set[str]) -> str:
    first = sorted(names)[0]
    return first if len(names) == 1 else f"{first} and {len(names) - 1} more"
