"""Shared losses: values by hand, identities, gradients."""

import pytest
import torch

from facefactor.losses.perceptual import feature_norm, gram, gram_distance, gram_norm
from facefactor.losses.reconstruction import ssim_loss
from facefactor.losses.symmetry import symmetry_loss


def test_symmetry_of_a_hand_worked_row():
    face = torch.tensor([0.0, 0.2, 0.9, 1.0]).reshape(1, 1, 1, 4)
    torch.testing.assert_close(symmetry_loss(face), torch.tensor((1.0 + 0.7) / 2))


def test_symmetry_leaves_an_odd_middle_column_out():
    face = torch.tensor([0.0, 0.5, 1.0]).reshape(1, 1, 1, 3)
    torch.testing.assert_close(symmetry_loss(face), torch.tensor(1.0))


@pytest.mark.parametrize("width", [6, 7])
def test_symmetry_is_zero_for_a_face_plus_its_mirror(width):
    face = torch.rand(2, 3, 5, width)
    torch.testing.assert_close(symmetry_loss(face + face.flip(-1)), torch.tensor(0.0))


def test_gram_of_constant_channels():
    maps = torch.stack([torch.full((2, 3), 2.0), torch.full((2, 3), -1.0)])[None]
    torch.testing.assert_close(gram(maps), torch.tensor([[[4.0, -2.0], [-2.0, 1.0]]]))


def test_gram_forgets_positions():
    maps = torch.rand(1, 4, 3, 5)
    shuffled = maps.flatten(2)[..., torch.randperm(15)].view(1, 4, 3, 5)
    torch.testing.assert_close(gram(maps), gram(shuffled))


def test_gram_distance_by_hand():
    one, two = torch.ones(1, 1, 2, 2), 2 * torch.ones(1, 1, 2, 2)
    layers, targets = [one, two], [two, two]
    torch.testing.assert_close(gram_distance(layers, targets), torch.tensor(9.0))  # (1 - 4)^2 + 0


def test_norms_by_hand():
    maps, target = [torch.tensor([3.0, 4.0]).view(1, 1, 1, 2)], [torch.zeros(1, 1, 1, 2)]
    torch.testing.assert_close(feature_norm(maps, target), torch.tensor(12.5).sqrt())
    torch.testing.assert_close(gram_norm(maps, target), torch.tensor(12.5))  # |12.5 - 0|


@pytest.mark.parametrize("distance", [feature_norm, gram_norm, gram_distance])
def test_equal_maps_are_no_distance_apart_and_have_a_finite_gradient(distance):
    maps = torch.rand(2, 3, 4, 4, requires_grad=True)
    loss = distance([maps], [maps.detach()])
    loss.backward()
    assert loss < 1e-5
    assert maps.grad.isfinite().all()


def test_layers_must_agree_in_number():
    with pytest.raises(ValueError, match="zip"):
        gram_distance([torch.ones(1, 1, 2, 2)], [])


def test_ssim_loss_of_equal_and_of_opposite_images():
    image = torch.rand(2, 3, 16, 16)
    torch.testing.assert_close(ssim_loss(image, image), torch.tensor(0.0), rtol=0, atol=1e-5)
    texture = torch.rand(1, 1, 16, 16) * 0.2  # one brightness, opposite structure
    assert ssim_loss(0.5 + texture, 0.7 - texture) > 1


def test_ssim_against_its_definition_in_one_window():
    random = torch.Generator().manual_seed(0)
    a, b = torch.rand(2, 1, 1, 11, 11, generator=random)
    position = torch.arange(11.0) - 5
    line = torch.exp(-position.square() / (2 * 1.5**2))
    window = line[:, None] * line
    window = window / window.sum()
    mean_a, mean_b = (window * a).sum(), (window * b).sum()
    variance_a = (window * a * a).sum() - mean_a**2
    variance_b = (window * b * b).sum() - mean_b**2
    covariance = (window * a * b).sum() - mean_a * mean_b
    c1, c2 = 1e-4, 9e-4
    expected = (
        (2 * mean_a * mean_b + c1)
        / (mean_a**2 + mean_b**2 + c1)
        * (2 * covariance + c2)
        / (variance_a + variance_b + c2)
    )
    torch.testing.assert_close(ssim_loss(a, b), 1 - expected, rtol=1e-4, atol=1e-5)
