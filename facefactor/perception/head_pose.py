"""Head pose from 68 landmarks: a mean face fitted to them, and the formula of IPD-FER's labels.

Landmarks are x, y with y down, in any unit that is the same along both axes, iBUG order. Angles are
in degrees with the signs of 300W-LP (`geometry.rotations`): yaw > 0 points the nose to the image's
left, pitch > 0 looks up, roll > 0 tilts the head clockwise.
"""

from __future__ import annotations

import torch
from torch import Tensor

from facefactor.geometry.projection import fit_projection
from facefactor.geometry.rotations import yaw_pitch_roll

YAW_EDGES = (10.0, 20.0, 30.0, 40.0)  # degrees, between the pose classes of IPD-FER (Table 1)

# x to the image's right, y up, z to the camera; 1 is the distance of the outer eye corners; the
# origin is the mean of landmarks 17-67. Computed once from the pseudo-labels of CelebA-128 (other
# data sets had no part in it): 7,482 faces within 10 degrees of yaw and 15 of the median pitch,
# aligned by their rotation, scale and shift in 3D, averaged, made symmetric. Its pitch of 0 is that
# of the average of these people, who look into the camera; the neutral head of ICT-FaceKit has to
# nod by 9.7 degrees (pitch -9.7) to lie like this.
MEAN_FACE = torch.tensor(
    (
        (-0.771, 0.475, -0.568), (-0.778, 0.149, -0.761), (-0.767, -0.016, -0.782),
        (-0.692, -0.381, -0.723), (-0.622, -0.535, -0.624), (-0.540, -0.651, -0.514),
        (-0.347, -0.827, -0.352), (-0.142, -0.938, -0.223), (0.000, -0.954, -0.205),
        (0.142, -0.938, -0.223), (0.347, -0.827, -0.352), (0.540, -0.651, -0.514),
        (0.622, -0.535, -0.624), (0.692, -0.381, -0.723), (0.767, -0.016, -0.782),
        (0.778, 0.149, -0.761), (0.771, 0.475, -0.568), (-0.689, 0.544, -0.267),
        (-0.571, 0.545, -0.041), (-0.464, 0.571, 0.036), (-0.325, 0.557, 0.100),
        (-0.165, 0.531, 0.132), (0.165, 0.531, 0.132), (0.325, 0.557, 0.100),
        (0.464, 0.571, 0.036), (0.571, 0.545, -0.041), (0.689, 0.544, -0.267),
        (0.000, 0.351, 0.106), (0.000, 0.176, 0.196), (0.000, 0.014, 0.306),
        (0.000, -0.086, 0.326), (-0.155, -0.164, 0.079), (-0.093, -0.204, 0.096),
        (0.000, -0.212, 0.115), (0.093, -0.204, 0.096), (0.155, -0.164, 0.079),
        (-0.500, 0.328, -0.147), (-0.431, 0.367, -0.070), (-0.315, 0.373, -0.050),
        (-0.194, 0.301, -0.089), (-0.294, 0.288, -0.068), (-0.407, 0.286, -0.088),
        (0.194, 0.301, -0.089), (0.315, 0.373, -0.050), (0.431, 0.367, -0.070),
        (0.500, 0.328, -0.147), (0.407, 0.286, -0.088), (0.294, 0.288, -0.068),
        (-0.315, -0.402, -0.157), (-0.183, -0.353, 0.036), (-0.094, -0.339, 0.081),
        (0.000, -0.355, 0.089), (0.094, -0.339, 0.081), (0.183, -0.353, 0.036),
        (0.315, -0.402, -0.157), (0.178, -0.550, -0.034), (0.096, -0.582, 0.000),
        (0.000, -0.592, 0.007), (-0.096, -0.582, 0.000), (-0.178, -0.550, -0.034),
        (-0.287, -0.406, -0.136), (-0.080, -0.409, 0.012), (0.000, -0.415, 0.022),
        (0.080, -0.409, 0.012), (0.287, -0.406, -0.136), (0.079, -0.479, -0.010),
        (0.000, -0.486, 0.000), (-0.079, -0.479, -0.010),
    ),
    dtype=torch.float64,
)  # fmt: skip
_FITTED = slice(17, 68)  # jaw points slide along the outline as the head turns


def head_rotation(landmarks: Tensor) -> Tensor:
    """The rotation that turns the mean face into each face, (N, 68, 2) -> (N, 3, 3).

    Landmarks are taken for a scaled, shifted parallel projection of the rotated mean face
    (`geometry.projection`). Exact where the model is; for faces of other shape as near to a fit in
    3D as least squares over rotations were (4 degrees on CelebA), and without iterations.

    Returns:
        float64; NaN for a face with a NaN. Landmarks on one line leave the rotation undetermined.

    Raises:
        ValueError: another shape.
    """
    if landmarks.ndim != 3 or landmarks.shape[1:] != (68, 2):
        raise ValueError(f"landmarks must be (N, 68, 2), got {tuple(landmarks.shape)}")
    model = MEAN_FACE[_FITTED].to(landmarks.device)
    known = landmarks.isfinite().flatten(1).all(dim=1)
    ahead = model[:, :2] * model.new_tensor([1, -1])  # no NaN into the fit
    points = torch.where(known[:, None, None], landmarks[:, _FITTED].double(), ahead)
    rotation, _, _ = fit_projection(model[None], points)
    return torch.where(known[:, None, None], rotation, torch.nan)


def head_pose(landmarks: Tensor) -> Tensor:
    """Yaw, pitch, roll in degrees of faces (N, 68, 2) -> (N, 3); NaN for a face with a NaN.

    Faces must not be stretched: from data sets that do stretch them, take landmarks in a crop.
    """
    return yaw_pitch_roll(head_rotation(landmarks)).to(landmarks.dtype)


def yaw_of_paper(landmarks: Tensor) -> Tensor:
    """The yaw, degrees, that IPD-FER's pose labels are made of: (N, 68, 2) -> (N,).

        yaw = 71.58 (d / 2 - a) / (d / 2) + 0.7037

    d is the distance between two jaw points, a that from the first to the foot of the bridge of the
    nose on the line through both. The formula belongs to 98 landmarks (WFLW), where jaw points lie
    twice as dense: their 1 and 31 are the middles of ours 0, 1 and 15, 16; their 51 is our 27.

    A symmetric face has 0.70 degrees. The original cuts degrees off to integers, which we do not;
    and a is counted along the line, so it is negative before the first point (yaw beyond 72).
    """
    first = (landmarks[:, 0] + landmarks[:, 1]) / 2
    last = (landmarks[:, 15] + landmarks[:, 16]) / 2
    along = last - first
    # a / d: where the foot lies on the line, 0 at its first point and 1 at its last
    share = ((landmarks[:, 27] - first) * along).sum(dim=-1) / along.square().sum(dim=-1)
    return 71.58 * (1 - 2 * share) + 0.7037


def yaw_bins(yaw: Tensor) -> Tensor:
    """Pose classes of IPD-FER by |yaw| in degrees (Table 1): int64, same shape; -1 for NaN.

    0: below 10, 1: 10 to below 20, 2: to below 30, 3: to below 40, 4: 40 and more. The paper leaves
    the edges open.
    """
    bins = torch.bucketize(yaw.abs(), yaw.new_tensor(YAW_EDGES), right=True)
    return torch.where(yaw.isnan(), -1, bins)
