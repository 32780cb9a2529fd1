"""MoCo (He et al., CVPR 2020) with FaceCycle's encoder: the baseline of the paper's Tables 1 to 3.

Two views of one photo are to have one code, other photos' codes are to be far from it. Equations
are those of the MoCo paper.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from lightning import LightningModule
from torch import Tensor
from torch.nn import functional as F

from facefactor.methods.facecycle.losses import Contrast, contrast_loss
from facefactor.methods.facecycle.model import FaceCycle
from facefactor.nn.schedules import each_step, falling

if TYPE_CHECKING:
    from facefactor.data.samples import LabelledBatch

_SGD_MOMENTUM, _DECAY = 0.9, 1e-4  # of MoCo's own training
_DROPS = (0.6, 0.8)  # shares of the training after which the rate falls: 120 and 160 of 200 epochs
_GROUPS = 4  # that a batch of keys is encoded in
_SMALLEST = 0.2  # share of a face's area that a view shows at least
_GREY = 0.2  # share of views without colour
_LUMINANCE = (0.299, 0.587, 0.114)


class ContrastStage(LightningModule):
    """E_exp learns by contrast; E_id is the slowly following encoder of the keys.

    Labels are not looked at. Nothing else of the model learns.

    Args:
        steps: length of the stage.
    """

    queue: Tensor
    oldest: Tensor

    def __init__(self, model: FaceCycle, contrast: Contrast, steps: int) -> None:
        super().__init__()
        self.model = model
        self.contrast = contrast
        self.steps = steps
        model.requires_grad_(False)
        model.expression_encoder.requires_grad_(True)
        model.identity_encoder.load_state_dict(model.expression_encoder.state_dict())
        self.register_buffer("queue", F.normalize(torch.randn(contrast.keys, model.code_size)))
        self.register_buffer("oldest", torch.zeros((), dtype=torch.int64))  # its row in the queue

    def configure_optimizers(self):  # type: ignore[no-untyped-def]
        optimizer = torch.optim.SGD(
            self.model.expression_encoder.parameters(),
            lr=self.contrast.learning_rate,
            momentum=_SGD_MOMENTUM,
            weight_decay=_DECAY,
        )
        drops = [max(1, int(share * self.steps)) for share in _DROPS]
        return each_step(optimizer, falling(optimizer, drops))

    def training_step(self, batch: LabelledBatch, batch_index: int) -> Tensor:
        model, faces = self.model, batch.faces
        queries = F.normalize(model.expression_encoder(model.to_images(view(faces))))
        with torch.no_grad():
            self._follow()
            keys = F.normalize(self._encode_keys(model.to_images(view(faces))))
        others = self.queue.clone()  # the queue changes before gradients come back
        loss = contrast_loss(queries, keys, others, self.contrast.temperature)
        nearest = (queries.detach() @ others.T).max(dim=1).values
        told = (queries.detach() * keys).sum(dim=1) > nearest
        self._enqueue(keys)
        self.log("loss", loss.detach(), prog_bar=True)
        self.log("told_apart", told.float().mean(), prog_bar=True)  # from all in the queue
        return loss

    def _follow(self) -> None:
        """Eq. 2: theta_k <- m theta_k + (1 - m) theta_q."""
        pairs = zip(
            self.model.identity_encoder.parameters(),
            self.model.expression_encoder.parameters(),
            strict=True,
        )
        for key, query in pairs:
            key.lerp_(query, 1 - self.contrast.momentum)

    def _encode_keys(self, images: Tensor) -> Tensor:
        """In groups of random faces: by the statistics of its batch, which batch normalisation
        leaves in a code, a query must not find its key (Sec. 3.3)."""
        order = torch.randperm(len(images), device=images.device)
        groups = images[order].chunk(_GROUPS)
        codes = torch.cat([self.model.identity_encoder(group) for group in groups])
        return codes[order.argsort()]

    def _enqueue(self, keys: Tensor) -> None:
        rows = (self.oldest + torch.arange(len(keys), device=keys.device)) % len(self.queue)
        self.queue[rows] = keys
        self.oldest.copy_((self.oldest + len(keys)) % len(self.queue))


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
