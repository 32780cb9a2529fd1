"""The plain autoencoder learns, keeps what it learnt, and disturbs nobody."""

import numpy as np
import pytest
import torch

from facefactor.evaluation import autoencoder
from facefactor.evaluation.autoencoder import Autoencoder, kept_autoencoder, train_autoencoder


def stripes(count=64, size=16):
    """Faces of three numbers: grey, slope across and slope down."""
    draw = np.random.default_rng(0).uniform(-1, 1, (count, 3, 1, 1))
    axis = np.linspace(-1, 1, size)
    faces = 128 + 40 * draw[:, :1] + 40 * draw[:, 1:2] * axis + 40 * draw[:, 2:] * axis[:, None]
    return np.repeat(faces[:, 0, :, :, None], 3, axis=3).clip(0, 255).astype(np.uint8)


def error(network, faces):
    batch = torch.from_numpy(faces).permute(0, 3, 1, 2).float() / 255
    with torch.no_grad():
        return float((network(batch) - batch).square().mean())


@pytest.mark.parametrize(("code_size", "image_size"), [(5, 16), (9, 64), (3, 112)])
def test_shapes(code_size, image_size):
    network = Autoencoder(code_size, image_size)
    faces = torch.rand(2, 3, image_size, image_size)
    assert network.encode(faces).shape == (2, code_size)
    assert network(faces).shape == faces.shape


def test_a_side_that_cannot_be_halved_is_refused():
    for size in (0, 8, 50):
        with pytest.raises(ValueError, match="cannot be halved four times"):
            Autoencoder(4, size)


def test_it_learns_to_redraw():
    faces = stripes()
    spread = float(np.var(faces / 255))
    network = train_autoencoder(faces, 4, images=64 * 150)
    assert not network.training
    assert error(network, faces) < 0.5 * spread
    assert error(train_autoencoder(faces, 4, images=64), faces) > spread


def test_the_same_seed_gives_the_same_and_nobody_elses_chance_is_touched():
    torch.manual_seed(5)
    first = train_autoencoder(stripes(8), 2, seed=1, images=128)
    after = torch.rand(1)
    second, other = (train_autoencoder(stripes(8), 2, seed=s, images=128) for s in (1, 2))
    torch.manual_seed(5)
    assert torch.equal(after, torch.rand(1))
    faces = torch.rand(3, 3, 16, 16)
    assert torch.equal(first.encode(faces), second.encode(faces))
    assert not torch.equal(first.encode(faces), other.encode(faces))


def test_it_is_trained_once(tmp_path, monkeypatch):
    with torch.inference_mode():  # protocols are in it
        network = kept_autoencoder(stripes(8), 2, tmp_path, images=64)
    assert [path.suffix for path in tmp_path.iterdir()] == [".safetensors"]
    monkeypatch.setattr(autoencoder, "train_autoencoder", None)
    again = kept_autoencoder(stripes(8), 2, tmp_path, images=64)
    faces = torch.rand(2, 3, 16, 16)
    assert torch.equal(again.encode(faces), network.encode(faces))
    monkeypatch.undo()
    for other in (
        {"faces": stripes(9)},
        {"faces": 255 - stripes(8)},
        {"code_size": 3},
        {"seed": 1},
        {"images": 128},
    ):
        before = len(list(tmp_path.iterdir()))
        settings = {"faces": stripes(8), "code_size": 2, "folder": tmp_path, "images": 64}
        kept_autoencoder(**(settings | other))
        assert len(list(tmp_path.iterdir())) == before + 1
