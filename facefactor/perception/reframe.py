"""Networks made for one face crop, given faces of another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from facefactor.geometry.similarity import similarity_transform
from facefactor.perception.align import CROPS

Points = Sequence[Sequence[float]]


class Reframed(nn.Module):
    """A network that takes faces of another crop and size, here given those of `own_crop`.

    Matching points of the two crops are brought together by a similarity, the same for all faces;
    what the own crop does not show is continued from its border.

    Args:
        network: faces (N, 3, size, size) in [0, 1] of `crop` -> whatever it gives.
        crop, own_crop: keys of `perception.align.CROPS`, whose five points match; or matching
            points themselves, in shares of the side, two at least.
    """

    grid: Tensor

    def __init__(
        self, network: nn.Module, crop: str | Points, size: int, own_crop: str | Points
    ) -> None:
        super().__init__()
        self.network = network
        to_own = torch.tensor(
            similarity_transform(_sampler_points(crop), _sampler_points(own_crop)),
            dtype=torch.float32,
        )
        grid = F.affine_grid(to_own[None], [1, 3, size, size], align_corners=False)
        self.register_buffer("grid", grid, persistent=False)

    def forward(self, faces: Tensor) -> Any:
        grid = self.grid.expand(len(faces), -1, -1, -1)
        return self.network(
            F.grid_sample(faces.float(), grid, padding_mode="border", align_corners=False)
        )


def _sampler_points(crop: str | Points) -> list[list[float]]:
    """Shares of the side, 0 to 1, as the sampler has them: -1 to 1."""
    points = CROPS[crop].points if isinstance(crop, str) else crop
    return [[2 * x - 1, 2 * y - 1] for x, y in points]
