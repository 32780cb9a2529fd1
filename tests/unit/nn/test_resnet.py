"""iresnet18 as published: its size, its maps, the names its weights are known by."""

import pytest
import torch

from facefactor.nn.resnet import IRBlock, IResNet18


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return IResNet18().eval()


def test_published_parameter_count(network):
    assert sum(weight.numel() for weight in network.parameters()) == 24_025_600


def test_sizes_at_112_pixels(network):
    with torch.inference_mode():
        assert network.maps(torch.rand(1, 3, 112, 112)).shape == (1, 512, 7, 7)
        assert network(torch.rand(2, 3, 112, 112)).shape == (2, 512)


@pytest.mark.parametrize(
    ("name", "shape"),
    [  # of a state dict of arcface_torch's iresnet18
        ("conv1.weight", (64, 3, 3, 3)),
        ("bn1.running_mean", (64,)),
        ("prelu.weight", (64,)),
        ("layer1.0.bn1.weight", (64,)),
        ("layer1.0.conv1.weight", (64, 64, 3, 3)),
        ("layer1.0.downsample.0.weight", (64, 64, 1, 1)),
        ("layer1.0.downsample.1.num_batches_tracked", ()),
        ("layer2.0.bn1.bias", (64,)),
        ("layer2.0.conv1.weight", (128, 64, 3, 3)),
        ("layer2.0.bn2.running_var", (128,)),
        ("layer2.0.prelu.weight", (128,)),
        ("layer2.0.conv2.weight", (128, 128, 3, 3)),
        ("layer3.1.bn3.weight", (256,)),
        ("layer4.0.downsample.0.weight", (512, 256, 1, 1)),
        ("layer4.1.conv2.weight", (512, 512, 3, 3)),
        ("bn2.weight", (512,)),
        ("fc.weight", (512, 25_088)),
        ("fc.bias", (512,)),
        ("features.weight", (512,)),
        ("features.running_var", (512,)),
    ],
)
def test_names_and_shapes_of_arcface_torch(network, name, shape):
    assert tuple(network.state_dict()[name].shape) == shape


def test_nothing_else_is_in_the_state_dict(network):
    """21 convolutions, 31 normalisations of five tensors, 9 PReLUs, the FC; only the first block of
    a stage has a shortcut of its own."""
    names = list(network.state_dict())
    assert len(names) == 21 + 5 * 31 + 9 + 2
    assert not [name for name in names if ".1.downsample" in name]
    assert not [name for name in names if "conv" in name and name.endswith("bias")]


def test_the_scale_of_the_code_is_not_trained(network):
    assert torch.equal(network.features.weight, torch.ones(512))
    assert [n for n, w in network.named_parameters() if not w.requires_grad] == ["features.weight"]


def test_inputs_lie_between_minus_one_and_one(network):
    """Grey 0.5 is the zero of ArcFace's space: the first convolution sees nothing."""
    seen = {}
    hook = network.conv1.register_forward_hook(lambda m, given, y: seen.update(x=given[0]))
    with torch.inference_mode():
        faces = torch.tensor([0.0, 0.5, 1.0]).view(1, 3, 1, 1).expand(1, 3, 112, 112)
        network(faces)
    hook.remove()
    assert seen["x"][0, :, 0, 0].tolist() == [-1.0, 0.0, 1.0]


def test_a_block_whose_branch_is_silent_is_its_shortcut():
    """No activation after the sum: a negative input stays negative."""
    block = IRBlock(4, 4, 1).eval()
    torch.nn.init.zeros_(block.bn3.weight)
    x = torch.randn(2, 4, 6, 6)
    assert torch.equal(block(x), x)


def test_the_second_convolution_has_the_stride():
    block = IRBlock(4, 8, 2)
    assert block.conv1.stride == (1, 1) and block.conv2.stride == (2, 2)
    assert block(torch.rand(2, 4, 6, 6)).shape == (2, 8, 3, 3)
