"""Rotations: what the angles mean to a person looking, and the group's own identities."""

import pytest
import torch

from facefactor.geometry.rotations import (
    geodesic_distance,
    interpolate,
    nearest_rotation,
    rotation_matrix,
    yaw_pitch_roll,
)

NOSE, TOP, RIGHT = torch.eye(3, dtype=torch.float64).flip(0)  # of the image: z, y, x
IDENTITY = torch.eye(3, dtype=torch.float64)


def degrees(*values):
    return torch.tensor(values, dtype=torch.float64)


def random_poses(count, reach=(85.0, 170.0, 170.0)):
    random = torch.Generator().manual_seed(0)
    unit = 2 * torch.rand(count, 3, generator=random, dtype=torch.float64) - 1
    return unit * degrees(*reach)


def test_a_positive_yaw_points_the_nose_to_the_left_of_the_image():
    x, y, z = rotation_matrix(degrees(30, 0, 0)) @ NOSE
    assert (x.item(), y.item(), z.item()) == pytest.approx((-0.5, 0, 0.75**0.5))


def test_a_positive_pitch_looks_up():
    x, y, z = rotation_matrix(degrees(0, 30, 0)) @ NOSE
    assert (x.item(), y.item(), z.item()) == pytest.approx((0, 0.5, 0.75**0.5))


def test_a_positive_roll_tilts_the_top_of_the_head_to_the_right_of_the_image():
    x, y, z = rotation_matrix(degrees(0, 0, 30)) @ TOP
    assert (x.item(), y.item(), z.item()) == pytest.approx((0.5, 0.75**0.5, 0))
    assert (rotation_matrix(degrees(0, 0, 30)) @ RIGHT)[1] < 0  # clockwise


def test_roll_comes_first_and_pitch_last():
    """The axes as drawn over 300W-LP photos: columns of R_x(pitch) R_y(yaw) R_z(roll)."""
    one_by_one = [degrees(0, 50, 0), degrees(20, 0, 0), degrees(0, 0, -35)]
    pitch, yaw, roll = (rotation_matrix(pose) for pose in one_by_one)
    whole = rotation_matrix(degrees(20, 50, -35))
    torch.testing.assert_close(whole, pitch @ yaw @ roll)
    y, p = torch.deg2rad(degrees(20, 50))
    nose = torch.stack([-y.sin(), y.cos() * p.sin(), y.cos() * p.cos()])
    torch.testing.assert_close(whole @ NOSE, nose)


def test_angles_and_matrices_go_round():
    poses = random_poses(200).view(2, 100, 3)
    rotations = rotation_matrix(poses)
    assert rotations.shape == (2, 100, 3, 3)
    torch.testing.assert_close(yaw_pitch_roll(rotations), poses)
    torch.testing.assert_close(rotations @ rotations.mT, IDENTITY.expand_as(rotations))
    torch.testing.assert_close(torch.linalg.det(rotations), torch.ones(2, 100).double())


@pytest.mark.parametrize(
    ("pose", "canonical"),
    [((90, 20, 30), (90, -10, 0)), ((-90, 20, 30), (-90, 50, 0)), ((90, 170, -30), (90, -160, 0))],
)
def test_in_profile_roll_is_counted_as_pitch(pose, canonical):
    """R_x(p) R_y(90) R_z(r) = R_x(p - r) R_y(90), and p + r at -90."""
    rotation = rotation_matrix(degrees(*pose))
    torch.testing.assert_close(yaw_pitch_roll(rotation), degrees(*canonical))
    torch.testing.assert_close(rotation_matrix(degrees(*canonical)), rotation)


def test_a_rotation_is_its_own_nearest_whatever_its_scale():
    rotations = rotation_matrix(random_poses(50))
    torch.testing.assert_close(nearest_rotation(3 * rotations), rotations)


def test_the_nearest_rotation_is_no_reflection_and_none_is_nearer():
    random = torch.Generator().manual_seed(1)
    matrices = torch.randn(20, 3, 3, generator=random, dtype=torch.float64)
    assert (torch.linalg.det(matrices) < 0).any() and (torch.linalg.det(matrices) > 0).any()
    nearest = nearest_rotation(matrices)
    torch.testing.assert_close(torch.linalg.det(nearest), torch.ones(20).double())
    distance = (nearest - matrices).square().sum((1, 2))
    others = rotation_matrix(random_poses(500, (90, 180, 180)))
    rivals = (others[:, None] - matrices).square().sum((2, 3))
    assert (distance <= rivals.min(0).values).all()


@pytest.mark.parametrize(
    (
        "matrix",
        "product",
    ),  # trace of R^T M: of M's singular values, the last with det's sign
    [
        (torch.zeros(3, 3), 0.0),
        (torch.ones(3, 3), 3.0),
        (-torch.eye(3), 1.0),
        (torch.diag(torch.tensor([1.0, -1.0, 0.0])), 2.0),
        (torch.diag(torch.tensor([1e-18, 2e-18, 3e-18])), 6e-18),
        (torch.diag(torch.tensor([3.0, 1.0, -1.0])), 3.0),
    ],
)
def test_one_of_several_nearest_rotations_is_one(matrix, product):
    nearest = nearest_rotation(matrix)
    torch.testing.assert_close(nearest @ nearest.mT, torch.eye(3))
    torch.testing.assert_close(torch.linalg.det(nearest), torch.tensor(1.0))
    torch.testing.assert_close((nearest * matrix).sum(), torch.tensor(product))


def test_the_nearest_rotation_is_that_of_the_singular_value_decomposition():
    random = torch.Generator().manual_seed(2)
    matrices = torch.randn(500, 3, 3, generator=random, dtype=torch.float64)
    left, _, right = torch.linalg.svd(matrices)
    left[:, :, 2] *= torch.linalg.det(left @ right)[:, None]
    torch.testing.assert_close(nearest_rotation(matrices), left @ right)


def test_distance_of_a_turn_about_one_axis_is_its_angle():
    angles = degrees(1e-7, 0.5, 90, 179, 180)
    for axis in range(3):
        poses = torch.zeros(5, 3).double()
        poses[:, axis] = angles
        torch.testing.assert_close(
            geodesic_distance(IDENTITY, rotation_matrix(poses)), angles, rtol=1e-7, atol=1e-9
        )


def test_distance_is_a_metric_that_turning_both_does_not_change():
    a, b, c = (rotation_matrix(poses) for poses in random_poses(90).chunk(3))
    ab, bc, ac = geodesic_distance(a, b), geodesic_distance(b, c), geodesic_distance(a, c)
    torch.testing.assert_close(ab, geodesic_distance(b, a))
    torch.testing.assert_close(ab, geodesic_distance(c @ a, c @ b))
    assert (ac <= ab + bc + 1e-9).all()
    torch.testing.assert_close(geodesic_distance(a, a), torch.zeros(30).double())


def test_half_way_is_half_the_distance_to_both_ends():
    first, second = (rotation_matrix(poses) for poses in random_poses(200).chunk(2))
    middle, whole = interpolate(first, second, 0.5), geodesic_distance(first, second)
    assert whole.max() > 150 and whole.min() < 60  # both ways of finding the axis are in play
    torch.testing.assert_close(geodesic_distance(first, middle), whole / 2)
    torch.testing.assert_close(geodesic_distance(middle, second), whole / 2)


def test_the_ends_of_the_path_and_beyond():
    first, second = (rotation_matrix(poses) for poses in random_poses(40).chunk(2))
    torch.testing.assert_close(interpolate(first, second, 0.0), first)
    torch.testing.assert_close(interpolate(first, second, 1.0), second)
    torch.testing.assert_close(interpolate(first, first, 0.3), first)
    turn = rotation_matrix(degrees(20, 0, 0))
    further = interpolate(IDENTITY, turn, 2.5)
    torch.testing.assert_close(yaw_pitch_roll(further), degrees(50, 0, 0))


@pytest.mark.parametrize("axis", range(3))
def test_heads_half_a_turn_apart_still_have_a_middle(axis):
    pose = torch.zeros(3).double()
    pose[axis] = 180
    opposite = rotation_matrix(pose)
    middle = interpolate(IDENTITY, opposite, 0.5)
    for end in (IDENTITY, opposite):
        assert geodesic_distance(end, middle).item() == pytest.approx(90)


def test_gradients():
    pose = degrees(20, -30, 40).requires_grad_()
    other = rotation_matrix(degrees(-10, 5, 0))
    assert torch.autograd.gradcheck(lambda p: yaw_pitch_roll(rotation_matrix(p)), pose)
    assert torch.autograd.gradcheck(lambda p: geodesic_distance(rotation_matrix(p), other), pose)
    assert torch.autograd.gradcheck(lambda p: interpolate(rotation_matrix(p), other, 0.3), pose)
    matrix = (rotation_matrix(pose.detach()) * degrees(1, 2, 3)).requires_grad_()
    assert torch.autograd.gradcheck(nearest_rotation, matrix)
