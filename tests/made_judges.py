"""Networks that look at faces and whose answers are known beforehand."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from facefactor.data.frontal_neutral import Judges
from facefactor.factors import ModelSpec
from facefactor.perception.head_pose import MEAN_FACE
from facefactor.perception.landmarks import LandmarkNetwork


class LooksAhead(LandmarkNetwork):
    """Sees the mean face in every crop, looking into the camera."""

    def __init__(self) -> None:
        nn.Module.__init__(self)
        self.register_buffer("seen", 0.5 + 0.3 * MEAN_FACE[:, :2] * torch.tensor([1.0, -1.0]))

    def forward(self, faces: Tensor) -> Tensor:
        return self.seen.expand(len(faces), -1, -1)


class BrightIsNeutral(nn.Module):
    """Tells expressions apart by the mean brightness of a face: neutral above `at`."""

    def __init__(
        self,
        at: float = 0.5,
        crop: str = "arcface",
        size: int = 112,
        classes: tuple[str, ...] = ("neutral", "happiness"),
    ) -> None:
        super().__init__()
        self.spec = ModelSpec("bright", crop, size, 3, {})
        self.classes = classes
        self.register_buffer("at", torch.tensor(at))

    def expression_probabilities(self, faces: Tensor) -> Tensor:
        likely = (100 * (faces.mean(dim=(1, 2, 3)) - self.at)).sigmoid()
        return torch.stack([likely, 1 - likely], dim=1)


def bright_judges(at: float = 0.5) -> Judges:
    """Everybody looks ahead; bright faces are neutral."""
    return Judges(LooksAhead(), BrightIsNeutral(at))
