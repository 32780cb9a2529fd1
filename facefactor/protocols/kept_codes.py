"""What networks and descriptors that no method trains say of photos: once, then from the disk.

Several protocols ask them about the same photos, and every run of `reproduce` does.
"""

from __future__ import annotations

import hashlib
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from facefactor.data.kept_parts import kept_in_parts
from facefactor.evaluation.descriptors import DESCRIPTORS
from facefactor.evaluation.floors import Encode, encode_faces
from facefactor.perception.recognition import embed

_FORMAT = 1  # part of every name: raise it when descriptors, or what is asked of networks, change


def kept_codes(encode: Encode, version: str, faces: NDArray[np.uint8], cache: Path) -> Tensor:
    """The codes (N, D) of faces (N, S, S, C) uint8, N > 0, as `encode_faces` gives them.

    Args:
        version: all that decides what `encode` says of given faces.
        cache: they are in its folder "codes", found by version and pixels.

    Raises:
        DataError: a file there is damaged.
    """

    def name(rows: NDArray[np.uint8]) -> str:
        key = f"{_FORMAT} {version} {rows.shape}".encode()
        return hashlib.sha256(key + rows.tobytes()).hexdigest()[:32]

    def compute(rows: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
        return {"codes": encode_faces(encode, rows).numpy()}

    found = kept_in_parts([faces], cache / "codes", name, compute, ["codes"])
    return torch.from_numpy(found["codes"])


def network_version(*networks: nn.Module) -> str:
    """A text that follows from the kinds and the tensors of networks."""
    digest = hashlib.sha256()
    for network in networks:
        digest.update(type(network).__name__.encode())
        for name, tensor in network.state_dict().items():
            digest.update(name.encode())
            digest.update(tensor.cpu().numpy().tobytes())
    return digest.hexdigest()


def kept_embeddings(network: nn.Module, squares: NDArray[np.uint8], cache: Path) -> Tensor:
    """Embeddings (N, D) of unit length, by a recogniser, of photos (N, 112, 112, 3) in its crop."""
    return kept_codes(partial(embed, network), network_version(network), squares, cache)


def encode_or_read(title: str, encode: Encode, faces: NDArray[np.uint8], cache: Path) -> Tensor:
    """The codes (N, D); those of descriptors, which take the longest, are kept."""
    if title in DESCRIPTORS:
        return kept_codes(encode, title, faces, cache)
    return encode_faces(encode, faces)
