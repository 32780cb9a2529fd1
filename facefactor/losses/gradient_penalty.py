"""What keeps a Wasserstein critic's slope near 1 (Gulrajani et al., NeurIPS 2017)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def gradient_penalty(
    critic: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor, draw: Tensor
) -> Tensor:
    """Mean over samples of (|slope of the critic| - 1)^2, between real and fake (Eq. 3).

        x^ = e real + (1 - e) fake,  penalty = (| d critic(x^) / d x^ | - 1)^2

    Args:
        critic: samples (N, ...) -> scores (N, ...), unbounded; the scores of one sample are summed.
            It must not mix samples (no batch normalisation): each has a slope of its own.
        real, fake: (N, ...), images or codes; no gradient goes to either.
        draw: (N,) e, uniform in [0, 1].

    Returns:
        Scalar, whose gradient reaches the critic's weights. Not weighted. Computed in float32 at
        least, whatever the precision around it: a slope of a slope loses too many bits.
    """
    with torch.autocast(real.device.type, enabled=False):
        kind = torch.promote_types(real.dtype, torch.float32)
        share = draw.view(-1, *[1] * (real.ndim - 1))
        ends = (fake.detach().to(kind), real.detach().to(kind))
        between = torch.lerp(*ends, share.to(ends[0])).requires_grad_()
        with torch.enable_grad():
            (slope,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
        return (slope.flatten(1).norm(dim=1) - 1).square().mean()
