"""Rates that fall, and what Lightning is told of them."""

from __future__ import annotations

import torch
from torch import nn

from facefactor.nn.schedules import Schedule, adams, each_step, falling, listed


def test_drops_are_shares_of_a_stage_after_its_first_step():
    assert Schedule.over(300, 1e-3, (1 / 3, 0.5)) == Schedule(1e-3, (100, 150))
    assert Schedule.over(3, 1e-3, [0.1]).drops == (1,)
    assert Schedule.over(300, 1e-3, ()).drops == ()


def test_every_group_has_an_adam_whose_rate_falls_to_a_tenth():
    groups = [nn.Linear(2, 2), nn.Linear(3, 3)]
    optimizers, schedules = adams(
        (group.parameters() for group in groups), Schedule(0.5, (2, 3)), (0.5, 0.9)
    )
    for group, optimizer, schedule in zip(groups, optimizers, schedules, strict=True):
        (settings,) = optimizer.param_groups
        assert settings["params"] == [*group.parameters()] and settings["betas"] == (0.5, 0.9)
        rates = []
        for _ in range(4):
            rates.append(settings["lr"])
            optimizer.step()
            schedule.step()
        torch.testing.assert_close(rates, [0.5, 0.5, 0.05, 0.005])


def test_lightning_asks_a_schedule_at_each_step():
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], 0.1)
    schedule = falling(optimizer, [5])
    told = each_step(optimizer, schedule)
    assert told == {
        "optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}
    }  # fmt: skip


def test_one_is_listed_as_several_are():
    assert listed("one") == ["one"] and listed(["one", "two"]) == ["one", "two"]
