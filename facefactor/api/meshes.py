"""A face in three dimensions, of a photo or of a video, written to files."""

from __future__ import annotations

from pathlib import Path

from facefactor.api.outcomes import of_clip
from facefactor.api.targets import targets_of
from facefactor.api.weights import load
from facefactor.clips import (
    clip_factors,
    mean_template,
    photo_template,
    write_npz,
    write_objs,
)
from facefactor.errors import FaceFactorError
from facefactor.following import Reading
from facefactor.images import VIDEO_SUFFIXES, frame_rate
from facefactor.outcomes import Outcome, Progress
from facefactor.photo_edits import read_faces
from facefactor.reconstruction import KINDS, Skin, Surface, check_kind, has_mesh, reconstruct_face


def reconstruct(
    photo: str,
    output: Path,
    morphable: str | Path | None = None,
    surface: Surface | None = None,
    texture: Skin = "photo",
    model: str = "neurotensorial",
    face: str = "largest",
    template: str | None = None,
    progress: Progress | None = None,
) -> Outcome:
    """One face in three dimensions: a mesh (.glb, .obj, .ply), numbers (.npz), pictures (.png); see
    `reconstruct_face`. Of a video: a mesh with the expression of each frame, as a folder of
    numbered OBJ files or one .npz; see `clips`.

    Args:
        surface: None is "direct"; "coefficients" for a video without `template`.
        face: which of the photo, or of `template`.
        template: the photo of the person whose face shows a video's expressions; None: the mean
            face of `morphable`.

    Raises:
        FaceFactorError: another suffix, a mesh whose mean face is not known, several faces asked
            for, the model knows no shapes, or a template for a photo.
    """
    if face == "all":
        raise FaceFactorError("one face is reconstructed; say largest, or a number")
    if Path(photo).suffix.lower() in VIDEO_SUFFIXES:
        return _reconstruct_clip(
            photo, output, morphable, surface, texture, model, face, template, progress
        )
    if template is not None:
        raise FaceFactorError(
            f"{photo}: a template is for the expressions of a video; leave it out"
        )
    check_kind(output, has_mesh=True)
    (target,) = targets_of([Path(photo)], output, KINDS)
    network = load(model)
    check_kind(output, has_mesh(network, morphable, surface or "direct"))
    found = reconstruct_face(
        network, read_faces(photo, face)[0], morphable, surface or "direct", texture
    )
    found.write(target)
    return Outcome((target,))


def _reconstruct_clip(
    clip: str,
    output: Path,
    morphable: str | Path | None,
    surface: Surface | None,
    texture: Skin,
    model: str,
    face: str,
    template: str | None,
    progress: Progress | None,
) -> Outcome:
    kind = output.suffix.lower()
    if kind not in ("", ".npz") and not output.is_dir():
        raise FaceFactorError(
            f"{output}: the meshes of a video go into a folder of OBJ files (a name without a "
            "dot), or one .npz"
        )
    if template is None and (morphable is None or surface == "direct"):
        raise FaceFactorError(
            "say whose face shows the expressions: that of a photo (--template PHOTO), or the mean "
            "face of the morphable model (--morphable FILE --surface coefficients)"
        )
    network, reading = load(model), Reading()
    if template is not None:
        person = read_faces(template, face)[0]
        shown = photo_template(network, person, morphable, surface or "direct", texture)
    elif morphable is not None:
        shown = mean_template(network, morphable)
    rate, frames = frame_rate(clip), clip_factors(network, clip, reading, progress)
    if kind == ".npz" and not output.is_dir():
        write_npz(output, shown, frames, rate, reading)
    else:
        write_objs(output, shown, frames)
    return of_clip(clip, output, reading)
