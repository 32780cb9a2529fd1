"""Reading and writing video, one frame at a time: memory stays flat whatever the length.

A frame is a photo: numpy (H, W, 3), uint8, RGB, upright.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

import av
import numpy as np
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer
from av.stream import Stream
from av.video.stream import VideoStream
from numpy.typing import NDArray
from PIL import Image

from facefactor.errors import FaceFactorError
from facefactor.files import atomic_path

Frame = NDArray[np.uint8]

VIDEO_SUFFIXES = frozenset({".mp4", ".mov", ".m4v", ".mkv", ".webm", ".avi", ".gif"})
MAX_FRAME_MEGAPIXELS = 50  # 8K has 33
_WRITERS = (".mp4", ".mov", ".mkv")
_QUARTER_TURNS = {0: 0, 90: 1, 180: 2, -180: 2, -90: 3, 270: 3}
# How much may lack at the end before a film counts as cut off, in frames: players and cameras
# round the length they write into the header.
_SLACK = 3
_TICK = Fraction(1, 90_000)  # seconds; what times of frames are written in
_KEPT_SOUND = frozenset({"aac", "mp3", "mp3float", "ac3", "eac3", "alac", "opus"})
_Shown = TypeVar("_Shown")

logger = logging.getLogger(__name__)


class VideoError(FaceFactorError, ValueError):
    """This video cannot be read, or breaks off; the message says after which frame."""


def read_frames(path: str | Path) -> Iterator[Frame]:
    """The frames of a video in the order they are shown, upright.

    Raises:
        VideoError: when the file is no video; or, after the good frames, when it breaks half-way,
            saying after which frame.
    """
    return (frame for frame, _ in read_timed_frames(path))


def read_timed_frames(path: str | Path) -> Iterator[tuple[Frame, float]]:
    """`read_frames`, each with the time when it is shown, in seconds after the first.

    Cameras of phones and recorders of screens do not show all frames for the same time.
    """
    count, seconds_seen, began, ends = 0, 0.0, 0.0, 0.0
    with _open(path) as container:
        stream = _video_stream(container, path)
        stream.thread_type = "AUTO"
        frames = container.decode(stream)
        while True:
            try:
                frame = next(frames)
                _check_size(frame)
                photo = _upright(frame)
            except (StopIteration, av.error.EOFError):
                break
            except (av.error.FFmpegError, OSError, ValueError) as error:
                raise _broken(path, count, _reason(error)) from error
            if frame.is_corrupt:
                raise _broken(path, count, "the next frame is damaged")
            length = float((frame.duration or 0) * (frame.time_base or 0))
            shown = ends if frame.time is None else frame.time  # a raw stream has no times
            ends = shown + (length or 1 / float(stream.average_rate or 25))
            began = began if count else shown
            yield photo, shown - began
            count += 1
            if frame.time is not None:
                seconds_seen = max(seconds_seen, frame.time + length)
        missing = _seconds_missing(container, stream, seconds_seen)
    if count == 0:
        raise VideoError(f"{path}: no frame in it can be read; convert it to MP4 (H.264)")
    if missing:
        raise _broken(path, count, f"{missing:.1f} s of its announced length are missing")


def frame_rate(path: str | Path) -> float:
    """Frames per second of a video, on average."""
    with _open(path) as container:
        rate = _video_stream(container, path).average_rate
    if not rate:
        raise VideoError(f"{path}: does not say how many frames a second it has; convert it to MP4")
    return float(rate)


def film_shape(path: str | Path) -> tuple[int, int, int]:
    """(frames, height, width) of a video as its header has them; nothing is decoded."""
    with _open(path) as container:
        stream = _video_stream(container, path)
        frames, picture = stream.frames, stream.codec_context
        height, width = picture.height, picture.width
    if not (frames and height and width):
        raise VideoError(f"{path}: does not say how many frames it has; convert it to MP4")
    return frames, height, width


def _open(path: str | Path) -> InputContainer:
    file = Path(path)
    if not file.is_file():
        what = "is a folder, a video was expected" if file.is_dir() else "no such file"
        raise VideoError(f"{path}: {what}; check the name")
    if not file.stat().st_size:
        raise VideoError(f"{path}: is empty (0 bytes); copy or download it again")
    try:
        return av.open(str(file))
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise VideoError(
            f"{path}: is not a video that can be read, or is cut off ({_reason(error)}); "
            "copy it again or convert it to MP4 (H.264)"
        ) from error


def _video_stream(container: InputContainer, path: str | Path) -> VideoStream:
    if not container.streams.video:
        raise VideoError(f"{path}: holds no picture, only sound or data; pass a video")
    return container.streams.video[0]


def _check_size(frame: av.VideoFrame) -> None:
    """ValueError for a frame so large that it is an attack or a damaged header."""
    if frame.width * frame.height > MAX_FRAME_MEGAPIXELS * 1e6:
        raise ValueError(
            f"the next frame is {frame.width} x {frame.height} pixels, the limit is "
            f"{MAX_FRAME_MEGAPIXELS} megapixels"
        )


def _upright(frame: av.VideoFrame) -> Frame:
    photo = np.asarray(frame.to_ndarray(format="rgb24"), dtype=np.uint8)
    turns = _QUARTER_TURNS.get(round(frame.rotation), 0)  # counter-clockwise, as np.rot90 turns
    return np.ascontiguousarray(np.rot90(photo, turns)) if turns else photo


def _seconds_missing(container: InputContainer, stream: VideoStream, seen: float) -> float:
    """By how much the film is shorter than its header says; 0 when it is whole or does not say.

    A file cut off between two frames ends without any error from the decoder.
    """
    if stream.duration is not None and stream.time_base is not None:
        announced = float(stream.duration * stream.time_base)
        if stream.start_time is not None:
            announced += float(stream.start_time * stream.time_base)
    elif container.duration is not None and len(container.streams) == 1:
        announced = container.duration / av.time_base
    else:
        return 0.0
    slack = _SLACK / float(stream.average_rate or 10)
    return announced - seen if announced - seen > slack else 0.0


def _broken(path: str | Path, count: int, reason: str) -> VideoError:
    return VideoError(
        f"{path}: breaks off after frame {count} ({reason}); "
        "what came before is kept; copy the file again for the rest"
    )


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def write_video(path: str | Path, frames: Iterable[Frame], fps: float) -> int:
    """Write frames of one size as H.264; returns how many.

    An odd side grows by one pixel, its last row or column repeated: the format halves its colours.

    Raises:
        VideoError: unknown suffix, no frames, frames of different sizes. One raised by `frames`
            itself, because its source breaks off, is raised again after the film so far is kept.
        WriteError: when the file system refuses.
    """
    rate = Fraction(fps).limit_denominator(1001)
    stamped = ((frame, number) for number, frame in enumerate(frames))
    return _write(path, stamped, 1 / rate, rate)


def write_video_like(
    path: str | Path, frames: Iterable[tuple[Frame, float]], source: str | Path
) -> int:
    """Write frames made from those of another video: each is shown when it was, with its sound.

    Sound that the new file cannot hold as it is becomes AAC; where the frames end, so does it.

    Args:
        frames: each with its time in seconds, as `read_timed_frames` tells it.

    Raises:
        As `write_video`, and VideoError when the source cannot be read.
    """
    rate = Fraction(frame_rate(source)).limit_denominator(1001)
    stamped = ((frame, round(seconds / _TICK)) for frame, seconds in frames)
    with _open(source) as original:
        return _write(path, stamped, _TICK, rate, original)


def _write(
    path: str | Path,
    frames: Iterable[tuple[Frame, int]],
    tick: Fraction,
    rate: Fraction,
    original: InputContainer | None = None,
) -> int:
    """Frames at times counted in ticks of so many seconds; the sound is the original's."""
    _check_suffix(path, _WRITERS)
    first, rest = _first(path, frames)
    shape = first[0].shape
    _check_frame(path, first[0], shape, 0)
    height, width = (side + side % 2 for side in shape[:2])
    beyond = (0, height - shape[0]), (0, width - shape[1]), (0, 0)
    interrupted: VideoError | None = None
    count = 0
    with atomic_path(path) as temporary, av.open(str(temporary), "w") as container:
        stream = container.add_stream("libx264", rate=rate)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.options = {"crf": "18", "preset": "medium"}
        stream.codec_context.time_base = tick
        sound = _Sound(original, container)
        try:
            for photo, when in chain([first], rest):
                _check_frame(path, photo, shape, count)
                frame = av.VideoFrame.from_ndarray(np.pad(photo, beyond, "edge"), format="rgb24")
                frame.pts, frame.time_base = when, tick
                container.mux(_encoded(stream, frame, path))
                sound.write_until(float(when * tick + 1 / rate))
                count += 1
        except _SourceEnded as ended:
            interrupted = ended.error
        container.mux(stream.encode())
    if interrupted is not None:
        raise interrupted
    return count


def _encoded(
    stream: VideoStream, frame: av.VideoFrame, path: str | Path
) -> list[av.Packet[VideoStream]]:
    try:
        return stream.encode(frame)
    except av.error.FFmpegError as error:
        raise VideoError(
            f"{path}: frames of {frame.width} x {frame.height} pixels cannot be written as H.264 "
            f"({_reason(error)}); make them smaller"
        ) from error


class _Sound:
    """The sound of a video on its way into another; nothing where there is none.

    It is written as far as the frames have come: neither waits in memory for the other.
    """

    def __init__(self, original: InputContainer | None, container: OutputContainer) -> None:
        self._container = container
        self._packets: Iterator[av.Packet[Any]] = iter(())
        # Of a codec that nobody knows there is no context.
        if (
            original is not None
            and original.streams.audio
            and original.streams.audio[0].codec_context
        ):
            self._packets = self._copied(original, original.streams.audio[0])
        self._waiting = next(self._packets, None)  # and with it the stream is there

    def write_until(self, seconds: float) -> None:
        """Of the film."""
        while self._waiting is not None and _start(self._waiting) < seconds:
            self._container.mux(self._waiting)
            self._waiting = next(self._packets, None)

    def _copied(self, original: InputContainer, incoming: AudioStream) -> Iterator[av.Packet[Any]]:
        """Its packets, timed from the first frame on; what is before that is left out."""
        began = _start(original.streams.video[0])
        try:
            for packet in self._encoded(original, incoming):
                late = round(began / float(packet.time_base or 1))
                if packet.pts is None or packet.dts is None or packet.pts < late:
                    continue  # also the empty one at the end
                packet.pts, packet.dts = packet.pts - late, packet.dts - late
                yield packet
        except (av.error.FFmpegError, OSError, ValueError) as error:
            logger.warning("%s: its sound breaks off (%s)", original.name, _reason(error))

    def _encoded(self, original: InputContainer, incoming: AudioStream) -> Iterator[av.Packet[Any]]:
        if incoming.codec_context.name in _KEPT_SOUND:
            kept = self._container.add_stream_from_template(incoming)
            for packet in original.demux(incoming):
                packet.stream = kept
                yield packet
            return
        made = self._container.add_stream("aac", rate=incoming.codec_context.sample_rate)
        made.codec_context.layout = "mono" if incoming.codec_context.channels == 1 else "stereo"
        for frame in original.decode(incoming):
            yield from made.encode(frame)
        yield from made.encode()


def _start(what: av.Packet[Any] | Stream) -> float:
    """In seconds."""
    start = what.pts if isinstance(what, av.Packet) else what.start_time
    return float((start or 0) * (what.time_base or 0))


def write_gif(path: str | Path, frames: Iterable[Frame], fps: float) -> int:
    """Write frames of one size as an endless GIF; returns how many. Errors as in `write_video`."""
    _check_suffix(path, (".gif",))
    first, rest = _first(path, frames)
    _check_frame(path, first, first.shape, 0)
    count = 1
    interrupted: VideoError | None = None

    def others() -> Iterator[Image.Image]:
        nonlocal count, interrupted
        try:
            for photo in rest:
                _check_frame(path, photo, first.shape, count)
                count += 1
                yield Image.fromarray(photo)
        except _SourceEnded as ended:
            interrupted = ended.error

    with atomic_path(path) as temporary:
        Image.fromarray(first).save(
            temporary, save_all=True, append_images=others(), duration=round(1000 / fps), loop=0
        )
    if interrupted is not None:
        raise interrupted
    return count


class _SourceEnded(Exception):
    """The frames to write broke off: keeps their error apart from those of the writing."""

    def __init__(self, error: VideoError) -> None:
        super().__init__(str(error))
        self.error = error


def _first(path: str | Path, frames: Iterable[_Shown]) -> tuple[_Shown, Iterator[_Shown]]:
    """The first frame, and the rest with errors of their source marked as such."""
    source = iter(frames)
    try:
        first = next(source)
    except StopIteration:
        raise VideoError(f"{path}: there are no frames to write") from None

    def rest() -> Iterator[_Shown]:
        try:
            yield from source
        except VideoError as error:
            raise _SourceEnded(error) from error

    return first, rest()


def _check_suffix(path: str | Path, known: tuple[str, ...]) -> None:
    suffix = Path(path).suffix.lower()
    if suffix not in known:
        raise VideoError(
            f"{path}: cannot write {suffix or 'a name without suffix'}; "
            f"end it in {', '.join(known)}"
        )


def _check_frame(path: str | Path, photo: Frame, shape: tuple[int, ...], index: int) -> None:
    if photo.dtype != np.uint8 or photo.ndim != 3 or photo.shape[2] != 3:
        raise VideoError(
            f"{path}: frame {index} is {photo.shape} {photo.dtype}; frames are (H, W, 3) uint8"
        )
    if photo.shape != shape:
        raise VideoError(f"{path}: frame {index} is {photo.shape}, the first was {shape}")
