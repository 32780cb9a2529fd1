"""The landmark network's size and contract, its read-out by hand, and the error it is judged by."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from facefactor.data.landmarks import read_landmarks
from facefactor.geometry.landmarks import mirror_landmarks
from facefactor.perception.align import CROPS
from facefactor.perception.landmarks import (
    LandmarkNetwork,
    interocular_error,
    load_landmark_network,
)
from facefactor.perception.state_dicts import InstrumentError


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return LandmarkNetwork().eval()


def faces(count):
    return torch.rand(count, 3, 112, 112, generator=torch.Generator().manual_seed(1))


def test_it_is_small_enough_for_a_face_in_three_milliseconds(network):
    """At most 1.5 M weights and 60 M multiply-adds a face, the measure of time that stays put."""
    assert sum(weight.numel() for weight in network.parameters()) <= 1.5e6
    products = []

    def count(module, inputs, output):
        products.append(module.weight.numel() * output.shape[-1] * output.shape[-2])

    convolutions = [m for m in network.modules() if isinstance(m, torch.nn.Conv2d)]
    hooks = [module.register_forward_hook(count) for module in convolutions]
    with torch.inference_mode():
        network(faces(1))
    for hook in hooks:
        hook.remove()
    assert len(products) == len(convolutions)
    assert 40e6 < sum(products) <= 60e6


def test_landmarks_are_those_of_each_face_alone(network):
    assert network.crop in CROPS and network.image_size == 112
    with torch.inference_mode():
        together = network(faces(3))
        alone = torch.cat([network(face[None]) for face in faces(3)])
    assert together.shape == (3, 68, 2) and together.dtype == torch.float32
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-5)
    assert (together[0] - together[1]).abs().max() > 1e-5  # it looks


@pytest.mark.parametrize("shape", [(1, 3, 64, 64), (1, 1, 112, 112)])
def test_other_crops_are_refused(network, shape):
    with pytest.raises(ValueError, match=r"faces must be \(N, 3, 112, 112\)"):
        network(torch.rand(shape))


def test_a_cell_that_is_sure_and_its_offset_give_the_place():
    """Cell in column 3, row 5, and an offset of (2, -1.5) cells: ((3.5 + 2) / 14, 4 / 14)."""
    network = LandmarkNetwork().eval()
    for layer in (network.likely, network.offset):
        torch.nn.init.zeros_(layer.weight)
        torch.nn.init.zeros_(layer.bias)
    seen = torch.zeros(1, 96, 14, 14)
    seen[0, 0, 5, 3] = 1
    network.likely.weight.data[7, 0] = 200
    network.offset.weight.data[2 * 7, 0], network.offset.weight.data[2 * 7 + 1, 0] = 2, -1.5
    found = network.read_out(seen)[0]
    torch.testing.assert_close(found[7], torch.tensor([5.5 / 14, 4 / 14]))
    torch.testing.assert_close(found[8], torch.tensor([0.5, 0.5]))  # all cells alike: the middle


def test_maps_moved_by_a_cell_move_the_landmarks_by_a_cell():
    torch.manual_seed(0)
    network = LandmarkNetwork().eval()
    seen = torch.zeros(2, 96, 14, 14)
    seen[0, :, 4:8, 5:9] = 10 * torch.rand(96, 4, 4)
    network.likely.weight.data.abs_()  # so that a landmark is where something is seen
    seen[1] = seen[0].roll((1, 2), dims=(1, 2))
    found = network.read_out(seen)
    torch.testing.assert_close(
        found[1] - found[0], torch.tensor([2 / 14, 1 / 14]).expand(68, 2), rtol=0, atol=1e-4
    )


def test_gradients_reach_every_weight():
    torch.manual_seed(0)
    network = LandmarkNetwork()
    network(faces(2)).square().sum().backward()
    assert all(weight.grad.abs().max() > 0 for weight in network.parameters())


def test_error_by_hand():
    """Eyes 2 apart; one landmark of 68 off by (3, 4): 100 % * (5 / 68) / 2. Scale cancels."""
    truth = torch.zeros(2, 68, 2)
    truth[:, 36, 0], truth[:, 45, 0] = 1, 3
    predicted = truth.clone()
    predicted[1, 8] += torch.tensor([3.0, 4.0])
    expected = torch.tensor([0, 100 * 5 / 68 / 2])
    torch.testing.assert_close(interocular_error(predicted, truth), expected)
    torch.testing.assert_close(interocular_error(7 * predicted, 7 * truth), expected)
    truth[0] = torch.nan
    error = interocular_error(predicted, truth)
    assert error[0].isnan() and error[1].item() == pytest.approx(100 * 5 / 68 / 2)


def test_saved_weights_come_back(network, tmp_path):
    save_file(network.state_dict(), tmp_path / "x.safetensors")
    loaded = load_landmark_network(tmp_path / "x.safetensors")
    assert not loaded.training
    with torch.inference_mode():
        assert torch.equal(loaded(faces(1)), network(faces(1)))
    with pytest.raises(InstrumentError, match="y.safetensors: no such"):
        load_landmark_network(tmp_path / "y.safetensors")
    save_file({"stem": torch.zeros(1)}, tmp_path / "z.safetensors")
    with pytest.raises(ValueError, match="z.safetensors: not a state dict"):
        load_landmark_network(tmp_path / "z.safetensors")


def test_people_are_as_often_turned_left_as_right_under_the_mirrors_order(shared):
    """Means over many real faces and over their mirror images agree; a pair left out would not."""
    found = read_landmarks(shared / "data" / "landmarks" / "CelebA-128.npz")
    shares = (np.stack([*found.values()]) + 0.5) / 128
    away = np.abs(mirror_landmarks(shares).mean(0) - shares.mean(0)).max()
    assert away < 0.02
    assert np.abs(shares[:, 36] - shares[:, 39]).mean(0).max() > 0.1  # corners of one eye
