import numpy as np
import pytest
import torch
from torch import nn

from facefactor.evaluation.floors import (
    encode_faces,
    encode_untrained,
    fit_pixel_pca,
    majority_class,
    one_answer,
    pixel_floor,
)


@pytest.fixture(scope="module")
def faces():
    """60 faces of 8x8 that vary in four ways, plus a little noise."""
    random = np.random.default_rng(0)
    ways = random.standard_normal((4, 8 * 8 * 3)) * np.array([[40], [30], [20], [10]])
    pixels = 128 + random.standard_normal((60, 4)) @ ways / 4 + random.normal(0, 0.5, (60, 192))
    return pixels.clip(0, 255).round().astype(np.uint8).reshape(60, 8, 8, 3)


def test_pca_agrees_with_a_full_decomposition(faces):
    pca = fit_pixel_pca(faces, size=4)
    pixels = faces.transpose(0, 3, 1, 2).reshape(60, -1) / 255
    exact = np.linalg.svd(pixels - pixels.mean(0), full_matrices=False)[2][:4]
    overlap = np.abs(np.diag(pca.components.numpy() @ exact.T))
    np.testing.assert_allclose(overlap, 1, atol=1e-4)


def test_pca_codes_redraw_the_faces(faces):
    pca = fit_pixel_pca(faces, size=4)
    codes = encode_faces(pca, faces, batch=7)
    assert codes.shape == (60, 4)
    redrawn = (codes @ pca.components + pca.mean).reshape(60, 3, 8, 8).permute(0, 2, 3, 1)
    assert np.abs(redrawn.numpy() * 255 - faces).mean() < 1
    torch.testing.assert_close(codes.mean(dim=0), torch.zeros(4), atol=1e-5, rtol=0)


def test_pca_takes_nothing_from_faces_it_was_not_fitted_on(faces):
    pca = fit_pixel_pca(faces[:40], size=4)
    alone = encode_faces(pca, faces[40:41])
    torch.testing.assert_close(alone, encode_faces(pca, faces[40:])[:1])
    np.testing.assert_allclose(
        pca.mean.reshape(3, 8, 8).permute(1, 2, 0).numpy() * 255, faces[:40].mean(0), atol=1e-3
    )


def test_pca_of_large_faces_is_that_of_means_of_four_pixels():
    """Faces of 96 pixels that vary in three smooth ways: seen at half the size, no less is told."""
    random = np.random.default_rng(0)
    ways = random.standard_normal((3, 48, 48, 3)).repeat(2, axis=1).repeat(2, axis=2)
    pixels = 128 + 20 * np.tensordot(random.standard_normal((20, 3)), ways, 1)
    large = pixels.clip(0, 255).round().astype(np.uint8)
    small = large[:, ::2, ::2]
    pca = fit_pixel_pca(large, size=3)
    assert pca.components.shape == (3, 48 * 48 * 3)
    torch.testing.assert_close(
        encode_faces(pca, large), encode_faces(fit_pixel_pca(small, size=3), small)
    )


def test_pca_needs_more_faces_than_components(faces):
    with pytest.raises(ValueError, match="60 components need more than 60 faces, got 60"):
        fit_pixel_pca(faces, size=60)


def test_the_floor_is_as_long_as_the_code_or_half_of_the_faces(faces, monkeypatch):
    assert pixel_floor(faces, 7).title == "pixel PCA, 7"
    assert pixel_floor(faces, 5000).title == "pixel PCA, 30"
    monkeypatch.setattr("facefactor.evaluation.floors.MAX_COMPONENTS", 12)
    floor = pixel_floor(faces, 5000, seed=3)
    assert floor.title == "pixel PCA, 12"
    torch.testing.assert_close(floor.components, fit_pixel_pca(faces, 12, seed=3).components)


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(192, 5)
        self.dropout = nn.Dropout(0.5)

    def forward(self, faces):
        assert not torch.is_grad_enabled()
        return self.dropout(self.linear(faces.flatten(1)))


def test_untrained_codes_follow_from_the_seed(faces):
    torch.manual_seed(1)
    state = torch.random.get_rng_state()
    first = encode_untrained(Encoder, faces, seed=0)
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.rand(3)
    assert torch.equal(encode_untrained(Encoder, faces, seed=0), first)
    assert not torch.equal(encode_untrained(Encoder, faces, seed=1), first)
    assert (first != 0).all()  # eval mode: nothing is dropped


def test_faces_reach_the_encoder_as_the_convention_says(faces):
    seen = []
    encode_faces(lambda batch: seen.append(batch) or batch[:, :, 0, 0], faces, batch=50)
    assert [tuple(batch.shape) for batch in seen] == [(50, 3, 8, 8), (10, 3, 8, 8)]
    np.testing.assert_allclose(seen[1][0].permute(1, 2, 0).numpy() * 255, faces[50], rtol=1e-6)


def test_the_most_frequent_class_and_of_equals_the_first():
    assert majority_class(["b", "c", "b"], ("a", "b", "c")) == "b"
    assert majority_class(["c", "b"], ("a", "b", "c")) == "b"
    with pytest.raises(ValueError, match="no labels"):
        majority_class([], ("a", "b"))
    with pytest.raises(ValueError, match="'d' is not among the classes a, b"):
        majority_class(["d", "a", "d"], ("a", "b"))


def test_one_answer_to_everything():
    scores = one_answer("b", ("a", "b", "c"), 4)
    assert scores.tolist() == [[0, 1, 0]] * 4
