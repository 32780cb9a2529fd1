"""How networks learn that share a rate: Adam, and steps after which it slows down.

Optimisers and schedules are returned as Lightning's `configure_optimizers` wants them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn
from torch.optim import Adam, Optimizer
from torch.optim.lr_scheduler import LRScheduler, MultiStepLR

_DROP = 0.1


@dataclass(frozen=True)
class Schedule:
    """How fast all networks learn."""

    learning_rate: float
    drops: tuple[int, ...]  # steps after each of which the rate falls to a tenth

    @classmethod
    def over(cls, steps: int, learning_rate: float, drop_at: Sequence[float]) -> Schedule:
        """Of a stage of so many steps, with drops at shares of it; none before the first step."""
        return cls(learning_rate, tuple(max(1, int(steps * share)) for share in drop_at))


def adams(
    groups: Iterable[Iterable[nn.Parameter]],
    schedule: Schedule,
    betas: tuple[float, float] = (0.9, 0.999),
) -> tuple[list[Adam], list[MultiStepLR]]:
    """An Adam for each group of weights, and what lets its rate fall."""
    optimizers = [Adam(weights, lr=schedule.learning_rate, betas=betas) for weights in groups]
    return optimizers, [falling(optimizer, schedule.drops) for optimizer in optimizers]


def falling(optimizer: Optimizer, drops: Sequence[int]) -> MultiStepLR:
    """Lets the rate fall to a tenth after each of these steps."""
    return MultiStepLR(optimizer, drops, gamma=_DROP)


def each_step(optimizer: Optimizer, schedule: LRScheduler) -> dict[str, Any]:
    """For stages that Lightning steps: by itself it asks a schedule once an epoch only."""
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def listed(found: Any) -> list[Any]:
    """Lightning gives one optimiser or schedule bare, several as a list."""
    return found if isinstance(found, list) else [found]
