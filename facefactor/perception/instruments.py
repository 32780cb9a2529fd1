"""Frozen networks by name, from a folder of the user's: what a loss or a measurement looks through.

The folder is `FACEFACTOR_WEIGHTS`, or one given. Nothing is fetched.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from facefactor.perception.recognition import FeatureMaps, load_mobilefacenet
from facefactor.perception.state_dicts import InstrumentError
from facefactor.perception.vgg import NormalisedForVGG, load_vgg19

_LOSS_LAYERS = ("conv2_1", "conv3_1", "conv4_1")


@dataclass(frozen=True)
class _Source:
    files: tuple[str, ...]  # names to look for, in this order
    origin: str  # where a user gets it


_FEATURES = {
    "vgg19": _Source(
        ("vgg19-dcbb9e9d.pth", "vgg19.pth", "vgg19.safetensors"),
        "torchvision's VGG19_Weights.IMAGENET1K_V1 state dict",
    ),
    "mobilefacenet": _Source(
        ("mobilefacenet_ms1m.safetensors",), "foamliu/MobileFaceNet as safetensors (Apache-2.0)"
    ),
}
_HEAD_POSE = {
    name: _Source((f"{name}.onnx",), "omasaht/headpose-fsanet-pytorch as ONNX (MIT)")
    for name in ("fsanet-1x1", "fsanet-var")
}
_PERSON = {
    "vggface": _Source(("vgg_face_dag.pth",), "VGG-Face's state dict vgg_face_dag"),
    "lightcnn9": _Source(
        ("lightcnn9.pth", "lightcnn9.safetensors"),
        "the state_dict of LightCNN's 9-layer checkpoint, saved alone",
    ),
}
_SOURCES = _FEATURES | _HEAD_POSE | _PERSON


def find_weights(name: str, folder: Path | None = None) -> Path:
    """The file of a frozen network.

    Raises:
        InstrumentError: unknown name, no folder set, or none of its files there.
    """
    if name not in _SOURCES:
        raise InstrumentError(f"no instrument {name!r}; there are {', '.join(_SOURCES)}")
    source = _SOURCES[name]
    top = folder or (Path(os.environ["FACEFACTOR_WEIGHTS"]) if _weights_set() else None)
    if top is None:
        raise InstrumentError(
            f"{name} is needed and FACEFACTOR_WEIGHTS names no folder; put {source.files[0]} "
            f"({source.origin}) into a folder and set FACEFACTOR_WEIGHTS to it"
        )
    for file in source.files:
        if (top / file).is_file():
            return top / file
    raise InstrumentError(
        f"{top}: none of {', '.join(source.files)} here; get {source.origin} and put it there"
    )


def feature_networks() -> tuple[str, ...]:
    """Names that `feature_network` takes."""
    return (*_FEATURES, "random_vgg19")


def feature_network(name: str, folder: Path | None = None) -> nn.Module:
    """Faces (N, 3, H, W) in [0, 1] -> a list of feature maps, coarser and coarser.

    vgg19: conv2_1, conv3_1, conv4_1 after ReLU. mobilefacenet: a face recogniser's first three
    scales. random_vgg19: fixed random weights of preserved variance; weak, label what it makes.
    """
    if name == "random_vgg19":
        return NormalisedForVGG(load_vgg19(_LOSS_LAYERS, None))
    if name not in _FEATURES:
        raise InstrumentError(
            f"no instrument {name!r} with feature maps; there are {', '.join(feature_networks())}"
        )
    path = find_weights(name, folder)
    if name == "vgg19":
        return NormalisedForVGG(load_vgg19(_LOSS_LAYERS, path))
    return FeatureMaps(load_mobilefacenet(path))


def _weights_set() -> bool:
    return bool(os.environ.get("FACEFACTOR_WEIGHTS"))
