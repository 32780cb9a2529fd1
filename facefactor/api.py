"""What the command line and the web page call, and what `import facefactor` offers."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any, Literal

import torch

from facefactor import checkpoints, editing
from facefactor.abilities import (
    check_removable,
    check_separates,
    lit_model,
    normalising_model,
    solid_model,
)
from facefactor.augmentation import augment_folder, labelled_photos
from facefactor.batch import encode_files, express_files
from facefactor.checkpoints import CheckpointError, packaged_weights, weights_file
from facefactor.clips import (
    Reading,
    clip_factors,
    mean_template,
    photo_template,
    write_npz,
    write_objs,
)
from facefactor.data.check import DataReport, check_folder, guess_reader
from facefactor.data.frontal_neutral import FrontalNeutralList, Judges, list_frontal_neutral
from facefactor.data.listing import existing_folder
from facefactor.data.readers import READERS
from facefactor.demo import portrait_paths, write_demo, write_light_demo
from facefactor.doctor import Check, examine, instruments
from facefactor.errors import FaceFactorError
from facefactor.export import Parity, export_onnx
from facefactor.face_expressions import (
    Expressions,
    cut_squares,
    expression_model,
    read_expressions,
)
from facefactor.face_lighting import Light, light_code, light_from, lights_between, relit
from facefactor.face_normalising import normalise_faces, write_film, write_morph
from facefactor.face_turning import Angles, pose_code, turned
from facefactor.face_verification import MeasuredThreshold, Verification, verify_faces
from facefactor.factors import FaceModel, FactorName, Factors
from facefactor.geometry.ict_facekit import convert_ict_facekit
from facefactor.geometry.morphable import (
    MorphableModelError,
    read_morphable,
    write_morphable,
)
from facefactor.images import (
    IMAGE_SUFFIXES,
    VIDEO_SUFFIXES,
    Photo,
    PhotoSource,
    frame_rate,
    write_gif,
    write_image,
    write_video,
)
from facefactor.outcomes import Outcome
from facefactor.perception.align import CROPS
from facefactor.perception.landmarks import LandmarkNetwork
from facefactor.perception.packaged import INSTRUMENTS, packaged_instrument, packaged_landmarks
from facefactor.perception.state_dicts import InstrumentError
from facefactor.photo_edits import (
    Change,
    PhotoFace,
    edit_all,
    edit_face,
    encode_face,
    face_detector,
    factor_for,
    read_faces,
)
from facefactor.pose_axes import pose_axes
from facefactor.protocols import CACHE, evaluate
from facefactor.protocols.compare import COMPARED
from facefactor.protocols.compare import compare as compare_models
from facefactor.protocols.published import PAPERS
from facefactor.protocols.report import Report, report_of
from facefactor.protocols.reproduce import check_readers
from facefactor.protocols.reproduce import reproduce as reproduce_paper
from facefactor.reconstruction import (
    KINDS,
    Reconstruction,
    Skin,
    Surface,
    check_kind,
    has_mesh,
    reconstruct_face,
)
from facefactor.sheets import around, interpolation_sheet
from facefactor.streams import Progress, Row, list_inputs
from facefactor.sweeps import FILM_SUFFIXES, ChangeOf, edit_each, write_path, write_sweep

__all__ = [
    "Angles",
    "Check",
    "DataReport",
    "Expressions",
    "FaceModel",
    "FactorName",
    "Light",
    "MeasuredThreshold",
    "ModelEntry",
    "Parity",
    "Photo",
    "PhotoFace",
    "Reconstruction",
    "Report",
    "Verification",
    "abilities",
    "around",
    "augment",
    "check_data",
    "compare",
    "convert_morphable",
    "demo",
    "doctor",
    "edit_photos",
    "encode",
    "encode_face",
    "evaluate",
    "express",
    "expressions",
    "export",
    "find_frontal_neutral",
    "frame_rate",
    "frontalize_face",
    "interpolate",
    "light_from",
    "load",
    "model_card",
    "models",
    "neutral_face",
    "normalize",
    "normalize_face",
    "portrait_paths",
    "pose",
    "pose_axes",
    "pose_face",
    "read_face",
    "read_faces",
    "reconstruct",
    "reconstruct_face",
    "relight",
    "relight_face",
    "removable_factors",
    "render_people",
    "reproduce",
    "scale_face",
    "train",
    "transfer",
    "transfer_clip",
    "transfer_face",
    "verify",
    "verify_faces",
    "verify_models",
    "write_video",
]

logger = logging.getLogger(__name__)


def load(model: str | Path) -> FaceModel:
    """A model by the name of packaged weights ("facecycle"), or from a weights file.

    Raises:
        CheckpointError: no such weights, or the file is damaged or of another kind.
    """
    built: Any = checkpoints.build_model(weights_file(model))
    return built


def read_face(source: Any, which: str = "largest") -> PhotoFace:
    """The one face asked for of a photo; see `read_faces`."""
    return read_faces(source, which)[0]


def neutral_face(model: FaceModel, face: PhotoFace, raw: bool = False) -> Photo:
    """The photo with this face's expression taken off."""
    return edit_face(model, face, remove(model, "expression"), raw)


def frontalize_face(model: FaceModel, face: PhotoFace, raw: bool = False) -> Photo:
    """The photo with this face seen from the front (and neutral, where the model keeps pose
    inside expression)."""
    return edit_face(model, face, remove(model, factor_for(model.spec, "pose")), raw)


def normalize_face(model: FaceModel, face: PhotoFace, raw: bool = False) -> Photo:
    """The photo with the normalised face, frontal and neutral, in the place of this one.

    Raises:
        FaceFactorError: the model draws no normalised faces; names the methods that do.
    """
    return normalise_faces(model, [face], raw)


def transfer_face(
    model: FaceModel,
    target: PhotoFace,
    source: PhotoFace,
    factors: Sequence[FactorName] = ("expression",),
    strength: float = 1.0,
    raw: bool = False,
) -> Photo:
    """The target's photo with factors of the source's face."""
    return edit_face(model, target, take(model, encode_face(model, source), factors, strength), raw)


def transfer_clip(
    model: FaceModel,
    target: PhotoFace | Sequence[PhotoFace],
    clip: str | Path,
    factors: Sequence[FactorName] = ("expression",),
    strength: float = 1.0,
    raw: bool = False,
    reading: Reading | None = None,
    progress: Progress | None = None,
) -> Iterator[Photo]:
    """The target's photo with factors of each frame of a clip, as many photos as it has frames.

    Of each frame the largest face is taken; see `clips.clip_factors` for frames without one.

    Args:
        target: one face, or several of one photo.
    """
    faces = [target] if isinstance(target, PhotoFace) else target
    for taken in clip_factors(model, clip, reading, progress):
        yield edit_all(model, faces, take(model, taken, factors, strength), raw)


def relight_face(
    model: FaceModel,
    face: PhotoFace,
    light: PhotoFace | Light,
    strength: float = 1.0,
    raw: bool = False,
) -> Photo:
    """The photo with another light on this face: that of another face, or from a direction.

    Args:
        strength: 0 keeps the photo's own light, 1 replaces it, beyond 1 the change is exaggerated.

    Raises:
        FactorError: the model has no illumination; names the methods that have.
    """
    return edit_face(model, face, relit(model, light_code(model, light), strength), raw)


def pose_face(
    model: FaceModel, face: PhotoFace, goal: PhotoFace | Angles, raw: bool = False
) -> Photo:
    """The photo with this head turned: as another head in its (levelled) square, or to angles.

    Raises:
        FactorError: the model has no pose, or angles are asked of one that knows none.
    """
    return edit_face(model, face, turned(model, face, _pose_goal(model, goal)), raw)


def _pose_goal(model: FaceModel, goal: PhotoFace | Angles) -> torch.Tensor | Angles:
    return pose_code(model, goal) if isinstance(goal, PhotoFace) else goal


def scale_face(
    model: FaceModel, face: PhotoFace, factor: FactorName, strength: float, raw: bool = False
) -> Photo:
    """The photo with one factor of this face scaled about its neutral code: 0 removes it, 1 keeps
    it, beyond 1 it is exaggerated.

    Raises:
        FactorError: the model has no such factor.
        ValueError: it has, but none that is neutral; see `removable_factors`.
    """
    editing.check_factor(model.spec, factor)
    change = partial(editing.set_strength, model=model, name=factor, strength=strength)
    return edit_face(model, face, change, raw)


def removable_factors(model: FaceModel) -> tuple[FactorName, ...]:
    """Those of a model's factors that can be taken off, because it knows a neutral code."""
    return tuple(name for name in model.spec.factors if _has_neutral(model, name))


def _has_neutral(model: FaceModel, name: FactorName) -> bool:
    try:
        model.neutral(name)
    except ValueError:
        return False
    return True


_ASKS: Mapping[str, Callable[[FaceModel], object]] = {
    "expressions": expression_model,  # it tells them apart
    "light": lit_model,  # from a direction
    "angles": lambda model: editing.check_rotation(model.spec),  # a head can be turned to them
    "shape": solid_model,  # normals, albedo, mesh
    "normalised": normalising_model,  # it draws normalised faces
}


def abilities(model: FaceModel) -> frozenset[str]:
    """What a model can do beside taking its factors from one face to another: some of
    "expressions", "light", "angles", "shape", "normalised"."""
    return frozenset(name for name, check in _ASKS.items() if _passes(check, model))


def _passes(check: Callable[[FaceModel], object], model: FaceModel) -> bool:
    try:
        check(model)
    except FaceFactorError:
        return False
    return True


def remove(model: FaceModel, name: FactorName) -> Change:
    """The change that takes one factor off.

    Raises:
        FactorError: the model has no such factor; says what to ask for.
    """
    check_removable(model, name)
    return partial(editing.set_strength, model=model, name=name, strength=0.0)


def take(
    model: FaceModel, source: Factors, factors: Sequence[FactorName], strength: float
) -> Change:
    """The change that brings factors of `source`: 0 none of it, 1 all of it, beyond exaggerates.

    A strength other than 1 scales the source's code about the neutral one; a factor that cannot
    be neutral is scaled about the target's own.
    """

    def change(target: Factors) -> Factors:
        scaled = source
        for name in factors:
            editing.check_factor(model.spec, name)
            if strength != 1:
                scaled = scaled.replace({name: _scaled(model, target, source, name, strength)})
        return editing.transfer(target, scaled, factors, model.spec)

    return change


def _scaled(
    model: FaceModel, target: Factors, source: Factors, name: FactorName, strength: float
) -> torch.Tensor:
    try:
        origin = model.neutral(name)
    except ValueError:
        origin = target[name]
    return torch.lerp(origin, source[name], strength)


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
    return _each_photo(files, _targets(files, output), write, progress)


def _each_photo(
    files: Sequence[Path],
    targets: Sequence[Path],
    write: Callable[[Path, Path], str | None],
    progress: Progress | None,
) -> Outcome:
    """`write` a target of each file; one bad file is a line of the outcome, not the end.

    Args:
        write: raises where nothing can be written, returns an error where not all could.
    """
    done: list[Path] = []
    failed: dict[str, str] = {}
    for index, (file, target) in enumerate(zip(files, targets, strict=True)):
        try:
            error_half_way = write(file, target)
            done.append(target)
            if error_half_way is not None:
                failed[str(file)] = error_half_way
        except (FaceFactorError, ValueError) as error:
            failed[str(file)] = str(error)
        if progress:
            progress(index + 1, len(files))
    return Outcome(tuple(done), failed)


def _still(file: Path) -> str:
    """The suffix of what is made of a photo."""
    return ".png"


def _targets(
    files: Sequence[Path],
    output: Path,
    suffixes: Collection[str] = IMAGE_SUFFIXES,
    suffix_of: Callable[[Path], str] = _still,
) -> list[Path]:
    """Where each edited photo goes; no two to the same place, none onto its own input.

    Args:
        suffixes: that make `output` a file, not a folder.
        suffix_of: of what is made of a file, in a folder.

    Raises:
        FaceFactorError: several photos and `output` is a file name, or one would be overwritten.
    """
    if len(files) == 1 and output.suffix.lower() in suffixes:
        targets = [output]
    elif output.suffix.lower() in suffixes:
        raise FaceFactorError(f"{output}: {len(files)} photos need a folder to go to, not a file")
    else:
        targets = []
        for file in files:
            suffix, count = suffix_of(file), 1
            target = output / f"{file.stem}{suffix}"
            while target in targets:
                target, count = output / f"{file.stem}-{count}{suffix}", count + 1
            targets.append(target)
    for file, target in zip(files, targets, strict=True):
        if target.exists() and file.exists() and target.samefile(file):
            raise FaceFactorError(f"{target}: would overwrite the photo it is made from")
    return targets


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
    return _of_clip(source, output, reading)


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


def _of_clip(clip: str, output: Path, reading: Reading) -> Outcome:
    """The clip is done, or as far as it goes; frames without a face are told."""
    if (gaps := reading.gaps()) is not None:
        logger.warning("%s: %s", clip, gaps)
    return Outcome((output,), {} if reading.error is None else {clip: reading.error})


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
    progress: Progress | None = None,
) -> Outcome:
    """Another light on each photo: that of the largest face of another photo, or from a direction.

    Args:
        until: the light travels from `light` to this one in `steps`; without it, it grows from the
            photo's own.
        steps: as many pictures in a sheet (.png and others) or a film (.gif, .mp4); at least 2.

    Raises:
        FactorError: the model has no illumination, or none from a direction.
        FaceFactorError: no steps to travel in, or the output is no file of a known kind.
    """
    if until is not None and (steps is None or not isinstance(light, Light)):
        raise FaceFactorError("a light travels in steps, from one direction to another")
    files = list_inputs(inputs)
    targets = _sweep_targets(files, output, steps)
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
    return _sweep_each(network, files, targets, changes, face, raw, steps, progress)


def pose(
    inputs: Sequence[str],
    output: Path,
    goal: str | Angles,
    steps: int | None = None,
    model: str = "neurotensorial",
    face: str = "largest",
    raw: bool = False,
    progress: Progress | None = None,
) -> Outcome:
    """The head of each photo turned to angles, or as the largest face of another photo.

    Args:
        steps: as many pictures of the way there in a sheet (.png and others) or a film (.gif,
            .mp4); at least 2.

    Raises:
        FactorError: the model has no pose, or angles are asked of one that knows none.
        FaceFactorError: the output is no file of a known kind.
    """
    files = list_inputs(inputs)
    targets = _sweep_targets(files, output, steps)
    network = load(model)
    check_separates(network, "pose")
    if isinstance(goal, Angles):
        editing.check_rotation(network.spec)
    aim = goal if isinstance(goal, Angles) else pose_code(network, read_face(goal))
    changes: list[tuple[str, ChangeOf]] = [
        (f"{share:.2f}", partial(turned, network, goal=aim, share=share))
        for share in _shares(1.0, steps)
    ]
    return _sweep_each(network, files, targets, changes, face, raw, steps, progress)


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
    moving = steps is None and any(_is_video(file) for file in files)
    targets = _sweep_targets(files, output, steps, moving)
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
        if _is_video(file) and file.suffix.lower() != ".gif":  # of that, the first frame is a photo
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

    return _each_photo(files, targets, write, progress)


def _whichever(change: Change, face: PhotoFace) -> Change:
    """The same change for every face."""
    return change


def _shares(last: float, steps: int | None) -> list[float]:
    """Where the pictures of a path from 0 to `last` lie; its end alone without steps."""
    return [last] if steps is None else torch.linspace(0, last, steps).tolist()


def _is_video(file: Path) -> bool:
    return file.suffix.lower() in VIDEO_SUFFIXES


def _film_of_video(file: Path) -> str:
    """The suffix of what is made of a photo, or of all frames of a video."""
    if not _is_video(file):
        return _still(file)
    return ".gif" if file.suffix.lower() == ".gif" else ".mp4"


def _sweep_targets(
    files: Sequence[Path], output: Path, steps: int | None, moving: bool = False
) -> list[Path]:
    """`_targets`, films too where there are steps.

    Args:
        moving: of videos films are made, without steps.

    Raises:
        FaceFactorError: fewer than 2 steps, a film without steps, an unknown suffix.
    """
    if steps is not None and steps < 2:
        raise FaceFactorError(f"a path has at least 2 steps, not {steps}")
    suffix = output.suffix.lower()
    films = FILM_SUFFIXES if moving or steps is not None else frozenset()
    if suffix in FILM_SUFFIXES - films:
        raise FaceFactorError(f"{output}: a film has steps; say how many (--steps)")
    if suffix and suffix not in IMAGE_SUFFIXES | films and not output.is_dir():
        known = ", ".join([".png", ".jpg", ".webp", *sorted(films)])
        raise FaceFactorError(
            f"{output}: cannot write {suffix}; end it in {known}, or in no dot for a folder"
        )
    return _targets(files, output, IMAGE_SUFFIXES | films, _film_of_video if moving else _still)


def _sweep_each(
    network: FaceModel,
    files: Sequence[Path],
    targets: Sequence[Path],
    changes: Sequence[tuple[str, ChangeOf]],
    face: str,
    raw: bool,
    steps: int | None,
    progress: Progress | None,
) -> Outcome:
    """Each photo edited by the one change, or along the path of several."""

    def write(file: Path, target: Path) -> None:
        faces = read_faces(file, face)
        if steps is None:
            write_image(target, edit_each(network, faces, changes[0][1], raw))
        else:
            write_sweep(target, network, faces, changes, raw)

    return _each_photo(files, targets, write, progress)


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
    (target,) = _targets([Path(photo)], output, KINDS)
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
    return _of_clip(clip, output, reading)


def encode(
    inputs: Sequence[str],
    output: Path,
    model: str = "facecycle",
    face: str = "all",
    csv: bool = False,
    progress: Progress | None = None,
) -> Outcome:
    """Codes of every face of photos, folders and videos as a table; see `batch.encode_files`."""
    file = weights_file(model)
    network = load(file)
    return encode_files(network, list_inputs(inputs), output, face, _about(file), csv, progress)


def express(
    inputs: Sequence[str],
    output: Path | None = None,
    model: str = "ipdfer",
    face: str = "all",
    show: Callable[[Row], None] | None = None,
    progress: Progress | None = None,
) -> Outcome:
    """Expression and head pose of every face of photos, folders and videos, as a table.

    Without `output` nothing is written; `show` is called with each row as it comes. See
    `batch.express_files`.

    Raises:
        FaceFactorError: the model does not tell expressions apart.
    """
    file = weights_file(model)
    network = expression_model(load(file))
    files, landmarks = list_inputs(inputs), _landmarks_if_there()
    return express_files(network, files, output, face, _about(file), landmarks, show, progress)


def expressions(model: FaceModel, face: PhotoFace) -> Expressions:
    """What one face shows, and where the head points.

    Raises:
        FaceFactorError: the model does not tell expressions apart.
    """
    told = expression_model(model)
    return read_expressions(told, [cut_squares(face, model.spec)], _landmarks_if_there())[0]


def _about(file: Path) -> Mapping[str, str]:
    """What a table says of the weights that made it."""
    header = checkpoints.read_header(file)
    return {
        "model": header.method,
        "preset": header.preset,
        "weights_sha256": header.sha256,
        "licence": "research only",
    }


def _landmarks_if_there() -> LandmarkNetwork | None:
    try:
        return packaged_landmarks()
    except InstrumentError as error:
        _warn_once(f"head poses are left out: {error}")
        return None


@cache
def _warn_once(message: str) -> None:
    logger.warning(message)


def verify(first: PhotoSource, second: PhotoSource, face: str = "largest") -> Verification:
    """Do two photos show one person? See `Verification`.

    Args:
        face: which face of each: "largest", or a number in order of size.

    Raises:
        ImageError, NoFaceError: a photo cannot be read, or has no such face.
        InstrumentError: the packaged recogniser is not there.
    """
    if face == "all":
        raise FaceFactorError("one face of each photo is compared; say largest, or a number")
    return verify_faces(read_face(first, face), read_face(second, face))


def export(model: str | Path, onnx: Path) -> Parity:
    """The expression branch of a model as an ONNX graph in the file `onnx`; see
    `export.export_onnx`."""
    return export_onnx(load(model), onnx, checkpoints.read_header(weights_file(model)).sha256)


def reproduce(
    method: str | None = None,
    data: Sequence[str] = (),
    models: Sequence[str] = (),
    morphable: str | Path | None = None,
    output: Path | None = None,
    page: Path | None = None,
    seed: int = 0,
    fresh: bool = False,
    cache: Path = CACHE,
    progress: Progress | None = None,
) -> Report:
    """The figures of a method's paper and ours beside them, a line for each published row.

    Rows whose data or weights are not named say what they need. What was measured once is kept
    below `cache`, so a call that was cut off goes on where it was. Of all methods the packaged
    weights are also compared, as by `compare`.

    Args:
        method: one of the five; None: all of them, with the weights that come with the package.
        data: "reader=folder" each.
        models: weights of the method or its variants, in place of the packaged ones.
        output: folder for `results.json`, `results.md` and `results.html`, pictures inside.
        page: a Markdown file for the same without pictures; its figures lie beside it as .json.
        fresh: measure anew what is kept.

    Raises:
        FaceFactorError: an unknown method or reader, or weights of another method.
    """
    folders = {name: Path(folder) for name, folder in _pairs(data).items()}
    check_readers(folders)
    file = Path(morphable) if morphable else None
    if method is None and models:
        raise FaceFactorError("weights are of one method; name it, or leave the weights out")
    found = [
        reproduce_paper(
            name,
            folders,
            models,
            file,
            seed,
            cache,
            fresh,
            progress,
        )
        for name in ([method] if method else PAPERS)
    ]
    comparison = None
    there = [] if method else [each.stem for each in packaged_weights() if each.stem in PAPERS]
    if there and (file or set(folders) & set(COMPARED)):
        comparison = compare_models(there, folders, file, seed, cache, fresh, progress)
    command = f"facefactor reproduce {method or '--all'}" + _asked(folders, morphable)
    title = f"{method}: the paper's figures and ours" if method else "Results"
    report = report_of(title, command + " --model FILE" * len(models), found, comparison)
    return _written(report, output, page)


def compare(
    models: Sequence[str],
    data: Sequence[str] = (),
    morphable: str | Path | None = None,
    output: Path | None = None,
    page: Path | None = None,
    seed: int = 0,
    fresh: bool = False,
    cache: Path = CACHE,
    progress: Progress | None = None,
) -> Report:
    """Models side by side on the same faces: which factor each code tells, beside chance and
    floors; what drawings keep; speed and size. Arguments as for `reproduce`.

    Raises:
        FaceFactorError: no models or no faces, or an unknown reader.
    """
    folders = {name: Path(folder) for name, folder in _pairs(data).items()}
    file = Path(morphable) if morphable else None
    found = compare_models(models, folders, file, seed, cache, fresh, progress)
    command = f"facefactor compare {' '.join(models)}" + _asked(folders, morphable)
    return _written(report_of("Methods side by side", command, (), found), output, page)


def _asked(folders: Mapping[str, Path], morphable: str | Path | None) -> str:
    """The data of a command, without where they lie."""
    given = "".join(f" -d {name}=FOLDER" for name in folders)
    return given + (" --morphable FILE" if morphable else "")


def _written(report: Report, output: Path | None, page: Path | None) -> Report:
    if output is not None:
        report.write(output)
    if page is not None:
        report.write_page(page)
    return report


def train(
    method: str,
    data: Sequence[str] = (),
    preset: str = "small",
    output: Path | None = None,
    changes: Sequence[str] = (),
    seed: int = 0,
    resume: bool = True,
    start_from: str | None = None,
    landmarks: str | Path | None = None,
    recogniser: str | Path | None = None,
    validation: float = 0.0,
    morphable: str | Path | None = None,
) -> Path:
    """Train a method or instrument; `data` as "reader=folder", `changes` as "setting=value",
    `start_from` as `load` takes it, `landmarks` a folder of `<data set>.npz`,
    `recogniser` a weights file for methods that begin with one, `validation` the share of
    labelled photos that is scored instead of trained on, `morphable` the file of a morphable
    model for methods that learn from one fitted to their faces, or from its rendered faces, which
    take no `data`."""
    from facefactor.training.train import train as run

    return run(
        method,
        {name: Path(folder) for name, folder in _pairs(data).items()},
        output or Path("runs") / method,
        preset,
        _pairs(changes),
        seed,
        fresh=not resume,
        start_from=weights_file(start_from) if start_from else None,
        landmarks=Path(landmarks) if landmarks else None,
        recogniser=Path(recogniser) if recogniser else None,
        validation=validation,
        morphable=Path(morphable) if morphable else None,
    )


def _pairs(values: Sequence[str]) -> Mapping[str, str]:
    pairs = [value.partition("=") for value in values]
    if bad := [name for name, equals, rest in pairs if not (equals and rest)]:
        raise FaceFactorError(f"{bad[0]!r} is not of the form name=value")
    return {name: rest for name, _, rest in pairs}


@dataclass(frozen=True)
class ModelEntry:
    """Weights at hand, and what they separate."""

    name: str
    preset: str
    factors: tuple[str, ...]
    image_size: int
    megabytes: float
    path: Path

    def to_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "preset": self.preset,
            "factors": ", ".join(self.factors),
            "face": f"{self.image_size}x{self.image_size}",
            "MB": round(self.megabytes, 1),
        }


def models() -> list[ModelEntry]:
    """The weights that come with the package."""
    entries = []
    for path in packaged_weights():
        header = checkpoints.read_header(path)
        spec = header.spec
        megabytes = path.stat().st_size / 1e6
        entries.append(
            ModelEntry(
                path.stem, header.preset, tuple(spec.factors), spec.image_size, megabytes, path
            )
        )
    return entries


def model_card(name: str) -> str:
    """The card (Markdown) of a packaged model, or instrument: "landmarks", "recogniser".

    Raises:
        CheckpointError: there is none of this name.
        InstrumentError: an instrument whose weights do not come with this install.
    """
    instrument = next((known for known in INSTRUMENTS if known == name), None)
    file = weights_file(name) if instrument is None else packaged_instrument(instrument)
    card = file.with_suffix(".md")
    if not card.is_file():
        raise CheckpointError(f"{name}: no card {card.name} beside its weights")
    return card.read_text(encoding="utf-8")


def verify_models() -> list[Check]:
    """Read every packaged weights file: models with their hashes, and the instruments."""
    checks = []
    for entry in models():
        try:
            header, _ = checkpoints.load(entry.path)
            checks.append(Check(entry.name, "ok", f"sha256 {header.sha256[:12]}…"))
        except CheckpointError as error:
            checks.append(Check(entry.name, "fail", str(error), "install facefactor again"))
    return checks + instruments()


def demo(output: Path) -> list[Path]:
    """Two public-domain portraits edited by the packaged models, in the folder `output`: the sheets
    `demo.png` and `light.png`, and a mesh of each."""
    return [
        *write_demo(output, load("facecycle")),
        *write_light_demo(output, load("neurotensorial")),
    ]


def doctor() -> list[Check]:
    """Is everything here that is needed, and does it work?"""
    return examine()


def convert_morphable(folder: str | Path, output: str | Path) -> Path:
    """The face of a folder of ICT-FaceKit as a file for `train(..., morphable=...)`.

    Raises:
        MorphableModelError: the folder is not ICT-FaceKit's.
        FaceFactorError: the file is not to be an .npz.
    """
    if Path(output).suffix != ".npz":
        raise FaceFactorError(f"{output}: a morphable model is an .npz file")
    write_morphable(output, convert_ict_facekit(folder))
    return Path(output)


def render_people(
    output: Path,
    morphable: str | Path,
    people: int = 10,
    seed: int = 0,
    size: int = 64,
    crop: str = "facecycle",
    progress: Progress | None = None,
) -> Path:
    """A folder of rendered faces of people who do not exist, with all that decided them; its table.

    See `data.synthetic.write_faces`.

    Raises:
        MorphableModelError: `morphable` is no such file, or lacks ICT-FaceKit's expressions.
        FaceFactorError: no people, pictures too small, or an unknown crop.
    """
    from facefactor.data.synthetic import FaceRenderer, write_faces  # brings kornia: slow

    if people < 1 or size < 16:
        raise FaceFactorError(
            f"{people} people of {size} pixels; at least 1 and 16 are needed to see a face"
        )
    if crop not in CROPS:
        raise FaceFactorError(f"no crop is called {crop!r}; there are {', '.join(CROPS)}")
    model = read_morphable(morphable)
    try:
        renderer = FaceRenderer(model, crop, size)
    except MorphableModelError as error:
        raise MorphableModelError(f"{morphable}: {error}") from error
    return write_faces(output, renderer, people, seed, progress)


def augment(
    folder: str | Path,
    output: str | Path,
    reader: str = "auto",
    label: str | None = None,
    model: str = "nfgan",
    progress: Progress | None = None,
) -> Outcome:
    """A folder of the normalised faces of a labelled folder, with an index `index.csv`, to train on
    beside it (`train(..., data=["augmented=OUTPUT"])`). Called again it goes on.

    Photos that their data set puts into its test part are left out. See
    `augmentation.labelled_photos` for how the faces are labelled.

    Args:
        reader: how `folder` is laid out: a key of `data.readers.READERS`, "classes" for a
            sub-folder for each class, or "auto".
        label: of all normalised faces, instead.

    Raises:
        DataError: the folder is not what the reader expects.
        FaceFactorError: the model draws no normalised faces, or `output` holds something else.
    """
    file = weights_file(model)
    network = load(file)
    normalising_model(network)
    photos = labelled_photos(folder, reader, label)
    about = {**_about(file), "reader": reader, "label": label}
    return augment_folder(network, photos, Path(folder), Path(output), about, progress)


def check_data(folder: Path, reader: str = "auto") -> DataReport:
    """What is in a data set folder, and what is wrong with it."""
    return check_folder(folder, reader)


def find_frontal_neutral(
    folder: str | Path,
    output: str | Path,
    reader: str = "auto",
    max_angle: float = 5.0,
    progress: Progress | None = None,
    cache: Path = Path(".cache") / "faces",
) -> FrontalNeutralList:
    """Which photos of a data set are frontal, neutral, sharp and, where that is known, without
    glasses; a table of all of them. See `data.frontal_neutral`.

    Args:
        reader: how the folder is laid out (`data.readers.READERS`); "auto" tells by its files.
        max_angle: degrees of yaw and of pitch, either way.
        cache: where cut faces are kept; asked again, the answer comes from there.

    Raises:
        DataError: no such folder or reader, or no face in it.
        FaceFactorError: the table is not to be a .csv.
    """
    if Path(output).suffix != ".csv":
        raise FaceFactorError(f"{output}: the list is a .csv file")
    top = existing_folder(folder)
    name = guess_reader(top) if reader == "auto" else reader
    if name not in READERS:
        raise FaceFactorError(f"no reader is called {name!r}; there are auto, {', '.join(READERS)}")
    records = READERS[name](top)
    aligned = all(record.points is not None for record in records)
    expressions: Any = load("ipdfer")
    return list_frontal_neutral(
        records,
        top,
        Path(output),
        Judges(packaged_landmarks(), expressions),
        cache,
        None if aligned else face_detector().detect,
        max_angle,
        progress,
    )
