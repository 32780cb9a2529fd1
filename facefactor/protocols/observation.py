"""What frozen networks see of faces, be they photos or drawn: who it is, expression, pose."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from facefactor import checkpoints
from facefactor.evaluation.normalization import Observations, pair_cosines
from facefactor.evaluation.verification import threshold_at
from facefactor.face_verification import read_threshold
from facefactor.geometry.similarity import similarity_transform
from facefactor.nn.inference import quicken
from facefactor.perception.align import CROPS
from facefactor.perception.head_pose import head_pose
from facefactor.perception.instruments import find_weights
from facefactor.perception.landmarks import LandmarkNetwork
from facefactor.perception.packaged import (
    InstrumentName,
    packaged_instrument,
    packaged_landmarks,
    packaged_recogniser,
)
from facefactor.perception.recognition import Recogniser, embed, load_mobilefacenet
from facefactor.perception.state_dicts import InstrumentError
from facefactor.protocols.instruments import FALSE_MATCHES
from facefactor.protocols.kept_codes import kept_codes, kept_embeddings, network_version

# The square that all networks here take.
CROP, SIZE = LandmarkNetwork.crop, LandmarkNetwork.image_size

_PACKAGED: InstrumentName = "recogniser"
_CLASSIFIER = "ipdfer"
_BATCH = 32
_POINTS = 68

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Instruments:
    """The networks; each takes faces (N, 3, 112, 112) in [0, 1], crop "arcface"."""

    recognisers: Mapping[str, Recogniser]
    classifier: Any  # an ExpressionModel
    landmarks: LandmarkNetwork

    @property
    def names(self) -> tuple[str, ...]:
        """As tables name them."""
        return (*self.recognisers, _CLASSIFIER, "landmarks")

    @torch.inference_mode()
    def observe(self, faces: Tensor, crop: str) -> Observations:
        """Faces (N, 3, S, S) in [0, 1], N > 0, of a named crop."""
        parts = torch.split(faces, _BATCH)
        return self._told(torch.cat([self._look(recut(part, crop, CROP, SIZE)) for part in parts]))

    def observe_photos(self, squares: NDArray[np.uint8], cache: Path) -> Observations:
        """The same of photos (N, 112, 112, 3) in the crop of the networks, kept in `cache`."""
        networks = (*self.recognisers.values(), self.classifier, self.landmarks)
        return self._told(kept_codes(self._look, network_version(*networks), squares, cache))

    def _look(self, squares: Tensor) -> Tensor:
        """(N, D): embeddings, probabilities of expressions and landmarks, one after another."""
        return torch.cat(
            [
                *embed_all(self.recognisers, squares).values(),
                self.classifier.expression_probabilities(squares),
                self.landmarks(squares).flatten(1),
            ],
            dim=1,
        )

    def _told(self, seen: Tensor) -> Observations:
        """What `_look` gave, by what it means."""
        sizes = [network.code_size for network in self.recognisers.values()]
        sizes += [len(self.classifier.classes), 2 * _POINTS]
        *embeddings, probabilities, points = torch.split(seen, sizes, dim=1)
        neutral = self.classifier.classes.index("neutral")
        pose = head_pose(points.reshape(-1, _POINTS, 2))
        return Observations(
            embeddings=dict(zip(self.recognisers, embeddings, strict=True)),
            neutral=probabilities[:, neutral],
            called_neutral=probabilities.argmax(dim=1) == neutral,
            yaw=pose[:, 0],
            pitch=pose[:, 1],
        )


def load_instruments() -> Instruments:
    """The packaged networks, and the recognisers of `load_recognisers`.

    Raises:
        InstrumentError, CheckpointError: a packaged one is not there or not readable.
    """
    classifier = quicken(checkpoints.build_model(checkpoints.weights_file(_CLASSIFIER)))
    return Instruments(load_recognisers(), classifier, packaged_landmarks())


def load_recognisers() -> dict[str, Recogniser]:
    """The packaged recogniser, and "mobilefacenet" where the user has it.

    The packaged one may be what a model's identity loss looks through: such a model has learnt to
    please it, and the other is the one to believe.
    """
    recognisers: dict[str, Recogniser] = {_PACKAGED: packaged_recogniser()}
    try:
        independent = find_weights("mobilefacenet")
    except InstrumentError as error:
        logger.warning("only the packaged recogniser is asked who a face is: %s", error)
    else:
        recognisers["mobilefacenet"] = quicken(load_mobilefacenet(independent))
    return recognisers


def embed_all(recognisers: Mapping[str, Recogniser], squares: Tensor) -> dict[str, Tensor]:
    """Recogniser -> embeddings (N, D) of unit length."""
    return {name: embed(network, squares) for name, network in recognisers.items()}


def embed_drawn(
    recognisers: Mapping[str, Recogniser], faces: Tensor, crop: str
) -> dict[str, Tensor]:
    """The same of faces (N, 3, S, S) in [0, 1] of a named crop, a batch at a time."""
    parts = [
        embed_all(recognisers, recut(part, crop, CROP, SIZE)) for part in torch.split(faces, _BATCH)
    ]
    return {name: torch.cat([part[name] for part in parts]) for name in recognisers}


@torch.inference_mode()
def embed_photos(
    recognisers: Mapping[str, Recogniser], squares: NDArray[np.uint8], cache: Path
) -> dict[str, Tensor]:
    """The same of photos (N, 112, 112, 3) in the crop of the networks, kept in `cache`."""
    return {name: kept_embeddings(network, squares, cache) for name, network in recognisers.items()}


def same_person_thresholds(photos: Observations, people: Sequence[str]) -> dict[str, float]:
    """Recogniser -> the cosine at and above which two faces count as one person's.

    Of the packaged recogniser that which was measured for it; of others the one that takes 1 % of
    these photos' pairs of two people for one.
    """
    thresholds = {}
    for name, embeddings in photos.embeddings.items():
        known = read_threshold(packaged_instrument(_PACKAGED)) if name == _PACKAGED else None
        if known is not None:
            thresholds[name] = known.threshold
        else:
            thresholds[name] = threshold_at(*pair_cosines(embeddings, people), FALSE_MATCHES)
    return thresholds


def recut(faces: Tensor, crop: str, goal: str, size: int) -> Tensor:
    """Faces (N, 3, S, S) of one named crop as another frames them, (N, 3, size, size).

    What lies outside of the given crop repeats its edge.
    """
    if (crop, faces.shape[-1]) == (goal, size):
        return faces
    # shares of the side, 0 to 1, are -1 to 1 for the sampler
    there, here = ([[2 * x - 1, 2 * y - 1] for x, y in CROPS[c].points] for c in (goal, crop))
    to_given = torch.tensor(similarity_transform(there, here), dtype=torch.float32)
    grid = F.affine_grid(to_given[None], [1, 3, size, size], align_corners=False)
    grid = grid.expand(len(faces), -1, -1, -1)
    return F.grid_sample(faces.float(), grid, padding_mode="border", align_corners=False)
