"""The one stage of the landmark network, and the harder photos it is shown.

Whatever is random here is drawn from torch's seeded generator.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from lightning import LightningModule
from torch import Tensor
from torch.nn import functional as F

from facefactor.geometry.landmarks import mirror_landmarks
from facefactor.instruments.landmarks.losses import known_faces, wing_loss
from facefactor.nn.schedules import each_step
from facefactor.perception.landmarks import LandmarkNetwork, interocular_error

if TYPE_CHECKING:
    from facefactor.data.samples import LabelledBatch

# Half the range of a random move: a face tilts, comes nearer and lies elsewhere than the detector's
# five points would have it, which err by a few per cent of the side.
_TURN_DEG = 30.0
_ZOOM = 0.2
_SHIFT = 0.08  # of the side
_WARM_UP = 0.03  # share of the steps in which the learning rate rises


class LandmarkStage(LightningModule):
    """AdamW on the wing loss; the learning rate rises shortly, then falls to 0 along a cosine.

    Args:
        wing_px: width and curvature of the wing loss, pixels of the 112-pixel crop.
        steps: length of the stage.
    """

    def __init__(
        self,
        model: LandmarkNetwork,
        learning_rate: float,
        weight_decay: float,
        wing_px: tuple[float, float],
        steps: int,
    ) -> None:
        super().__init__()
        self.model = model
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.wing_px = wing_px
        self.steps = steps

    def training_step(self, batch: LabelledBatch, batch_index: int) -> Tensor:
        faces, truth = make_harder(batch.faces, batch.landmarks)
        predicted = self.model(faces)
        side = self.model.image_size
        loss = wing_loss(side * predicted, side * truth, *self.wing_px)
        self.log("loss", loss.detach(), prog_bar=True)
        known = known_faces(truth)
        if known.any():
            error = interocular_error(predicted.detach()[known], truth[known]).mean()
            self.log("interocular_error", error, prog_bar=True)  # %
        return loss

    def configure_optimizers(self):  # type: ignore[no-untyped-def]
        optimizer = torch.optim.AdamW(
            self.parameters(), lr=self.learning_rate, weight_decay=self.weight_decay
        )
        return each_step(optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, self.rate_at))

    def rate_at(self, step: int) -> float:
        """The learning rate of a step, as a share of the highest."""
        warm_up = max(1, round(_WARM_UP * self.steps))
        if step < warm_up:
            return (step + 1) / (warm_up + 1)
        done = min(1.0, (step - warm_up) / max(1, self.steps - warm_up))
        return (1 + math.cos(math.pi * done)) / 2


def make_harder(faces: Tensor, landmarks: Tensor) -> tuple[Tensor, Tensor]:
    """Faces (N, 3, S, S) in [0, 1] as they are met outside of aligned data sets, and landmarks
    (N, 68, 2), shares of the side, that moved with them; drawn for each face.

    Mirrored; turned, scaled and shifted; in other light; coarse or grey; partly covered.
    """
    with torch.autocast(faces.device.type, enabled=False):  # bf16 would move points by half a pixel
        faces, landmarks = mirror_some(faces, landmarks)
        faces, landmarks = move(faces, landmarks, random_motion(len(faces)).to(faces))
        return cover(relight(blur(faces))), landmarks


def mirror_some(faces: Tensor, landmarks: Tensor) -> tuple[Tensor, Tensor]:
    """Half of them."""
    mirrored = _some(0.5, faces)
    faces = torch.where(mirrored[:, None, None, None], faces.flip(3), faces)
    return faces, torch.where(mirrored[:, None, None], mirror_landmarks(landmarks), landmarks)


def random_motion(count: int) -> Tensor:
    """(count, 2, 3) maps of shares of the side: a turn and a zoom about the middle, and a shift."""
    angle = torch.deg2rad(_TURN_DEG * _spread(count, 1))[:, 0]
    zoom = torch.exp(_ZOOM * _spread(count, 1))[:, 0]
    c, s = zoom * angle.cos(), zoom * angle.sin()
    linear = torch.stack([torch.stack([c, -s], dim=1), torch.stack([s, c], dim=1)], dim=1)
    middle = torch.full((2,), 0.5)
    shift = middle - linear @ middle + _SHIFT * _spread(count, 2)
    return torch.cat([linear, shift[:, :, None]], dim=2)


def move(faces: Tensor, landmarks: Tensor, motion: Tensor) -> tuple[Tensor, Tensor]:
    """Both moved by maps (N, 2, 3) of shares of the side; uncovered ground is mirrored."""
    linear, shift = motion[:, :, :2].float(), motion[:, :, 2:].float()
    # The grid leads back, from a place in the result to one in the photo, and counts u = 2 s - 1:
    # from s' = A s + b follows u = A^-1 u' + A^-1 (1 - 2 b) - 1.
    back = torch.linalg.inv(linear)
    offset = back @ (1 - 2 * shift) - 1
    grid = F.affine_grid(torch.cat([back, offset], dim=2), list(faces.shape), align_corners=False)
    moved = F.grid_sample(faces.float(), grid, padding_mode="reflection", align_corners=False)
    return moved, landmarks.float() @ linear.mT + shift.mT


def relight(faces: Tensor) -> Tensor:
    """Gamma, contrast, brightness, a tint, light from one side, and for a fifth no colour."""
    count, side = len(faces), faces.shape[-1]

    def draw(*shape: int) -> Tensor:
        return _spread(count, *shape).to(faces)

    faces = faces.clamp(1e-3, 1) ** torch.exp(0.5 * draw(1, 1, 1))
    grey = faces.mean(dim=1, keepdim=True)
    tinted = faces * (1 + 0.1 * draw(3, 1, 1))
    faces = torch.where(_some(0.2, faces)[:, None, None, None], grey, tinted)
    axis = torch.linspace(-1, 1, side).to(faces)
    from_side = draw(1, 1, 1) * axis + draw(1, 1, 1) * axis[:, None]  # (N, 1, S, S)
    faces = faces * (1 + 0.3 * from_side)
    mean = faces.mean(dim=(1, 2, 3), keepdim=True)
    contrast, brightness = torch.exp(0.4 * draw(1, 1, 1)), 0.15 * draw(1, 1, 1)
    return ((faces - mean) * contrast + mean + brightness).clamp(0, 1)


def blur(faces: Tensor) -> Tensor:
    """A third as from a photo of a third to two thirds of the side, one size a batch."""
    side = faces.shape[-1]
    small = int(torch.randint(side // 3, 2 * side // 3 + 1, ()))
    coarse = F.interpolate(faces, (small, small), mode="bilinear", antialias=True)
    coarse = F.interpolate(coarse, (side, side), mode="bilinear")
    return torch.where(_some(1 / 3, faces)[:, None, None, None], coarse, faces)


def cover(faces: Tensor) -> Tensor:
    """A rectangle of one colour or of noise over half of the faces: hands, hair, a microphone."""
    count, side = len(faces), faces.shape[-1]
    middle = torch.rand(count, 2, 1, 1).to(faces)
    half = (0.05 + 0.15 * torch.rand(count, 2, 1, 1)).to(faces)
    axis = ((torch.arange(side) + 0.5) / side).to(faces)
    across = (axis - middle[:, :1]).abs() < half[:, :1]  # (N, 1, 1, S)
    down = (axis[:, None] - middle[:, 1:]).abs() < half[:, 1:]  # (N, 1, S, 1)
    colour = torch.rand(count, 3, 1, 1).to(faces)
    noise = torch.rand(count, 3, side, side).to(faces)
    patch = torch.where(_some(0.5, faces)[:, None, None, None], colour, noise)
    covered = across & down & _some(0.5, faces)[:, None, None, None]
    return torch.where(covered, patch, faces)


def _some(share: float, faces: Tensor) -> Tensor:
    """True for each of the faces with this probability, (N,)."""
    return (torch.rand(len(faces)) < share).to(faces.device)


def _spread(*shape: int) -> Tensor:
    """Uniform in [-1, 1]."""
    return 2 * torch.rand(*shape) - 1
