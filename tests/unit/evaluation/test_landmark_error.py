import pytest
import torch

from facefactor.evaluation.landmarks import landmark_error
from facefactor.perception.head_pose import MEAN_FACE


def faces(count: int) -> torch.Tensor:
    """The mean face from the front, outer eye corners 1 apart, y down."""
    return (MEAN_FACE[:, :2] * torch.tensor([1.0, -1.0])).expand(count, 68, 2).clone()


def test_by_hand():
    """Of two faces one is right, of the other all mouth points are 0.34 eye distances away."""
    truth, predicted = faces(2), faces(2)
    predicted[1, 48:, 0] += 0.34
    table = landmark_error(predicted, truth, "made")
    of_face = 100 * 0.34 * 20 / 68  # 10 %
    assert table["mean error"] == pytest.approx(of_face / 2)
    assert table["mouth"] == pytest.approx(17) and table["eyes"] == pytest.approx(0)
    assert table.n == 2


def test_a_face_is_missed_beyond_ten_per_cent():
    truth, predicted = faces(4), faces(4)
    predicted[:, :, 1] += torch.tensor([0.0, 0.09, 0.11, 0.3]).view(4, 1)
    table = landmark_error(predicted, truth, "made")
    assert table["faces beyond 10 %"] == 50
    assert table["yaw"] == pytest.approx(0, abs=1e-6)  # moved, not turned


def test_roll_is_seen_in_degrees():
    angle = torch.tensor(0.1).double()
    turn = torch.tensor([[angle.cos(), -angle.sin()], [angle.sin(), angle.cos()]]).double()
    table = landmark_error(faces(1) @ turn.T, faces(1), "made")
    assert table["roll"] == pytest.approx(5.7296, abs=1e-3)
    assert table["yaw"] == pytest.approx(0, abs=1e-3)


def test_faces_without_truth_do_not_count():
    truth, predicted = faces(3), faces(3)
    truth[0, 5] = torch.nan
    predicted[0] = torch.nan
    predicted[1, :, 1] += 0.05
    table = landmark_error(predicted, truth, "made")
    assert table.n == 2 and table["mean error"] == pytest.approx(2.5)
    with pytest.raises(ValueError, match="no face has landmarks"):
        landmark_error(predicted[:1], truth[:1], "made")
    with pytest.raises(ValueError, match="predicted landmarks hold NaN"):
        landmark_error(predicted, faces(3), "made")
    with pytest.raises(ValueError, match="both must be"):
        landmark_error(predicted[:2], truth, "made")
