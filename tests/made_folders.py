"""Small photos and label files, for folders made in the layouts of data sets."""

from pathlib import Path

import numpy as np

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
