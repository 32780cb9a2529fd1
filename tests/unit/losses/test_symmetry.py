"""The Laplacian that symmetry can be compared in; symmetry itself is in test_losses.py."""

import pytest
import torch

from facefactor.losses.symmetry import laplacian, symmetry_loss


def test_laplacian_of_a_constant_is_zero():
    assert laplacian(torch.full((2, 3, 5, 6), 0.7)).abs().max() < 1e-6


def test_even_light_gives_nothing_inside():
    ramp = torch.linspace(0, 1, 9).expand(1, 1, 7, 9)
    assert laplacian(ramp)[..., 1:-1].abs().max() < 1e-6


def test_laplacian_by_hand():
    """A lone pixel: the mean of its neighbours is 1 below it, and theirs 1/8 above them."""
    image = torch.zeros(1, 1, 5, 5)
    image[..., 2, 2] = 1.0
    expected = torch.zeros(5, 5)
    expected[1:4, 1:4] = 1 / 16
    expected[2, 2] = -1 / 2
    torch.testing.assert_close(laplacian(image)[0, 0], expected)


@pytest.mark.parametrize("width", [6, 7])
def test_laplacian_of_a_symmetric_face_is_symmetric(width):
    face = torch.rand(2, 3, 5, width, generator=torch.Generator().manual_seed(0))
    assert symmetry_loss(laplacian(face + face.flip(3))) < 1e-6
    assert symmetry_loss(laplacian(face)) > 0.01


def test_light_from_one_side_counts_in_pixels_only():
    ramp = torch.linspace(0, 1, 64).expand(1, 3, 64, 64)
    assert symmetry_loss(ramp) > 0.4
    assert symmetry_loss(laplacian(ramp)[..., 1:-1]) < 1e-6


def test_laplacian_is_exact_in_half_precision_runs():
    face = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(laplacian(face), laplacian(face.clone()))
        found = laplacian(face)
    torch.testing.assert_close(found, laplacian(face), rtol=0, atol=0)
    assert found.dtype == torch.float32


def test_laplacian_has_a_gradient():
    face = torch.rand(1, 1, 6, 6, requires_grad=True)
    symmetry_loss(laplacian(face)).backward()
    assert face.grad is not None and face.grad.abs().sum() > 0
