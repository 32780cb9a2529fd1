"""Any model as a neutraliser: made-up ones whose neutral face is known, and the real ones."""

from __future__ import annotations

import pytest
import torch

from facefactor.editing import FactorError
from facefactor.factors import Factors, FactorSpec, ModelSpec
from facefactor.methods import METHODS
from facefactor.neutralising import Neutraliser, neutral_faces


class Tinted:
    """A face is its picture, and a tint that is added: the expression. Neutral is a tint of 0.1."""

    def __init__(self, crop="arcface", size=32, gain=1.0):
        self.gain = gain
        factors = {"expression": FactorSpec((1,), "the tint")}
        self.spec = ModelSpec("tinted", crop, size, 3, factors)

    def encode(self, faces):
        tint = faces.mean(dim=(1, 2, 3))[:, None]
        return Factors({"expression": tint}, {"picture": faces - tint[:, :, None, None]})

    def decode(self, factors):
        return self.gain * factors.residual["picture"] + factors["expression"][:, :, None, None]

    def neutral(self, name):
        return torch.tensor([0.1])


class Normaliser(Tinted):
    """Tells nothing but the person: whatever it decodes is neutral, a picture of constant 0.3."""

    def __init__(self, covers=()):
        factors = {"identity": FactorSpec((1,), "who", covers=covers)}
        self.spec = ModelSpec("normaliser", "facecycle", 32, 3, factors)

    def encode(self, faces):
        return Factors({"identity": torch.zeros(len(faces), 1)})

    def decode(self, factors):
        return torch.full((len(factors["identity"]), 3, 32, 32), 0.3)

    def neutral(self, name):
        raise ValueError("there is none")


def smooth(size, count=2):
    """Faces that vary slowly, so that resampling them changes little."""
    ramp = torch.linspace(0.2, 0.8, size)
    face = (ramp[:, None] + 2 * ramp[None]) / 3
    return torch.stack([face, face.flip(0)])[:count, None].expand(-1, 3, -1, -1).contiguous()


def test_the_neutral_code_replaces_the_expression():
    faces = smooth(32)
    expected = faces - faces.mean(dim=(1, 2, 3), keepdim=True) + 0.1
    torch.testing.assert_close(neutral_faces(Tinted(), faces), expected)


def test_a_model_of_the_person_alone_just_decodes():
    assert (neutral_faces(Normaliser(), smooth(32)) == 0.3).all()


def test_a_model_that_keeps_the_expression_is_refused():
    for covers in (("expression",), ("pose",)):
        with pytest.raises(FactorError, match="expression"):
            neutral_faces(Normaliser(covers), smooth(32))
        with pytest.raises(FactorError, match="expression"):
            Neutraliser(Normaliser(covers), "arcface", 32)


def test_faces_of_another_size_are_refused():
    with pytest.raises(FactorError, match=r"takes faces of 3 x 32 x 32, not 3 x 16 x 16.*arcface"):
        neutral_faces(Tinted(), smooth(16))
    with pytest.raises(FactorError, match="faces of 16 pixels, expected 64"):
        Neutraliser(Tinted(), "arcface", 64)(smooth(16))


def test_of_its_own_crop_and_size_nothing_is_resampled():
    faces = smooth(32)
    assert torch.equal(Neutraliser(Tinted(), "arcface", 32)(faces), neutral_faces(Tinted(), faces))


@pytest.mark.parametrize("size", [24, 64, 96])
def test_another_size_of_the_same_crop(size):
    """The whole square is the model's: the tint goes from all of it, the edge included."""
    faces = smooth(size)
    found = Neutraliser(Tinted(), "arcface", size)(faces)
    expected = faces - faces.mean(dim=(1, 2, 3), keepdim=True) + 0.1
    torch.testing.assert_close(found, expected, atol=0.02, rtol=0)


def test_of_a_wider_crop_the_rest_stays():
    """`facecycle` shows less of a forehead than `arcface`: what it does not show is left alone."""
    faces = smooth(64)
    neutraliser = Neutraliser(Normaliser(), "arcface", 64)
    found, mask = neutraliser(faces), neutraliser.mask[0, 0]
    assert (found[:, :, 32, 32] - 0.3).abs().max() < 1e-6
    assert torch.equal(found[:, :, 0], faces[:, :, 0]) and 0 < mask.mean() < 1
    assert (found[..., mask == 0] == faces[..., mask == 0]).all()


def test_what_the_model_keeps_returns_to_where_it_was():
    """A face through another crop and back: its tint changes all over alike, nothing moves."""
    faces = smooth(64)
    neutraliser = Neutraliser(Tinted("facecycle", 64), "arcface", 64)
    inside = neutraliser.mask[0, 0] == 1
    change = (neutraliser(faces) - faces)[..., inside]
    assert inside.float().mean() > 0.2
    assert change.abs().min() > 0.1 and change.std(dim=-1).max() < 0.003


def test_gradients_reach_the_faces():
    faces = smooth(64).requires_grad_()
    Neutraliser(Tinted("facecycle", 32), "arcface", 64)(faces).sum().backward()
    assert faces.grad.abs().sum() > 0


@pytest.mark.parametrize("method", METHODS)
def test_every_method_that_takes_expressions_off_is_one(method):
    """LEED's faces, 128 pixels: neutral ones of the same size, by any method's untrained model."""
    torch.manual_seed(0)
    model = METHODS[method].build(METHODS[method].PRESETS["small"]).eval()
    faces = smooth(128, count=1)
    with torch.inference_mode():
        found = Neutraliser(model, "facecycle", 128)(faces)
    assert found.shape == faces.shape and found.isfinite().all()
    assert found.min() >= 0 and found.max() <= 1 and not torch.equal(found, faces)
