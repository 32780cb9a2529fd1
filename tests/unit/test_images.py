"""The image convention: whatever a photo comes as, and every way it can be bad."""

import errno
import io
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from facefactor.files import WriteError
from facefactor.images import (
    ImageError,
    face_to_photo,
    photo_to_face,
    read_photo,
    write_image,
)


def picture(height: int = 20, width: int = 24) -> np.ndarray:
    """A photo no two corners, channels or mirror images of which are alike."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows * 9, columns * 7, rows * 3 + columns * 5], -1).astype(np.uint8)


def encoded(image: Image.Image, kind: str, **settings: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **settings)
    return buffer.getvalue()


def png_claiming(width: int, height: int) -> bytes:
    """A PNG of a few bytes whose header claims any size."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + data


# What a photo may come as


def test_one_photo_in_every_form_is_the_same(tmp_path: Path) -> None:
    photo = picture()
    image = Image.fromarray(photo)
    path = tmp_path / "photo.png"
    image.save(path)
    tensor = torch.from_numpy(photo).permute(2, 0, 1)
    forms = [path, str(path), path.read_bytes(), image, photo, tensor, tensor[None]]
    forms += [
        photo / 255,
        (photo / 255).astype(np.float32),
        tensor / 255,
        photo.astype(np.uint16) * 257,
    ]
    for form in forms:
        read = read_photo(form)
        assert read.dtype == np.uint8
        np.testing.assert_array_equal(read, photo)


@pytest.mark.parametrize(
    ("orientation", "turned"),
    [
        (1, lambda p: p),
        (2, lambda p: p[:, ::-1]),
        (3, lambda p: p[::-1, ::-1]),
        (4, lambda p: p[::-1]),
        (5, lambda p: p.transpose(1, 0, 2)),
        (6, lambda p: np.rot90(p, -1)),
        (7, lambda p: np.rot90(p, 2).transpose(1, 0, 2)),
        (8, lambda p: np.rot90(p, 1)),
    ],
)
def test_exif_orientation_is_applied(orientation: int, turned: object) -> None:
    photo = picture()
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(Image.fromarray(photo), "PNG", exif=exif)
    np.testing.assert_array_equal(read_photo(data), turned(photo))


def test_alpha_is_flattened_on_white() -> None:
    pixels = np.zeros((16, 16, 4), np.uint8)
    pixels[..., 0] = 200
    pixels[..., 3] = [0] * 8 + [128] * 8
    for form in (pixels, encoded(Image.fromarray(pixels), "PNG"), pixels / 255):
        photo = read_photo(form)
        assert photo[0, 0].tolist() == [255, 255, 255]
        # 200 * 128/255 + 255 * 127/255 = 227.4; 0 + 127 = 127
        np.testing.assert_allclose(photo[0, 15], [227, 127, 127], atol=1)


def test_grey_and_grey_with_alpha() -> None:
    grey = picture()[..., 1]
    expected = np.repeat(grey[..., None], 3, 2)
    np.testing.assert_array_equal(read_photo(encoded(Image.fromarray(grey), "PNG")), expected)
    np.testing.assert_array_equal(read_photo(grey), expected)
    np.testing.assert_array_equal(read_photo(grey[..., None]), expected)
    clear = Image.merge("LA", [Image.fromarray(grey), Image.new("L", (24, 20), 0)])
    assert (read_photo(encoded(clear, "PNG")) == 255).all()


def test_palette_with_and_without_transparency() -> None:
    image = Image.new("P", (16, 16), 0)
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.putpixel((3, 2), 1)
    photo = read_photo(encoded(image, "PNG"))
    assert photo[0, 0].tolist() == [10, 20, 30]
    assert photo[2, 3].tolist() == [200, 100, 50]
    photo = read_photo(encoded(image, "PNG", transparency=0))
    assert photo[0, 0].tolist() == [255, 255, 255]
    assert photo[2, 3].tolist() == [200, 100, 50]


def test_cmyk_jpeg() -> None:
    image = Image.new("RGB", (16, 16), (200, 100, 50)).convert("CMYK")
    data = encoded(image, "JPEG", quality=100)
    np.testing.assert_allclose(read_photo(data)[8, 8], [200, 100, 50], atol=6)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bit_grey_is_scaled_not_clipped(kind: str) -> None:
    deep = np.zeros((16, 16), np.uint16)
    deep[0, :4] = [257, 32896, 65535, 200]
    photo = read_photo(encoded(Image.fromarray(deep), kind))
    assert photo[0, :4, 0].tolist() == [1, 128, 255, 1]
    assert photo[0, 1].tolist() == [128, 128, 128]


def test_the_first_frame_of_an_animation() -> None:
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue")]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert read_photo(data)[0, 0].tolist() == [255, 0, 0]


def test_a_half_precision_tensor() -> None:
    assert read_photo(torch.ones(3, 16, 16, dtype=torch.bfloat16)).min() == 255


def test_fifty_megapixels_are_fine() -> None:
    data = encoded(Image.new("L", (10_000, 5_000), 7), "PNG", compress_level=1)
    assert read_photo(data).shape == (5_000, 10_000, 3)


# What is no photo: each error names the file, what was seen, what to do


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", r"bad\.jpg: is empty \(0 bytes\); copy or download"),
        (b"not an image at all", r"bad\.jpg: is not an image .*starts with b'not an i'.*convert"),
        (b"<!DOCTYPE html><html>", r"bad\.jpg: is not an image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 99 99\n", r"bad\.jpg: is not an image"),
        (encoded(Image.new("RGB", (1, 1)), "PNG"), r"bad\.jpg: has 1x1 pixels, the least is 16x16"),
        (encoded(Image.new("RGB", (500, 15)), "PNG"), r"bad\.jpg: has 500x15 pixels"),
        (png_claiming(10_001, 10_000), r"bad\.jpg: has 100 megapixels .*limit is 100; shrink"),
        (
            png_claiming(60_000, 60_000),
            r"bad\.jpg: has more than 100 megapixels, the limit; shrink",
        ),
        (png_claiming(300, 300), r"bad\.jpg: is damaged or truncated"),
    ],
)
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_bad_files(tmp_path: Path, data: bytes, message: str) -> None:
    with pytest.raises(ImageError, match=message):
        read_photo(write(tmp_path / "bad.jpg", data))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "BMP"])
@pytest.mark.parametrize("kept", [0.3, 0.6, 0.95])
def test_truncated_files(tmp_path: Path, kind: str, kept: float) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    data = encoded(Image.fromarray(noise), kind)
    path = write(tmp_path / "cut.img", data[: int(len(data) * kept)])
    with pytest.raises(ImageError, match=r"cut\.img: is (damaged or truncated|not an image)"):
        read_photo(path)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
@pytest.mark.filterwarnings("ignore")
def test_a_damaged_file_is_read_or_refused_and_nothing_else(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(["JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF"]))
    damaged = bytearray(encoded(Image.fromarray(picture()), kind))
    for _ in range(data.draw(st.integers(1, 8))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    try:
        photo = read_photo(bytes(damaged))
    except ImageError:
        return
    assert photo.dtype == np.uint8
    assert photo.ndim == 3 and photo.shape[2] == 3


def test_a_missing_file_and_a_folder(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"gone\.jpg: no such file"):
        read_photo(tmp_path / "gone.jpg")
    with pytest.raises(ImageError, match="is a folder"):
        read_photo(tmp_path)


def test_a_file_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> bytes:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(ImageError, match=r"me\.png: cannot be read \(Permission denied\)"):
        read_photo(write(tmp_path / "me.png", b"x"))


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((32, 32, 2), np.uint8), r"shape \(32, 32, 2\)"),
        (np.zeros((32, 32, 5), np.uint8), r"shape \(32, 32, 5\)"),
        (np.zeros((3, 32, 32), np.uint8), r"channels last"),
        (np.zeros(32, np.uint8), r"shape \(32,\)"),
        (np.zeros((0, 0, 3), np.uint8), "0x0 pixels"),
        (np.zeros((0, 0, 3), np.float32), "0x0 pixels"),
        (np.zeros((1, 1, 3), np.uint8), "1x1 pixels"),
        (np.zeros((32, 32, 3), np.int64), "is int64; pass uint8"),
        (np.zeros((32, 32, 3), bool), "is bool; pass uint8"),
        (np.full((32, 32, 3), np.nan), "NaN"),
        (np.full((32, 32, 3), np.inf), "infinite"),
        (np.full((32, 32, 3), 255.0), r"from 255 to 255; floats are in \[0, 1\]"),
        (np.full((32, 32, 3), -1.0), r"from -1 to -1"),
        (np.broadcast_to(np.uint8(0), (10_001, 10_000, 3)), "100 megapixels, the limit"),
    ],
)
def test_bad_arrays(array: np.ndarray, message: str) -> None:
    with pytest.raises(ImageError, match=message):
        read_photo(array)


@pytest.mark.parametrize("shape", [(2, 3, 32, 32), (32, 32, 3), (32, 32), (2, 32, 32)])
def test_bad_tensors(shape: tuple[int, ...]) -> None:
    with pytest.raises(ImageError, match=r"the tensor has shape .*pass \(C, H, W\)"):
        read_photo(torch.zeros(shape))


def test_a_nan_tensor_and_something_else_altogether() -> None:
    with pytest.raises(ImageError, match="NaN"):
        read_photo(torch.full((3, 32, 32), torch.nan))
    with pytest.raises(ImageError, match="from list; pass a path"):
        read_photo([1, 2, 3])  # type: ignore[arg-type]


def test_a_float_image_file_outside_the_range(tmp_path: Path) -> None:
    data = encoded(Image.fromarray(np.full((16, 16), 80.0, np.float32)), "TIFF")
    with pytest.raises(ImageError, match=r"far\.tif has floats from 80 to 80"):
        read_photo(write(tmp_path / "far.tif", data))


def test_rounding_just_beyond_one_is_clipped_not_refused() -> None:
    assert read_photo(np.full((16, 16, 3), 1 + 1e-6)).max() == 255


# Writing


def test_png_and_lossless_round_trip(tmp_path: Path) -> None:
    write_image(tmp_path / "out" / "photo.PNG", picture())
    np.testing.assert_array_equal(read_photo(tmp_path / "out" / "photo.PNG"), picture())


@pytest.mark.parametrize("suffix", [".jpg", ".jpeg", ".webp"])
def test_lossy_formats_stay_close(tmp_path: Path, suffix: str) -> None:
    write_image(tmp_path / f"photo{suffix}", picture())
    read = read_photo(tmp_path / f"photo{suffix}").astype(int)
    assert np.abs(read - picture()).mean() < 4


def test_jpegs_keep_the_colour_of_thin_lines(tmp_path: Path) -> None:
    lines = np.zeros((32, 32, 3), np.uint8)
    lines[:, 0::2, 0] = 255
    lines[:, 1::2, 2] = 255
    write_image(tmp_path / "lines.jpg", lines)
    assert np.abs(read_photo(tmp_path / "lines.jpg").astype(int) - lines).mean() < 10


def test_unknown_suffix_and_bad_photos_write_nothing(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"out\.xyz: cannot write \.xyz; end it in \.png"):
        write_image(tmp_path / "out.xyz", picture())
    with pytest.raises(ImageError, match="without suffix"):
        write_image(tmp_path / "out", picture())
    with pytest.raises(ImageError, match="float64"):
        write_image(tmp_path / "out.png", picture() / 255)  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


def test_a_disk_that_fills_up_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def half(image: Image.Image, path: Path, *rest: object, **settings: object) -> None:
        Path(path).write_bytes(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Image.Image, "save", half)
    with pytest.raises(WriteError, match=r"out\.png: cannot be written"):
        write_image(tmp_path / "out.png", picture())
    assert not list(tmp_path.iterdir())


# Faces


def test_faces_and_photos_round_trip() -> None:
    face = photo_to_face(picture())
    assert face.shape == (1, 3, 20, 24)
    assert face[0, 0, 19, 0].item() == pytest.approx(19 * 9 / 255)
    (photo,) = face_to_photo(face)
    np.testing.assert_array_equal(photo, picture())


def test_faces_are_clipped_and_grey_ones_shown_as_rgb() -> None:
    face = torch.tensor([-0.5, 0.5, 1.5]).reshape(3, 1, 1, 1).expand(3, 1, 2, 2)
    photos = face_to_photo(face)
    assert [photo[0, 0].tolist() for photo in photos] == [[0] * 3, [128] * 3, [255] * 3]


def test_nan_faces_are_refused() -> None:
    with pytest.raises(ImageError, match="NaN"):
        face_to_photo(torch.full((1, 3, 2, 2), torch.nan))
