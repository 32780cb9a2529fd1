"""Factors of one photo or video given to the face in another, from files to files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from facefactor.abilities import check_separates
from facefactor.api.edited_files import edit_film
from facefactor.api.edits import take, transfer_clip
from facefactor.api.faces import read_face
from facefactor.api.outcomes import of_clip
from facefactor.api.targets import is_video
from facefactor.api.weights import load
from facefactor.clips import clip_factors
from facefactor.errors import FaceFactorError
from facefactor.factors import FaceModel, FactorName, Factors
from facefactor.films import Edit, write_with_times_of
from facefactor.following import Reading
from facefactor.images import write_image
from facefactor.outcomes import Outcome, Progress
from facefactor.photo_edits import edit_all, encode_face, read_faces
from facefactor.sweeps import FILM_SUFFIXES


def transfer(
    target: str,
    source: str,
    output: Path,
    factors: Sequence[FactorName] = ("expression",),
    strength: float = 1.0,
    model: str = "leed",
    face: str = "largest",
    raw: bool = False,
    smooth: float = 0.0,
    progress: Progress | None = None,
) -> Outcome:
    """Give the face of `target` factors of the largest face of `source`.

    Where one of them is a video, so is the output (.mp4, with the sound of `target`, else of
    `source`; .gif): every frame of `target` takes the factors of the photo, or of the frame of
    `source` with the same number; a photo takes those of each frame.

    Args:
        smooth: of videos: codes that are taken, and the place of the face in `target`, are averaged
            over neighbouring frames; see `clips.clip_factors` and `films.steady`.

    Raises:
        FaceFactorError: a film of photos, a picture of a video, or one over its own source.
    """
    film = _is_film(target, source, output)
    network = load(model)
    for name in factors:
        check_separates(network, name)

    def taking(taken: Factors) -> Edit:
        change = take(network, taken, factors, strength)
        return lambda faces: edit_all(network, faces, change, raw)

    if film and is_video(Path(target)):
        return _onto_film(
            network, target, source, output, factors, taking, face, raw, smooth, progress
        )
    faces = read_faces(target, face)
    if not film:
        write_image(output, taking(encode_face(network, read_face(source), factors))(faces))
        return Outcome((output,))
    reading = Reading()
    frames = transfer_clip(
        network, faces, source, factors, strength, raw, reading, progress, smooth
    )
    write_with_times_of(output, frames, source)
    return of_clip(source, output, reading)


def _onto_film(
    model: FaceModel,
    target: str,
    source: str,
    output: Path,
    factors: Sequence[FactorName],
    taking: Callable[[Factors], Edit],
    face: str,
    raw: bool,
    smooth: float,
    progress: Progress | None,
) -> Outcome:
    """The shorter of two videos ends the film."""
    reading = Reading()  # of a photo nothing is told
    edit: Edit | Iterator[Edit]
    if is_video(Path(source)):
        edit = map(taking, clip_factors(model, source, reading, smooth=smooth, lent=factors))
    else:
        edit = taking(encode_face(model, read_face(source), factors))
    error = edit_film(Path(target), output, edit, model, face, raw, smooth, progress)
    failed = dict(of_clip(source, output, reading).failed)
    return Outcome((output,), failed if error is None else failed | {target: error})


def _is_film(target: str, source: str, output: Path) -> bool:
    """Whether frames of `target` or `source` make those of `output`.

    Raises:
        FaceFactorError: only the output is a video, or only what it is made of; or they are the
            same file.
    """
    film = output.suffix.lower() in FILM_SUFFIXES
    videos = [path for path in (target, source) if is_video(Path(path))]
    # of an animation a photo is the first frame
    moving = [path for path in videos if Path(path).suffix.lower() != ".gif"]
    if film and not videos:
        raise FaceFactorError(
            f"{output}: a film takes from a video, or is of one; {target} and {source} are none"
        )
    if not film and moving:
        raise FaceFactorError(
            f"{moving[0]}: is a video, its frames make a film; name one to write "
            "(-o film.mp4, .gif)"
        )
    for path in videos:
        if film and output.exists() and Path(path).exists() and output.samefile(path):
            raise FaceFactorError(f"{output}: would overwrite the video it is made from")
    return film
