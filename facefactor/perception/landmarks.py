"""68 landmarks on a face crop: a small network of our own (`instruments.landmarks` trains it)."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from facefactor.nn.blocks import NormalisedBlock
from facefactor.nn.imagenet import ImageNetSpace
from facefactor.perception.state_dicts import InstrumentError, read_state_dict

_CELLS = 14  # a side of the maps that the landmarks are read from


class LandmarkNetwork(nn.Module):
    """Faces (N, 3, 112, 112) in [0, 1], "arcface" crop -> landmarks (N, 68, 2), iBUG order.

    Landmarks are x, y in shares of the side: 0 the left or top edge, 1 the right or bottom one.
    They may lie outside, as the ends of the jaw often do.

    A residual network sees the whole face at 7x7 and adds that to what it saw at 14x14. Each cell
    of the 14x14 map then says how likely it is to hold a landmark and where the landmark lies, seen
    from the cell; the answer is the mean over cells (an integral regression, Sun et al., ECCV 2018,
    with offsets). A face moved by a cell gives the same maps moved by a cell, so positions need not
    be learnt one by one, and the mean is finer than cells.
    """

    crop = "arcface"
    image_size = 112
    channels_last = True  # for `nn.inference.quicken`
    cells: Tensor  # (2, 196)

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.normalise = ImageNetSpace()
        self.stem = nn.Sequential(  # 56x56
            nn.Conv2d(3, width, 3, 2, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()
        )
        self.fine = nn.Sequential(
            NormalisedBlock(width, 2 * width, stride=2),  # 28x28
            NormalisedBlock(2 * width, 4 * width, stride=2),  # 14x14
            NormalisedBlock(4 * width, 4 * width),
        )
        self.coarse = nn.Sequential(
            NormalisedBlock(4 * width, 6 * width, stride=2),  # 7x7
            NormalisedBlock(6 * width, 6 * width),
        )
        self.from_fine = nn.Conv2d(4 * width, 6 * width, 1, bias=False)
        self.from_coarse = nn.Conv2d(6 * width, 6 * width, 1, bias=False)
        self.norm = nn.BatchNorm2d(6 * width)
        self.likely = nn.Conv2d(6 * width, 68, 1)
        self.offset = nn.Conv2d(6 * width, 2 * 68, 1)
        self.register_buffer("cells", _cell_centres(), persistent=False)

    def forward(self, faces: Tensor) -> Tensor:
        if faces.shape[1:] != (3, self.image_size, self.image_size):
            raise ValueError(f"faces must be (N, 3, 112, 112), got {tuple(faces.shape)}")
        fine = self.fine(self.stem(self.normalise(faces)))
        coarse = F.interpolate(self.from_coarse(self.coarse(fine)), scale_factor=2.0)
        return self.read_out(F.relu(self.norm(self.from_fine(fine) + coarse)))

    def read_out(self, seen: Tensor) -> Tensor:
        """The landmarks (N, 68, 2) in a map of features (N, 96, 14, 14)."""
        weight = self.likely(seen).flatten(2).float().softmax(dim=2)  # (N, 68, 196)
        offset = self.offset(seen).float().unflatten(1, (68, 2)).flatten(3) / _CELLS
        return (weight[:, :, None] * (self.cells + offset)).sum(dim=3)


def load_landmark_network(path: Path) -> LandmarkNetwork:
    """The trained network from its state dict (safetensors), in eval mode.

    Raises:
        InstrumentError: nothing at `path`, or the tensors are not those of this network.
    """
    network, tensors = LandmarkNetwork(), read_state_dict(path)
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        raise InstrumentError(
            f"{path}: not a state dict of the landmark network ({error})"
        ) from error
    return network.eval()


def interocular_error(predicted: Tensor, truth: Tensor) -> Tensor:
    """Mean distance of landmarks from the truth, in % of the distance of the outer eye corners.

    Args:
        predicted, truth: (N, 68, 2), the same unit, the same scale along x and y.

    Returns:
        (N,); NaN where the truth is.
    """
    between_eyes = torch.linalg.vector_norm(truth[:, 45] - truth[:, 36], dim=-1)
    away = torch.linalg.vector_norm(predicted - truth, dim=-1).mean(dim=-1)
    return 100 * away / between_eyes


def _cell_centres() -> Tensor:
    """x, y of the cells in shares of the side, (2, 196), in the order of a flattened map."""
    axis = (torch.arange(_CELLS) + 0.5) / _CELLS
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    return torch.stack([x.flatten(), y.flatten()])
