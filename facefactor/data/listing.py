"""Look through a data set's folder and match its images with its labels."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path

from PIL import Image

from facefactor.data.records import EXPRESSION_ORDER, DataError
from facefactor.images import IMAGE_SUFFIXES, VIDEO_SUFFIXES


def existing_folder(folder: Path | str) -> Path:
    """`folder` as a Path; DataError where it is missing or a file."""
    path = Path(folder)
    if not path.is_dir():
        what = "is a file" if path.exists() else "does not exist"
        raise DataError(f"{path} {what}; give the folder of the data set")
    return path


def label_file(folder: Path, names: Iterable[str], of: str) -> Path:
    """The first of the named label files that exists; DataError naming them all otherwise."""
    return _first(folder, names, of, "label file", Path.is_file)


def image_folder(folder: Path, names: Iterable[str], of: str) -> Path:
    """The first of the named folders that exists; DataError naming them all otherwise."""
    return _first(folder, names, of, "image folder", Path.is_dir)


def _first(
    folder: Path, names: Iterable[str], of: str, what: str, exists: Callable[[Path], bool]
) -> Path:
    tried = list(names)
    for name in tried:
        if exists(folder / name):
            return folder / name
    raise DataError(f"{folder}: no {what} {' or '.join(tried)}; is this the top folder of {of}?")


def photos_below(folder: Path) -> list[Path]:
    """The photos in a folder and its sub-folders, in the order of their paths."""
    return sorted(path for path in folder.rglob("*") if path.is_file() and is_photo(path.name))


def image_names(folder: Path) -> set[str]:
    """The names of the images directly in a folder; DataError where there are none."""
    with os.scandir(folder) as entries:
        names = {entry.name for entry in entries if is_photo(entry.name)}
    if not names:
        raise DataError(f"{folder}: no images in it")
    return names


def is_photo(name: str) -> bool:
    """By its suffix; hidden files (".x.jpg", "._x.jpg" of macOS archives) are none."""
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES


def is_video(name: str) -> bool:
    """By its suffix, as for photos."""
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in VIDEO_SUFFIXES


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


def expression_of(dataset: str, number: str, first: int, where: str) -> str:
    """The name of a data set's expression number, which it counts from `first` on.

    `where` names file and line for the DataError of a number outside its list.
    """
    order = EXPRESSION_ORDER[dataset]
    if not number.isdecimal() or not first <= int(number) < first + len(order):
        raise DataError(
            f"{where}: unknown label {number!r}; {dataset} numbers its expressions "
            f"{first} ({order[0]}) to {first + len(order) - 1} ({order[-1]})"
        )
    return order[int(number) - first]


def image_size(path: Path) -> tuple[int, int]:
    """(width, height) in pixels, from the header alone; DataError where it cannot be read."""
    try:
        with Image.open(path) as image:
            return image.size
    except OSError as error:
        raise DataError(f"{path} cannot be read as an image: {error}") from error


def _some(names: set[str]) -> str:
    first = sorted(names)[0]
    return first if len(names) == 1 else f"{first} and {len(names) - 1} more"
