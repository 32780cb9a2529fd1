"""Likeness of drawings and evenness of paths, on pictures whose answer is known."""

import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from facefactor.evaluation.redrawing import (
    distances_from_start,
    largest_step,
    likeness_scores,
    monotony,
    path_scores,
    psnr,
    ssim,
)


@pytest.fixture
def pictures():
    random = torch.Generator().manual_seed(0)
    faces = torch.rand(3, 3, 32, 32, generator=random)
    noise = 0.1 * torch.randn(3, 3, 32, 32, generator=random)
    return (faces + noise).clamp(0, 1), faces


def test_equal_pictures(pictures):
    _, faces = pictures
    assert psnr(faces, faces).tolist() == [100.0] * 3
    assert ssim(faces, faces).tolist() == pytest.approx([1.0] * 3, abs=1e-4)


def test_psnr_by_hand_and_as_others_have_it(pictures):
    faces = torch.zeros(1, 3, 16, 16)
    torch.testing.assert_close(psnr(faces + 0.1, faces), torch.tensor([20.0]).double())
    noisy, faces = pictures
    expected = [
        peak_signal_noise_ratio(face.numpy(), other.numpy(), data_range=1.0)
        for face, other in zip(faces, noisy, strict=True)
    ]
    assert psnr(noisy, faces).tolist() == pytest.approx(expected, abs=1e-4)


def test_ssim_is_that_of_wang(pictures):
    """Both have the window of 11 pixels; they differ in the border, by little."""
    noisy, faces = pictures
    expected = [
        structural_similarity(
            face.numpy(),
            other.numpy(),
            channel_axis=0,
            data_range=1.0,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
        for face, other in zip(faces.double(), noisy.double(), strict=True)
    ]
    assert ssim(noisy, faces).tolist() == pytest.approx(expected, abs=0.02)
    assert (ssim(noisy, faces) < 0.99).all()


def test_ssim_of_one_face_is_a_row_too(pictures):
    noisy, faces = pictures
    assert ssim(noisy[:1], faces[:1]).shape == (1,)
    many = ssim(noisy.repeat(20, 1, 1, 1), faces.repeat(20, 1, 1, 1))  # more than go at once
    torch.testing.assert_close(many, ssim(noisy, faces).repeat(20), atol=1e-5, rtol=0)


def test_likeness_is_a_mean_over_faces(pictures):
    noisy, faces = pictures
    decibels, alike = likeness_scores(noisy, faces, "redrawn")
    assert (decibels.metric, decibels.unit) == ("PSNR, redrawn", "dB")
    assert decibels.value == pytest.approx(psnr(noisy, faces).mean().item())
    assert alike.spread == pytest.approx(float(np.std(ssim(noisy, faces).numpy())))
    with pytest.raises(ValueError, match="drawn for"):
        likeness_scores(noisy[:2], faces, "redrawn")


def path(values):
    """(K, N, 1, 2, 2) grey pictures of these values, (N, K)."""
    grey = torch.tensor(values, dtype=torch.float64).T
    return grey[..., None, None, None].expand(*grey.shape, 1, 2, 2)


EVEN = [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
JUMP = [0.0, 0.0, 0.0, 1.0, 1.0, 1.0]
STILL = [0.5] * 6
BACK = [0.0, 0.5, 1.0, 0.6, 0.3, 0.1]


def test_monotony_by_hand():
    found = monotony(distances_from_start(path([EVEN, JUMP, STILL, BACK])))
    # a jump orders 9 of 15 pairs; there and back: 5 with the start, 0.5 before 1 and 0.6, 0.1 none
    assert found.tolist() == pytest.approx([1.0, 9 / 15, 0.0, 7 / 15])


def test_a_longest_step_by_hand():
    found = largest_step(path([EVEN, JUMP, STILL]))
    assert found[:2].tolist() == pytest.approx([1.0, 5.0]) and found[2].isnan()


def test_scores_of_paths():
    ordered, longest = path_scores(path([EVEN, JUMP, STILL]), "pose")
    assert ordered.value == pytest.approx(100 * (1 + 9 / 15) / 3)
    assert longest.value == pytest.approx(3.0) and longest.n == 2
    assert path_scores(path([STILL]), "pose")[1].value is None
    for one in (path([[0.0]]),):
        with pytest.raises(ValueError, match="two places"):
            largest_step(one)
        with pytest.raises(ValueError, match="K > 1"):
            monotony(distances_from_start(one))
