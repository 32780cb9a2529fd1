"""The image convention, and reading and writing photos by it.

A *photo* is a numpy array (H, W, 3), uint8, RGB, upright. A *face* is a float tensor (N, C, H, W)
in [0, 1]. Video frames are photos too; they are read and written in `facefactor.videos`.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from facefactor.errors import FaceFactorError
from facefactor.files import atomic_path
from facefactor.videos import (
    VIDEO_SUFFIXES,
    VideoError,
    frame_rate,
    read_frames,
    read_timed_frames,
    write_gif,
    write_video,
    write_video_like,
)

__all__ = [
    "IMAGE_SUFFIXES",
    "MAX_MEGAPIXELS",
    "MIN_SIDE",
    "VIDEO_SUFFIXES",
    "ImageError",
    "Photo",
    "PhotoSource",
    "VideoError",
    "face_to_photo",
    "frame_rate",
    "photo_to_face",
    "read_frames",
    "read_photo",
    "read_timed_frames",
    "write_gif",
    "write_image",
    "write_video",
    "write_video_like",
]

Photo: TypeAlias = NDArray[np.uint8]
PhotoSource: TypeAlias = str | Path | bytes | Image.Image | NDArray[Any] | Tensor

IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".ppm", ".pgm", ".avif"}
)
MAX_MEGAPIXELS = 100  # a compressed bomb of a few kilobytes can claim billions of pixels
MIN_SIDE = 16  # pixels; nothing smaller holds a face that any of the networks could see

# Pillow also opens formats that run other programs (EPS) or are no photos; none of those here.
_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "PPM", "GIF", "AVIF", "JPEG2000", "TGA")
# Pillow's decoders raise nearly anything on damaged files. MemoryError is left out: it is true.
_DECODER_ERRORS: tuple[type[Exception], ...] = (
    OSError,
    SyntaxError,
    ValueError,
    ArithmeticError,
    LookupError,
    TypeError,
    EOFError,
    AttributeError,
    RuntimeError,
    struct.error,
    zlib.error,
)
_WRITERS: dict[str, tuple[str, dict[str, int]]] = {
    ".png": ("PNG", {}),
    ".jpg": ("JPEG", {"quality": 95, "subsampling": 0}),
    ".jpeg": ("JPEG", {"quality": 95, "subsampling": 0}),
    ".webp": ("WEBP", {"quality": 95}),
}


class ImageError(FaceFactorError, ValueError):
    """This is no photo that can be used."""


def read_photo(source: PhotoSource) -> Photo:
    """The photo (H, W, 3), uint8, RGB, upright, from whatever it came as.

    EXIF orientation is applied, alpha is flattened on white, palette, CMYK, 16-bit and grey images
    are converted; of an animation the first frame is taken.

    Args:
        source: a path; the bytes of an image file; a PIL image; an array (H, W) or (H, W, C); a
            tensor (C, H, W) or (1, C, H, W); C is 1, 3 or 4. Arrays and tensors are uint8, uint16
            or floats in [0, 1].

    Raises:
        ImageError: says which file, what was seen and what to do.
    """
    if isinstance(source, Image.Image):
        name = getattr(source, "filename", "") or "the PIL image"
        return _check_size(_from_pil(source, str(name)), str(name))
    if isinstance(source, Tensor):
        return _check_size(_from_tensor(source), "the tensor")
    if isinstance(source, np.ndarray):
        return _check_size(_from_array(source, "the array"), "the array")
    if isinstance(source, bytes | bytearray | memoryview):
        return _decode(bytes(source), "the image bytes")
    if isinstance(source, str | Path):
        return _decode(_read_bytes(Path(source)), str(source))
    raise ImageError(
        f"cannot read a photo from {type(source).__name__}; "
        "pass a path, bytes, PIL image, numpy array or tensor"
    )


def _read_bytes(path: Path) -> bytes:
    if not path.exists():
        raise ImageError(f"{path}: no such file; check the name")
    if path.is_dir():
        raise ImageError(f"{path}: is a folder, a photo was expected; name one file in it")
    try:
        return path.read_bytes()
    except OSError as error:
        raise ImageError(f"{path}: cannot be read ({error.strerror}); check permissions") from error


def _decode(data: bytes, name: str) -> Photo:
    if not data:
        raise ImageError(f"{name}: is empty (0 bytes); copy or download it again")
    try:
        image = Image.open(io.BytesIO(data), formats=_FORMATS)
    except UnidentifiedImageError as error:
        raise ImageError(
            f"{name}: is not an image that can be read (starts with {data[:8]!r}); "
            "convert it to JPEG, PNG or WebP"
        ) from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageError(
            f"{name}: has more than {MAX_MEGAPIXELS} megapixels, the limit; shrink it first"
        ) from error
    except _DECODER_ERRORS as error:
        raise _damaged(name, error) from error
    with image:
        return _check_size(_from_pil(image, name), name)


def _from_pil(image: Image.Image, name: str) -> Photo:
    width, height = image.size
    if width * height > MAX_MEGAPIXELS * 1_000_000:
        raise ImageError(
            f"{name}: has {width * height / 1e6:.0f} megapixels ({width}x{height}), the limit is "
            f"{MAX_MEGAPIXELS}; shrink it first"
        )
    try:
        image.load()
        upright = ImageOps.exif_transpose(image)
    except _DECODER_ERRORS as error:
        raise _damaged(name, error) from error
    return _rgb(upright, name)


def _rgb(image: Image.Image, name: str) -> Photo:
    if image.mode.startswith(("I", "F")):  # Pillow would clip these to 255 instead of scaling
        deep = np.asarray(image)
        if image.mode.startswith("I"):
            deep = deep.clip(0, 65535).astype(np.uint16)  # 16-bit PNGs may come as 32-bit "I"
        return _from_array(deep, name)
    if image.mode in ("RGBA", "RGBa", "LA", "La", "PA") or "transparency" in image.info:
        layer = image.convert("RGBA")
        white = Image.new("RGBA", layer.size, "white")
        image = Image.alpha_composite(white, layer)
    return np.array(image.convert("RGB"))


def _from_tensor(tensor: Tensor) -> Photo:
    if tensor.ndim == 4 and tensor.shape[0] == 1:
        tensor = tensor[0]
    if tensor.ndim != 3 or tensor.shape[0] not in (1, 3, 4):
        raise ImageError(
            f"the tensor has shape {tuple(tensor.shape)}; "
            "pass (C, H, W) or (1, C, H, W) with 1, 3 or 4 channels"
        )
    moved = tensor.detach().cpu().permute(1, 2, 0)
    if moved.dtype in (torch.bfloat16, torch.float16):  # numpy has no bfloat16
        moved = moved.float()
    return _from_array(moved.numpy(), "the tensor")


def _from_array(array: NDArray[Any], name: str) -> Photo:
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim != 3 or array.shape[2] not in (1, 3, 4):
        raise ImageError(
            f"{name} has shape {array.shape}; pass (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), "
            "channels last, RGB"
        )
    height, width, channels = array.shape
    if height * width > MAX_MEGAPIXELS * 1_000_000:
        raise ImageError(
            f"{name} has {height * width / 1e6:.0f} megapixels, the limit is {MAX_MEGAPIXELS}"
        )
    pixels = _to_bytes(array, name)
    if channels == 1:
        return np.repeat(pixels, 3, axis=2)
    if channels == 4:
        return _rgb(Image.fromarray(pixels, mode="RGBA"), name)
    return np.ascontiguousarray(pixels)


def _to_bytes(array: NDArray[Any], name: str) -> Photo:
    if array.dtype == np.uint8:
        return array
    if array.dtype == np.uint16:
        return ((array.astype(np.uint32) + 128) // 257).astype(np.uint8)  # 65535 / 255 = 257
    if not np.issubdtype(array.dtype, np.floating):
        raise ImageError(f"{name} is {array.dtype}; pass uint8, uint16 or floats in [0, 1]")
    if not np.isfinite(array).all():
        raise ImageError(f"{name} holds NaN or infinite values; pass floats in [0, 1]")
    low, high = (float(array.min()), float(array.max())) if array.size else (0.0, 0.0)
    # A little rounding beyond the ends is what arithmetic leaves, not another range.
    if low < -1e-3 or high > 1 + 1e-3:
        raise ImageError(
            f"{name} has floats from {low:.3g} to {high:.3g}; "
            "floats are in [0, 1] here, 0 to 255 is uint8"
        )
    return (array.clip(0, 1) * 255).round().astype(np.uint8)


def _check_size(photo: Photo, name: str) -> Photo:
    height, width = photo.shape[:2]
    if min(height, width) < MIN_SIDE:
        raise ImageError(
            f"{name}: has {width}x{height} pixels, the least is {MIN_SIDE}x{MIN_SIDE}; "
            "use a larger one"
        )
    return photo


def _damaged(name: str, error: Exception) -> ImageError:
    return ImageError(f"{name}: is damaged or truncated ({error}); copy or download it again")


def write_image(path: str | Path, photo: Photo) -> None:
    """Write a photo (H, W, 3), uint8, RGB, as PNG, JPEG or WebP, by the suffix of `path`.

    Raises:
        ImageError: for another suffix or an array that is no photo.
        WriteError: when the file system refuses; nothing half-written stays.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in _WRITERS:
        raise ImageError(
            f"{path}: cannot write {suffix or 'a name without suffix'}; "
            f"end it in {', '.join(_WRITERS)}"
        )
    if photo.dtype != np.uint8 or photo.ndim != 3 or photo.shape[2] != 3:
        raise ImageError(
            f"{path}: a photo to write is (H, W, 3) uint8, this is {photo.shape} {photo.dtype}"
        )
    kind, settings = _WRITERS[suffix]
    with atomic_path(path) as temporary:
        Image.fromarray(np.ascontiguousarray(photo)).save(temporary, kind, **settings)


def photo_to_face(photo: Photo) -> Tensor:
    """A photo (H, W, 3) as float tensor (1, 3, H, W) in [0, 1]."""
    return photos_to_faces(photo[None])


def photos_to_faces(photos: NDArray[np.uint8] | Sequence[Photo]) -> Tensor:
    """Pictures of one size, N times (H, W, C) uint8, on disk or not, as floats (N, C, H, W) in
    [0, 1]."""
    return torch.from_numpy(np.array(photos)).permute(0, 3, 1, 2).float().div_(255)


def face_to_photo(face: Tensor) -> list[Photo]:
    """Faces (N, 1 or 3, H, W) as N photos (H, W, 3); values outside [0, 1] are clipped.

    Raises:
        ImageError: for NaN, which a cast to bytes would turn into arbitrary pixels.
    """
    faces = face.detach().cpu().float()
    if not faces.isfinite().all():
        raise ImageError("the face holds NaN or infinite values; it cannot be shown")
    pixels = (faces.clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    if pixels.shape[3] == 1:
        pixels = np.repeat(pixels, 3, axis=3)
    return [np.ascontiguousarray(photo) for photo in pixels]
