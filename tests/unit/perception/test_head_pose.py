"""Head pose from landmarks: exact on exact data, signs as a person sees them, the paper's yaw."""

import numpy as np
import pytest
import torch

from facefactor.data.landmarks import read_landmarks
from facefactor.geometry.landmarks import MIRRORED, mirror_landmarks
from facefactor.geometry.rotations import geodesic_distance, rotation_matrix
from facefactor.perception.head_pose import (
    MEAN_FACE,
    head_pose,
    head_rotation,
    yaw_bins,
    yaw_of_paper,
)


def photo_of(points, scale=40.0, shift=(60.0, 55.0)):
    """Parallel projection of 3D points (..., 68, 3) into pixels, y down."""
    return scale * points[..., :2] * torch.tensor([1.0, -1.0]) + torch.tensor(shift)


def turned(pose):
    return MEAN_FACE @ rotation_matrix(torch.tensor(pose, dtype=torch.float64)).mT


@pytest.mark.parametrize("scale", [0.3, 40.0])
def test_known_angles_come_back(scale):
    random = torch.Generator().manual_seed(0)
    poses = (2 * torch.rand(100, 3, generator=random).double() - 1) * torch.tensor([80, 60, 120])
    photos = photo_of(MEAN_FACE @ rotation_matrix(poses).mT, scale)
    torch.testing.assert_close(head_pose(photos), poses, rtol=0, atol=1e-3)
    torch.testing.assert_close(head_rotation(photos), rotation_matrix(poses), rtol=0, atol=1e-6)
    single = head_pose(photos.float())
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), poses, rtol=0, atol=1e-2)


def test_jaw_points_have_no_say():
    photo = photo_of(turned((20.0, -10.0, 5.0)))[None]
    moved = photo.clone()
    moved[:, :17] += 30
    assert torch.equal(head_pose(moved), head_pose(photo))


def displaced(x=0.0, y_up=0.0):
    """The mean face as a picture whose parts moved the more, the nearer they are to the camera."""
    moved = MEAN_FACE.clone()
    moved[:, 0] += x * MEAN_FACE[:, 2]
    moved[:, 1] += y_up * MEAN_FACE[:, 2]
    return photo_of(moved)[None]


def test_signs_as_a_person_sees_them():
    """The nose goes left: yaw > 0. It goes up: pitch > 0. The top goes right: roll > 0."""
    left, right = head_pose(displaced(x=-0.1))[0], head_pose(displaced(x=0.1))[0]
    assert 5 < left[0] < 6 and -6 < right[0] < -5  # atan 0.1 = 5.7
    up, down = head_pose(displaced(y_up=0.1))[0], head_pose(displaced(y_up=-0.1))[0]
    assert 5 < up[1] < 6 and -6 < down[1] < -5
    x, y = photo_of(MEAN_FACE).unbind(-1)
    cosine, sine = np.cos(np.radians(12)), np.sin(np.radians(12))
    clockwise = torch.stack([cosine * x - sine * y, sine * x + cosine * y], dim=-1)  # y is down
    assert clockwise[8, 0] < x[8] - 5  # the chin went left
    assert head_pose(clockwise[None])[0].tolist() == pytest.approx([0, 0, 12], abs=1e-6)


def test_the_mean_face_is_symmetric_and_faces_the_camera():
    assert torch.equal(MEAN_FACE[list(MIRRORED)] * torch.tensor([-1, 1, 1]), MEAN_FACE)
    assert head_pose(photo_of(MEAN_FACE)[None])[0].tolist() == pytest.approx([0, 0, 0], abs=1e-9)
    assert MEAN_FACE[45, 0] - MEAN_FACE[36, 0] == pytest.approx(1, abs=2e-3)
    assert MEAN_FACE[:, 2].argmax() == 30  # the tip of the nose is nearest to the camera
    assert MEAN_FACE[:, 1].argmin() == 8  # the chin is lowest


def test_a_face_with_nan_has_no_pose_and_does_not_touch_the_others():
    photos = photo_of(torch.stack([turned((20.0, 0.0, 0.0)), turned((0.0, 30.0, 0.0))]))
    photos[0, 40, 1] = torch.nan
    poses = head_pose(photos)
    assert poses[0].isnan().all()
    assert poses[1].tolist() == pytest.approx([0, 30, 0], abs=1e-6)
    assert head_pose(torch.zeros(0, 68, 2)).shape == (0, 3)


@pytest.mark.parametrize("shape", [(68, 2), (1, 68, 3), (1, 98, 2)])
def test_other_shapes_are_refused(shape):
    with pytest.raises(ValueError, match=r"landmarks must be \(N, 68, 2\)"):
        head_pose(torch.zeros(shape))


def test_the_papers_yaw_of_a_symmetric_face():
    for roll in (0.0, 25.0):
        photo = photo_of(turned((0.0, 0.0, roll)))[None]
        assert yaw_of_paper(photo).item() == pytest.approx(0.7037, abs=1e-5)


def test_the_papers_yaw_by_hand():
    """Jaw from x = 1 to 9 (d = 8), bridge of the nose over x = 3 (a = 2): 71.58 / 2 + 0.7037."""
    face = torch.full((1, 68, 2), 100.0)
    face[0, 0], face[0, 1] = torch.tensor([0.0, 3.0]), torch.tensor([2.0, 5.0])
    face[0, 15], face[0, 16] = torch.tensor([9.5, 3.0]), torch.tensor([8.5, 5.0])
    face[0, 27] = torch.tensor([3.0, -7.0])
    assert yaw_of_paper(face).item() == pytest.approx(71.58 / 2 + 0.7037)
    face[0, 27, 0] = 9  # over the far end
    assert yaw_of_paper(face).item() == pytest.approx(-71.58 + 0.7037)


def test_bins_are_half_open():
    yaw = torch.tensor([0, 9.99, 10, -10, 19.99, 20, 30, -39.99, 40, -90, torch.nan])
    assert yaw_bins(yaw).tolist() == [0, 0, 1, 1, 1, 2, 3, 3, 4, 4, -1]
    assert yaw_bins(yaw).dtype == torch.int64
    assert yaw_bins(yaw.double()[:4, None]).tolist() == [[0], [0], [1], [1]]


@pytest.fixture(scope="module")
def real(shared):
    """Landmarks of real faces in shares of the side, every seventh of them."""
    found = read_landmarks(shared / "data" / "landmarks" / "CelebA-128.npz")
    return torch.from_numpy((np.stack([*found.values()]) + 0.5) / 128)[::7]


def test_mirrored_faces_turn_and_tilt_the_other_way(real):
    poses, mirrored = head_pose(real), head_pose(mirror_landmarks(real))
    torch.testing.assert_close(mirrored, poses * torch.tensor([-1, 1, -1]), rtol=0, atol=1e-3)
    opposite = 2 * 0.7037 - yaw_of_paper(real)
    torch.testing.assert_close(yaw_of_paper(mirror_landmarks(real)), opposite, rtol=0, atol=1e-3)


def test_real_heads_turn_as_their_noses_tell(real):
    """Two quantities that took no part in the fit: the paper's formula, and where the jaw is."""
    poses = head_pose(real)
    assert np.corrcoef(poses[:, 0], yaw_of_paper(real))[0, 1] > 0.95
    nose_left = real[:, 30, 0] - (real[:, 1, 0] + real[:, 15, 0]) / 2
    assert np.corrcoef(poses[:, 0], nose_left)[0, 1] < -0.95
    assert poses.median(dim=0).values.abs().max() < 3  # people look into the camera
    assert (poses[:, 2].abs() < 15).float().mean() > 0.99  # and the photos are aligned


def test_fits_in_the_plane_agree_with_fits_in_depth(shared):
    """The z of the pseudo-labels is not seen by the fit; with it a rotation follows in 3D."""
    with np.load(shared / "data" / "landmarks" / "CelebA-128.npz", allow_pickle=False) as file:
        points = torch.from_numpy(file["landmarks68"][file["found"]][::7].astype(np.float64))
    flat = head_rotation(points[..., :2])
    model = MEAN_FACE[17:] - MEAN_FACE[17:].mean(0)
    solid = points[:, 17:] * torch.tensor([1, -1, -1])  # their z grows away from the camera
    left, _, right = torch.linalg.svd((solid - solid.mean(1, keepdim=True)).mT @ model)
    full = (
        left
        @ torch.diag_embed(
            torch.stack([torch.ones(len(left)).double()] * 2 + [torch.linalg.det(left @ right)], -1)
        )
        @ right
    )
    assert geodesic_distance(flat, full).mean() < 5
