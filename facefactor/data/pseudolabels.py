"""What a fitted morphable model says of faces: computed once and kept on disk.

Faces without landmarks have NaN.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from facefactor.data.kept_parts import kept_in_parts
from facefactor.geometry.morphable import MorphableModel
from facefactor.geometry.projection import project
from facefactor.geometry.rasteriser import normal_map, rasterise
from facefactor.geometry.uv_grid import resample
from facefactor.images import photos_to_faces
from facefactor.perception.fitting import fit_landmarks, fit_lighting

_FORMAT = 1  # part of every name: raise it when the same inputs would give other labels
_UNSEEN = 0  # all three of a pixel's normal; no unit vector is stored as this


@dataclass(frozen=True, eq=False)
class PseudoLabels:
    """Of N faces; I identity modes, E expressions, pictures of S x S."""

    rotation: NDArray[np.float32]  # (N, 3, 3), of `geometry.rotations`
    scale: NDArray[np.float32]  # (N,) sides of the picture in a centimetre of the model
    shift: NDArray[np.float32]  # (N, 2) where its origin is seen, in shares of the side, y down
    identity: NDArray[np.float32]  # (N, I) coefficients
    expression: NDArray[np.float32]  # (N, E) weights in [0, 1]
    light: NDArray[np.float32]  # (N, 9), of `geometry.lighting`; mean shading 0.75
    error: NDArray[np.float32]  # (N,) of landmarks 17-67, in distances of the eye corners
    packed_normals: NDArray[np.uint8]  # (N, S, S, 3), see `unpack_normals`

    def __len__(self) -> int:
        return len(self.rotation)


def pseudo_labels(
    faces: NDArray[np.uint8],
    landmarks: NDArray[np.float32],
    model: MorphableModel,
    folder: Path,
    progress: Callable[[int, int], None] | None = None,
) -> PseudoLabels:
    """Fit the model to each face; what `folder` holds already is read.

    Args:
        faces: (N, S, S, 3) RGB crops.
        landmarks: (N, 68, 2) in shares of the side, as of `data.landmarks.crop_landmarks`; NaN
            where unknown.
        folder: for files of 256 faces each, named by their contents and the model's.
        progress: called with (done, N).

    Raises:
        ValueError: shapes that do not belong together, or no faces.
        DataError: a file in `folder` is damaged.
    """
    if len(faces) != len(landmarks) or not len(faces):
        raise ValueError(f"{len(faces)} faces, but landmarks of {len(landmarks)}")
    closed = resample(model)  # the grid closes the holes of eyes and mouth
    key = _hash(closed.neutral, closed.identity, closed.expression)
    found = kept_in_parts(
        (faces, landmarks),
        folder,
        name=lambda part, marks: _hash(part, marks, key),
        compute=lambda part, marks: vars(_label(part, marks, model, closed)),
        arrays=[field.name for field in fields(PseudoLabels)],
        progress=progress,
        save=np.savez_compressed,  # normals are 0 off the face
    )
    return PseudoLabels(**found)


def unpack_normals(packed: NDArray[np.uint8]) -> tuple[Tensor, Tensor]:
    """Stored normals (N, S, S, 3) -> unit normals (N, 3, S, S), 0 off the face, and its mask
    (N, 1, S, S) in {0, 1}. Stored are 128 + 127 n, rounded: 0.4 degrees off at most."""
    stored = torch.from_numpy(packed).permute(0, 3, 1, 2)
    mask = (stored != _UNSEEN).any(dim=1, keepdim=True)
    normals = torch.nn.functional.normalize((stored.float() - 128) / 127, dim=1)
    return normals * mask, mask.float()


def _label(
    faces: NDArray[np.uint8],
    landmarks: NDArray[np.float32],
    model: MorphableModel,
    closed: MorphableModel,
) -> PseudoLabels:
    size = faces.shape[1]
    fit = fit_landmarks(torch.from_numpy(landmarks), model)
    known = fit.error.isfinite()
    packed = np.zeros(faces.shape, np.uint8)
    light = torch.full((len(faces), 9), torch.nan, dtype=torch.float64)
    if known.any():
        shapes = closed.vertices(fit.identity[known].float(), fit.expression[known].float())
        # pixel centres are whole numbers: the left edge is at -0.5
        points = project(
            shapes,
            fit.rotation[known].float(),
            size * fit.scale[known].float(),
            size * fit.shift[known].float() - 0.5,
        )
        raster = rasterise(points, closed.triangles, (size, size))
        normals = normal_map(raster, points, closed.triangles)
        pictures = photos_to_faces(faces[known.numpy()])
        hull = _hulls(size * landmarks[known.numpy()] - 0.5, size)
        light[known] = fit_lighting(pictures, normals, raster.mask & hull)
        stored = (128 + 127 * normals).round() * raster.mask
        packed[known.numpy()] = stored.permute(0, 2, 3, 1).byte().numpy()
    return PseudoLabels(
        rotation=fit.rotation.float().numpy(),
        scale=fit.scale.float().numpy(),
        shift=fit.shift.float().numpy(),
        identity=fit.identity.float().numpy(),
        expression=fit.expression.float().numpy(),
        light=light.float().numpy(),
        error=fit.error.float().numpy(),
        packed_normals=packed,
    )


def _hulls(landmarks: NDArray[np.float32], size: int) -> Tensor:
    """(N, 1, S, S) where faces are most likely skin: no hair, ears or neck within the landmarks."""
    masks = np.zeros((len(landmarks), size, size), np.uint8)
    for mask, points in zip(masks, landmarks, strict=True):
        cv2.fillConvexPoly(mask, cv2.convexHull(points.round().astype(np.int32)), 1)
    return torch.from_numpy(masks)[:, None].bool()


def _hash(*parts: Tensor | NDArray[np.generic] | str) -> str:
    digest = hashlib.sha256(str(_FORMAT).encode())
    for part in parts:
        if isinstance(part, str):
            digest.update(part.encode())
        else:
            array = np.asarray(part)
            digest.update(repr((array.shape, array.dtype.str)).encode())
            digest.update(array.tobytes())
    return digest.hexdigest()[:24]
