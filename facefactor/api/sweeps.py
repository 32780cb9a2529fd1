"""Photos relit and turned, at once or in steps, from files to files."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch

from facefactor import editing
from facefactor.abilities import check_separates
from facefactor.api.edited_files import check_still, edit_files
from facefactor.api.faces import read_face
from facefactor.api.outcomes import each_photo
from facefactor.api.targets import edit_targets
from facefactor.api.weights import load
from facefactor.errors import FaceFactorError
from facefactor.face_lighting import Light, light_code, lights_between, relit
from facefactor.face_turning import Angles, pose_code, turned
from facefactor.factors import FaceModel
from facefactor.images import Photo
from facefactor.outcomes import Outcome, Progress
from facefactor.photo_edits import Change, PhotoFace, read_faces
from facefactor.streams import list_inputs
from facefactor.sweeps import ChangeOf, edit_each, write_sweep


def relight(
    inputs: Sequence[str],
    output: Path,
    light: str | Light,
    until: Light | None = None,
    strength: float = 1.0,
    steps: int | None = None,
    model: str = "neurotensorial",
    face: str = "largest",
    raw: bool = False,
    smooth: float = 0.0,
    progress: Progress | None = None,
) -> Outcome:
    """Another light on each photo or video: that of the largest face of another photo, or from a
    direction.

    Args:
        until: the light travels from `light` to this one in `steps`; without it, it grows from the
            photo's own.
        steps: as many pictures of a photo in a sheet (.png and others) or a film (.gif, .mp4); at
            least 2.
        smooth: of videos; see `films.steady`.

    Raises:
        FactorError: the model has no illumination, or none from a direction.
        FaceFactorError: no steps to travel in, or the output is no file of a known kind.
    """
    if until is not None and (steps is None or not isinstance(light, Light)):
        raise FaceFactorError("a light travels in steps, from one direction to another")
    files = list_inputs(inputs)
    targets = edit_targets(files, output, steps)
    network = load(model)
    check_separates(network, "illumination")
    if until is not None and steps is not None and isinstance(light, Light):
        lights = lights_between(light, until, steps)
        path = [
            (f"{at.azimuth_deg:.0f}, {at.elevation_deg:.0f}", light_code(network, at), strength)
            for at in lights
        ]
    else:
        code = light_code(network, light if isinstance(light, Light) else read_face(light))
        path = [(f"{share:.2f}", code, share) for share in _shares(strength, steps)]
    changes: list[tuple[str, ChangeOf]] = [
        (name, partial(_whichever, relit(network, code, share))) for name, code, share in path
    ]
    return _sweep_each(network, files, targets, changes, face, raw, steps, smooth, progress)


def pose(
    inputs: Sequence[str],
    output: Path,
    goal: str | Angles,
    steps: int | None = None,
    model: str = "neurotensorial",
    face: str = "largest",
    raw: bool = False,
    smooth: float = 0.0,
    progress: Progress | None = None,
) -> Outcome:
    """The head in each photo or video turned to angles, or as the largest face of another photo.

    Args:
        steps: as many pictures of the way there, of a photo, in a sheet (.png and others) or a film
            (.gif, .mp4); at least 2.
        smooth: of videos; see `films.steady`.

    Raises:
        FactorError: the model has no pose, or angles are asked of one that knows none.
        FaceFactorError: the output is no file of a known kind.
    """
    files = list_inputs(inputs)
    targets = edit_targets(files, output, steps)
    network = load(model)
    check_separates(network, "pose")
    if isinstance(goal, Angles):
        editing.check_rotation(network.spec)
    aim = goal if isinstance(goal, Angles) else pose_code(network, read_face(goal))
    changes: list[tuple[str, ChangeOf]] = [
        (f"{share:.2f}", partial(turned, network, goal=aim, share=share))
        for share in _shares(1.0, steps)
    ]
    return _sweep_each(network, files, targets, changes, face, raw, steps, smooth, progress)


def _whichever(change: Change, face: PhotoFace) -> Change:
    """The same change for every face."""
    return change


def _shares(last: float, steps: int | None) -> list[float]:
    """Where the pictures of a path from 0 to `last` lie; its end alone without steps."""
    return [last] if steps is None else torch.linspace(0, last, steps).tolist()


def _sweep_each(
    network: FaceModel,
    files: Sequence[Path],
    targets: Sequence[Path],
    changes: Sequence[tuple[str, ChangeOf]],
    face: str,
    raw: bool,
    steps: int | None,
    smooth: float,
    progress: Progress | None,
) -> Outcome:
    """Each photo or video edited by the one change, or each photo along the path of several."""
    if steps is None:

        def changed(faces: list[PhotoFace]) -> Photo:
            return edit_each(network, faces, changes[0][1], raw)

        return edit_files(files, targets, changed, network, face, raw, smooth, progress)

    def write(file: Path, target: Path) -> None:
        check_still(file, steps=True)
        write_sweep(target, network, read_faces(file, face), changes, raw)

    return each_photo(files, targets, write, progress)
