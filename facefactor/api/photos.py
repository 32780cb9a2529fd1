"""Photos, folders and videos edited, from files to files."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import torch

from facefactor import editing
from facefactor.abilities import check_removable, normalising_model
from facefactor.api.edited_files import check_still, edit_files
from facefactor.api.edits import remove
from facefactor.api.faces import read_face
from facefactor.api.outcomes import each_photo
from facefactor.api.targets import edit_targets
from facefactor.api.weights import load
from facefactor.demo import (
    read_portraits,
    write_demo,
    write_light_demo,
    write_normal_demo,
    write_portraits,
)
from facefactor.face_normalising import normalise_faces, write_morph
from facefactor.factors import FactorName
from facefactor.images import Photo
from facefactor.outcomes import Outcome, Progress
from facefactor.photo_edits import (
    PhotoFace,
    edit_all,
    edit_face,
    encode_face,
    factor_for,
    read_faces,
)
from facefactor.sheets import interpolation_sheet
from facefactor.streams import list_inputs
from facefactor.sweeps import write_path

logger = logging.getLogger(__name__)


def edit_photos(
    inputs: Sequence[str],
    output: Path,
    edit: Literal["neutral", "frontalize"],
    model: str | None = None,
    face: str = "largest",
    raw: bool = False,
    smooth: float = 0.0,
    progress: Progress | None = None,
) -> Outcome:
    """Edit each photo, or one face through each video, which makes a film (.mp4 with its sound;
    .gif); one to a file, several into a folder under their own names.

    Args:
        model: None: "leed" for "neutral", "facecycle" for "frontalize".
        smooth: of videos; see `films.steady`.
    """
    network = load(model or ("leed" if edit == "neutral" else "facecycle"))
    wanted: FactorName = "expression" if edit == "neutral" else "pose"
    name = factor_for(network.spec, wanted)
    check_removable(network, name)
    if name != wanted:
        logger.info("%s keeps %s inside %s: both go", network.spec.name, wanted, name)

    def changed(faces: list[PhotoFace]) -> Photo:
        return edit_all(network, faces, remove(network, name), raw)

    files = list_inputs(inputs)
    targets = edit_targets(files, output)
    return edit_files(files, targets, changed, network, face, raw, smooth, progress)


def interpolate(
    start: str,
    end: str,
    output: Path,
    factors: Sequence[FactorName] = ("expression",),
    steps: int = 11,
    span: tuple[float, float] = (0.0, 1.0),
    model: str = "leed",
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
    smooth: float = 0.0,
    progress: Progress | None = None,
) -> Outcome:
    """The normalised face in each photo, or that of one person through each video, which makes a
    film (.mp4 with its sound; .gif of .gif); frames without the face stay as they are.

    Args:
        smooth: of videos; see `films.steady`.
        steps: as many pictures of the way there, after the photo, in a sheet (.png and others) or
            a film (.gif, .mp4); at least 2; see `face_normalising.morph`.

    Raises:
        FaceFactorError: the model draws no normalised faces, or the output is no file of a known
            kind.
    """
    files = list_inputs(inputs)
    targets = edit_targets(files, output, steps)
    network = load(model)
    normalising_model(network)
    if steps is None:

        def normalised(faces: list[PhotoFace]) -> Photo:
            return normalise_faces(network, faces, raw)

        return edit_files(files, targets, normalised, network, face, raw, smooth, progress)

    def write(file: Path, target: Path) -> None:
        check_still(file, steps=True)
        write_morph(target, network, read_faces(file, face), steps, raw)

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
