"""Photos and clips damaged in every way a disk, a network or a bad actor has, always the same."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from facefactor.videos import write_gif, write_video
from tests.made_clips import sounding_clip

PHOTOS = {"jpg": "JPEG", "png": "PNG", "webp": "WEBP", "gif": "GIF", "bmp": "BMP", "tif": "TIFF"}
CLIPS = ("mp4", "mkv", "mov", "gif")


def whole_photos(photo: NDArray[np.uint8]) -> dict[str, bytes]:
    """The photo as a file of each kind, suffix -> content; the JPEG has a rotation to be read."""
    files = {}
    for suffix, kind in PHOTOS.items():
        file, image = io.BytesIO(), Image.fromarray(photo)
        exif = Image.Exif()
        exif[0x0112] = 6  # Orientation
        image.save(file, kind, **({"exif": exif} if suffix in ("jpg", "png", "webp") else {}))
        files[suffix] = file.getvalue()
    return files


def whole_clips(frames: list[NDArray[np.uint8]], folder: Path) -> dict[str, bytes]:
    """The frames as a clip of each kind, suffix -> content; one with sound."""
    files = {}
    for suffix in CLIPS:
        path = folder / f"whole.{suffix}"
        if suffix == "gif":
            write_gif(path, frames, 10)
        elif suffix == "mov":
            sounding_clip(path, frames, [number / 10 for number in range(len(frames))])
        else:
            write_video(path, frames, 10)
        files[suffix] = path.read_bytes()
    return files


def mutants(content: bytes, count: int, seed: int) -> Iterator[bytes]:
    """Damaged copies: cut off, bytes changed, blanked, doubled, left out, or a number overwritten
    by the largest one (sizes in headers)."""
    random = np.random.default_rng(seed)
    for number in range(count):
        data = bytearray(content)
        head = number % 2 == 0  # what matters most stands at the beginning
        at = int(random.integers(0, min(len(data), 200) if head else len(data)))
        length = int(random.integers(1, 64))
        match number % 6:
            case 0:
                data[at] ^= int(random.integers(1, 256))
            case 1:
                del data[at:]
            case 2:
                data[at : at + 4] = b"\xff\xff\xff\x7f"
            case 3:
                data[at : at + length] = bytes(length)
            case 4:
                data[at:at] = data[at : at + length]
            case 5:
                del data[at : at + length]
        yield bytes(data)
