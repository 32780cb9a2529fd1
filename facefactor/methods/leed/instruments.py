"""What the losses of LEED look through: Phi of Eq. 14 and 15, Psi of Eq. 3."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from facefactor.methods.leed.model import CROP
from facefactor.perception.expression import load_expression_encoder
from facefactor.perception.frozen import as_instrument
from facefactor.perception.instruments import feature_network, find_weights
from facefactor.perception.packaged import packaged_instrument
from facefactor.perception.recognition import FeatureMaps, load_mobilefacenet
from facefactor.perception.reframe import Reframed
from facefactor.perception.vgg import NormalisedForVGG, load_vgg19

_VGG_LAYERS = ("conv3_1",)  # of Phi in the code that the paper follows


class Instruments(nn.Module):
    """The two frozen networks, given faces (N, 3, 128, 128) in [0, 1] of our crop.

    Args:
        features: Phi: -> a list of maps (N, C, H, W).
        expressions: Psi: -> (N, D).
        expression_size: D.
    """

    def __init__(self, features: nn.Module, expressions: nn.Module, expression_size: int) -> None:
        super().__init__()
        self.features = as_instrument(features)
        self.expressions = as_instrument(expressions)
        self.expression_size = expression_size


def load_instruments(features: str, expressions: str) -> Instruments:
    """Both by name.

    Args:
        features: "vgg19", another of `perception.instruments`, or "" for the recogniser that comes
            with the package.
        expressions: weights file of an IPD-FER; "" for the one that comes with the package.

    Raises:
        InstrumentError: no such name, or its weights are not at hand or not those of that network.
    """
    psi = load_expression_encoder(Path(expressions) if expressions else None)
    seen = Reframed(psi, psi.crop, psi.image_size, CROP)
    return Instruments(_features(features), seen, psi.code_size)


def _features(name: str) -> nn.Module:
    """Maps are asked for where things are, not who it is: they need no crop of their own."""
    if not name:
        return FeatureMaps(load_mobilefacenet(packaged_instrument("recogniser")))
    if name == "vgg19":
        return NormalisedForVGG(load_vgg19(_VGG_LAYERS, find_weights(name)))
    return feature_network(name)
