"""Head rotations: yaw, pitch, roll in degrees, 3x3 matrices, and distances and paths between them.

Everything here takes and returns torch tensors with any leading axes. A matrix turns column vectors
of a head that looks at the camera: x to the image's right, y up, z out of the image. The angles
have the order and signs of 300W-LP and AFLW2000, R = R_x(pitch) R_y(yaw) R_z(roll); looking at the
photo,

* yaw > 0: the nose points to the image's left (a face not mirrored turns to its own right);
* pitch > 0: the face looks up;
* roll > 0: the head is tilted clockwise, its top to the image's right.

Each factor turns the other way round than the right-hand rule about x, y and z has it.
"""

from __future__ import annotations

import torch
from torch import Tensor

# Below this cosine of the yaw, only pitch and roll together follow from a matrix.
_LOCKED = 1e-6
# Eigenvalues whose ratio is 1 + 2^-20 are told apart by this many squarings; beyond, hardly by any.
_SQUARINGS = 26
_SMALLEST = 1e-30  # size of a matrix, below which every rotation is as near


def rotation_matrix(pose: Tensor) -> Tensor:
    """(..., 3) yaw, pitch, roll in degrees -> (..., 3, 3)."""
    yaw, pitch, roll = torch.deg2rad(pose).unbind(-1)
    zero, one = torch.zeros_like(yaw), torch.ones_like(yaw)
    about_x = _matrix(
        (one, zero, zero), (zero, pitch.cos(), pitch.sin()), (zero, -pitch.sin(), pitch.cos())
    )
    about_y = _matrix(
        (yaw.cos(), zero, -yaw.sin()), (zero, one, zero), (yaw.sin(), zero, yaw.cos())
    )
    about_z = _matrix(
        (roll.cos(), roll.sin(), zero), (-roll.sin(), roll.cos(), zero), (zero, zero, one)
    )
    return about_x @ about_y @ about_z


def yaw_pitch_roll(rotation: Tensor) -> Tensor:
    """(..., 3, 3) rotations -> (..., 3) degrees; yaw in [-90, 90], pitch and roll in [-180, 180].

    At a yaw of 90 degrees either way pitch and roll turn about the same axis: roll is then 0, and
    all of the turn is pitch. Nearby the two are ill determined, and gradients grow without bound.
    """
    cosine = torch.hypot(rotation[..., 0, 0], rotation[..., 0, 1])
    yaw = torch.atan2(-rotation[..., 0, 2], cosine)
    locked = cosine < _LOCKED
    pitch = torch.where(
        locked,
        torch.atan2(yaw.sign() * rotation[..., 1, 0], rotation[..., 1, 1]),
        torch.atan2(rotation[..., 1, 2], rotation[..., 2, 2]),
    )
    roll = torch.atan2(rotation[..., 0, 1], rotation[..., 0, 0])
    roll = torch.where(locked, torch.zeros_like(roll), roll)
    return torch.rad2deg(torch.stack([yaw, pitch, roll], dim=-1))


def nearest_rotation(matrix: Tensor) -> Tensor:
    """The rotations nearest to any (..., 3, 3) matrices, by the sum of squared differences.

    Never a reflection. Not unique, and without a gradient, where the two smallest singular values
    are equal and the determinant is negative, or where both are zero.

    The trace of R^T M is a quadratic form q^T K q of R's unit quaternion q (Horn, JOSA A 4, 1987),
    so the nearest rotation is K's first eigenvector. It comes by squaring K, once all of its
    eigenvalues are made positive: sums and products only, where an ONNX graph has no SVD.
    """
    form = _horn_form(matrix.double())
    size = torch.linalg.vector_norm(matrix.double(), dim=(-2, -1), keepdim=True)
    power = form + (2 * size).clamp(min=_SMALLEST) * torch.eye(4).to(form)  # |K| <= 3^(1/2) |M|
    for _ in range(_SQUARINGS):
        power = power / power.amax(dim=(-2, -1), keepdim=True)
        power = power @ power
    longest = power.square().sum(-1, keepdim=True).argmax(-2, keepdim=True)  # all point along q
    row = power.gather(-2, longest.expand(*longest.shape[:-1], 4))[..., 0, :]
    length = torch.linalg.vector_norm(row, dim=-1, keepdim=True)
    return _of_quaternion(row / length).to(matrix)


def geodesic_distance(first: Tensor, second: Tensor) -> Tensor:
    """The angle between rotations (..., 3, 3), (...), in degrees, 0 to 180.

    From sine and cosine both: the arc cosine alone loses half of the digits near 0 and 180.
    """
    between = first.mT @ second
    sine = torch.linalg.vector_norm(_skew_part(between), dim=-1)
    cosine = (between.diagonal(dim1=-2, dim2=-1).sum(-1) - 1) / 2
    return torch.rad2deg(torch.atan2(sine, cosine))


def interpolate(first: Tensor, second: Tensor, share: float) -> Tensor:
    """The rotation on the shortest path from `first` (share 0) to `second` (1), both (..., 3, 3).

    Shares outside of [0, 1] go on along the path. Where the two are 180 degrees apart there are
    two shortest paths; which is taken is not specified.
    """
    return first @ _turn(share * _rotation_vector(first.mT @ second))


def _rotation_vector(rotation: Tensor) -> Tensor:
    """Axis times angle in radians, (..., 3), by the right-hand rule; the angle is at most pi."""
    sine_axis = _skew_part(rotation)
    sine = torch.linalg.vector_norm(sine_axis, dim=-1, keepdim=True)
    trace = rotation.diagonal(dim1=-2, dim2=-1).sum(-1)
    cosine = ((trace - 1) / 2)[..., None]
    angle = torch.atan2(sine, cosine)
    # Up to 90 degrees the skew part gives the axis; beyond, where it dies out, the symmetric part:
    # (R + R^T) / 2 = cos I + (1 - cos) a a^T, and the longest column of a a^T is the safest.
    symmetric = (rotation + rotation.mT) / 2
    outer = symmetric - cosine[..., None] * torch.eye(3).to(rotation)
    longest = outer.diagonal(dim1=-2, dim2=-1).argmax(-1)
    column = outer.gather(-1, longest[..., None, None].expand(*outer.shape[:-1], 1))[..., 0]
    sign = torch.where((column * sine_axis).sum(-1, keepdim=True) < 0, -1.0, 1.0)
    length = torch.linalg.vector_norm(column, dim=-1, keepdim=True)
    far = sign * angle * column / length.clamp(min=1e-12)
    near = torch.where(sine > 1e-6, angle / sine.clamp(min=1e-12), 1.0) * sine_axis
    return torch.where(cosine > 0, near, far)


def _turn(vector: Tensor) -> Tensor:
    """Axis times angle in radians (..., 3) -> the rotation (..., 3, 3)."""
    x, y, z = vector.unbind(-1)
    zero = torch.zeros_like(x)
    return torch.linalg.matrix_exp(_matrix((zero, -z, y), (z, zero, -x), (-y, x, zero)))


def _skew_part(rotation: Tensor) -> Tensor:
    """Axis times the sine of the angle, (..., 3)."""
    twice = torch.stack(
        [
            rotation[..., 2, 1] - rotation[..., 1, 2],
            rotation[..., 0, 2] - rotation[..., 2, 0],
            rotation[..., 1, 0] - rotation[..., 0, 1],
        ],
        dim=-1,
    )
    return twice / 2


def _horn_form(matrix: Tensor) -> Tensor:
    """K of q^T K q = trace(R(q)^T M): (..., 3, 3) -> (..., 4, 4), symmetric."""
    a, b, c, d, e, f, g, h, i = matrix.flatten(-2).unbind(-1)
    return _matrix(
        (a + e + i, h - f, c - g, d - b),
        (h - f, a - e - i, b + d, c + g),
        (c - g, b + d, e - a - i, f + h),
        (d - b, c + g, f + h, i - a - e),
    )


def _of_quaternion(quaternion: Tensor) -> Tensor:
    """Unit quaternions (..., 4), the real part first -> rotations (..., 3, 3)."""
    w, x, y, z = quaternion.unbind(-1)
    return _matrix(
        (1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)),
        (2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)),
        (2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)),
    )


def _matrix(*rows: tuple[Tensor, ...]) -> Tensor:
    return torch.stack([torch.stack(row, dim=-1) for row in rows], dim=-2)
