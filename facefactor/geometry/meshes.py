"""Meshes as files that viewers open: GLB with its texture, OBJ and PLY with coloured vertices.

Vertices are in centimetres in a face's frame (x to the subject's left, y up, z out of the face),
which is how glTF and most viewers place a model that looks at its viewer. GLB, whose unit is the
metre, is scaled on writing and on reading.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from facefactor.errors import FaceFactorError
from facefactor.files import atomic_path
from facefactor.geometry.rasteriser import vertex_normals

MESH_SUFFIXES = frozenset({".glb", ".obj", ".ply"})
_METRES = 0.01  # a centimetre


class MeshError(FaceFactorError, ValueError):
    """A file is no mesh, or of a kind that is not read or written here."""


@dataclass(frozen=True, eq=False)
class Mesh:
    """A surface, wound counter-clockwise seen from outside, and its colours."""

    vertices: Tensor  # (V, 3) centimetres
    triangles: Tensor  # (T, 3) int64
    uv: Tensor | None = None  # (V, 2) texture coordinates in [0, 1], v up
    texture: NDArray[np.uint8] | None = None  # (H, W, 3) RGB; v = 1 is the upper edge of row 0
    colours: Tensor | None = None  # (V, 3) RGB in [0, 1], where there is no texture


def write_mesh(path: str | Path, mesh: Mesh) -> None:
    """Write GLB, OBJ or PLY, by the suffix, in one file.

    GLB holds the texture. OBJ and PLY hold no picture: vertices get the texture's colours at their
    places. Normals are stored in GLB, so that viewers shade it smoothly.

    Raises:
        MeshError: another suffix.
        WriteError: the file cannot be written.
    """
    import trimesh

    kind = _kind(Path(path))
    scale = _METRES if kind == "glb" else 1.0
    built: Any = trimesh.Trimesh(
        vertices=scale * mesh.vertices.detach().cpu().double().numpy(),
        faces=mesh.triangles.cpu().numpy(),
        process=False,  # neither merges nor reorders
    )
    if kind == "glb":
        built.vertex_normals = vertex_normals(mesh.vertices.detach(), mesh.triangles).cpu().numpy()
    colours = mesh.colours
    if mesh.uv is not None and mesh.texture is not None:
        if kind == "glb":
            built.visual = _textured(trimesh, mesh.uv, mesh.texture)
            colours = None
        else:
            colours = sample_texture(mesh.texture, mesh.uv)
    if colours is not None:
        built.visual.vertex_colors = (
            (255 * colours.detach().clamp(0, 1)).round().byte().cpu().numpy()
        )
    settings: dict[str, Any] = {"header": "facefactor"} if kind == "obj" else {}
    content = built.export(file_type=kind, **settings)
    with atomic_path(path) as temporary:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)


def read_mesh(path: str | Path) -> Mesh:
    """A mesh from GLB, OBJ or PLY; several in one file are joined.

    Raises:
        MeshError: no such file, another suffix, a broken file, no triangles in it.
    """
    import trimesh

    path = Path(path)
    kind = _kind(path)
    if not path.is_file():
        raise MeshError(f"{path} does not exist; name a GLB, OBJ or PLY")
    try:
        # From memory, so that files which the mesh names (materials, pictures) are not opened.
        content = io.BytesIO(path.read_bytes())
        read: Any = trimesh.load_mesh(content, file_type=kind, process=False, maintain_order=True)
        if isinstance(read, trimesh.Scene):
            read = read.to_mesh()
        vertices = torch.from_numpy(np.array(read.vertices, dtype=np.float32))
        triangles = torch.from_numpy(np.array(read.faces, dtype=np.int64))
    except Exception as error:  # the readers raise nearly anything on damaged files
        raise MeshError(f"{path}: cannot be read as {kind.upper()} ({error})") from error
    if not len(triangles):
        raise MeshError(f"{path}: has no triangles")
    uv, texture, colours = _looks(read.visual)
    return Mesh(vertices / _METRES if kind == "glb" else vertices, triangles, uv, texture, colours)


def sample_texture(texture: NDArray[np.uint8], uv: Tensor) -> Tensor:
    """Colours (V, 3) in [0, 1] of an RGB picture (H, W, 3) at coordinates (V, 2), bilinear."""
    picture = torch.from_numpy(texture).to(uv).permute(2, 0, 1)[None] / 255
    places = torch.stack([2 * uv[:, 0] - 1, 1 - 2 * uv[:, 1]], dim=1)  # v is up, rows go down
    found = F.grid_sample(picture, places[None, None], padding_mode="border", align_corners=False)
    return found[0, :, 0].T


def _kind(path: Path) -> str:
    if path.suffix.lower() not in MESH_SUFFIXES:
        raise MeshError(f"{path}: meshes are {', '.join(sorted(MESH_SUFFIXES))}, by their suffix")
    return path.suffix.lower()[1:]


def _textured(trimesh: Any, uv: Tensor, texture: NDArray[np.uint8]) -> Any:
    """Matt skin, seen from both sides; glTF's own default is metal."""
    material = trimesh.visual.material.PBRMaterial(
        name="face",
        baseColorTexture=Image.fromarray(texture),
        metallicFactor=0.0,
        roughnessFactor=1.0,
        doubleSided=True,
    )
    return trimesh.visual.TextureVisuals(uv=uv.detach().cpu().double().numpy(), material=material)


def _looks(visual: Any) -> tuple[Tensor | None, NDArray[np.uint8] | None, Tensor | None]:
    """uv, texture and colours of what was read, each None where there is none."""
    if visual.kind == "vertex":
        rgb = np.array(visual.vertex_colors[:, :3], dtype=np.float32)
        return None, None, torch.from_numpy(rgb / 255)
    if visual.kind != "texture" or visual.uv is None:
        return None, None, None
    uv = torch.from_numpy(np.array(visual.uv, dtype=np.float32))
    picture = getattr(visual.material, "baseColorTexture", None)
    return uv, None if picture is None else np.array(picture.convert("RGB")), None
