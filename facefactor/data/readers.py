"""One function per data set: its folder on disk, in the official layout -> list of FaceRecord.

Every reader checks the folder against its labels before anything is trained on it, and raises
DataError naming the file: label file missing, label without image, image without label, unknown
label, empty folder.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from facefactor.data.affectnet import read_affectnet
from facefactor.data.augmented import read_augmented
from facefactor.data.cfeed import read_cfeed
from facefactor.data.ckplus import read_ckplus, read_ckplus48, read_ckplus_pairs
from facefactor.data.cropped_yale import read_cropped_yale
from facefactor.data.fer import read_fer2013, read_ferplus
from facefactor.data.frame_sets import read_frame_sets
from facefactor.data.listing import (
    existing_folder,
    expression_of,
    image_folder,
    image_names,
    image_size,
    is_photo,
    is_video,
    label_file,
    match_labels,
    photos_below,
)
from facefactor.data.mmi import read_mmi
from facefactor.data.multipie import read_multipie
from facefactor.data.named_photos import read_kdef, read_sfew
from facefactor.data.photoface import read_photoface
from facefactor.data.rafd import read_rafd
from facefactor.data.records import DataError, FaceRecord, Points, Split
from facefactor.perception.align import crop_points

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
    Who wears glasses is known where `list_attr_celeba.txt` is there too.
    """
    top = existing_folder(folder)
    file = label_file(
        top, ["identity_CelebA.txt", "identity.txt", "Anno/identity_CelebA.txt"], "CelebA"
    )
    images = image_folder(top, ["images", "img_align_celeba", "Img/img_align_celeba"], "CelebA")
    subjects = _two_columns(file)
    match_labels(image_names(images), subjects, images, file)
    points = CELEBA_POINTS.get(image_size(images / min(subjects)))
    glasses = _celeba_glasses(top)
    return [
        FaceRecord(images / name, subjects[name], None, points, glasses=glasses.get(name))
        for name in sorted(subjects)
    ]


def _celeba_glasses(folder: Path) -> dict[str, bool]:
    """Photo name -> glasses, of CelebA's attributes; empty without their file.

    Its first line is the number of photos, the second the names of 40 attributes; then a line a
    photo, its name and 1 or -1 for each.
    """
    homes = [folder / "list_attr_celeba.txt", folder / "Anno" / "list_attr_celeba.txt"]
    file = next((home for home in homes if home.is_file()), None)
    if file is None:
        return {}
    _, names, *lines = [line.split() for line in file.read_text("utf-8").splitlines()] + [[], []]
    if "Eyeglasses" not in names:
        raise DataError(f"{file}, line 2: no attribute Eyeglasses; this is CelebA's second line")
    column = names.index("Eyeglasses")
    glasses = {}
    for number, (name, *values) in enumerate(filter(None, lines), start=3):
        if len(values) != len(names) or values[column] not in ("1", "-1"):
            raise DataError(
                f"{file}, line {number}: expected a name and {len(names)} times 1 or -1"
            )
        glasses[name] = values[column] == "1"
    return glasses


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
    points = RAFDB_POINTS if image_size(images / names[min(names)]) == (100, 100) else None
    records = []
    for name, number in sorted(numbers.items()):
        record = FaceRecord(
            path=images / names[name],
            expression=expression_of("rafdb", number, first=1, where=f"{file}, {name}"),
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


_LFW_NAME = re.compile(r"(?P<name>.+)_\d{4}")


def read_lfw(folder: Path | str) -> list[FaceRecord]:
    """LFW: a folder a person, `<Name>/<Name>_0001.jpg`; the photos of `folder` or `aligned112`.

    Images of 112x112 are taken to be aligned to the arcface crop; others have no fixed points.
    """
    people = _lfw_people(folder)
    records: list[FaceRecord] = []
    points: Points | None = None
    for person in sorted(path for path in people.iterdir() if path.is_dir()):
        for name in sorted(image_names(person)):
            named = _LFW_NAME.fullmatch(Path(name).stem)
            if named is None or named["name"] != person.name:
                raise DataError(
                    f"{person / name} should be called {person.name}_0001.jpg or the like, after "
                    "its folder; its subject is in doubt"
                )
            if not records:
                aligned = image_size(person / name) == (112, 112)
                points = _arcface_points() if aligned else None
            records.append(FaceRecord(person / name, person.name, points=points))
    if not records:
        raise DataError(f"{people}: no folders of people in it")
    return records


def read_pairs(
    folder: Path | str, pairs: Path | str | None = None
) -> list[tuple[FaceRecord, FaceRecord, bool]]:
    """The pairs of LFW's `pairs.txt`, in its order, and whether each shows one person.

    The file begins with folds and pairs ("10  300"); each fold lists that many pairs of one person
    ("Name  1  4") and then as many of two ("Name  1  Other  3"). Folds are consecutive.
    """
    file = Path(pairs) if pairs is not None else Path(folder) / "pairs.txt"
    if not file.is_file():
        raise DataError(f"{file} does not exist; it comes with LFW, beside the folder of people")
    by_photo = {record.path.stem: record for record in read_lfw(folder)}
    head, *lines = [line.split() for line in file.read_text("utf-8").splitlines() if line.strip()]
    if len(head) not in (1, 2) or not all(word.isdecimal() for word in head):
        raise DataError(f'{file}, line 1: expected folds and pairs ("10  300"), found {head}')
    folds, size = (1, int(head[0])) if len(head) == 1 else (int(head[0]), int(head[1]))
    if len(lines) != 2 * folds * size:
        raise DataError(f"{file}: {2 * folds * size} pairs announced, {len(lines)} listed")

    found = []
    for position, words in enumerate(lines):
        same = position // size % 2 == 0
        where = f"{file}, line {position + 2}"
        photos = _pair(words, same, where)
        if missing := [photo for photo in photos if photo not in by_photo]:
            raise DataError(f"{where}: {folder} has no photo {missing[0]}; unpack LFW again")
        found.append((by_photo[photos[0]], by_photo[photos[1]], same))
    return found


def read_folder(folder: Path | str) -> list[FaceRecord]:
    """Every photo in a folder and its sub-folders; nothing is known about them."""
    top = existing_folder(folder)
    photos = photos_below(top)
    if not photos:
        raise DataError(f"{top}: no photos in it or its sub-folders")
    return [FaceRecord(path) for path in photos]


def read_clips(folder: Path | str) -> list[FaceRecord]:
    """Clips: each sub-folder that holds frames, and each video file, is a clip of one person.

    A frame is a record, in the order of the names; a video file is one record, its frames to be
    read with `images.read_frames`. In `person/clip/frame.jpg` the subject is the first folder; a
    clip directly in `folder` has none, as two such clips may show the same person.
    """
    top = existing_folder(folder)
    records = []
    for path in sorted(path for path in top.rglob("*") if path.is_file()):
        if not is_photo(path.name) and not is_video(path.name):
            continue
        inside = path.relative_to(top)
        clip = inside if is_video(path.name) else inside.parent
        if clip == Path():
            raise DataError(f"{path} lies loose; each clip needs a folder of its own")
        subject = clip.parts[0] if len(clip.parts) > 1 else None
        records.append(FaceRecord(path, subject, clip=clip.as_posix()))
    if not records:
        raise DataError(f"{top}: no clips in it, neither folders of frames nor videos")
    return records


Reader = Callable[[Path], list[FaceRecord]]

READERS: dict[str, Reader] = {
    "celeba": read_celeba,
    "rafdb": read_rafdb,
    "lfw": read_lfw,
    "ferplus": read_ferplus,
    "fer2013": read_fer2013,
    "affectnet": read_affectnet,
    "ckplus": read_ckplus,
    "ckplus48": read_ckplus48,
    "ckplus-pairs": read_ckplus_pairs,
    "cropped-yale": read_cropped_yale,
    "kdef": read_kdef,
    "rafd": read_rafd,
    "cfeed": read_cfeed,
    "sfew": read_sfew,
    "mmi": read_mmi,
    "multipie": read_multipie,
    "photoface": read_photoface,
    "augmented": read_augmented,
    "folder": read_folder,
    "clips": read_clips,
    "frame-sets": read_frame_sets,
}


def _lfw_people(folder: Path | str) -> Path:
    top = existing_folder(folder)
    for name in ("aligned112", "lfw", "lfw-deepfunneled", "lfw_funneled"):
        if (top / name).is_dir():
            return top / name
    return top


def _pair(words: list[str], same: bool, where: str) -> tuple[str, str]:
    """The names, without suffix, of the two photos on a line of `pairs.txt`."""
    try:
        first, number, second, other = words if not same else [*words[:2], words[0], *words[2:]]
        return f"{first}_{int(number):04d}", f"{second}_{int(other):04d}"
    except ValueError:
        expected = "Name 1 4" if same else "Name 1 Other 3"
        raise DataError(f'{where}: expected "{expected}", found {" ".join(words)!r}') from None


def _arcface_points() -> Points:
    return tuple((float(x), float(y)) for x, y in crop_points("arcface", 112))


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
