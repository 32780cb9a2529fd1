import pytest
import torch

from facefactor.losses.maps import map_distance


def test_distance_is_the_share_of_variance_not_explained():
    targets = torch.randn(4, 3, 5, 5, generator=torch.Generator().manual_seed(0))
    standard = (targets - targets.mean((0, 2, 3), keepdim=True)) / targets.std(
        (0, 2, 3), keepdim=True, unbiased=False
    )
    assert map_distance(standard, targets).item() == pytest.approx(0, abs=1e-4)
    assert map_distance(torch.zeros_like(targets), targets).item() == pytest.approx(1, abs=1e-4)
    assert map_distance(standard / 2, targets).item() == pytest.approx(0.25, abs=1e-4)
    # neither the scale of a target's channel nor its mean matters
    assert map_distance(standard, 7 * targets - 3).item() == pytest.approx(0, abs=1e-4)


def test_worked_by_hand():
    targets = torch.tensor([1.0, 3.0]).reshape(1, 1, 1, 2)  # standardised: -1, 1
    maps = torch.tensor([0.0, 3.0]).reshape(1, 1, 1, 2)
    assert map_distance(maps, targets).item() == pytest.approx((1 + 4) / 2, abs=1e-4)
