"""Losses on codes of faces: cosines, relations, the margin softmax; values by hand, gradients."""

import math

import pytest
import torch
from torch.nn import functional as F

from facefactor.losses.identity import cosine_distance, cosine_matrix, relational_loss
from facefactor.losses.margin import add_margin, margin_softmax

UNKNOWN = -1


def at(*degrees: float) -> torch.Tensor:
    """Plane vectors at these angles, of lengths 1, 2, 3, ..."""
    angles = torch.tensor(degrees).deg2rad()
    lengths = torch.arange(1.0, len(degrees) + 1)
    return lengths[:, None] * torch.stack([angles.cos(), angles.sin()], dim=1)


def test_cosine_distance_by_hand():
    """60 degrees apart and opposite: (1/2 + 2) / 2; lengths do not matter."""
    loss = cosine_distance(at(0, 90), at(60, 270))
    torch.testing.assert_close(loss, torch.tensor(1.25))


def test_cosine_distance_of_a_zero_code_is_finite():
    codes = torch.zeros(1, 3, requires_grad=True)
    loss = cosine_distance(codes, torch.ones(1, 3))
    loss.backward()
    assert loss == 1 and codes.grad.isfinite().all()


def test_relational_loss_by_hand():
    """Cosines of the pairs 1/2, 0, 0 instead of 0, 0, 0, each twice among six: (1/2)^2 / 3."""
    codes = torch.tensor([[1.0, 0, 0], [0.5, 3**0.5 / 2, 0], [0, 0, 2.0]])
    loss = relational_loss(codes, torch.eye(3))
    torch.testing.assert_close(loss, torch.tensor(0.25 / 3))


def test_relations_do_not_see_rotations_lengths_and_added_zeros():
    torch.manual_seed(0)
    targets = torch.randn(8, 5)
    rotation, _ = torch.linalg.qr(torch.randn(5, 5))
    codes = F.pad(torch.arange(1.0, 9.0)[:, None] * (targets @ rotation), (0, 3))
    assert codes.shape == (8, 8)
    torch.testing.assert_close(relational_loss(codes, targets), torch.tensor(0.0))
    assert relational_loss(codes.roll(1, dims=0), targets) > 0.1


def test_one_face_has_no_relations():
    codes = torch.randn(1, 4, requires_grad=True)
    loss = relational_loss(codes, torch.randn(1, 3))
    loss.backward()
    assert loss == 0 and codes.grad.abs().max() == 0


@pytest.mark.parametrize(
    "loss",
    [
        lambda codes: cosine_distance(codes, codes.detach().flip(1)),
        lambda codes: relational_loss(codes, codes.detach().flip(0)),
        lambda codes: margin_softmax(codes, codes.detach()[:3].flip(1), SUBJECT, 0.3, 4.0),
    ],
    ids=["cosine", "relational", "margin"],
)
def test_bfloat16_runs_compute_in_float32(loss):
    torch.manual_seed(0)
    codes = torch.randn(4, 6)
    exact = loss(codes)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        within = loss(codes)
    assert within.dtype == torch.float32
    torch.testing.assert_close(within, exact, rtol=1e-6, atol=1e-6)


SUBJECT = torch.tensor([2, UNKNOWN, 0, 1])


def test_near_codes_keep_cosines_below_one_in_bfloat16_runs():
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cosines = cosine_matrix(at(0, 2))
    assert 0.9993 < cosines[0, 1] < 0.9995


def test_margin_softmax_by_hand():
    """A code at 30 degrees, own centre at 0, another at 90; with a margin of 30 degrees its own
    cosine is that of 60 degrees: -log e^(s/2) / (e^(s/2) + e^(s/2)) = log 2, whatever s."""
    centres = at(0, 90)
    loss = margin_softmax(at(30), centres, torch.tensor([0]), math.radians(30), scale=5.0)
    torch.testing.assert_close(loss, torch.tensor(math.log(2)))
    # the other's code, without its margin 1/2 and sqrt(3)/2, has log(1 + e^(s (a - b)))
    loss = margin_softmax(at(30), centres, torch.tensor([1]), math.radians(30), scale=5.0)
    expected = math.log(1 + math.exp(5 * (math.cos(math.radians(30)) - 0)))
    torch.testing.assert_close(loss, torch.tensor(expected))


def test_without_margin_it_is_a_softmax_of_scaled_cosines():
    torch.manual_seed(0)
    codes, centres = torch.randn(6, 5), torch.randn(4, 5)
    subject = torch.tensor([0, 3, 1, 2, 0, 1])
    plain = F.cross_entropy(16 * F.cosine_similarity(codes[:, None], centres[None], dim=2), subject)
    torch.testing.assert_close(margin_softmax(codes, centres, subject, 0.0, 16.0), plain)


def test_unknown_rows_count_for_nothing():
    torch.manual_seed(0)
    codes, centres = torch.randn(4, 6, requires_grad=True), torch.randn(3, 6)
    loss = margin_softmax(codes, centres, SUBJECT, 0.3, 8.0)
    alone = margin_softmax(codes[[0, 2, 3]], centres, SUBJECT[[0, 2, 3]], 0.3, 8.0)
    torch.testing.assert_close(loss, alone)
    loss.backward()
    assert codes.grad[1].abs().max() == 0 and codes.grad[0].abs().max() > 0


def test_a_batch_of_unknown_people_is_zero_with_a_gradient_of_zero():
    codes = torch.randn(3, 4, requires_grad=True)
    centres = torch.randn(5, 4, requires_grad=True)
    loss = margin_softmax(codes, centres, torch.full((3,), UNKNOWN), 0.5, 64.0)
    loss.backward()
    assert loss == 0
    assert codes.grad.abs().max() == 0 and centres.grad.abs().max() == 0


def test_a_subject_without_a_centre_is_refused():
    with pytest.raises(ValueError, match="subject 5 .* of 5 people; raise the recipe's `people`"):
        margin_softmax(torch.randn(2, 4), torch.randn(5, 4), torch.tensor([5, UNKNOWN]), 0.5, 64.0)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_gradient_is_finite_on_and_opposite_the_centre(sign):
    centres = torch.eye(3, requires_grad=True)
    codes = (sign * torch.eye(3)).requires_grad_()
    loss = margin_softmax(codes, centres, torch.arange(3), 0.5, 64.0)
    loss.backward()
    assert loss.isfinite()
    assert codes.grad.isfinite().all() and centres.grad.isfinite().all()


@pytest.mark.parametrize("cosine", [1.0, -1.0])
def test_slope_of_the_margin_is_finite_at_the_ends(cosine):
    end = torch.tensor(cosine, requires_grad=True)
    add_margin(end, 0.5).backward()
    assert end.grad.isfinite()


def test_margin_is_added_to_the_angle():
    angles = torch.tensor([0.3, 1.0, 2.0, 2.6])
    torch.testing.assert_close(add_margin(angles.cos(), 0.5), (angles + 0.5).cos())


def test_turning_towards_the_own_centre_always_pays():
    """Also beyond pi - m, where cos(theta + m) itself would rise again; and without a jump."""
    angles = torch.linspace(0.01, math.pi - 0.01, 500, dtype=torch.float64)
    turned = add_margin(angles.cos(), 0.5)
    steps = turned[:-1] - turned[1:]
    assert (steps > 0).all() and steps.max() < 0.01
    end = add_margin(torch.tensor(-1.0), 0.5)
    torch.testing.assert_close(end, torch.tensor(math.cos(0.5) - 2))


def test_gradients_of_all_three():
    torch.manual_seed(0)
    codes = torch.randn(4, 3, requires_grad=True)
    centres = torch.randn(3, 3)
    targets = torch.randn(4, 5)
    for loss in (
        lambda x: relational_loss(x, targets),
        lambda x: cosine_distance(x, targets[:, :3]),
        lambda x: margin_softmax(x, centres, SUBJECT, 0.3, 4.0),
    ):
        (slope,) = torch.autograd.grad(loss(codes), codes)
        direction = torch.randn(4, 3)
        with torch.no_grad():
            risen = (loss(codes + 1e-2 * direction) - loss(codes - 1e-2 * direction)) / 2e-2
        torch.testing.assert_close((slope * direction).sum(), risen, rtol=2e-2, atol=1e-3)
