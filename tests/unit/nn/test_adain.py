"""Adaptive instance normalisation gives channels the statistics it is told."""

import torch

from facefactor.nn.adain import adain


def test_result_has_the_statistics_asked_for():
    maps = torch.rand(2, 3, 8, 8)
    mean, deviation = torch.randn(2, 3), torch.rand(2, 3) + 0.5
    result = adain(maps, mean, deviation)
    torch.testing.assert_close(result.mean(dim=(2, 3)), mean, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(
        result.std(dim=(2, 3), correction=0), deviation, rtol=1e-4, atol=1e-5
    )


def test_scale_and_shift_of_the_input_do_not_matter():
    maps, mean, deviation = torch.rand(1, 2, 6, 6), torch.zeros(1, 2), torch.ones(1, 2)
    same = adain(3 * maps - 1, mean, deviation)
    torch.testing.assert_close(adain(maps, mean, deviation), same, rtol=1e-4, atol=1e-4)


def test_a_constant_channel_becomes_its_mean():
    result = adain(torch.ones(1, 1, 4, 4), torch.tensor([[0.3]]), torch.tensor([[2.0]]))
    torch.testing.assert_close(result, torch.full((1, 1, 4, 4), 0.3))


def test_one_map_serves_many_codes():
    mean, deviation = torch.randn(4, 2), torch.rand(4, 2)
    one = torch.rand(1, 2, 5, 5)
    torch.testing.assert_close(
        adain(one, mean, deviation), adain(one.expand(4, -1, -1, -1), mean, deviation)
    )
