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
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import repeat
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from facefactor.abilities import solid_model
from facefactor.editing import has_rotation
from facefactor.errors import FaceFactorError
from facefactor.factors import FaceModel, FactorName, Factors, ModelSpec
from facefactor.files import atomic_path
from facefactor.following import Reading, read_film
from facefactor.geometry.meshes import Mesh, write_mesh
from facefactor.geometry.morphable import MorphableModel, read_morphable
from facefactor.geometry.rotations import nearest_rotation
from facefactor.outcomes import Progress
from facefactor.photo_edits import PhotoFace, encode_face
from facefactor.reconstruction import (
    Skin,
    Surface,
    check_modes,
    has_mesh,
    reconstruct_face,
)
from facefactor.smoothing import Neighbourhood, neighbourhoods


def clip_factors(
    model: FaceModel,
    clip: str | Path,
    reading: Reading | None = None,
    progress: Progress | None = None,
    smooth: float = 0.0,
    lent: Sequence[FactorName] | None = None,
) -> Iterator[Factors]:
    """The factors (N = 1) of one person in each frame of a clip, as many as there are frames.

    It is who has the largest face at first, followed as `following.Follower` does. A frame without
    this face has the factors of the frame before; frames before the first one have its.

    Args:
        smooth: codes are averaged over frames with Gaussian weights of this standard deviation;
            0 leaves them as they are.
        lent: see `photo_edits.encode_face`.
        reading: is told of frames without a face, and where the clip breaks off: that ends the
            factors, but is no error once there was a face.
        progress: called with frames done and None, as nobody knows how many there are.

    Raises:
        NoFaceError: there is no face in any frame, or none before the clip breaks off.
        VideoError: not a video.
        FaceFactorError: a negative width.
    """
    frames = _read_factors(model, clip, reading, progress, lent)
    for around in neighbourhoods(frames, smooth):
        yield _mean(around, model.spec)


def _read_factors(
    model: FaceModel,
    clip: str | Path,
    reading: Reading | None,
    progress: Progress | None,
    lent: Sequence[FactorName] | None,
) -> Iterator[Factors]:
    last: Factors | None = None
    for number, frame in enumerate(read_film(clip, "largest", reading, progress)):
        if frame.faces:
            found = encode_face(model, frame.faces[0], lent)
            if last is None:
                yield from repeat(found, number)
            last = found
        if last is not None:
            yield last


def _mean(around: Neighbourhood[Factors], spec: ModelSpec) -> Factors:
    """The weighted mean of codes and of what they own; a rotation stays one."""
    if len(around.items) == 1:
        return around.item
    weights = torch.from_numpy(around.weights).float()
    codes = {
        name: _weighted([each[name] for each in around.items], weights) for name in spec.factors
    }
    if has_rotation(spec):
        codes["pose"] = nearest_rotation(codes["pose"].reshape(-1, 3, 3)).reshape(-1, 9)
    owned = {entry for factor in spec.factors.values() for entry in factor.owns}
    residual = {
        entry: _weighted([each.residual[entry] for each in around.items], weights)
        if entry in owned and value.is_floating_point()
        else value
        for entry, value in around.item.residual.items()
    }
    return Factors(codes, residual)


def _weighted(tensors: list[Tensor], weights: Tensor) -> Tensor:
    return torch.tensordot(weights, torch.stack(tensors), 1)


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
