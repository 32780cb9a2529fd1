"""The expressions of a clip, frame by frame, put onto a template: a film of a photo, or a mesh that
moves.

As Neuro-Tensorial does it (appendix E): each frame's expression code takes the place of the
template's, and nothing else of the clip is used. One frame is held at a time, so memory stays flat
whatever the length.
"""

from __future__ import annotations

import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import groupby, repeat
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from facefactor.abilities import solid_model
from facefactor.errors import FaceFactorError
from facefactor.factors import FaceModel, Factors
from facefactor.files import atomic_path
from facefactor.geometry.meshes import Mesh, write_mesh
from facefactor.geometry.morphable import MorphableModel, read_morphable
from facefactor.images import VideoError, read_frames
from facefactor.perception.select import NoFaceError
from facefactor.photo_edits import PhotoFace, encode_face, read_faces
from facefactor.reconstruction import (
    Skin,
    Surface,
    check_modes,
    has_mesh,
    reconstruct_face,
)

Progress = Callable[[int, int | None], None]


@dataclass
class Reading:
    """What came of reading a clip; it fills while its frames are used."""

    frames: int = 0
    without_face: list[int] = field(default_factory=list)  # numbers of frames, from 0
    error: str | None = None  # where it broke off; what came before was used

    def gaps(
        self, instead: str = "they repeat the one before, those at the beginning the first"
    ) -> str | None:
        """Which frames show no face and what is done with them, in words; None if all do."""
        if not self.without_face:
            return None
        # what number and place have between them stays the same along a run
        numbered = groupby(enumerate(self.without_face), key=lambda pair: pair[1] - pair[0])
        runs = [[number for _, number in run] for _, run in numbered]
        told = ", ".join(f"{run[0]}-{run[-1]}" if run[1:] else f"{run[0]}" for run in runs)
        return f"no face in {len(self.without_face)} of {self.frames} frames ({told}); {instead}"


def clip_factors(
    model: FaceModel,
    clip: str | Path,
    reading: Reading | None = None,
    progress: Progress | None = None,
) -> Iterator[Factors]:
    """The factors (N = 1) of the largest face in each frame of a clip, as many as there are frames.

    A frame without a face has those of the frame before; frames before the first face have its.

    Args:
        reading: is told of frames without a face, and where the clip breaks off: that ends the
            factors, but is no error once there was a face.
        progress: called with frames done and None, as nobody knows how many there are.

    Raises:
        NoFaceError: there is no face in any frame.
        VideoError: not a video, or it breaks off before there was a face.
    """
    told = Reading() if reading is None else reading
    last: Factors | None = None
    frames = enumerate(read_frames(clip))
    while True:
        try:
            number, frame = next(frames)
        except StopIteration:
            break
        except VideoError as error:
            if last is None:
                raise
            told.error = str(error)
            return
        told.frames = number + 1
        try:
            found = encode_face(model, read_faces(frame)[0])
        except NoFaceError:
            told.without_face.append(number)
        else:
            if last is None:
                yield from repeat(found, number)
            last = found
        if last is not None:
            yield last
        if progress:
            progress(told.frames, None)
    if last is None:
        raise NoFaceError(f"{clip}: no face found in any of its {told.frames} frames")


class Moved(NamedTuple):
    """The template with the expression of one frame."""

    vertices: Tensor  # (V, 3) cm, as the template's, the head not turned
    weights: Tensor  # (E,) of the morphable model's expressions, as the model tells them


@dataclass(frozen=True, eq=False)
class Template:
    """The person whose face shows a clip's expressions."""

    mesh: Mesh  # at rest, or as in the photo it is taken from
    move: Callable[[Factors], Moved]  # the factors of a frame (N = 1) -> the mesh's vertices
    weight_names: tuple[str, ...] = ()  # E of them, where a morphable model tells


def mean_template(model: FaceModel, morphable: str | Path | MorphableModel) -> Template:
    """The mean face of the morphable model that the weights learned from, or of its file.

    Raises:
        FaceFactorError: the model knows no shapes; or, when it moves, that it learned from another.
        MorphableModelError: no such file.
    """
    solid = solid_model(model)
    source = _read(morphable)

    @torch.inference_mode()
    def move(factors: Factors) -> Moved:
        identity, weights = solid.coefficients(factors)
        check_modes(solid, source, morphable, identity, weights)
        return Moved(source.vertices(torch.zeros_like(identity), weights)[0], weights[0])

    mesh = Mesh(source.neutral, source.triangles, source.uv)
    return Template(mesh, move, source.expression_names)


def photo_template(
    model: FaceModel,
    face: PhotoFace,
    morphable: str | Path | MorphableModel | None = None,
    surface: Surface = "direct",
    skin: Skin = "photo",
) -> Template:
    """The person in a photo, whose mesh is that of `reconstruction.reconstruct_face`.

    Raises:
        FaceFactorError: the model knows no shapes, learned from another morphable model, or no mesh
            can be made.
        MorphableModelError: no such file.
    """
    solid = solid_model(model)
    source = None if morphable is None else _read(morphable)
    if not has_mesh(solid, source, surface):
        raise FaceFactorError(
            f"{face.name}: this mesh needs the morphable model that the weights learned from; name "
            "its file (--morphable FILE; `facefactor data morphable` makes it)"
        )
    found = reconstruct_face(model, face, morphable, surface, skin)
    mesh, identity = found.mesh, found.factors["identity"]
    assert mesh is not None  # as `has_mesh` said

    @torch.inference_mode()
    def move(factors: Factors) -> Moved:
        weights = solid.coefficients(factors)[1]
        if source is not None and surface == "coefficients":
            return Moved(source.vertices(found.identity[None], weights)[0], weights[0])
        displacement = solid.shape(identity, factors["expression"])[0].mT
        return Moved(mesh.vertices - found.displacement + displacement, weights[0])

    return Template(mesh, move, () if source is None else source.expression_names)


def _read(morphable: str | Path | MorphableModel) -> MorphableModel:
    return morphable if isinstance(morphable, MorphableModel) else read_morphable(morphable)


def write_objs(folder: Path, template: Template, factors: Iterable[Factors]) -> int:
    """Write `frame_000000.obj` and so on, one for each of `factors`; returns how many.

    Raises:
        FaceFactorError: the folder has such files already: of a longer clip some would stay.
        WriteError: when the file system refuses.
    """
    if old := sorted(folder.glob("frame_*.obj")):
        raise FaceFactorError(
            f"{folder}: has meshes of another clip in it ({old[0].name}); name a new folder"
        )
    count = 0
    for each in factors:
        moved = replace(template.mesh, vertices=template.move(each).vertices)
        write_mesh(folder / f"frame_{count:06d}.obj", moved)
        count += 1
    return count


def write_npz(
    path: Path, template: Template, factors: Iterable[Factors], fps: float, reading: Reading
) -> int:
    """Write the template's vertices at each of `factors` into one file; returns how many.

    Arrays: vertices (T, V, 3) float32 in cm; weights (T, E) float32 and, where they are known,
    weight_names (E,); triangles (T', 3); uv (V, 2) and texture (H, W, 3) uint8 where the template
    has them; fps; without_face, the numbers of frames that repeat another.

    Args:
        reading: of the clip that `factors` come from; looked at when they end.

    Raises:
        WriteError: when the file system refuses.
    """
    mesh, weights = template.mesh, []
    with atomic_path(path) as temporary, tempfile.TemporaryFile() as shapes:
        for each in factors:
            moved = template.move(each)
            shapes.write(moved.vertices.float().cpu().numpy().tobytes())
            weights.append(moved.weights.float().cpu().numpy())
        arrays: dict[str, NDArray[Any]] = {
            "weights": np.stack(weights),
            "triangles": mesh.triangles.cpu().numpy(),
            "fps": np.array(fps),
            "without_face": np.array(reading.without_face, np.int64),
        }
        if template.weight_names:
            arrays["weight_names"] = np.array(template.weight_names)
        if mesh.uv is not None:
            arrays["uv"] = mesh.uv.cpu().numpy()
        if mesh.texture is not None:
            arrays["texture"] = mesh.texture
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            shape = (len(weights), *mesh.vertices.shape)
            header = {"descr": "<f4", "fortran_order": False, "shape": shape}
            with archive.open("vertices.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array_header_1_0(member, header)
                shapes.seek(0)
                shutil.copyfileobj(shapes, member)
            for name, array in arrays.items():
                with archive.open(f"{name}.npy", "w") as member:
                    np.lib.format.write_array(member, array, allow_pickle=False)
    return len(weights)
