"""A face in three dimensions: what a model says of shape, skin and light, and the mesh of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from facefactor.abilities import Drawn, SolidModel, solid_model
from facefactor.errors import FaceFactorError
from facefactor.factors import FaceModel, Factors
from facefactor.files import atomic_path
from facefactor.geometry.lighting import directional_lighting
from facefactor.geometry.meshes import MESH_SUFFIXES, Mesh, sample_texture, write_mesh
from facefactor.geometry.morphable import MorphableModel, read_morphable
from facefactor.geometry.projection import project
from facefactor.geometry.rasteriser import interpolate, rasterise, render
from facefactor.geometry.rotations import nearest_rotation, rotation_matrix
from facefactor.geometry.similarity import Affine, apply_affine, similarity_transform
from facefactor.geometry.texturing import bake_texture
from facefactor.geometry.uv_grid import grid_triangles, grid_uv, resample
from facefactor.images import Photo, face_to_photo, write_image
from facefactor.perception.align import Placement
from facefactor.photo_edits import PhotoFace
from facefactor.sheets import around, resize, row, stack

Surface = Literal["direct", "coefficients"]
Skin = Literal["photo", "albedo"]

KINDS = MESH_SUFFIXES | {".npz", ".png"}
_TEXTURE_SIDE = 512
_FINER = 1.5  # pixels of the picture a texture is taken from, in one of the texture's
_BRIGHTEST = 1.5  # shading that is white on the sheet
_HEIGHT = 200  # of the sheet's pictures
_VIEWS = {"front": 0.0, "yaw -40": -40.0, "yaw +40": 40.0}


@dataclass(frozen=True, eq=False)
class Reconstruction:
    """One face (N = 1) as a model has it.

    Images are (1, C, S, S), in the model's square, in [0, 1] unless `Drawn` says otherwise.
    """

    face: PhotoFace
    placement: Placement  # of the square
    square: Tensor  # what the model saw
    factors: Factors
    drawn: Drawn
    frontal_face: Tensor
    frontal_normals: Tensor  # of length 1
    rotation: Tensor  # (3, 3), in the square; `geometry.rotations` has its angles
    lighting: Tensor  # (9,) or (27,), of `geometry.lighting`
    identity: Tensor  # (I,) coefficients of the morphable model
    expression: Tensor  # (E,) its weights
    displacement: Tensor  # (9375, 3) cm, of the grid from the mean face
    mesh: Mesh | None  # None where the mean face is not known
    seen: NDArray[np.float32] | None  # (H, W) how far each pixel of its texture was seen, 0 to 1

    def arrays(self) -> dict[str, NDArray[Any]]:
        """All of it by name, as an `.npz` holds it; images (S, S, C)."""
        images = {
            "square": self.square,
            "redrawn": self.drawn.image,
            "normals": self.drawn.normals,
            "albedo": self.drawn.albedo,
            "shading": self.drawn.shading,
            "mask": self.drawn.mask,
            "background": self.drawn.background,
            "frontal_face": self.frontal_face,
            "frontal_normals": self.frontal_normals,
        }
        plain = {
            "rotation": self.rotation,
            "lighting": self.lighting,
            "identity_coefficients": self.identity,
            "expression_coefficients": self.expression,
            "displacement": self.displacement,
            **{f"{name}_code": code[0] for name, code in self.factors.codes.items()},
            **{name: image[0].permute(1, 2, 0) for name, image in images.items()},
        }
        if self.mesh is not None:
            plain |= {"vertices": self.mesh.vertices, "triangles": self.mesh.triangles}
        arrays: dict[str, NDArray[Any]] = {
            name: tensor.detach().cpu().numpy() for name, tensor in plain.items()
        }
        arrays["photo_to_square"] = np.asarray(self.placement.to_crop)
        arrays["box"] = np.asarray(self.face.found.box, dtype=np.float64)
        if self.mesh is not None and self.mesh.uv is not None and self.mesh.texture is not None:
            arrays["uv"] = self.mesh.uv.cpu().numpy()
            arrays["texture"] = self.mesh.texture
        if self.seen is not None:
            arrays["texture_seen"] = self.seen
        return arrays

    def write(self, path: str | Path) -> None:
        """Write a mesh (.glb, .obj, .ply), all numbers (.npz) or a sheet of pictures (.png).

        Raises:
            FaceFactorError: another suffix, or a mesh whose mean face is not known.
            WriteError: the file cannot be written.
        """
        kind = check_kind(path, self.mesh is not None)
        if kind == ".png":
            write_image(path, sheet(self))
        elif kind == ".npz":
            with atomic_path(path) as temporary, temporary.open("wb") as file:
                np.savez_compressed(file, **self.arrays())  # type: ignore[arg-type]
        elif self.mesh is not None:
            write_mesh(path, self.mesh)


def has_mesh(model: FaceModel, morphable: object, surface: Surface) -> bool:
    """Whether a mesh can be made: of a morphable model, or of the mean face in the weights.

    Raises:
        FaceFactorError: the model knows no shapes.
    """
    mean_face = solid_model(model).mean_face()
    return morphable is not None or (surface == "direct" and mean_face is not None)


def check_kind(path: str | Path, has_mesh: bool) -> str:
    """The suffix of a file that a reconstruction can be written to.

    Raises:
        FaceFactorError: another suffix, or a mesh's and there is no mesh.
    """
    kind = Path(path).suffix.lower()
    if kind not in KINDS:
        raise FaceFactorError(
            f"{path}: cannot write {kind or 'a name without suffix'}; end it in "
            f"{', '.join(sorted(KINDS))}"
        )
    if kind in MESH_SUFFIXES and not has_mesh:
        raise FaceFactorError(
            f"{path}: this mesh needs the morphable model that the weights learned from; name its "
            "file (--morphable FILE; `facefactor data morphable` makes it)"
        )
    return kind


@torch.inference_mode()
def reconstruct_face(
    model: FaceModel,
    face: PhotoFace,
    morphable: str | Path | MorphableModel | None = None,
    surface: Surface = "direct",
    texture: Skin = "photo",
) -> Reconstruction:
    """One face in three dimensions.

    Args:
        morphable: the morphable model that the weights learned from, or its file; without it the
            mean face comes from the weights, and where these do not know it there is no mesh.
        surface: the mesh's shape. "direct": the model's own, on the grid, with eyes and mouth
            closed by skin; "coefficients": the morphable model's, of the coefficients that the
            model tells; without a morphable model there is no such mesh.
        texture: "photo": the photo's own pixels, light and all, where they show the face; "albedo":
            the skin without light, as the model draws it (coarse).

    Raises:
        FaceFactorError: the model knows no shapes, or learned from another morphable model.
        MorphableModelError: no such file.
    """
    solid = solid_model(model)
    source = read_morphable(morphable) if isinstance(morphable, str | Path) else morphable
    square, placement = face.cut(solid.spec)
    factors = solid.encode(square)
    identity, expression = solid.coefficients(factors)
    drawn = solid.render(factors)
    rotation = nearest_rotation(factors["pose"].reshape(-1, 3, 3))[0]
    displacement = solid.shape(factors["identity"], factors["expression"])[0].mT.contiguous()
    mesh, seen, shape = None, None, None
    if source is not None:
        check_modes(solid, source, morphable, identity, expression)
        if surface == "direct":
            shape = _grid_shape(source, displacement)
        else:
            shape = _modal_shape(source, identity, expression)
    elif surface == "direct":
        shape = _own_shape(solid, displacement)
    if shape is not None:
        points = points_in_photo(shape.vertices, shape.landmarks68, rotation, face)
        picture, points = _picture(face.photo, drawn.albedo, placement, points, texture)
        painted, seen = bake_texture(picture, points, shape.triangles, shape.uv, _TEXTURE_SIDE)
        mesh = Mesh(shape.vertices, shape.triangles, shape.uv, painted)
    return Reconstruction(
        face=face,
        placement=placement,
        square=square,
        factors=factors,
        drawn=drawn,
        frontal_face=solid.frontal_face(factors),
        frontal_normals=solid.frontal_normals(factors),
        rotation=rotation,
        lighting=solid.lighting(factors["illumination"])[0],
        identity=identity[0],
        expression=expression[0],
        displacement=displacement,
        mesh=mesh,
        seen=seen,
    )


class _Shape(NamedTuple):
    """A surface without skin; see `geometry.morphable`."""

    vertices: Tensor  # (V, 3) cm
    triangles: Tensor
    uv: Tensor
    landmarks68: Tensor


def _own_shape(model: SolidModel, displacement: Tensor) -> _Shape | None:
    """On the grid, of the mean face in the weights; None where there is none."""
    known = model.mean_face()
    if known is None:
        return None
    mean, landmarks = known
    corners = mean.new_tensor([[0.0, 0.0], [1.0, 1.0]])  # the grid fills the texture
    return _Shape(mean + displacement, grid_triangles(), grid_uv(corners), landmarks)


def _grid_shape(source: MorphableModel, displacement: Tensor) -> _Shape:
    grid = resample(source)
    return _Shape(grid.neutral + displacement, grid.triangles, grid.uv, grid.landmarks68)


def _modal_shape(source: MorphableModel, identity: Tensor, expression: Tensor) -> _Shape:
    vertices = source.vertices(identity, expression)[0]
    return _Shape(vertices, source.triangles, source.uv, source.landmarks68)


def points_in_photo(
    vertices: Tensor, landmarks68: Tensor, rotation: Tensor, face: PhotoFace
) -> Tensor:
    """Where a face's vertices (V, 3) are seen in its photo: (V, 3) pixels, y down, z to the camera.

    They are turned by `rotation` (3, 3), in a square that is level, and brought by the similarity
    of least squares to the eyes, nose and corners of the mouth that were found in the photo.
    """
    turned = vertices @ rotation.mT
    flat = (turned[:, :2] * turned.new_tensor([1, -1])).double().numpy()
    eyes = [flat[landmarks68[part]].mean(axis=0) for part in (slice(36, 42), slice(42, 48))]
    corners = [flat[landmarks68[number]] for number in (30, 48, 54)]  # nose, then the mouth
    to_photo = similarity_transform([*eyes, *corners], face.found.points)
    scale = float(np.hypot(*to_photo[:, 0]))
    seen = torch.from_numpy(apply_affine(to_photo, flat)).to(vertices)
    return torch.cat([seen, scale * turned[:, 2:]], dim=1)


def sheet(found: Reconstruction) -> Photo:
    """All its pictures, each under its name; the mesh from three sides where there is one."""
    drawn = found.drawn
    photo = around(found.face.photo, found.face.found.box)
    first = {
        "network's input": found.square,
        "redrawn": drawn.image,
        "mask": drawn.mask,
        "background": drawn.background,
    }
    second = {
        "normals": (drawn.normals + 1) / 2,
        "albedo": drawn.albedo,
        f"shading, white {_BRIGHTEST:g}": drawn.shading / _BRIGHTEST,
        "frontal face": found.frontal_face,
        "frontal normals": (found.frontal_normals + 1) / 2,
    }
    rows = [
        row([photo, *_shown(first)], ["input", *first], _HEIGHT),
        row(_shown(second), list(second), _HEIGHT),
    ]
    if found.mesh is not None:
        rows.append(row(*_mesh_views(found.mesh), _HEIGHT))
    return stack(rows)


def check_modes(
    model: SolidModel,
    source: MorphableModel,
    name: str | Path | MorphableModel | None,
    identity: Tensor,
    expression: Tensor,
) -> None:
    """Raise FaceFactorError when a morphable model has not the modes that coefficients (N, I) and
    (N, E) are of: it is not the one these weights learned from."""
    has = len(source.identity), len(source.expression)
    needs = identity.shape[1], expression.shape[1]
    if has != needs:
        what = name if isinstance(name, str | Path) else "the morphable model"
        raise FaceFactorError(
            f"{what}: has {has[0]} identity modes and {has[1]} expressions, these weights of "
            f"{model.spec.name} learned from one with {needs[0]} and {needs[1]}; name that one"
        )


def _picture(
    photo: Photo, albedo: Tensor, placement: Placement, points: Tensor, skin: Skin
) -> tuple[Photo, Tensor]:
    """The picture that the texture is taken from, and the points (V, 3) of the photo in it."""
    if skin == "albedo":
        return face_to_photo(albedo)[0], _moved(points, placement.to_crop)
    extent = float((points.amax(dim=0) - points.amin(dim=0))[:2].max())
    share = min(1.0, _FINER * _TEXTURE_SIDE / extent)
    height = max(1, round(share * len(photo)))
    smaller = resize(photo, height) if share < 1 else photo
    x, y = smaller.shape[1] / photo.shape[1], height / len(photo)
    # pixel centres are whole numbers: the left edge is at -0.5
    return smaller, _moved(points, np.array([[x, 0, x / 2 - 0.5], [0, y, y / 2 - 0.5]]))


def _moved(points: Tensor, transform: Affine) -> Tensor:
    """Points (V, 3) of one picture in another; their depth is scaled alike."""
    flat = torch.from_numpy(apply_affine(transform, points[:, :2].numpy())).to(points)
    return torch.cat([flat, float(np.hypot(*transform[:, 0])) * points[:, 2:]], dim=1)


def _shown(images: Mapping[str, Tensor]) -> list[Photo]:
    return [face_to_photo(image)[0] for image in images.values()]


def _mesh_views(mesh: Mesh) -> tuple[list[Photo], list[str]]:
    """The mesh with its texture from three sides, then its bare shape under a light from above."""
    middle = (mesh.vertices.amax(dim=0) + mesh.vertices.amin(dim=0)) / 2
    centred = mesh.vertices - middle
    radius = centred.norm(dim=1).max()
    shots = [(name, yaw, False) for name, yaw in _VIEWS.items()]
    shots += [(f"shape, {name}", yaw, True) for name, yaw in list(_VIEWS.items())[:2]]
    photos = []
    for _, yaw, bare in shots:
        rotation = rotation_matrix(torch.tensor([[yaw, 0.0, 0.0]])).to(centred)
        scale = (_HEIGHT / 2 / radius)[None]
        points = project(centred, rotation, scale, centred.new_full((1, 2), _HEIGHT / 2 - 0.5))
        raster = rasterise(points, mesh.triangles, (_HEIGHT, _HEIGHT))
        if bare:
            light = directional_lighting(centred.new_zeros(1), centred.new_full((1,), 45.0), 0.2)
            grey = centred.new_full(centred.shape, 0.75)
            picture = render(raster, points, mesh.triangles, grey, light)
        else:
            picture = interpolate(raster, _vertex_colours(mesh))
        photos += face_to_photo(torch.where(raster.mask, picture, 1.0))
    return photos, [name for name, _, _ in shots]


def _vertex_colours(mesh: Mesh) -> Tensor:
    if mesh.texture is None or mesh.uv is None:
        return mesh.vertices.new_full(mesh.vertices.shape, 0.75)
    return sample_texture(mesh.texture, mesh.uv)
