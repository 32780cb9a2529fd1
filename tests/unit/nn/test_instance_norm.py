"""Groups of one channel are instance normalisation."""

import pytest
import torch
from torch import nn

from facefactor.nn.instance_norm import instance_norm


@pytest.mark.parametrize("affine", [False, True])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_it_is_the_library_s_function_and_gradient(affine, memory_format):
    ours, theirs = instance_norm(5, affine), nn.InstanceNorm2d(5, affine=affine)
    if affine:
        nn.init.normal_(theirs.weight)
        nn.init.normal_(theirs.bias)
    ours.load_state_dict(theirs.state_dict())
    maps = (3 * torch.randn(2, 5, 7, 6) + 1).contiguous(memory_format=memory_format)
    slopes = []
    for norm in (ours, theirs):
        given = maps.clone().requires_grad_()
        (norm(given).sin().sum()).backward()
        slopes.append(given.grad)
    torch.testing.assert_close(ours(maps), theirs(maps), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(*slopes, rtol=1e-4, atol=1e-5)


def test_each_channel_of_each_face_has_mean_0_and_variance_1():
    normalised = instance_norm(3)(
        torch.rand(2, 3, 16, 16) * torch.tensor([1.0, 5, 9])[:, None, None]
    )
    torch.testing.assert_close(normalised.mean(dim=(2, 3)), torch.zeros(2, 3), rtol=0, atol=1e-5)
    variance = normalised.var(dim=(2, 3), correction=0)
    torch.testing.assert_close(variance, torch.ones(2, 3), rtol=1e-3, atol=0)
