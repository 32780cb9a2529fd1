"""A plain autoencoder: what a code holds that was only ever asked to redraw the face.

The baseline of Neuro-Tensorial's Fig. 14 and 15 (there a large adversarial one): no labels, no
factors, one code.
"""

from __future__ import annotations

import hashlib
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from facefactor.files import atomic_path
from facefactor.images import photos_to_faces

IMAGES = 100_000  # seen in training: about three minutes on two cores at 64 pixels
_CHANNELS = (3, 16, 32, 64, 64)  # each halves the side
_BATCH, _RATE = 64, 1e-3
_FORMAT = 1  # part of the name of a kept one: raise it when the same faces would give another


class Autoencoder(nn.Module):
    """Faces (N, 3, S, S) in [0, 1] -> codes (N, code_size) -> faces; S a multiple of 16.

    Four convolutions of stride 2, a linear layer to the code, and the same backwards.
    """

    def __init__(self, code_size: int, image_size: int) -> None:
        super().__init__()
        side, rest = divmod(image_size, 2 ** (len(_CHANNELS) - 1))
        if rest or not side:
            raise ValueError(f"faces of {image_size} pixels cannot be halved four times")
        widths = list(pairwise(_CHANNELS))
        numbers = _CHANNELS[-1] * side**2
        self.encoder = nn.Sequential(
            *(_halving(inputs, outputs) for inputs, outputs in widths),
            nn.Flatten(),
            nn.Linear(numbers, code_size),
        )
        self.decoder = nn.Sequential(
            nn.Linear(code_size, numbers),
            nn.Unflatten(1, (_CHANNELS[-1], side, side)),
            nn.ReLU(),
            *(_doubling(outputs, inputs) for inputs, outputs in reversed(widths[1:])),
            nn.ConvTranspose2d(_CHANNELS[1], 3, 4, stride=2, padding=1),
        )

    def encode(self, faces: Tensor) -> Tensor:
        codes: Tensor = self.encoder(faces)
        return codes

    def forward(self, faces: Tensor) -> Tensor:
        return self.decoder(self.encode(faces))


def train_autoencoder(
    faces: NDArray[np.uint8], code_size: int, seed: int = 0, images: int = IMAGES
) -> Autoencoder:
    """An autoencoder of training faces (N, S, S, 3), in eval mode: squared error, Adam.

    The rate falls to zero along a half cosine. The caller's random state is left as it was.
    """
    steps = max(1, images // _BATCH)
    with torch.inference_mode(False), torch.enable_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = Autoencoder(code_size, faces.shape[1])
        adam = torch.optim.Adam(network.parameters(), _RATE)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(adam, steps)
        random = np.random.default_rng(seed)
        for _ in range(steps):
            rows = np.sort(random.integers(len(faces), size=_BATCH))
            batch = photos_to_faces(faces[rows])
            adam.zero_grad()
            torch.autograd.backward(F.mse_loss(network(batch), batch))
            adam.step()
            schedule.step()
    return network.eval()


def kept_autoencoder(
    faces: NDArray[np.uint8], code_size: int, folder: Path, seed: int = 0, images: int = IMAGES
) -> Autoencoder:
    """The same, from `folder` if it was trained before on these faces under these settings."""
    digest = hashlib.sha256(repr((_FORMAT, faces.shape, code_size, seed, images)).encode())
    for start in range(0, len(faces), 1024):
        digest.update(np.ascontiguousarray(faces[start : start + 1024]).tobytes())
    path = folder / f"autoencoder-{digest.hexdigest()[:24]}.safetensors"
    if path.is_file():
        network = Autoencoder(code_size, faces.shape[1])
        network.load_state_dict(load_file(path))
        return network.eval()
    network = train_autoencoder(faces, code_size, seed, images)
    with atomic_path(path) as temporary:
        save_file(network.state_dict(), temporary)
    return network


def _halving(inputs: int, outputs: int) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, 4, stride=2, padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU())


def _doubling(inputs: int, outputs: int) -> nn.Sequential:
    convolution = nn.ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU())
