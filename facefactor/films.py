"""Clips edited frame by frame: one person's face, every frame at its own time, the sound kept."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import repeat
from pathlib import Path

import numpy as np

from facefactor.errors import FaceFactorError
from facefactor.following import SAME_PLACE, FilmFrame, Reading, overlap, read_film
from facefactor.images import (
    Photo,
    frame_rate,
    read_timed_frames,
    write_gif,
    write_video_like,
)
from facefactor.outcomes import Progress
from facefactor.photo_edits import PhotoFace
from facefactor.smoothing import neighbourhoods

Edit = Callable[[list[PhotoFace]], Photo]  # of faces of one photo, one or more -> a picture


def write_film(
    path: Path,
    clip: str | Path,
    edit: Edit | Iterable[Edit],
    which: str = "largest",
    square: int | None = None,
    smooth: float = 0.0,
    progress: Progress | None = None,
) -> Reading:
    """Write a clip with a face edited in each frame: with its sound, or silent as .gif.

    Frames without the face stay as they are; of squares they are black.

    Args:
        edit: of every frame, or one for each, the film ending with them.
        which: whose face: see `following.read_film`.
        square: side of what `edit` makes where that is no photo but a network's own square.
        smooth: see `steady`.
        progress: called with frames done and None.

    Returns:
        What came of reading the clip; one that breaks off makes a shorter film.

    Raises:
        FaceFactorError: squares of several faces.
        As `following.read_film`, and WriteError when the file system refuses; nothing is written
        then.
    """
    if square is not None and which == "all":
        raise FaceFactorError(
            f"{clip}: the squares of several faces make no film; say largest, or a number"
        )
    reading = Reading()
    film = steady(read_film(clip, which, reading, progress), smooth)
    frames = _edited(film, repeat(edit) if callable(edit) else edit, square)
    _write(path, frames, clip)
    return reading


def write_with_times_of(path: Path, photos: Iterable[Photo], clip: str | Path) -> None:
    """Write a photo for each frame of a clip, the first ones if there are fewer: shown when those
    are, with its sound, or as .gif.

    Raises:
        As `images.write_video_like`.
    """
    times = (seconds for _, seconds in read_timed_frames(clip))
    _write(path, zip(photos, times, strict=False), clip)


def _write(path: Path, frames: Iterable[tuple[Photo, float]], clip: str | Path) -> None:
    if path.suffix.lower() == ".gif":
        write_gif(path, (photo for photo, _ in frames), frame_rate(clip))
    else:
        write_video_like(path, frames, clip)


def _edited(
    film: Iterable[FilmFrame], edits: Iterable[Edit], square: int | None
) -> Iterator[tuple[Photo, float]]:
    for frame, edit in zip(film, edits, strict=False):
        if frame.faces:
            yield edit(frame.faces), frame.seconds
        elif square is None:
            yield frame.photo, frame.seconds
        else:
            yield np.zeros((square, square, 3), np.uint8), frame.seconds


def steady(film: Iterable[FilmFrame], width: float) -> Iterator[FilmFrame]:
    """A film whose face trembles less: the five points it is cut by, and so the square that a model
    sees, are averaged over neighbouring frames, as long as the face stays about its place.

    Args:
        film: with at most one face a frame; frames with more stay as they are.
        width: standard deviation of the Gaussian weights, in frames; 0 leaves all as it is.

    Raises:
        FaceFactorError: a negative width.
    """
    for around in neighbourhoods(_stretches(film), width):
        stretch, frame = around.item
        if len(frame.faces) != 1 or not width:
            yield frame
            continue
        same = np.array([other == stretch for other, _ in around.items])
        weights = around.weights[same] / around.weights[same].sum()
        points = [shown.faces[0].found.points for other, shown in around.items if other == stretch]
        mean = np.tensordot(weights, np.stack(points), 1).astype(np.float32)
        (face,) = frame.faces
        yield replace(frame, faces=[replace(face, found=replace(face.found, points=mean))])


def _stretches(film: Iterable[FilmFrame]) -> Iterator[tuple[int, FilmFrame]]:
    """Each frame after the number of its stretch, through which one face moves without a jump."""
    stretch, before = 0, None
    for frame in film:
        now = frame.faces[0].found if len(frame.faces) == 1 else None
        if now is None or before is None or overlap(now, before) <= SAME_PLACE:
            stretch += 1
        before = now
        yield stretch, frame
