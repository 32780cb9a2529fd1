import copy

import pytest
import torch
from torch import nn

from facefactor.methods.facecycle.networks import ResidualEncoder
from facefactor.methods.nfgan.networks import Decoder
from facefactor.nn.blocks import NormalisedBlock
from facefactor.nn.inference import quicken
from facefactor.nn.resnet import IResNet18
from facefactor.perception.landmarks import LandmarkNetwork
from facefactor.perception.recognition import MobileFaceNet

NETWORKS = {
    "mobilefacenet": (lambda: MobileFaceNet(16, width=1 / 4), 112, 0),
    "iresnet18": (lambda: IResNet18(16), 112, 9),  # two before convolutions in a block, the last
    "landmarks": (lambda: LandmarkNetwork(8), 112, 1),  # after a sum
    "residual encoder": (lambda: ResidualEncoder(8, 16), 64, 0),
    "decoder": (lambda: nn.Sequential(Decoder(3, "nearest")), 256, 0),
    "block": (lambda: NormalisedBlock(3, 8, 2), 16, 0),
}


def learnt(network):
    """Norms that do something: as if trained."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.3)
            module.running_mean.normal_(0, 0.3)
            module.running_var.uniform_(0.5, 2)
    return network.eval()


def norms(network):
    return sum(isinstance(module, nn.BatchNorm2d) for module in network.modules())


@pytest.mark.parametrize("name", NETWORKS)
def test_the_same_function_with_fewer_layers(name):
    build, size, left = NETWORKS[name]
    torch.manual_seed(0)
    network = learnt(build())
    faces = torch.rand(3, 256) if name == "decoder" else torch.rand(3, 3, size, size)
    expected = network(faces)
    quick = copy.deepcopy(network)
    assert quicken(quick) is quick
    assert norms(network) > left == norms(quick)
    torch.testing.assert_close(quick(faces), expected, rtol=1e-4, atol=1e-5)
    again = quicken(quick)(faces)  # nothing is left to fold
    torch.testing.assert_close(again, expected, rtol=1e-4, atol=1e-5)


def test_a_norm_that_follows_no_convolution_stays():
    torch.manual_seed(0)
    network = learnt(nn.Sequential(nn.ReLU(), nn.BatchNorm2d(3), nn.Conv2d(3, 4, 1), nn.ReLU()))
    x = torch.rand(2, 3, 5, 5)
    expected = network(x)
    assert norms(quicken(network)) == 1
    torch.testing.assert_close(network(x), expected)


def test_activations_write_over_what_convolutions_made_and_over_nothing_else():
    block = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.ReLU6(), nn.LeakyReLU(0.1))
    network = learnt(nn.Sequential(nn.ReLU(), nn.Flatten(0, 0), block))
    x = torch.randn(2, 3, 5, 5)
    given, expected = x.clone(), network(x)
    quicken(network)
    assert [network[0].inplace, block[2].inplace, block[3].inplace] == [False, True, False]
    torch.testing.assert_close(network(x), expected)
    assert torch.equal(x, given)


def test_a_network_that_learns_is_refused():
    with pytest.raises(ValueError, match="eval"):
        quicken(NormalisedBlock(3, 4))
