"""Faces as NFGAN's recognition of expressions takes them (Sec. 5.1): registered, evened out, cut.

A face is aligned by 49 landmarks to 64x64 and made grey. Of it five patches of 60x60 (centre and
corners) and their mirror images are trained on, and the one in the centre is tested. Each patch is
equalised, loses the plane of light that fits it best, and gets mean 0 and variance 1, in this
order, which is that of the paper's sentence.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from facefactor.geometry.similarity import similarity_transform
from facefactor.images import Photo, face_to_photo
from facefactor.perception.align import Placement, crop_points, cut
from facefactor.perception.head_pose import MEAN_FACE

FACE_SIZE, PATCH_SIZE = 64, 60  # pixels a side
# The 49 of the paper's landmark finders in iBUG's 68: no jaw, no inner corners of the lips.
INNER_LANDMARKS = [point for point in range(17, 68) if point not in (60, 64)]

# Which square around the landmarks is cut the paper leaves open. Ours is 1.6 times as wide as the
# outer eye corners are apart and begins above the brows. It ends just above the chin, as the named
# crops do that faces come in (within three rows): lower down there would be mirrored mouths.
_SIDE, _MIDDLE = 1.6, -0.07  # in units of MEAN_FACE; the middle's height, up from its origin
_INSET = (FACE_SIZE - PATCH_SIZE) // 2
# rows and columns of the top left pixel: centre first
_CORNERS = [(_INSET, _INSET)] + [(y, x) for y in (0, 2 * _INSET) for x in (0, 2 * _INSET)]


def register(
    faces: NDArray[np.uint8], landmarks: NDArray[np.float32] | NDArray[np.float64]
) -> NDArray[np.uint8]:
    """Faces in which 49 landmarks lie, as nearly as a similarity allows, where the mean face's do.

    Rotation in the plane, scale and shift are undone; a turned head stays turned.

    Args:
        faces: (N, S, S, 3) RGB; beyond their border they are mirrored.
        landmarks: (N, 68, 2), shares of the side: 0 the left or top edge, 1 the other.

    Returns:
        (N, 64, 64) grey.
    """
    wanted = _template()
    registered = np.empty((len(faces), FACE_SIZE, FACE_SIZE), np.uint8)
    for row, (face, points) in enumerate(zip(faces, landmarks, strict=True)):
        found = points[INNER_LANDMARKS] * face.shape[0] - 0.5  # pixel centres at integers
        placement = Placement(similarity_transform(found, wanted), FACE_SIZE)
        square = face_to_photo(cut(np.array(face), placement))[0]
        registered[row] = cv2.cvtColor(square, cv2.COLOR_RGB2GRAY)
    return registered


def recrop(face: Photo, crop: str, other: str, size: int) -> Photo:
    """A face (S, S, 3) cut by one named crop, as another frames it: (size, size, 3).

    Both templates are known, so the face need not be found again; what lies beyond its border is
    mirrored.
    """
    moved = similarity_transform(crop_points(crop, len(face)), crop_points(other, size))
    return face_to_photo(cut(face, Placement(moved, size)))[0]


def training_patches(faces: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Grey faces (N, 64, 64) -> five patches each, (N, 5, 60, 60); the centre is the first.

    Their mirror images complete the ten. All of `even_out` is the same seen in a mirror, so they
    are turned where they are used.
    """
    patches = [[_patch(face, *corner) for corner in _CORNERS] for face in faces]
    return np.array(patches, np.float32).reshape(len(faces), 5, PATCH_SIZE, PATCH_SIZE)


def centre_patches(faces: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Grey faces (N, 64, 64) -> the patch in the centre of each, (N, 60, 60)."""
    patches = [_patch(face, *_CORNERS[0]) for face in faces]
    return np.array(patches, np.float32).reshape(len(faces), PATCH_SIZE, PATCH_SIZE)


def even_out(patch: NDArray[np.uint8]) -> NDArray[np.float32]:
    """A grey patch (H, W) without uneven light: equalised, less its plane, mean 0 and variance 1.

    A patch that is nothing but a plane is 0 everywhere.
    """
    level = remove_plane(cv2.equalizeHist(np.ascontiguousarray(patch)).astype(np.float64))
    spread = level.std()
    return (level / spread if spread > 1e-6 else 0 * level).astype(np.float32)


def remove_plane(image: NDArray[np.float64]) -> NDArray[np.float64]:
    """An image (H, W) less the plane a x + b y + c nearest to it, by least squares."""
    height, width = image.shape
    # measured from the middle the three parts of a plane are orthogonal, and fitted one by one
    y = np.arange(height)[:, None] - (height - 1) / 2
    x = np.arange(width)[None] - (width - 1) / 2
    level = image - image.mean()
    level = level - (level * x).sum() / (height * (x**2).sum()) * x
    level = level - (level * y).sum() / (width * (y**2).sum()) * y
    return np.asarray(level, np.float64)


def _patch(face: NDArray[np.uint8], top: int, left: int) -> NDArray[np.float32]:
    return even_out(face[top : top + PATCH_SIZE, left : left + PATCH_SIZE])


def _template() -> NDArray[np.float64]:
    """Where the 49 landmarks of the mean face lie in the 64x64 square, (49, 2) pixels."""
    x, y = MEAN_FACE[INNER_LANDMARKS, :2].numpy().T
    shares = np.column_stack([x / _SIDE, (_MIDDLE - y) / _SIDE]) + 0.5
    return np.asarray(shares * FACE_SIZE - 0.5, np.float64)
