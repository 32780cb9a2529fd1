"""The training step of StarGAN: D every time, G after every n_critic-th of D's updates (Sec. 5.3).

Faces without a label take part where their own label is not asked for: both players' L_adv, and
L_cls of what is drawn of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from lightning import LightningModule
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer

from facefactor.losses.classification import class_loss, share_right
from facefactor.losses.gradient_penalty import gradient_penalty
from facefactor.losses.wasserstein import critic_loss, fooling_loss
from facefactor.methods.stargan.losses import (
    Weights,
    draw_targets,
    reconstruction_loss,
)
from facefactor.methods.stargan.model import StarGAN

if TYPE_CHECKING:
    from facefactor.data.samples import LabelledBatch

_BETAS = (0.5, 0.999)


@dataclass(frozen=True)
class Schedule:
    """How fast both networks learn."""

    learning_rate: float
    steps: int  # of the stage
    decay_from: int  # the step from which the rate falls, in a straight line, to 0 at the end
    critic_steps: int  # n_critic: updates of D for one of G

    def factor(self, step: int) -> float:
        """What the rate is multiplied by at `step`, from 0 to `steps` - 1; in (0, 1]."""
        return min(1.0, (self.steps - step) / max(1, self.steps - self.decay_from))


class StarGANStage(LightningModule):
    """The one stage.

    Args:
        class_of: for each expression number of a batch, its class or -1.
    """

    class_of: Tensor
    steps_done: Tensor

    def __init__(
        self, model: StarGAN, class_of: Sequence[int], weights: Weights, schedule: Schedule
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.model = model
        self.weights = weights
        self.schedule = schedule
        # the last entry is that of "unknown", -1
        self.register_buffer("class_of", torch.tensor([*class_of, -1]), persistent=False)
        # saved with a run's progress: whose turn it is does not depend on where a run was cut
        self.register_buffer("steps_done", torch.zeros((), dtype=torch.int64))

    def configure_optimizers(self):  # type: ignore[no-untyped-def]
        return [
            torch.optim.Adam(network.parameters(), self.schedule.learning_rate, betas=_BETAS)
            for network in (self.model.discriminator, self.model.generator)
        ]

    def training_step(self, batch: LabelledBatch, batch_index: int) -> Tensor:
        """The sum of all terms is returned to be watched; no gradient follows it."""
        model, faces = self.model, batch.faces
        labels = self.class_of[batch.expression]
        targets = draw_targets(labels, len(model.classes))
        optimizers: Any = self.optimizers()
        of_discriminator, of_generator = optimizers
        self._set_rate(optimizers)
        self.steps_done += 1
        model.average_in(faces)

        terms = self.discriminator_terms(faces, labels, targets)
        self._descend(model.discriminator, of_discriminator, terms)
        if int(self.steps_done) % self.schedule.critic_steps == 0:
            drawn = self.generator_terms(faces, labels, targets)
            self._descend(model.generator, of_generator, drawn)
            terms |= drawn
        loss = torch.stack([term.detach() for term in terms.values()]).sum()
        self.log("loss", loss, prog_bar=True)
        return loss

    def discriminator_terms(
        self, faces: Tensor, labels: Tensor, targets: Tensor
    ) -> dict[str, Tensor]:
        """What D descends, weighted (Eq. 5).

        Args:
            labels: (N,) int64, the faces' own, -1 where unknown; targets: (N,) those to be drawn.
        """
        model = self.model
        with torch.no_grad():
            fakes = model.generator(faces, self._one_hot(targets))
        # D has no normalisation, so real and drawn faces may go together
        scores, logits = model.discriminator(torch.cat([faces, fakes]))
        real, fake = scores.chunk(2)
        of_faces = logits[: len(faces)]
        draw = torch.rand(len(faces), device=faces.device)
        # slopes are those over images in [-1, 1]
        steepness = gradient_penalty(self._scores, 2 * faces - 1, 2 * fakes - 1, draw)
        self.log("accuracy", share_right(of_faces, labels), prog_bar=True)  # what D sees
        return {
            "discriminator/adversarial": critic_loss(real, fake),  # Eq. 8, negated
            "discriminator/penalty": self.weights.penalty * steepness,
            "discriminator/classification": self.weights.classification  # Eq. 2
            * class_loss(of_faces, labels),
        }

    def generator_terms(self, faces: Tensor, labels: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """What G descends, weighted (Eq. 6); arguments as of `discriminator_terms`."""
        model, weights = self.model, self.weights
        fakes = model.generator(faces, self._one_hot(targets))
        scores, logits = model.discriminator(fakes)
        return {
            "generator/adversarial": fooling_loss(scores),  # Eq. 8
            "generator/classification": weights.classification  # Eq. 3
            * class_loss(logits, targets),
            "generator/reconstruction": weights.reconstruction  # Eq. 4
            * self._reconstruction(fakes, faces, labels),
        }

    def _reconstruction(self, fakes: Tensor, faces: Tensor, labels: Tensor) -> Tensor:
        """L_rec of the faces whose own label is known, drawn back from `fakes`; 0 without any."""
        known = labels >= 0
        if not known.any():
            return fakes.new_zeros(())
        rebuilt = self.model.generator(fakes[known], self._one_hot(labels[known]))
        return reconstruction_loss(rebuilt, faces[known])

    def _scores(self, images: Tensor) -> Tensor:
        """D_src of images in [-1, 1]."""
        scores: Tensor = self.model.discriminator((images + 1) / 2)[0]
        return scores

    def _one_hot(self, labels: Tensor) -> Tensor:
        return F.one_hot(labels, len(self.model.classes)).float()

    def _set_rate(self, optimizers: Sequence[Optimizer]) -> None:
        """That of this step, for both: a scheduler would complain that G's pauses."""
        rate = self.schedule.learning_rate * self.schedule.factor(int(self.steps_done))
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate

    def _descend(self, network: nn.Module, optimizer: Optimizer, terms: dict[str, Tensor]) -> None:
        """One step of one network on the sum of its terms; the other gets no gradient."""
        loss = torch.stack(list(terms.values())).sum()
        torch.autograd.backward(loss, inputs=list(network.parameters()))
        optimizer.step()
        optimizer.zero_grad()
        self.log_dict({name: term.detach() for name, term in terms.items()})
