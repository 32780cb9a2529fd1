import torch
from torch import nn

from facefactor.perception.frozen import Frozen


def instrument() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.5))


def test_training_the_whole_leaves_the_instrument_alone():
    frozen = Frozen(instrument())
    whole = nn.ModuleList([frozen, nn.Linear(2, 2)]).train()
    assert whole[1].training
    assert not any(module.training for module in frozen.modules())


def test_running_statistics_do_not_move():
    frozen = Frozen(instrument()).train()
    before = {name: value.clone() for name, value in frozen.state_dict().items()}
    frozen(torch.rand(8, 3, 6, 6) * 9)
    for name, value in frozen.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_gradients_reach_the_input_and_no_weight():
    frozen = Frozen(instrument())
    faces = torch.rand(2, 3, 6, 6, requires_grad=True)
    frozen(faces).sum().backward()
    assert faces.grad is not None and faces.grad.abs().sum() > 0
    assert all(weight.grad is None for weight in frozen.parameters())


def test_a_network_in_training_mode_is_put_to_rest():
    network = instrument().train()
    assert not Frozen(network).network.training
