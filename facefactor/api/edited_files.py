"""Photos and videos edited alike, from files to files."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from facefactor.api.outcomes import each_photo, tell_gaps
from facefactor.api.targets import is_video
from facefactor.errors import FaceFactorError
from facefactor.factors import FaceModel
from facefactor.films import Edit, write_film
from facefactor.images import write_image
from facefactor.outcomes import Outcome, Progress
from facefactor.photo_edits import read_faces
from facefactor.sweeps import FILM_SUFFIXES


def edit_files(
    files: Sequence[Path],
    targets: Sequence[Path],
    edit: Edit,
    model: FaceModel,
    face: str = "largest",
    raw: bool = False,
    smooth: float = 0.0,
    progress: Progress | None = None,
) -> Outcome:
    """The faces of each photo edited, or one face through each video, which makes a film.

    Args:
        targets: of each file; a film (.mp4, .gif) of a video, a picture of anything else.
        smooth: of videos; see `films.steady`.
    """
    frames_done = progress if len(files) == 1 else None

    def write(file: Path, target: Path) -> str | None:
        if target.suffix.lower() in FILM_SUFFIXES:
            return edit_film(file, target, edit, model, face, raw, smooth, frames_done)
        check_still(file)
        write_image(target, edit(read_faces(file, face)))
        return None

    return each_photo(files, targets, write, progress)


def edit_film(
    clip: Path,
    target: Path,
    edit: Edit | Iterable[Edit],
    model: FaceModel,
    face: str = "largest",
    raw: bool = False,
    smooth: float = 0.0,
    progress: Progress | None = None,
) -> str | None:
    """Write a film of a clip, telling of frames without the face; the error that ended the clip
    early, if one did."""
    square = model.spec.image_size if raw else None
    reading = write_film(target, clip, edit, face, square, smooth, progress)
    tell_gaps(clip, reading.gaps("they are black" if raw else "they stay as they are"))
    return reading.error


def check_still(file: Path, steps: bool = False) -> None:
    """FaceFactorError for a video of which a picture, or steps, are asked; of an animation that is
    its first frame."""
    if is_video(file) and file.suffix.lower() != ".gif":
        advice = "steps are of photos" if steps else "its frames make a film (-o film.mp4, .gif)"
        raise FaceFactorError(f"{file}: is a video; {advice}")
