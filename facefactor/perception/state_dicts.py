"""Weights of frozen networks in files of others: read, never run."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from facefactor.errors import FaceFactorError


class InstrumentError(FaceFactorError, ValueError):
    """A frozen network is not at hand or its file is not what it should be; says what to do."""


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Named tensors of a .safetensors, .pt or .pth file; nothing is unpickled but tensors.

    Raises:
        InstrumentError: nothing at `path`, another kind of file, cut off, or more than tensors.
    """
    if not path.is_file():
        raise InstrumentError(f"{path}: no such weights file")
    if path.suffix == ".safetensors":
        try:
            return load_file(path)
        except SafetensorError as error:
            raise InstrumentError(f"{path}: no safetensors file or cut off ({error})") from error
    if path.suffix not in (".pt", ".pth"):
        raise InstrumentError(f"{path}: expected a .safetensors, .pt or .pth file")
    try:
        tensors = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise InstrumentError(
            f"{path}: not a file of tensors only, or cut off; save the network's state_dict() "
            f"({error})"
        ) from error
    if not isinstance(tensors, dict) or not all(isinstance(t, Tensor) for t in tensors.values()):
        raise InstrumentError(
            f"{path}: no state dict; save the network's state_dict(), nothing around"
        )
    return dict(tensors)


def fill_network(
    network: nn.Module, tensors: Mapping[str, Tensor], path: Path, expected: str
) -> None:
    """Put tensors into the network they are the weights of.

    Args:
        path: where they are from, and
        expected: whose state dict is wanted ("a MobileFaceNet"): for what is said of them.

    Raises:
        InstrumentError: the tensors of another network.
    """
    own = network.state_dict()
    # some files lack the counters of normalisations
    counters = {name for name in own if name.endswith("num_batches_tracked")}
    wrong = [f"lacks {name}" for name in own if name not in tensors and name not in counters]
    wrong += [f"has an unknown {name}" for name in tensors if name not in own]
    wrong += [
        f"has {name} of shape {tuple(tensor.shape)} for {tuple(own[name].shape)}"
        for name, tensor in tensors.items()
        if name in own and tensor.shape != own[name].shape
    ]
    if wrong:
        more = f", and {len(wrong) - 1} more of this kind" if len(wrong) > 1 else ""
        raise InstrumentError(f"{path}: not {expected} state dict: it {wrong[0]}{more}")
    network.load_state_dict(tensors)  # float16 weights become float32
