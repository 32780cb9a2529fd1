"""Exchanges by models made of paper: half a picture shows one factor, half the other."""

import math

import pytest
import torch

from facefactor.editing import FactorError
from facefactor.evaluation.exchange import exchange_table, masked_psnr
from facefactor.factors import Factors, FactorSpec, ModelSpec
from facefactor.geometry.rotations import rotation_matrix, yaw_pitch_roll

EVERYWHERE = torch.ones(1, 1, 4, 4, dtype=torch.bool)


def picture(left: float, right: float) -> torch.Tensor:
    image = torch.empty(1, 3, 4, 4)
    image[..., :2], image[..., 2:] = left, right
    return image


class Halves:
    """The left half shows the identity, the right half the expression.

    leak: share of the left half that the expression is painted into, too.
    """

    def __init__(self, leak: float = 0.0) -> None:
        factors = {name: FactorSpec((1,), "") for name in ("identity", "expression")}
        self.spec = ModelSpec("halves", "facecycle", 4, 3, factors)
        self.leak = leak

    def encode(self, faces: torch.Tensor) -> Factors:
        halves = faces.mean(dim=(1, 2)).unfold(1, 2, 2).mean(dim=2)  # (N, 2)
        return Factors({"identity": halves[:, :1], "expression": halves[:, 1:]})

    def decode(self, factors: Factors) -> torch.Tensor:
        left = torch.lerp(factors["identity"], factors["expression"], self.leak)
        halves = torch.stack([left, left, *[factors["expression"]] * 2], dim=2)  # (N, 1, 4)
        return halves[:, :, None].expand(-1, 3, 4, 4)


class Turned(Halves):
    """The right half is the yaw, in hundreds of degrees."""

    def __init__(self) -> None:
        super().__init__()
        factors = {"identity": FactorSpec((1,), ""), "pose": FactorSpec((9,), "")}
        self.spec = ModelSpec("turned", "facecycle", 4, 3, factors)

    def encode(self, faces):
        codes = super().encode(faces)
        pose = torch.zeros(len(faces), 3)
        pose[:, :1] = 100 * codes["expression"]
        rotation = rotation_matrix(pose).flatten(1)
        return Factors({"identity": codes["identity"], "pose": rotation})

    def decode(self, factors):
        yaw = yaw_pitch_roll(factors["pose"].view(-1, 3, 3))[:, :1] / 100
        return super().decode(Factors({"identity": factors["identity"], "expression": yaw}))


def test_a_model_that_takes_faces_apart():
    given = picture(0.2, 0.4), picture(0.6, 0.8), picture(0.2, 0.8)
    table = exchange_table(Halves(), *given, EVERYWHERE, "expression", "made", "halves")
    assert table["PSNR, exchanged"] == table["PSNR, truth redrawn"] == pytest.approx(100)
    assert table["PSNR, photo as it is"] == pytest.approx(-10 * math.log10(0.08), abs=1e-3)
    assert table["nearer the truth than redrawn"] == 100
    assert table["expression moved, exchanged"] == pytest.approx(100, abs=1e-3)
    assert table["expression left to that of the other face"] == pytest.approx(0, abs=1e-3)
    for still in ("identity moved, exchanged", "identity moved, redrawn"):
        assert table[still] == pytest.approx(0, abs=1e-3)
    assert table.n == 1 and "expression" in table.protocol


def test_a_leak_by_hand():
    """Left is half identity, half expression: (0.2 + 0.8) / 2 = 0.5 after the exchange, where 0.2
    was; redrawn (0.2 + 0.4) / 2 = 0.3. The two faces are 0.4 apart."""
    given = picture(0.2, 0.4), picture(0.6, 0.8), picture(0.2, 0.8)
    table = exchange_table(Halves(leak=0.5), *given, EVERYWHERE, "expression", "made")
    assert table["identity moved, exchanged"] == pytest.approx(75, abs=1e-3)
    assert table["identity moved, redrawn"] == pytest.approx(25, abs=1e-3)
    assert table["expression moved, exchanged"] == pytest.approx(100, abs=1e-3)
    decibels = {"exchanged": 0.3**2 / 2, "truth redrawn": 0.3**2 / 2}
    decibels["redrawn"] = (0.1**2 + 0.4**2) / 2
    for name, error in decibels.items():
        assert table[f"PSNR, {name}"] == pytest.approx(-10 * math.log10(error), abs=1e-3)


def test_an_exchange_that_does_nothing():
    class Deaf(Halves):
        def decode(self, factors):
            return picture(0.2, 0.4)

    given = picture(0.2, 0.4), picture(0.6, 0.8), picture(0.6, 0.4)
    table = exchange_table(Deaf(), *given, EVERYWHERE, "identity", "made")
    assert table["identity moved, exchanged"] == pytest.approx(0, abs=1e-3)
    assert table["identity left to that of the other face"] == pytest.approx(100, abs=1e-3)
    assert table["PSNR, exchanged"] == table["PSNR, photo as it is"]
    assert table["nearer the truth than redrawn"] == 0


def test_heads_are_turned_in_degrees():
    given = picture(0.5, 0.1), picture(0.9, 0.4), picture(0.5, 0.4)
    table = exchange_table(Turned(), *given, EVERYWHERE, "pose", "made")
    assert table["head turned, exchanged"] == pytest.approx(30, abs=1e-2)
    assert table["head turned, the other face"] == pytest.approx(30, abs=1e-2)
    assert table["head turned, redrawn"] == pytest.approx(0, abs=1e-2)
    other = exchange_table(Turned(), given[0], given[1], picture(0.9, 0.1), EVERYWHERE, "identity",
                           "made")  # fmt: skip
    assert other["head turned, exchanged"] == pytest.approx(0, abs=1e-2)


def test_only_the_mask_counts():
    image, truth = picture(0.2, 0.4), picture(0.2, 0.9)
    left = EVERYWHERE.clone()
    left[..., 2:] = False
    assert masked_psnr(image, truth, left).tolist() == [100]
    assert masked_psnr(image, truth, ~left).item() == pytest.approx(-10 * math.log10(0.25))


def test_a_factor_that_is_not_there():
    with pytest.raises(FactorError, match="does not separate pose"):
        exchange_table(Halves(), *[picture(0, 0)] * 3, EVERYWHERE, "pose", "made")
