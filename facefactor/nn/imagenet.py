"""The normalised space in which networks pretrained on ImageNet take their images."""

from __future__ import annotations

import torch
from torch import Tensor, nn

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


class ImageNetSpace(nn.Module):
    """Faces in [0, 1] <-> images of zero mean and unit deviation per channel; (N, 3, H, W)."""

    mean: Tensor
    std: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(STD).view(3, 1, 1), persistent=False)

    def forward(self, faces: Tensor) -> Tensor:
        return (faces - self.mean) / self.std

    def leave(self, images: Tensor) -> Tensor:
        """Back to RGB; not clamped, so that gradients survive at the ends."""
        return images * self.std + self.mean
