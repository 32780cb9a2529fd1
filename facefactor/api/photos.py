"""Photos, folders and videos edited, from files to files."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import torch

from facefactor import editing
from facefactor.abilities import check_removable, normalising_model
from facefactor.api.edits import remove, take, transfer_clip
from facefactor.api.faces import read_face
from facefactor.api.outcomes import each_photo, of_clip
from facefactor.api.targets import is_video, sweep_targets, targets_of
from facefactor.api.weights import load
from facefactor.clips import Reading
from facefactor.demo import (
    read_portraits,
    write_demo,
    write_light_demo,
    write_normal_demo,
    write_portraits,
)
from facefactor.errors import FaceFactorError
from facefactor.face_normalising import normalise_faces, write_film, write_morph
from facefactor.factors import FactorName
from facefactor.images import VIDEO_SUFFIXES, frame_rate, write_gif, write_image, write_video
from facefactor.outcomes import Outcome
from facefactor.photo_edits import edit_all, edit_face, encode_face, factor_for, read_faces
from facefactor.sheets import interpolation_sheet
from facefactor.streams import Progress, list_inputs
from facefactor.sweeps import FILM_SUFFIXES, write_path

logger = logging.getLogger(__name__)


def edit_photos(
    inputs: Sequence[str],
    output: Path,
    edit: Literal["neutral", "frontalize"],
    model: str = "facecycle",
    face: str = "largest",
    raw: bool = False,
    progress: Progress | None = None,
) -> Outcome:
    """Edit each photo; one photo to a file, several into a folder under their own names."""
    network = load(model)
    wanted: FactorName = "expression" if edit == "neutral" else "pose"
    name = factor_for(network.spec, wanted)
    check_removable(network, name)
    if name != wanted:
        logger.info("%s keeps %s inside %s: both go", network.spec.name, wanted, name)

    def write(file: Path, target: Path) -> None:
        faces = read_faces(file, face)
        write_image(target, edit_all(network, faces, remove(network, name), raw))

    files = list_inputs(inputs)
    return each_photo(files, targets_of(files, output), write, progress)


def transfer(
    target: str,
    source: str,
    output: Path,
    factors: Sequence[FactorName] = ("expression",),
    strength: float = 1.0,
    model: str = "facecycle",
    face: str = "largest",
    raw: bool = False,
    progress: Progress | None = None,
) -> Outcome:
    """Give the face of photo `target` factors of the largest face of `source`: of a photo, or of
    each frame of a video, which makes a film (.mp4, .gif) with as many frames a second, silent.

    Raises:
        FaceFactorError: a film of a photo, a picture of a video, or one over its own source.
    """
    film = _is_film(source, output)
    network = load(model)
    for name in factors:
        editing.check_factor(network.spec, name)
    faces = read_faces(target, face)
    if not film:
        taken = encode_face(network, read_face(source))
        write_image(output, edit_all(network, faces, take(network, taken, factors, strength), raw))
        return Outcome((output,))
    reading = Reading()
    frames = transfer_clip(network, faces, source, factors, strength, raw, reading, progress)
    write = write_gif if output.suffix.lower() == ".gif" else write_video
    write(output, frames, frame_rate(source))
    return of_clip(source, output, reading)


def _is_film(source: str, output: Path) -> bool:
    """Whether each frame of `source` makes one of `output`.

    Raises:
        FaceFactorError: only one of the two is a video, or they are the same file.
    """
    film = output.suffix.lower() in FILM_SUFFIXES
    kind = Path(source).suffix.lower()
    if film and kind not in VIDEO_SUFFIXES:
        raise FaceFactorError(
            f"{output}: a film takes from a video; {source} is none (--from clip.mp4)"
        )
    if not film and kind in VIDEO_SUFFIXES - {".gif"}:  # of an animation a photo is the first frame
        raise FaceFactorError(
            f"{source}: is a video, its frames make a film; name one to write (-o film.mp4, .gif)"
        )
    if film and output.exists() and Path(source).exists() and output.samefile(source):
        raise FaceFactorError(f"{output}: would overwrite the video it is made from")
    return film


def interpolate(
    start: str,
    end: str,
    output: Path,
    factors: Sequence[FactorName] = ("expression",),
    steps: int = 11,
    span: tuple[float, float] = (0.0, 1.0),
    model: str = "facecycle",
    face: str = "largest",
) -> Outcome:
    """The path between two faces: a sheet (.png and other pictures) or a film (.gif, .mp4)."""
    network = load(model)
    first = read_faces(start, face)[0]
    strengths = torch.linspace(*span, steps).tolist()
    goal = encode_face(network, read_face(end))
    photos = [
        edit_face(
            network,
            first,
            lambda own, at=at: editing.interpolate(own, goal, factors, [at], network.spec),  # type: ignore[misc]
        )
        for at in strengths
    ]
    write_path(output, photos, lambda: interpolation_sheet(photos, strengths, first.found.box))
    return Outcome((output,))


def normalize(
    inputs: Sequence[str],
    output: Path,
    steps: int | None = None,
    model: str = "nfgan",
    face: str = "largest",
    raw: bool = False,
    progress: Progress | None = None,
) -> Outcome:
    """The normalised face in each photo, or in each frame of a video, which makes a silent film
    (.mp4; .gif of .gif) with as many frames a second; frames without a face stay as they are.

    Args:
        steps: as many pictures of the way there, after the photo, in a sheet (.png and others) or
            a film (.gif, .mp4); at least 2; see `face_normalising.morph`.

    Raises:
        FaceFactorError: the model draws no normalised faces, or the output is no file of a known
            kind.
    """
    files = list_inputs(inputs)
    moving = steps is None and any(is_video(file) for file in files)
    targets = sweep_targets(files, output, steps, moving)
    network = load(model)
    normalising_model(network)

    def write(file: Path, target: Path) -> str | None:
        film = target.suffix.lower() in FILM_SUFFIXES
        if steps is None and film:
            frames_done = progress if len(files) == 1 else None
            reading = write_film(target, network, file, face, raw, frames_done)
            gaps = reading.gaps("they are black" if raw else "they stay as they are")
            if gaps is not None:
                logger.warning("%s: %s", file, gaps)
            return reading.error
        if is_video(file) and file.suffix.lower() != ".gif":  # of that, the first frame is a photo
            advice = (
                "steps are of photos" if steps else "its frames make a film (-o film.mp4, .gif)"
            )
            raise FaceFactorError(f"{file}: is a video; {advice}")
        faces = read_faces(file, face)
        if steps is None:
            write_image(target, normalise_faces(network, faces, raw))
        else:
            write_morph(target, network, faces, steps, raw)
        return None

    return each_photo(files, targets, write, progress)


def demo(output: Path) -> list[Path]:
    """Two public-domain portraits and what the packaged models make of them, in the folder
    `output`: `photos/`, the sheets `demo.png`, `expressions.png`, `light.png` and `normal.png`,
    and two meshes."""
    faces = read_portraits()
    return [
        *write_portraits(output / "photos"),
        *write_demo(output, load("facecycle"), faces),
        *write_demo(output, load("leed"), faces, "expressions.png"),
        *write_light_demo(output, load("neurotensorial"), faces),
        *write_normal_demo(output, load("nfgan"), faces),
    ]
