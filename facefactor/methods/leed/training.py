"""The two stages of LEED: encoder and decoder learn to redraw photos, then all networks to edit.

In the second every network descends an objective of its own, and the gradient of an objective stops
at the weights of that network (or, for X and Q, two): see `EditingStage.objectives`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from lightning import LightningModule
from torch import Tensor, nn

from facefactor.losses.gradient_penalty import gradient_penalty
from facefactor.losses.identity import cosine_distance
from facefactor.losses.wasserstein import critic_loss, fooling_loss
from facefactor.methods.leed.instruments import Instruments
from facefactor.methods.leed.losses import (
    Weights,
    code_distance,
    feature_distance,
    information_loss,
    separation_loss,
)
from facefactor.methods.leed.model import LEED
from facefactor.methods.leed.networks import Critic, Regulariser, Siamese
from facefactor.nn.schedules import Schedule, adams, each_step

if TYPE_CHECKING:
    from facefactor.data.samples import LabelledBatch, NeutralisedBatch

_BETAS = (0.5, 0.999)  # Sec. 4.2
_MARGIN = 10.0  # of S, as in TraVeLGAN

Learner = Literal[
    "extractor", "code_neutraliser", "decoder", "critic", "interpolator", "encoder", "siamese"
]
Terms = dict[str, Tensor]  # weighted, by name
EVERY_STEP: tuple[Learner, ...] = ("extractor", "code_neutraliser", "decoder", "critic")
WHOLE_STEPS: tuple[Learner, ...] = ("interpolator", "encoder", "siamese")


class AutoencodingStage(LightningModule):
    """First E and D only, on photos: there are no codes to edit until faces can be drawn of them.

    Both descend the same loss (Eq. 14, 15).
    """

    def __init__(
        self, model: LEED, instruments: Instruments, weights: Weights, schedule: Schedule
    ) -> None:
        super().__init__()
        self.model = model
        self.instruments = instruments
        self.weights = weights
        self.schedule = schedule

    def configure_optimizers(self):  # type: ignore[no-untyped-def]
        learning = [*self.model.encoder.parameters(), *self.model.decoder.parameters()]
        (optimizer,), (falling,) = adams([learning], self.schedule, _BETAS)
        return each_step(optimizer, falling)

    def training_step(self, batch: LabelledBatch, batch_index: int) -> Tensor:
        drawn = self.model.decoder(self.model.encoder(batch.faces))
        terms = drawing_terms(self.instruments, drawn, batch.faces, self.weights.pixel)
        loss = _sum(terms)
        self.log_dict({f"decoder/{name}": term.detach() for name, term in terms.items()})
        self.log("loss", loss.detach(), prog_bar=True)
        return loss


class EditingStage(LightningModule):
    """Then all networks, each by its own objective; batch normalisations stay as they are.

    Every face of a batch has the one before it for its reference. All gradients of a step are taken
    at the same weights. Logged, beside every weighted term as `<network>/<term>`: `code_spread`,
    the standard deviation of codes between faces, which falls to 0 where codes collapse (Sec. 3.4).

    Args:
        regulariser: Q; None where the weight of its term is 0. So with the critic, and S.
        critic_steps: steps of the critic (and of X, Q and D) for one of E, I and S.
    """

    taken: Tensor

    def __init__(
        self,
        model: LEED,
        critic: Critic | None,
        regulariser: Regulariser | None,
        siamese: Siamese | None,
        instruments: Instruments,
        weights: Weights,
        critic_steps: int,
        schedule: Schedule,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.model = model
        self.critic = critic
        self.regulariser = regulariser
        self.siamese = siamese
        self.instruments = instruments
        self.weights = weights
        self.critic_steps = critic_steps
        self.schedule = schedule
        self.register_buffer("taken", torch.zeros((), dtype=torch.int64))  # steps, saved with a run

    def configure_optimizers(self):  # type: ignore[no-untyped-def]
        """One optimiser: Adam leaves weights without a gradient, and their moments, as they are."""
        learning = [
            weight for learner in (*EVERY_STEP, *WHOLE_STEPS) for weight in self.learnt(learner)
        ]
        return adams([learning], self.schedule, _BETAS)

    def training_step(self, batch: NeutralisedBatch, batch_index: int) -> Tensor:
        """The sum of all terms is returned to be watched; no gradient follows it."""
        self.model.eval()  # normalisations keep the statistics of the first stage
        self.taken += 1
        whole = int(self.taken) % self.critic_steps == 0
        objectives = self.objectives(batch, whole)
        self.send_back(objectives)
        optimizer = self.optimizers()
        optimizer.step()  # type: ignore[union-attr]
        optimizer.zero_grad()  # type: ignore[union-attr]
        self.lr_schedulers().step()  # type: ignore[union-attr]
        terms = {
            f"{learner}/{name}": term.detach()
            for learner, found in objectives.items()
            for name, term in found.items()
        }
        loss = _sum(terms)
        self.log_dict(terms)
        self.log("loss", loss, prog_bar=True)
        return loss

    def learnt(self, learner: Learner) -> list[nn.Parameter]:
        """The weights that an objective moves."""
        networks: dict[Learner, tuple[nn.Module | None, ...]] = {
            "extractor": (self.model.extractor, self.regulariser),
            "code_neutraliser": (self.model.code_neutraliser,),
            "decoder": (self.model.decoder,),
            "critic": (self.critic,),
            "interpolator": (self.model.interpolator,),
            "encoder": (self.model.encoder,),
            "siamese": (self.siamese,),
        }
        return [weight for n in networks[learner] if n is not None for weight in n.parameters()]

    def send_back(self, objectives: Mapping[Learner, Terms]) -> None:
        """The gradient of each objective to the weights of its own network, to no others."""
        for learner, terms in objectives.items():
            torch.autograd.backward(_sum(terms), inputs=self.learnt(learner), retain_graph=True)

    def objectives(self, batch: NeutralisedBatch, whole: bool) -> dict[Learner, Terms]:
        """What each network minimises, weighted terms by name.

        Args:
            whole: E, I and S learn, too.
        """
        seen = self._see(batch, whole)
        found: dict[Learner, Terms] = {
            "extractor": self._extractor_terms(batch.faces, seen),
            "code_neutraliser": self._neutral_terms(batch, seen),
            "decoder": seen.drawing,  # Eq. 14
            "critic": self._critic_terms(seen),
        }
        if whole:
            fooling, likeness = self._fooling_terms(seen), self._likeness_terms(batch, seen)
            found |= {
                "interpolator": fooling | self._interpolator_terms(seen),  # Eq. 8
                "encoder": fooling | self._encoder_terms(seen, likeness),  # Eq. 16
                "siamese": likeness,
            }
        return {learner: terms for learner, terms in found.items() if terms}

    def _see(self, batch: NeutralisedBatch, whole: bool) -> _Seen:
        """Codes, edits and redrawn faces of a batch; of E and I without a graph unless `whole`."""
        model = self.model
        with torch.set_grad_enabled(whole):
            both = model.encoder(torch.cat([batch.faces, batch.neutrals]))
        codes, neutral_codes = both.chunk(2)
        expressions = model.extractor(codes, neutral_codes)
        shown = expressions.roll(1, 0)
        alpha = torch.rand(len(codes), 1, 1, 1, device=codes.device)  # Eq. 6: of U[0, 1]
        with torch.set_grad_enabled(whole):
            between = model.interpolator(neutral_codes, alpha * shown)
        drawn = model.decoder(codes)
        drawing = drawing_terms(self.instruments, drawn, batch.faces, self.weights.pixel)
        self.log("code_spread", codes.detach().std(dim=0).mean())
        return _Seen(codes, neutral_codes, expressions, shown, alpha, between, drawing)

    def _extractor_terms(self, faces: Tensor, seen: _Seen) -> Terms:
        """Of X and Q (Eq. 4)."""
        residual = seen.codes - seen.neutral_codes  # Eq. 1
        terms = {"residual": code_distance(seen.expressions, residual)}  # Eq. 2
        if self.regulariser is not None:
            with torch.no_grad():
                features = self.instruments.expressions(faces)
            distance = information_loss(self.regulariser(seen.expressions), features)
            terms["information"] = self.weights.information * distance  # Eq. 3
        return terms

    def _neutral_terms(self, batch: NeutralisedBatch, seen: _Seen) -> Terms:
        """Ours: from the codes of faces what E says of their neutral faces, and what D draws of
        that; of photos that are neutral themselves it would draw what they are."""
        predicted = self.model.code_neutraliser(seen.codes)
        terms = {"neutral_code": code_distance(predicted, seen.neutral_codes)}
        rows = _with_expression(batch)
        weight = self.weights.drawn_neutral
        if weight and rows.any():
            drawn, goals = self.model.decoder(predicted[rows]), batch.neutrals[rows]
            found = drawing_terms(self.instruments, drawn, goals, self.weights.pixel)
            terms |= {f"neutral_{name}": weight * term for name, term in found.items()}
        return terms

    def _critic_terms(self, seen: _Seen) -> Terms:
        """Eq. 12 without the logarithms it prints: the critic of WGAN-GP, which it adopts, is
        unbounded and has none."""
        if self.critic is None:
            return {}
        real, fake = seen.codes.detach(), seen.between.detach()
        share = torch.rand(len(real), device=real.device)
        penalty = gradient_penalty(self.critic, real, fake, share)
        return {
            "distance": critic_loss(self.critic(real), self.critic(fake)),
            "penalty": self.weights.gradient_penalty * penalty,
        }

    def _fooling_terms(self, seen: _Seen) -> Terms:
        """L_adv of E and I (Eq. 13, without its logarithm).

        Scores rise by 1 for a unit of the Euclidean distance of codes; divided by the root of their
        size they rise so for a unit of the root mean square, which all other terms are made of.
        """
        if self.critic is None:
            return {}
        length = seen.between[0].numel() ** 0.5
        fooling = fooling_loss(self.critic(seen.between)) / length
        return {"adversarial": self.weights.adversarial * fooling}

    def _interpolator_terms(self, seen: _Seen) -> Terms:
        """Of I, beside L_adv."""
        straight = seen.neutral_codes + seen.alpha * seen.shown
        itself = self.model.interpolator(seen.neutral_codes, seen.expressions)
        return {
            "straight": code_distance(seen.between, straight),  # Eq. 6
            "itself": code_distance(itself, seen.codes),  # Eq. 7
        }

    def _encoder_terms(self, seen: _Seen, likeness: Terms) -> Terms:
        """Of E, beside L_adv (Eq. 16)."""
        terms = {}
        if self.weights.reconstruction:
            terms["reconstruction"] = self.weights.reconstruction * _sum(seen.drawing)  # Eq. 15
        if likeness:
            terms["siamese"] = self.weights.siamese * likeness["siamese"]
        return terms

    def _likeness_terms(self, batch: NeutralisedBatch, seen: _Seen) -> Terms:
        """Of S: from neutral to edited is to be as from neutral to reference (Eq. 9 to 11); a
        reference that is neutral itself shows no way."""
        rows = _with_expression(batch).roll(1, 0)
        if self.siamese is None or not rows.any():
            return {}
        shown = self.model.interpolator(seen.neutral_codes[rows], seen.shown[rows])
        drawn, faces, neutrals = (
            self.siamese(images) for images in (self.model.decoder(shown), *batch)
        )
        ways, wanted = drawn - neutrals[rows], (faces - neutrals).roll(1, 0)[rows]
        terms = {"siamese": cosine_distance(ways, wanted)}
        if self.weights.separation:
            terms["separation"] = self.weights.separation * separation_loss(faces, _MARGIN)
        return terms


@dataclass(frozen=True, eq=False)
class _Seen:
    """What a step makes of a batch of N faces; codes are (N, C, 8, 8)."""

    codes: Tensor  # C_I
    neutral_codes: Tensor  # C_N
    expressions: Tensor  # X(C_I, C_N)
    shown: Tensor  # the same of the references R
    alpha: Tensor  # (N, 1, 1, 1)
    between: Tensor  # C^, I(C_N, alpha * shown)
    drawing: Terms  # of D(C_I)


def drawing_terms(instruments: Instruments, drawn: Tensor, faces: Tensor, pixel: float) -> Terms:
    """How far drawn faces are from the faces, both (N, 3, S, S) (Eq. 14, 15).

    Args:
        pixel: weight of the squared difference of the images themselves.
    """
    with torch.no_grad():
        targets = instruments.features(faces)
    terms = {"features": feature_distance(instruments.features(drawn), targets)}
    if pixel:
        terms["pixels"] = pixel * code_distance(drawn, faces)
    return terms


def _with_expression(batch: NeutralisedBatch) -> Tensor:
    """(N,) bool: which faces differ from their neutral faces; a neutral photo is its own."""
    return (batch.faces != batch.neutrals).flatten(1).any(dim=1)


def _sum(terms: Terms) -> Tensor:
    return torch.stack(list(terms.values())).sum()
