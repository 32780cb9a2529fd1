"""The gradient penalty: critics whose slope is known, and whom its gradient reaches."""

import pytest
import torch
from torch import nn

from facefactor.losses.gradient_penalty import gradient_penalty


def pairs(*shape, count=3):
    random = torch.Generator().manual_seed(0)
    real, fake = torch.randn(2, count, *shape, generator=random)
    return real, fake, torch.rand(count, generator=random)


@pytest.mark.parametrize("length", [0.0, 1.0, 2.5])
def test_a_linear_critic_has_one_slope(length):
    """critic(x) = <w, x> has the slope |w| everywhere: (|w| - 1)^2, with a finite gradient."""
    weight = torch.randn(2, 3, 3, generator=torch.Generator().manual_seed(1))
    weight = (weight / weight.norm() * length).requires_grad_()
    penalty = gradient_penalty(lambda x: (x * weight).sum(dim=(1, 2, 3)), *pairs(2, 3, 3))
    torch.testing.assert_close(penalty, torch.tensor((length - 1.0) ** 2))
    penalty.backward()
    assert weight.grad.isfinite().all()


def test_slopes_are_taken_between_by_hand():
    """critic(x) = x^2 / 2 has the slope x: at 3/4 of real 4 and 1/4 of fake 0 that is 3."""
    real, fake = torch.tensor([[4.0], [4.0]]), torch.tensor([[0.0], [2.0]])
    draw = torch.tensor([0.75, 0.0])  # 3, and the fake itself, 2
    penalty = gradient_penalty(lambda x: x.square() / 2, real, fake, draw)
    torch.testing.assert_close(penalty, torch.tensor((2.0**2 + 1.0**2) / 2))


def test_scores_of_patches_are_summed():
    """Four patches that each say x / 4 are one critic of slope 1."""
    penalty = gradient_penalty(lambda x: x[..., None, None].expand(-1, 1, 2, 2) / 4, *pairs(1))
    torch.testing.assert_close(penalty, torch.tensor(0.0))


def test_each_sample_has_its_own_slope():
    """|w| is 1 for the one and 3 for the other; of the two together it would be sqrt(10)."""
    weight = torch.tensor([[1.0, 0.0], [0.0, 3.0]])
    real, fake, draw = pairs(2, count=2)
    penalty = gradient_penalty(lambda x: (x * weight).sum(dim=1), real, fake, draw)
    torch.testing.assert_close(penalty, torch.tensor((0.0 + 4.0) / 2))


def test_gradient_reaches_the_critic_alone():
    critic = nn.Sequential(nn.Conv2d(3, 4, 3), nn.LeakyReLU(0.2), nn.Flatten(), nn.Linear(16, 1))
    real, fake, draw = pairs(3, 4, 4)
    real.requires_grad_()
    fake.requires_grad_()
    gradient_penalty(critic, real, fake, draw).backward()
    assert critic[0].weight.grad.abs().max() > 0
    assert real.grad is None and fake.grad is None


def test_gradient_of_the_weights():
    real, fake, draw = (samples.double() for samples in pairs(2))

    def penalty(weight):
        return gradient_penalty(lambda x: (x @ weight).tanh(), real, fake, draw)

    weight = torch.tensor([0.3, -0.8], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(penalty, weight)


def test_works_without_gradients_around_and_in_half_precision_runs():
    linear = nn.Linear(8, 1)
    full = gradient_penalty(linear, *pairs(8))
    with torch.autocast("cpu", torch.bfloat16):
        half = gradient_penalty(linear, *pairs(8))
    assert torch.equal(full, half)
    with torch.no_grad():
        assert torch.equal(gradient_penalty(linear, *pairs(8)).detach(), full.detach())
