"""What frozen networks see of faces, be they photos or drawn: who it is, expression, pose."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
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

# The square that all networks here take.
CROP, SIZE = LandmarkNetwork.crop, LandmarkNetwork.image_size

_PACKAGED: InstrumentName = "recogniser"
_CLASSIFIER = "ipdfer"
_BATCH = 32

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
        seen = [self._observe(recut(part, crop, CROP, SIZE)) for part in torch.split(faces, _BATCH)]
        neutral = self.classifier.classes.index("neutral")
        probabilities = torch.cat([part[1] for part in seen])
        pose = head_pose(torch.cat([part[2] for part in seen]))
        return Observations(
            embeddings={
                name: torch.cat([part[0][name] for part in seen]) for name in self.recognisers
            },
            neutral=probabilities[:, neutral],
            called_neutral=probabilities.argmax(dim=1) == neutral,
            yaw=pose[:, 0],
            pitch=pose[:, 1],
        )

    def _observe(self, squares: Tensor) -> tuple[dict[str, Tensor], Tensor, Tensor]:
        return (
            embed_all(self.recognisers, squares),
            self.classifier.expression_probabilities(squares),
            self.landmarks(squares),
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
