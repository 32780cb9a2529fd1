import pytest
import torch
from torch import nn

from facefactor.nn.enlarging import EnlargingConvolution


@pytest.mark.parametrize("shape", [(2, 3, 4, 4), (1, 3, 2, 5)])
@pytest.mark.parametrize("kernel", [1, 3, 5, 7, 9])
@pytest.mark.parametrize("bias", [True, False])
def test_convolving_an_enlarged_map_needs_no_enlarged_map(shape, kernel, bias):
    torch.manual_seed(0)
    quick = EnlargingConvolution(3, 5, kernel, bias).double()
    plain = nn.Conv2d(3, 5, kernel, padding=kernel // 2, bias=bias).double()
    plain.load_state_dict(quick.state_dict())
    x = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    outs = quick(x), plain(nn.Upsample(scale_factor=2)(x))
    torch.testing.assert_close(*outs)
    torch.testing.assert_close(quick.folded()(x), outs[0])
    assert not any(isinstance(m, EnlargingConvolution) for m in quick.folded().modules())
    seen_from = torch.randn_like(outs[0])
    slopes = [
        torch.autograd.grad(out, [x, *network.parameters()], seen_from)
        for out, network in zip(outs, (quick, plain), strict=True)
    ]
    torch.testing.assert_close(*slopes)


def test_a_kernel_without_a_middle_is_refused():
    with pytest.raises(ValueError, match="kernel of 4 has no middle"):
        EnlargingConvolution(3, 5, 4)
