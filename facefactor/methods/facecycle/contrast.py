"""What MoCo (He et al., CVPR 2020) adds: views of a photo, and the loss of the codes of two views.

FaceCycle's encoder trained so is the baseline of the paper's Tables 1 to 3. Equations are those of
the MoCo paper.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

_SMALLEST = 0.2  # share of a face's area that a view shows at least
_GREY = 0.2  # share of views without colour
_LUMINANCE = (0.299, 0.587, 0.114)


@dataclass(frozen=True)
class Contrast:
    """MoCo's settings; the paper's baseline, which learns an encoder and nothing to draw with."""

    images: int  # seen; 0: FaceCycle itself is trained
    keys: int  # K, codes of earlier photos to be far from
    momentum: float = 0.999  # m of Eq. 2
    temperature: float = 0.07  # tau of Eq. 1
    learning_rate: float = 0.015


def contrast_loss(queries: Tensor, keys: Tensor, queue: Tensor, temperature: float) -> Tensor:
    """InfoNCE: cross-entropy of finding a query's own key among those of the queue (MoCo, Eq. 1).

    Args:
        queries, keys: (N, D) of unit length, a photo's two views in one row.
        queue: (K, D) of unit length, codes of other photos.

    Returns:
        Scalar, >= 0; log(K + 1) where all are equally near.
    """
    own = (queries * keys).sum(dim=1, keepdim=True)
    logits = torch.cat([own, queries @ queue.T], dim=1) / temperature
    return F.cross_entropy(logits, logits.new_zeros(len(logits), dtype=torch.int64))


def view(faces: Tensor) -> Tensor:
    """Faces (N, 3, S, S) in [0, 1], each seen anew: a random square of it, maybe mirrored, in other
    brightness, contrast and saturation, for a fifth without colour.

    As in MoCo's own training but for hues, which do not change.
    """
    count = len(faces)

    def draw(low: float, high: float) -> Tensor:
        return torch.empty(count, 1, 1, 1).uniform_(low, high).to(faces)

    side = draw(_SMALLEST, 1).sqrt().view(-1)
    shift = (1 - side)[:, None] * torch.empty(count, 2).uniform_(-1, 1).to(faces)
    mirrored = torch.where(torch.rand(count) < 0.5, -1.0, 1.0).to(faces)
    places = torch.zeros(count, 2, 3).to(faces)  # a view's [-1, 1] -> the face's
    places[:, 0, 0], places[:, 1, 1], places[:, :, 2] = mirrored * side, side, shift
    grid = F.affine_grid(places, list(faces.shape), align_corners=False)
    seen = F.grid_sample(faces, grid, padding_mode="border", align_corners=False)

    luminance = faces.new_tensor(_LUMINANCE).view(1, 3, 1, 1)
    seen = (seen * draw(0.6, 1.4)).clamp(0, 1)
    mean = (seen * luminance).sum(dim=1, keepdim=True).mean(dim=(2, 3), keepdim=True)
    seen = (mean + draw(0.6, 1.4) * (seen - mean)).clamp(0, 1)
    grey = (seen * luminance).sum(dim=1, keepdim=True)
    colour = torch.where(draw(0, 1) < _GREY, 0.0, draw(0.6, 1.4))
    return (grey + colour * (seen - grey)).clamp(0, 1)
