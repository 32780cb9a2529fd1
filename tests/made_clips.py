"""Clips with sound, at uneven times, and broken ones."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from facefactor.videos import VideoError, read_frames, write_video

PITCH = 440.0  # hertz
RATE = 48_000


def broken_clip(path: Path, frames: Sequence[NDArray[np.uint8]]) -> int:
    """Write a clip (.mkv) whose end is missing; how many frames can still be read."""
    write_video(path, frames, fps=10)
    content, count = path.read_bytes(), 0
    path.write_bytes(content[: int(0.7 * len(content))])
    try:
        for _ in read_frames(path):
            count += 1
    except VideoError:
        return count
    raise AssertionError("the clip is whole")


def sounding_clip(
    path: Path, frames: Sequence[NDArray[np.uint8]], seconds: Sequence[float], codec: str = "aac"
) -> None:
    """Write a clip that shows each frame when it is said, with a tone of `PITCH` as long as it."""
    tick = Fraction(1, 1000)
    with av.open(str(path), "w") as container:
        picture = container.add_stream("libx264", rate=10)
        picture.height, picture.width = frames[0].shape[:2]
        picture.pix_fmt = "yuv420p"
        picture.codec_context.time_base = tick
        sound = container.add_stream(codec, rate=RATE)
        sound.codec_context.layout = "mono"
        for photo, when in zip(frames, seconds, strict=True):
            frame = av.VideoFrame.from_ndarray(photo, format="rgb24")
            frame.pts, frame.time_base = round(when / tick), tick
            container.mux(picture.encode(frame))
        container.mux(picture.encode())
        time = np.arange(round(RATE * (seconds[-1] + 0.1))) / RATE
        wave = (0.3 * np.sin(2 * np.pi * PITCH * time)).astype(np.float32)[None]
        for begin in range(0, wave.shape[1], 1024):
            part = np.ascontiguousarray(wave[:, begin : begin + 1024])
            frame = av.AudioFrame.from_ndarray(part, format="fltp", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = RATE, begin, Fraction(1, RATE)
            container.mux(sound.encode(frame))
        container.mux(sound.encode())


def heard(path: Path) -> tuple[float, float]:
    """Length of a clip's sound in seconds, and its loudest frequency in hertz."""
    with av.open(str(path)) as container:
        sound = container.streams.audio[0]
        frames = [frame.to_ndarray() for frame in container.decode(sound)]
        wave = np.concatenate([frame[0] for frame in frames]).astype(float)
        rate = sound.codec_context.sample_rate
    return len(wave) / rate, float(np.abs(np.fft.rfft(wave)).argmax() * rate / len(wave))
