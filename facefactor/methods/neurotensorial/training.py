"""Training of Neuro-Tensorial: one step of the autoencoder, one of its discriminator (Sec. 3.6).

Labels are pseudo-labels: a morphable model was fitted to every photo beforehand. All gradients are
autograd's; Eq. 16 is written out in the tests only.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from lightning import LightningModule
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer

from facefactor.losses.identity import cosine_distance
from facefactor.methods.neurotensorial.losses import (
    ProofWeights,
    Weights,
    absolute_label_loss,
    convergence,
    frontal_target,
    known_rows,
    label_loss,
    lighting_loss,
    masked_loss,
    next_balance,
    redrawing_error,
    smoothness_loss,
    unit_norm_loss,
    white_shading_loss,
)
from facefactor.methods.neurotensorial.model import Codes, NeuroTensorial, Rendering
from facefactor.methods.neurotensorial.proof import ProofOfConcept
from facefactor.nn.schedules import Schedule, adams, each_step, listed

if TYPE_CHECKING:
    from facefactor.data.samples import FittedBatch, RenderedBatch

_BETAS = (0.5, 0.999)
_PLAIN_SHARE = 0.25  # of a batch: the faces with the least expression, whose codes are neutral
_FOLLOW = 0.01  # how far running means of codes go towards those of a batch


class NeuroTensorialStage(LightningModule):
    """The one stage: the whole of Fig. 2, and BEGAN's discriminator.

    Args:
        discriminator: D, faces (N, 3, S, S) -> the same, redrawn; None where its weight is 0.
        recogniser: V of Eq. 8, frozen: our faces -> embeddings (N, D); None where its weight is 0.
        balance_ratio, balance_rate: gamma and lambda_k of BEGAN.
    """

    balance: Tensor

    def __init__(
        self,
        model: NeuroTensorial,
        discriminator: nn.Module | None,
        recogniser: nn.Module | None,
        weights: Weights,
        balance_ratio: float,
        balance_rate: float,
        schedule: Schedule,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.model = model
        self.discriminator = discriminator if weights.adversarial else None
        self.recogniser = recogniser
        self.weights = weights
        self.balance_ratio = balance_ratio
        self.balance_rate = balance_rate
        self.schedule = schedule
        self.register_buffer("balance", torch.zeros(()))  # k_t

    def configure_optimizers(self):  # type: ignore[no-untyped-def]
        networks = [self.model, self.discriminator]
        learning = [network.parameters() for network in networks if network is not None]
        return adams(learning, self.schedule, _BETAS)

    def training_step(self, batch: FittedBatch, batch_index: int) -> Tensor:
        """One step of each; the sum of all terms is returned to be watched."""
        optimizers = listed(self.optimizers())
        codes, places = self.model.read(batch.faces)
        drawn = self.model.draw(codes, places)
        if self.discriminator is not None:
            self.discriminator.requires_grad_(False)  # its gradients go to what it judges
        terms = self.generator_terms(batch, codes, drawn)
        loss = self._descend("generator", optimizers[0], terms)
        if self.discriminator is not None:
            self.discriminator.requires_grad_(True)
            terms = self.discriminator_terms(batch.faces, drawn.image.detach())
            loss = loss + self._descend("discriminator", optimizers[1], terms)
        follow(self.model.neutral_expression, plain_codes(codes.expression, batch.expression))
        follow(self.model.mean_illumination, codes.illumination)
        for schedule in listed(self.lr_schedulers()):
            schedule.step()
        self.log("loss", loss, prog_bar=True)
        return loss

    def generator_terms(
        self, batch: FittedBatch, codes: Codes, drawn: Rendering
    ) -> dict[str, Tensor]:
        """Weighted terms of the autoencoder, one for each weight that is not 0."""
        terms: dict[str, Callable[[], Tensor]] = {
            **self._image_terms(batch, drawn),
            **self._code_terms(batch, codes),
            **self._tensor_terms(batch, codes),
            **self._formation_terms(batch, codes, drawn),
        }
        weights = {name: weight for name, weight in vars(self.weights).items() if weight}
        return {name: weight * terms[name]() for name, weight in weights.items()}

    def discriminator_terms(self, faces: Tensor, fakes: Tensor) -> dict[str, Tensor]:
        """|x - D(x)| - k_t |x^ - D(x^)|, and k_t for the next step.

        Args:
            faces, fakes: (N, 3, S, S), the latter without a gradient.
        """
        assert self.discriminator is not None
        redrawn, redrawn_fakes = self.discriminator(torch.cat([faces, fakes])).chunk(2)
        real, fake = redrawing_error(faces, redrawn), redrawing_error(fakes, redrawn_fakes)
        terms = {"real": real, "fake": -self.balance.clone() * fake}
        ratio, rate = self.balance_ratio, self.balance_rate
        self.balance.copy_(next_balance(self.balance, real.detach(), fake.detach(), ratio, rate))
        self.log("balance", self.balance)
        self.log("convergence", convergence(real, fake, ratio).detach(), prog_bar=True)
        return terms

    def _image_terms(self, batch: FittedBatch, drawn: Rendering) -> dict[str, Callable[[], Tensor]]:
        """The redrawn image (Eq. 8)."""
        faces = batch.faces
        return {
            "reconstruction": lambda: F.mse_loss(drawn.image, faces),
            "image": lambda: F.l1_loss(drawn.image, faces),
            "face": lambda: masked_loss(drawn.face, faces, batch.mask),
            "adversarial": lambda: self._judge(drawn.image),
            "verification": lambda: self._verify(drawn.image, faces),
        }

    def _code_terms(self, batch: FittedBatch, codes: Codes) -> dict[str, Callable[[], Tensor]]:
        """Codes against the fit (Eq. 9 to 11)."""
        model = self.model
        return {
            "pose": lambda: label_loss(codes.pose, batch.rotation.flatten(1)),
            "expression": lambda: label_loss(
                model.to_expression_modes(codes.expression), batch.expression
            ),
            "identity": lambda: label_loss(model.to_identity_modes(codes.identity), batch.identity),
        }

    def _tensor_terms(self, batch: FittedBatch, codes: Codes) -> dict[str, Callable[[], Tensor]]:
        """Multilinear losses (Eq. 12 to 14); the last two of near-frontal faces only."""
        model, identity, expression = self.model, codes.identity, codes.expression
        seen = frontal_target(2 * batch.faces - 1, batch.mask)
        normals = frontal_target(batch.normals, batch.mask)
        return {
            "shape": lambda: label_loss(model.shape(identity, expression), batch.shape),
            "frontal_face": lambda: label_loss(
                model.frontal(identity, expression, codes.illumination), seen, batch.frontal
            ),
            "frontal_normals": lambda: label_loss(
                model.frontal(identity, expression, None), normals, batch.frontal
            ),
        }

    def _formation_terms(
        self, batch: FittedBatch, codes: Codes, drawn: Rendering
    ) -> dict[str, Callable[[], Tensor]]:
        """The constraints of Neural Face Editing on what an image is made of."""
        mask = batch.mask
        everywhere = torch.ones_like(drawn.mask)
        return {
            "normals": lambda: masked_loss(drawn.normals, batch.normals, mask),
            "normals_smoothness": lambda: smoothness_loss(drawn.normals, mask, power=2),
            "unit_norm": lambda: unit_norm_loss(drawn.normals),
            "albedo_smoothness": lambda: smoothness_loss(drawn.albedo, mask, power=1),
            "lighting": lambda: lighting_loss(
                self.model.lighting(codes.illumination), batch.lighting
            ),
            "white_shading": lambda: white_shading_loss(drawn.shading, mask),
            "mask": lambda: absolute_label_loss(drawn.mask, mask),
            "mask_smoothness": lambda: smoothness_loss(drawn.mask, everywhere, power=1),
        }

    def _judge(self, images: Tensor) -> Tensor:
        """E_adv of Eq. 8: what D cannot redraw is not real."""
        assert self.discriminator is not None
        return redrawing_error(images, self.discriminator(images))

    def _verify(self, images: Tensor, faces: Tensor) -> Tensor:
        """E_veri of Eq. 8."""
        assert self.recogniser is not None
        with torch.no_grad():
            person = self.recogniser(faces)
        return cosine_distance(self.recogniser(images), person)

    def _descend(self, part: str, optimizer: Optimizer, terms: dict[str, Tensor]) -> Tensor:
        """One step on the sum of `terms`, which is returned without a gradient."""
        loss = torch.stack(list(terms.values())).sum()
        self.manual_backward(loss)
        optimizer.step()
        optimizer.zero_grad()
        self.log_dict({f"{part}/{name}": term.detach() for name, term in terms.items()})
        return loss.detach()


class ProofStage(LightningModule):
    """The one stage of the proof of concept (Sec. 4), on rendered faces."""

    def __init__(self, model: ProofOfConcept, weights: ProofWeights, schedule: Schedule) -> None:
        super().__init__()
        self.model = model
        self.weights = weights
        self.schedule = schedule

    def configure_optimizers(self):  # type: ignore[no-untyped-def]
        (optimizer,), (drops,) = adams([self.model.parameters()], self.schedule, _BETAS)
        return each_step(optimizer, drops)

    def training_step(self, batch: RenderedBatch, batch_index: int) -> Tensor:
        terms = self.terms(batch)
        self.log_dict({f"loss/{name}": term.detach() for name, term in terms.items()})
        loss = torch.stack(list(terms.values())).sum()
        self.log("loss", loss.detach(), prog_bar=True)
        return loss

    def terms(self, batch: RenderedBatch) -> dict[str, Tensor]:
        """Weighted terms, by name."""
        model, weights = self.model, self.weights
        codes = model.encode(batch.faces)
        identity, expression = codes["identity"], codes["expression"]
        pose = codes.codes.get("pose")
        follow(model.neutral_expression, plain_codes(expression, batch.expression))
        terms = {
            "reconstruction": F.mse_loss(model.draw(identity, expression, pose), batch.faces),
            "texture": F.mse_loss(model.draw_texture(identity), batch.texture),
            "identity": label_loss(model.to_identity_modes(identity), batch.identity),
            "expression": label_loss(model.to_expression_modes(expression), batch.expression),
        }
        if pose is not None:
            terms["pose"] = label_loss(pose, batch.rotation.flatten(1))
        return {name: getattr(weights, name) * term for name, term in terms.items()}


def plain_codes(expression: Tensor, labels: Tensor) -> Tensor:
    """The codes of a quarter of the faces, those with the least expression; at least one.

    Args:
        expression: (N, 15) codes.
        labels: (N, E) expression coefficients; NaN rows take no part.

    Returns:
        (M, 15); M is 0 where no label is known.
    """
    known = known_rows(labels)
    strength = labels[known].norm(dim=1)
    count = math.ceil(_PLAIN_SHARE * len(strength))
    return expression[known][strength.argsort()[:count]]


@torch.no_grad()
def follow(running: Tensor, codes: Tensor) -> None:
    """Move the running mean (D,) towards the mean of codes (M, D); the first codes set it."""
    if len(codes):
        share = _FOLLOW if running.any() else 1.0
        running.lerp_(codes.detach().mean(dim=0).to(running), share)
