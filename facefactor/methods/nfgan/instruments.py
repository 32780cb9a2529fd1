"""What the losses of NFGAN look through: VGG-Face, Light CNN, and recognisers in their place."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from facefactor.methods.nfgan.model import CROP
from facefactor.methods.nfgan.networks import IMAGE_SIZE
from facefactor.perception.align import CROPS
from facefactor.perception.frozen import as_instrument
from facefactor.perception.instruments import find_weights
from facefactor.perception.lightcnn import LightCNN9, load_lightcnn9
from facefactor.perception.packaged import packaged_instrument
from facefactor.perception.recognition import MobileFaceNet, load_mobilefacenet
from facefactor.perception.reframe import Reframed
from facefactor.perception.state_dicts import InstrumentError, read_state_dict
from facefactor.perception.vgg import VGG19, NormalisedForVGG, load_vgg19

_FIFTH = "conv3_1"  # l = 5: VGG's fifth convolution, at a quarter of the resolution
_VGG_FACE_NAMES = ("conv1_1", "conv1_2", "conv2_1", "conv2_2", _FIFTH)
_VGG_FACE_MEAN = (129.1863, 104.7624, 93.5940)  # RGB, of values 0 to 255


class Instruments(nn.Module):
    """The two frozen networks, both given faces (N, 3, 64, 64) in [0, 1] of our crop.

    Args:
        features: phi of Eq. 2: -> maps (N, C, H, W).
        identity: phi of Eq. 6: -> its last two layers, (N, C, H, W) and (N, D).
    """

    def __init__(self, features: nn.Module, identity: nn.Module) -> None:
        super().__init__()
        self.features = as_instrument(features)
        self.identity = as_instrument(identity)

    @property
    def code_size(self) -> int:
        """D of the codes that phi of Eq. 6 ends with."""
        faces = torch.zeros(1, 3, IMAGE_SIZE, IMAGE_SIZE)
        with torch.no_grad():
            return self.identity(faces)[-1].shape[1]


def load_instruments(features: str, identity: str) -> Instruments:
    """Both by name; "" is the recogniser that comes with the package.

    Args:
        features: "vggface", "vgg19" or a recogniser, "mobilefacenet" or "".
        identity: "lightcnn9" or a recogniser.

    Raises:
        InstrumentError: no such name, or its weights are not at hand or not those of that network.
    """
    return Instruments(_features(features), _identity(identity))


class VGGFace(nn.Module):
    """VGG-Face (Parkhi et al., BMVC 2015) up to its fifth convolution and ReLU.

    Faces (N, 3, H, W) in [0, 1] -> one map (N, 256, H / 4, W / 4), in a list as VGG19 gives it,
    whose layers it has so far. It takes values of 0 to 255 less a mean, and its maps are of that
    size.
    """

    mean: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.network = VGG19((_FIFTH,))
        mean = torch.tensor(_VGG_FACE_MEAN).view(3, 1, 1)
        self.register_buffer("mean", mean, persistent=False)

    def forward(self, faces: Tensor) -> list[Tensor]:
        return self.network(255 * faces - self.mean)


def load_vgg_face(path: Path) -> VGGFace:
    """VGG-Face with the public weights, from the state dict `vgg_face_dag`: conv1_1.weight, ...

    Raises:
        InstrumentError: nothing at `path`, or a tensor is missing or has another shape.
    """
    stored, vgg = read_state_dict(path), VGGFace()
    convolutions = [layer for layer in vgg.network.features if isinstance(layer, nn.Conv2d)]
    for name, layer in zip(_VGG_FACE_NAMES, convolutions, strict=True):
        for part, own in layer.named_parameters():
            found = stored.get(f"{name}.{part}")
            if found is None or found.shape != own.shape:
                seen = "none" if found is None else f"one of shape {tuple(found.shape)}"
                raise InstrumentError(
                    f"{path}: not VGG-Face's state dict: it has {seen} of {name}.{part}, which "
                    f"would be {tuple(own.shape)}"
                )
            own.data.copy_(found)
    return vgg.eval()


class _Fifth(nn.Module):
    """The one map of a VGG that gives a list."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, faces: Tensor) -> Tensor:
        return self.network(faces)[0]


class _QuarterMap(nn.Module):
    """A recogniser's map at a quarter of the resolution, where conv3_1 is in VGG-Face."""

    def __init__(self, network: MobileFaceNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, faces: Tensor) -> Tensor:
        return self.network.feature_maps(faces)[1]


class _LastTwo(nn.Module):
    """A recogniser's last map and its codes."""

    def __init__(self, network: MobileFaceNet | LightCNN9) -> None:
        super().__init__()
        self.network = network

    def forward(self, faces: Tensor) -> tuple[Tensor, Tensor]:
        if isinstance(self.network, LightCNN9):
            return self.network.map_and_code(faces)
        codes, maps = self.network.codes_and_maps(faces)
        return maps[-1], codes


def _features(name: str) -> nn.Module:
    if name == "vggface":
        return _Fifth(load_vgg_face(find_weights(name)))
    if name == "vgg19":
        return _Fifth(NormalisedForVGG(load_vgg19((_FIFTH,), find_weights(name))))
    return _reframed(_QuarterMap(_recogniser(name)))


def _identity(name: str) -> nn.Module:
    if name != "lightcnn9":
        return _reframed(_LastTwo(_recogniser(name)))
    network = load_lightcnn9(find_weights(name))
    right_eye, left_eye, _, right_corner, left_corner = torch.tensor(CROPS[CROP].points)
    eyes, mouth = (right_eye + left_eye) / 2, (right_corner + left_corner) / 2
    own = [eyes.tolist(), mouth.tolist()]
    return Reframed(_LastTwo(network), network.points, network.image_size, own)


def _recogniser(name: str) -> MobileFaceNet:
    return load_mobilefacenet(find_weights(name) if name else packaged_instrument("recogniser"))


def _reframed(network: nn.Module) -> Reframed:
    return Reframed(network, MobileFaceNet.crop, MobileFaceNet.image_size, CROP)
