"""One function per data set: its folder on disk, in the official layout -> list of FaceRecord.

Every reader checks the folder against its labels before anything is trained on it, and raises
DataError naming the file: label file missing, label without image, image without label, unknown
label, empty folder.
"""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from facefactor.data.listing import (
    existing_folder,
    image_folder,
    image_names,
    label_file,
    match_labels,
)
from facefactor.data.records import EXPRESSION_ORDER, DataError, FaceRecord, Split

Points = tuple[tuple[float, float], ...]

# Medians over the 128-pixel squares cut from the official aligned images.
_CELEBA_128_PX: Points = (
    (46.62, 57.65),
    (79.93, 57.71),
    (62.72, 77.0),
    (49.22, 92.62),
    (77.38, 92.62),
)
# The square is columns 15 to 163, rows 45 to 193 of the 178x218 image. Half-pixel: a pixel centre
# at integer u lies at u + 0.5 from the outer edge, and edges are what scales.
_CELEBA_178X218_PX: Points = tuple(
    ((x + 0.5) * 148 / 128 - 0.5 + 15, (y + 0.5) * 148 / 128 - 0.5 + 45) for x, y in _CELEBA_128_PX
)
CELEBA_POINTS = {(128, 128): _CELEBA_128_PX, (178, 218): _CELEBA_178X218_PX}  # by (width, height)

# Medians over the aligned 100x100 images, which were stretched: wider than faces are.
RAFDB_POINTS: Points = (
    (24.24, 34.07),
    (72.59, 34.13),
    (48.31, 53.56),
    (29.09, 73.69),
    (68.38, 73.69),
)


def read_celeba(folder: Path | str) -> list[FaceRecord]:
    """CelebA, aligned: images, and `identity_CelebA.txt` or `identity.txt` ("000001.jpg 2880").

    The images are the official 178x218 ones, or squares of 128 cut from them at (15, 45)-(163,
    193); of any other size they have no fixed points. The first image's size is taken for all.
    """
    top = existing_folder(folder)
    file = label_file(
        top, ["identity_CelebA.txt", "identity.txt", "Anno/identity_CelebA.txt"], "CelebA"
    )
    images = image_folder(top, ["images", "img_align_celeba", "Img/img_align_celeba"], "CelebA")
    subjects = _two_columns(file)
    match_labels(image_names(images), subjects, images, file)
    points = CELEBA_POINTS.get(_image_size(images / min(subjects)))
    return [FaceRecord(images / name, subjects[name], None, points) for name in sorted(subjects)]


def read_rafdb(folder: Path | str, split: Split | None = None) -> list[FaceRecord]:
    """RAF-DB basic, aligned: `EmoLabel/list_patition_label.txt`, `Image/aligned/*_aligned.jpg`.

    `folder` is `basic` or the folder above it. Images of 100x100, train and test together unless
    `split` is given; no subjects.
    """
    top = existing_folder(folder)
    top = top / "basic" if (top / "basic").is_dir() else top
    file = label_file(top, ["EmoLabel/list_patition_label.txt"], "RAF-DB (basic)")
    images = image_folder(top, ["Image/aligned"], "RAF-DB (basic)")
    numbers = _two_columns(file)
    names = {name: f"{Path(name).stem}_aligned{Path(name).suffix}" for name in numbers}
    match_labels(image_names(images), names.values(), images, file)
    points = RAFDB_POINTS if _image_size(images / names[min(names)]) == (100, 100) else None
    records = []
    for name, number in sorted(numbers.items()):
        record = FaceRecord(
            path=images / names[name],
            expression=_expression("raf-db", number, first=1, where=f"{file}, {name}"),
            points=points,
            stretch=points is not None,
            split=_rafdb_split(name, file),
        )
        if split is None or record.split == split:
            records.append(record)
    return records


def _rafdb_split(name: str, file: Path) -> Split:
    if name.startswith("train_"):
        return "train"
    if name.startswith("test_"):
        return "test"
    raise DataError(f"{file}: {name} begins with neither train_ nor test_")


def _expression(dataset: str, number: str, first: int, where: str) -> str:
    order = EXPRESSION_ORDER[dataset]
    if not number.isdecimal() or not first <= int(number) < first + len(order):
        raise DataError(
            f"{where}: unknown label {number!r}; {dataset} numbers its expressions "
            f"{first} ({order[0]}) to {first + len(order) - 1} ({order[-1]})"
        )
    return order[int(number) - first]


def _two_columns(file: Path) -> dict[str, str]:
    """A file of "name value" lines; DataError naming the line that is not, or repeats a name."""
    values: dict[str, str] = {}
    for line, text in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
        words = text.split()
        if not words:
            continue
        if len(words) != 2:
            raise DataError(f'{file}, line {line}: expected "name label", found {text!r}')
        if words[0] in values:
            raise DataError(f"{file}, line {line}: {words[0]} is named twice")
        values[words[0]] = words[1]
    if not values:
        raise DataError(f"{file} is empty")
    return values


def _image_size(path: Path) -> tuple[int, int]:
    """(width, height), from the header alone."""
    try:
        with Image.open(path) as image:
            return image.size
    except OSError as error:
        raise DataError(f"{path} cannot be read as an image: {error}") from error
