"""Video frames in and out: upright, whole, or an error that says where it stopped."""

import struct
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest

from facefactor.videos import VideoError, frame_rate, read_frames, write_gif, write_video


def film(count: int = 30, height: int = 48, width: int = 64) -> Iterator[np.ndarray]:
    """Left half red, right half blue, a little brighter with every frame."""
    for index in range(count):
        frame = np.zeros((height, width, 3), np.uint8)
        frame[:, : width // 2, 0] = 60 + 5 * index
        frame[:, width // 2 :, 2] = 60 + 5 * index
        yield frame


def streamable(source: Path, target: Path) -> bytes:
    """The same film with its index in front, as the web has it: what a cut-off download leaves."""
    with (
        av.open(str(source)) as old,
        av.open(str(target), "w", options={"movflags": "faststart"}) as new,
    ):
        stream = new.add_stream_from_template(old.streams.video[0])
        for packet in old.demux(old.streams.video[0]):
            if packet.dts is not None:
                packet.stream = stream
                new.mux(packet)
    return target.read_bytes()


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_frames_come_back(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"film{suffix}"
    assert write_video(path, film(), 12.5) == 30
    frames = list(read_frames(path))
    assert len(frames) == 30
    assert frame_rate(path) == pytest.approx(12.5)
    for index in (0, 29):
        expected = list(film())[index].astype(int)
        assert frames[index].dtype == np.uint8
        assert np.abs(frames[index] - expected).mean() < 5
        assert np.abs(frames[index][20, 10] - expected[20, 10]).max() < 12


def test_odd_sides_grow_by_a_pixel(tmp_path: Path) -> None:
    write_video(tmp_path / "film.mp4", film(5, 47, 63), 10)
    assert next(read_frames(tmp_path / "film.mp4")).shape == (48, 64, 3)


def test_gif(tmp_path: Path) -> None:
    assert write_gif(tmp_path / "film.gif", film(), 10) == 30
    frames = list(read_frames(tmp_path / "film.gif"))
    assert len(frames) == 30
    assert np.abs(frames[20] - list(film())[20].astype(int)).mean() < 3


@pytest.mark.parametrize(
    ("matrix", "corner"),
    # How a phone held upright marks its films: (a, b, c, d) of the track's matrix; where the top
    # left corner of the stored picture, red, is seen: (row, column).
    [((0, 1, -1, 0), (0, -1)), ((-1, 0, 0, -1), (-1, -1)), ((0, -1, 1, 0), (-1, 0))],
)
def test_rotation_is_applied(
    tmp_path: Path, matrix: tuple[int, ...], corner: tuple[int, int]
) -> None:
    plain = tmp_path / "plain.mp4"
    frames = list(film(5))
    for frame in frames:
        frame[:] = 0
        frame[:16, :16, 0] = 255
    write_video(plain, frames, 10)
    data = bytearray(plain.read_bytes())
    start = data.find(b"tkhd") + 44
    for place, value in zip((0, 1, 3, 4), matrix, strict=True):
        data[start + 4 * place : start + 4 * place + 4] = struct.pack(">i", value * 65536)
    turned = tmp_path / "turned.mp4"
    turned.write_bytes(data)

    first = next(read_frames(turned))
    assert first.shape == ((48, 64, 3) if matrix[0] else (64, 48, 3))
    corners = {(row, column): first[row, column, 0] for row in (0, -1) for column in (0, -1)}
    assert max(corners, key=lambda place: corners[place]) == corner


@pytest.mark.parametrize("kept", [0.4, 0.7, 0.9])
def test_a_film_that_breaks_half_way(tmp_path: Path, kept: float) -> None:
    """Cut between or inside frames: the good ones are given, then the error says where."""
    noise = np.random.default_rng(0)
    frames = [noise.integers(0, 255, (48, 64, 3), np.uint8) for _ in range(40)]
    write_video(tmp_path / "whole.mp4", frames, 10)
    data = streamable(tmp_path / "whole.mp4", tmp_path / "web.mp4")
    assert len(list(read_frames(tmp_path / "web.mp4"))) == 40
    (tmp_path / "cut.mp4").write_bytes(data[: int(len(data) * kept)])

    count = 0
    with pytest.raises(VideoError, match=r"cut\.mp4: breaks off after frame") as caught:
        for _ in read_frames(tmp_path / "cut.mp4"):
            count += 1
    assert f"after frame {count} " in str(caught.value)
    assert 40 * kept - 8 < count < 40 * kept + 1


def test_a_cut_film_whose_time_does_not_start_at_zero(tmp_path: Path) -> None:
    path = tmp_path / "late.mp4"
    noise = np.random.default_rng(0)
    with av.open(str(path), "w", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for index in range(40):
            frame = av.VideoFrame.from_ndarray(noise.integers(0, 255, (48, 64, 3), np.uint8))
            frame.pts = index + 50
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    assert len(list(read_frames(path))) == 40
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * 0.7)])
    with pytest.raises(VideoError, match="breaks off after frame"):
        list(read_frames(path))


def test_what_is_no_film(tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").write_bytes(b"")
    (tmp_path / "text.mp4").write_bytes(b"these are words, not frames" * 9)
    for name, message in [
        ("gone.mp4", r"gone\.mp4: no such file"),
        ("empty.mp4", r"empty\.mp4: is empty"),
        ("text.mp4", r"text\.mp4: is not a video"),
        ("", "is a folder"),
    ]:
        with pytest.raises(VideoError, match=message):
            next(read_frames(tmp_path / name))
        with pytest.raises(VideoError, match=message):
            frame_rate(tmp_path / name)


def test_sound_alone_is_no_film(tmp_path: Path) -> None:
    path = tmp_path / "sound.mov"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), layout="mono")
        sound.sample_rate = 8000
        container.mux(stream.encode(sound))
        container.mux(stream.encode())
    with pytest.raises(VideoError, match="no picture, only sound"):
        next(read_frames(path))


def test_bad_writes_leave_nothing(tmp_path: Path) -> None:
    cases = [
        ("film.xyz", film(), r"cannot write \.xyz; end it in \.mp4"),
        ("film.mp4", iter(()), "no frames"),
        ("film.mp4", [np.zeros((16, 16, 3))], "float64"),
        ("film.mp4", [*film(1), *film(1, 50, 50)], r"frame 1 is \(50, 50, 3\)"),
    ]
    for name, frames, message in cases:
        with pytest.raises(VideoError, match=message):
            write_video(tmp_path / name, frames, 10)
    with pytest.raises(VideoError, match=r"frame 1 is"):
        write_gif(tmp_path / "film.gif", [*film(1), *film(1, 50, 50)], 10)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("writer", "name"), [(write_video, "a.mp4"), (write_gif, "a.gif")])
def test_a_source_that_breaks_off_keeps_what_was_done(
    tmp_path: Path, writer: object, name: str
) -> None:
    def broken() -> Iterator[np.ndarray]:
        yield from film(12)
        raise VideoError("source.mp4: breaks off after frame 12")

    with pytest.raises(VideoError, match=r"source\.mp4: breaks off after frame 12"):
        writer(tmp_path / name, broken(), 10)
    assert len(list(read_frames(tmp_path / name))) == 12


def test_any_other_failure_of_the_source_leaves_nothing(tmp_path: Path) -> None:
    def failing() -> Iterator[np.ndarray]:
        yield from film(3)
        raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        write_video(tmp_path / "a.mp4", failing(), 10)
    assert not list(tmp_path.iterdir())


def test_real_clips(shared: Path) -> None:
    frames = read_frames(shared / "media" / "d18.mp4")
    assert next(frames).shape == (480, 480, 3)
    assert sum(1 for _ in frames) == 215
    assert frame_rate(shared / "media" / "d18.mp4") == pytest.approx(30, abs=0.1)
