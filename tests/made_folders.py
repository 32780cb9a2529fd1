"""Small photos and label files, for folders made in the layouts of data sets."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from facefactor.images import write_image


def draw(path: Path, width: int = 100, height: int = 100) -> Path:
    """A grey photo, whatever its suffix says: readers look at names and sizes only."""
    write_image(path.with_suffix(".png"), np.full((height, width, 3), 128, np.uint8))
    path.with_suffix(".png").rename(path)
    return path


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def write_rafdb(
    folder: Path,
    face: Callable[[int], NDArray[np.float64] | NDArray[np.int64]],
    train: Sequence[int],
    test: Sequence[int] = (),
) -> Path:
    """RAF-DB's layout: a face (100, 100, 3) of `face(label)` for each label, 1 to 7."""
    images = folder / "Image" / "aligned"
    images.mkdir(parents=True)
    lines = []
    for part, labels in (("train", train), ("test", test)):
        for number, label in enumerate(labels, start=1):
            name = f"{part}_{number:05d}"
            Image.fromarray(face(label).astype(np.uint8)).save(images / f"{name}_aligned.jpg")
            lines.append(f"{name}.jpg {label}\n")
    write(folder / "EmoLabel" / "list_patition_label.txt", "".join(lines))
    return folder


def write_celeba(folder: Path, photos: int, of_each: int) -> list[str]:
    """CelebA's layout: photos of noise, `of_each` of every person; their names."""
    (folder / "images").mkdir(parents=True)
    random = np.random.default_rng(0)
    names = [f"{number:06d}.jpg" for number in range(photos)]
    for name in names:
        photo = random.integers(0, 255, (128, 128, 3)).astype(np.uint8)
        Image.fromarray(photo).save(folder / "images" / name)
    lines = [f"{name} {number // of_each}\n" for number, name in enumerate(names)]
    write(folder / "identity.txt", "".join(lines))
    return names
