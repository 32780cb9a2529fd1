"""What a Wasserstein critic and those who draw for it descend (Arjovsky et al., ICML 2017); the
penalty that keeps its slope near 1 is in `losses/gradient_penalty.py`."""

from __future__ import annotations

from torch import Tensor


def critic_loss(real: Tensor, fake: Tensor) -> Tensor:
    """E[D(fake)] - E[D(real)]: minus how far the critic sees the two apart.

    Args:
        real, fake: scores of real and drawn samples, of any shape and sign.

    Returns:
        Scalar, any real number.
    """
    return fake.float().mean() - real.float().mean()


def fooling_loss(fake: Tensor) -> Tensor:
    """-E[D(fake)] of the scores of drawn samples, of any shape; scalar of any sign."""
    return -fake.float().mean()
