"""Heads turned: the path between rotations, angles of the photo in the square, what is refused."""

import math

import numpy as np
import pytest
import torch

from facefactor import api
from facefactor.editing import FactorError, check_rotation, has_rotation, turn
from facefactor.errors import FaceFactorError
from facefactor.face_turning import Angles, plane_turn, pose_code, rotation_for, turned
from facefactor.factors import Factors, FactorSpec, ModelSpec
from facefactor.geometry.rotations import (
    geodesic_distance,
    nearest_rotation,
    rotation_matrix,
    yaw_pitch_roll,
)
from facefactor.perception.align import place
from facefactor.photo_edits import encode_face
from tests.made_faces import made_face, noise
from tests.small_networks import save_ipdfer, save_neurotensorial


def spec_of(shape):
    factors = {"identity": FactorSpec((1,), "who"), "pose": FactorSpec(shape, "", owns=("mask",))}
    return ModelSpec("made", "facecycle", 32, 3, factors)


def head(*angles: float) -> torch.Tensor:
    return rotation_matrix(torch.tensor([angles], dtype=torch.float64))


def factors_of(rotation: torch.Tensor) -> Factors:
    codes = {"identity": torch.zeros(len(rotation), 1), "pose": rotation.flatten(1)}
    return Factors(codes, {"mask": torch.ones(1), "background": torch.zeros(1)})


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return api.load(save_neurotensorial(tmp_path_factory.mktemp("nt") / "model.safetensors"))


@pytest.fixture(scope="module")
def face():
    return made_face(noise(), 80)


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0, 1.5])
def test_the_way_is_an_even_turn(share):
    """Of yaw alone, the shortest path is yaw in equal steps."""
    own, goal = head(-20, 0, 0), head(40, 0, 0)
    turn_to = turn(factors_of(own), goal, spec_of((9,)), share)
    there = turn_to["pose"].view(-1, 3, 3)
    torch.testing.assert_close(
        yaw_pitch_roll(there)[0], torch.tensor([-20 + 60 * share, 0, 0]).double()
    )


def test_all_of_the_way_is_a_rotation_at_its_share():
    own, goal = head(-35, 10, 5), head(60, -20, 30)
    whole = geodesic_distance(own, goal)
    for share in (0.2, 0.7):
        there = turn(factors_of(own), goal, spec_of((9,)), share)["pose"].view(-1, 3, 3)
        torch.testing.assert_close(there @ there.mT, torch.eye(3).double()[None])
        torch.testing.assert_close(geodesic_distance(own, there), share * whole)
        torch.testing.assert_close(geodesic_distance(there, goal), (1 - share) * whole)


def test_a_code_that_is_no_rotation_counts_as_the_nearest():
    own = head(20, 10, 0)
    stays = turn(factors_of(1.7 * own), head(0, 0, 0), spec_of((9,)), 0.0)
    torch.testing.assert_close(stays["pose"], own.flatten(1))


def test_the_outline_and_all_else_stay():
    own = factors_of(head(20, 10, 0))
    turned_once = turn(own, head(0, 0, 0)[0], spec_of((9,)))  # one rotation for all
    assert turned_once.residual is own.residual
    assert turned_once["identity"] is own["identity"]
    torch.testing.assert_close(turned_once["pose"], torch.eye(3).double().flatten()[None])


def test_a_pose_that_is_no_rotation_is_told():
    spec = spec_of((512,))
    assert not has_rotation(spec) and has_rotation(spec_of((9,)))
    with pytest.raises(FactorError, match=r"pose code of made \(512 numbers\) is no rotation"):
        check_rotation(spec)
    with pytest.raises(FactorError, match="is no rotation.*--from"):
        turn(factors_of(head(0, 0, 0)), head(0, 0, 0), spec)


@pytest.mark.parametrize("tilt", [0, 20, -35, 170])
def test_the_square_levels_a_tilted_head(tilt):
    placement = place(made_face(noise(), 60, tilt).found.points, "facecycle", 64)
    level = plane_turn(placement) @ head(0, 0, tilt)[0]
    torch.testing.assert_close(level, torch.eye(3).double(), rtol=0, atol=1e-6)


def test_angles_are_those_of_the_photo():
    """A head tilted by 20 degrees, turned by 30 in the square: its pitch alone shall change."""
    placement = place(made_face(noise(), 60, 20).found.points, "facecycle", 64)
    in_square = head(30, 5, 0)
    before = yaw_pitch_roll(plane_turn(placement).mT @ in_square)[0]
    found = rotation_for(in_square, Angles(pitch_deg=-15), placement)
    after = yaw_pitch_roll(plane_turn(placement).mT @ found)[0]
    torch.testing.assert_close(after, torch.stack([before[0], torch.tensor(-15.0), before[2]]))
    assert abs(before[2] - 20) < 5 and not torch.allclose(found, in_square)
    whole = rotation_for(in_square, Angles(-40, 10, 20), placement)
    expected = plane_turn(placement) @ head(-40, 10, 20)
    torch.testing.assert_close(whole, expected)


def test_what_the_model_is_given(model, face):
    own = encode_face(model, face)
    edited = turned(model, face, Angles(25, -10, 5))(own)
    torch.testing.assert_close(
        yaw_pitch_roll(edited["pose"].view(3, 3)), torch.tensor([25.0, -10.0, 5.0]), atol=1e-3,
        rtol=0,
    )  # fmt: skip
    for name in ("identity", "expression", "illumination"):
        assert torch.equal(edited[name], own[name])
    assert set(edited.residual) == {"mask", "background"}


def test_its_own_pose_leaves_a_photo_as_it_is(model, face):
    assert np.array_equal(api.pose_face(model, face, face), face.photo)
    own = nearest_rotation(encode_face(model, face)["pose"].view(3, 3))
    same = api.pose_face(model, face, Angles(float(yaw_pitch_roll(own)[0])))
    assert np.abs(same.astype(int) - face.photo).max() <= 1
    assert not np.array_equal(api.pose_face(model, face, Angles(roll_deg=30)), face.photo)


def test_no_angle_of_a_level_head_is_its_frontal_face(model, face):
    ahead = api.pose_face(model, face, Angles(0, 0, 0)).astype(int)
    assert np.abs(ahead - api.frontalize_face(model, face)).max() <= 1


class Quarters:
    """A face is the brightness of its quarters; they are its pose."""

    spec = spec_of((4,))

    def encode(self, faces: torch.Tensor) -> Factors:
        means = torch.nn.functional.adaptive_avg_pool2d(faces.mean(dim=1, keepdim=True), 2)
        return Factors({"identity": means.mean(dim=(2, 3)), "pose": means.flatten(1)})

    def decode(self, factors: Factors) -> torch.Tensor:
        quarters = factors["pose"].view(-1, 1, 2, 2)
        return torch.nn.functional.interpolate(quarters, (32, 32)).expand(-1, 3, -1, -1)


def test_a_learnt_pose_goes_straight_to_that_of_the_other(face):
    photo = noise()
    photo[:60] //= 4
    network, other = Quarters(), made_face(photo, 80)
    own, goal = encode_face(network, face), pose_code(network, other)
    assert (own["pose"] - goal).abs().max() > 0.2
    halfway = turned(network, face, goal, 0.5)(own)
    torch.testing.assert_close(halfway["pose"], (own["pose"] + goal) / 2)
    moved = api.pose_face(network, face, other)
    assert np.array_equal(moved, api.transfer_face(network, face, other, ["pose"]))
    assert moved[30:55].mean() < face.photo[30:55].mean() - 20


def test_angles_of_a_learnt_pose_are_refused(tmp_path, face):
    network = api.load(save_ipdfer(tmp_path / "ipdfer.safetensors"))
    with pytest.raises(FactorError, match=r"pose code of ipdfer \(32 numbers\) is no rotation"):
        api.pose_face(network, face, Angles(10))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((91, None, None), "yaw asked for is 91 degrees; it is from -90 to 90"),
        ((None, -90.5, None), "pitch asked for is -90.5 degrees"),
        ((0, 0, 181), "roll asked for is 181 degrees; it is from -180 to 180"),
        ((math.nan, None, None), "yaw asked for is nan"),
        ((None, None, None), "no angle is given"),
    ],
)
def test_angles_that_are_none(given, message):
    with pytest.raises(FaceFactorError, match=message):
        Angles(*given)
