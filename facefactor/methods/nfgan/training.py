"""Algorithm 1 of NFGAN: one step of Enc, Dec and Dis, all from the same weights; and what may go
before it.

Each error signal reaches the networks it is meant for (Sec. 4.6): those of symmetry and of the
adversary stop at Dec, those of features, identity and pixels go on to Enc, and Dis has its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import torch
from lightning import LightningModule
from torch import Tensor, nn

from facefactor.geometry.flow import random_shifts, shift
from facefactor.losses.identity import cosine_distance
from facefactor.losses.symmetry import laplacian, symmetry_loss
from facefactor.methods.nfgan.instruments import Instruments
from facefactor.methods.nfgan.losses import (
    Space,
    Weights,
    fake_loss,
    feature_loss,
    identity_loss,
    pixel_loss,
    real_loss,
)
from facefactor.methods.nfgan.model import NFGAN
from facefactor.nn.schedules import Schedule, adams, each_step, falling, listed

if TYPE_CHECKING:
    from facefactor.data.samples import LabelledBatch, NormalizedBatch

_BETAS = (0.5, 0.999)
_NAMES = tuple(field.name for field in fields(Weights))
_DECODER_ONLY = ("symmetry", "adversarial")  # Algorithm 1: not in the line of theta_Enc


class AutoencodingStage(LightningModule):
    """Ours, before the paper's: Enc and Dec learn to redraw photos, pixel by pixel, and Enc to tell
    what a recogniser sees in them.

    Args:
        reading: see `reading_loss`; None leaves that out.
        identity: phi of Eq. 6, whose last layer is read off z.
        recognition: weight of that.
    """

    def __init__(
        self,
        model: NFGAN,
        reading: nn.Module | None,
        identity: nn.Module,
        recognition: float,
        schedule: Schedule,
    ) -> None:
        super().__init__()
        self.model = model
        self.reading = reading
        self.identity = identity
        self.recognition = recognition
        self.schedule = schedule

    def configure_optimizers(self):  # type: ignore[no-untyped-def]
        learning = [*self.model.parameters(), *_weights(self.reading)]
        optimizer = torch.optim.Adam(learning, lr=self.schedule.learning_rate, betas=_BETAS)
        return each_step(optimizer, falling(optimizer, self.schedule.drops))

    def training_step(self, batch: LabelledBatch, batch_index: int) -> Tensor:
        faces = self.model.seen(batch.faces)
        codes = self.model.encoder(faces)
        terms = {"pixel": pixel_loss(self.model.decoder(codes), faces)}
        if self.reading is not None:
            seen = _unmoved(self.identity, _rgb(faces))[-1]
            terms["recognition"] = self.recognition * reading_loss(self.reading, codes, seen)
        loss = torch.stack(list(terms.values())).sum()
        self.log_dict({name: term.detach() for name, term in terms.items()})
        self.log("loss", loss.detach(), prog_bar=True)
        return loss


class NFGANStage(LightningModule):
    """Algorithm 1.

    Logged, beside every weighted term: `gradient/<term>`, the length of the weighted term's
    gradient at the drawn face.

    Args:
        discriminator: Dis, images (N, colours, S, S) -> logits of patches.
        reading: see `reading_loss`; goes on as the stage before left it. None leaves that out.
        recognition: weight of that: of the loss itself, whatever `balance_steps` is.
        space: where L_sym compares.
        shake: pixels, either way, by which the instruments see faces moved at random; 0 does not.
        balance_steps: 0: weights multiply terms, as printed. Else each term is first divided by the
            length of its gradient at the drawn face, as measured over so many first steps: weights
            are then those lengths, whatever the networks that the losses look through.
    """

    lengths: Tensor
    measured: Tensor

    def __init__(
        self,
        model: NFGAN,
        discriminator: nn.Module,
        reading: nn.Module | None,
        instruments: Instruments,
        weights: Weights,
        recognition: float,
        space: Space,
        shake: float,
        balance_steps: int,
        schedule: Schedule,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.model = model
        self.discriminator = discriminator if weights.adversarial else None
        self.reading = reading
        self.instruments = instruments
        self.weights = weights
        self.recognition = recognition
        self.space = space
        self.shake = shake
        self.balance_steps = balance_steps
        self.schedule = schedule
        # means over the steps measured, in the order of Weights; saved with a run's progress
        self.register_buffer("lengths", torch.zeros(len(_NAMES)))
        self.register_buffer("measured", torch.zeros((), dtype=torch.int64))

    def configure_optimizers(self):  # type: ignore[no-untyped-def]
        learning = [[*self.model.parameters(), *_weights(self.reading)]]
        if self.discriminator is not None:
            learning.append(_weights(self.discriminator))
        return adams(learning, self.schedule, _BETAS)

    def training_step(self, batch: NormalizedBatch, batch_index: int) -> Tensor:
        """The sum of all terms is returned to be watched; no gradient follows it."""
        terms = self.propagate(batch)
        for optimizer in listed(self.optimizers()):
            optimizer.step()
            optimizer.zero_grad()
        for schedule in listed(self.lr_schedulers()):
            schedule.step()
        loss = torch.stack(list(terms.values())).sum()
        self.log_dict(terms)
        self.log("loss", loss, prog_bar=True)
        return loss

    def propagate(self, batch: NormalizedBatch) -> dict[str, Tensor]:
        """Gives every weight its gradient; the weighted terms by name, without a gradient."""
        model = self.model
        faces, targets, guides, unpaired = (model.seen(images) for images in batch)
        faces = torch.cat([faces, unpaired])
        codes = model.encoder(faces)
        seen = _unmoved(self.instruments.identity, _rgb(faces))
        drawn = model.decoder(codes)  # x~
        image = drawn.detach().requires_grad_()  # losses end here; from here gradients part
        judged = None if self.discriminator is None else self.discriminator(image)

        terms = self.generator_terms(image, seen, targets, judged)
        slopes = {  # kept for Dis, which learns from what it said
            name: torch.autograd.grad(term, image, retain_graph=True)[0]
            for name, term in terms.items()
        }
        factors = self._factors({name: face_length(slope) for name, slope in slopes.items()})
        found = {f"generator/{name}": factors[name] * term for name, term in terms.items()}
        if self.reading is not None:
            found["encoder/recognition"] = self._read(self.reading, codes, seen[-1])
        self._part(drawn, {name: factors[name] * slope for name, slope in slopes.items()})
        if judged is not None:
            found |= self._teach(guides, judged)
        return {name: term.detach() for name, term in found.items()}

    def generator_terms(
        self, image: Tensor, seen: Sequence[Tensor], targets: Tensor, judged: Tensor | None
    ) -> dict[str, Tensor]:
        """The terms of Enc and Dec, not weighted, one for each weight that is not 0.

        Args:
            image: x~, (N, colours, S, S).
            seen: phi of Eq. 6 of x.
            targets: y of the first of them, at most N.
            judged: what Dis says of x~; None where nobody asks.
        """
        look = self.instruments
        image_rgb, targets_rgb = _rgb(image), _rgb(targets)
        paired = len(targets)
        if self.shake:  # else Dec draws grids for them that nobody would draw
            by = random_shifts(image, self.shake)
            image_rgb, targets_rgb = shift(image_rgb, by), shift(targets_rgb, by[:paired])
        terms: dict[str, Callable[[], Tensor]] = {
            "feature": lambda: feature_loss(  # Eq. 2
                look.features(image_rgb[:paired]), _unmoved(look.features, targets_rgb)
            ),
            # Eq. 6: of the face given, not of the target
            "identity": lambda: identity_loss(look.identity(image_rgb), seen),
            "pixel": lambda: pixel_loss(image[:paired], targets),  # Eq. 7
            "symmetry": lambda: self._symmetry(image),  # Eq. 3
            "adversarial": lambda: real_loss(_known(judged)),  # Eq. 5
        }
        return {name: terms[name]() for name in _NAMES if getattr(self.weights, name)}

    def _symmetry(self, image: Tensor) -> Tensor:
        """L_sym, in the units of images in [-1, 1]."""
        return 2 * symmetry_loss(laplacian(image) if self.space == "laplacian" else image)

    def _read(self, reading: nn.Module, codes: Tensor, seen: Tensor) -> Tensor:
        """The weighted loss of `reading_loss`, its gradient left in Enc and in the reading."""
        loss = self.recognition * reading_loss(reading, codes, seen)
        learning = [*self.model.encoder.parameters(), *reading.parameters()]
        torch.autograd.backward(loss, retain_graph=True, inputs=learning)
        return loss

    def _part(self, drawn: Tensor, slopes: Mapping[str, Tensor]) -> None:
        """Sends gradients at `drawn` back: all of them to Dec, those Algorithm 1 names to Enc.

        Two ways through Dec, because one sum cannot arrive in full at its weights and in part at
        its input. Batch statistics are of the one pass forward.
        """
        decoder, encoder = (
            list(network.parameters()) for network in (self.model.decoder, self.model.encoder)
        )
        own = [slope for name, slope in slopes.items() if name in _DECODER_ONLY]
        shared = [slope for name, slope in slopes.items() if name not in _DECODER_ONLY]
        if own:
            slope = torch.stack(own).sum(dim=0)
            torch.autograd.backward(drawn, slope, retain_graph=True, inputs=decoder)
        if shared:
            slope = torch.stack(shared).sum(dim=0)
            torch.autograd.backward(drawn, slope, inputs=decoder + encoder)

    def _teach(self, guides: Tensor, judged: Tensor) -> dict[str, Tensor]:
        """L_GAN-Dis (Eq. 4), its gradient left in Dis; real and drawn faces were two batches."""
        assert self.discriminator is not None
        terms = {
            "discriminator/real": real_loss(self.discriminator(guides)),
            "discriminator/fake": fake_loss(judged),
        }
        loss = torch.stack(list(terms.values())).sum()
        torch.autograd.backward(loss, inputs=list(self.discriminator.parameters()))
        return terms

    def _factors(self, lengths: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What each term is multiplied by.

        Args:
            lengths: of the gradients of terms not weighted, of this step.
        """
        factors = {name: lengths[name].new_tensor(getattr(self.weights, name)) for name in lengths}
        if self.balance_steps:
            usual = self._measure(lengths)
            # a term without any slope so far has nothing to be divided by
            factors = {
                name: factor / usual[name] if usual[name] else 0 * factor
                for name, factor in factors.items()
            }
        self.log_dict({f"gradient/{name}": factors[name] * lengths[name] for name in lengths})
        return factors

    def _measure(self, lengths: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Mean lengths over the first steps, this one among them if it is one."""
        if int(self.measured) < self.balance_steps:
            self.measured += 1
            now = torch.stack([lengths.get(name, self.lengths.new_zeros(())) for name in _NAMES])
            self.lengths.lerp_(now, 1 / int(self.measured))
        return dict(zip(_NAMES, self.lengths, strict=True))


def reading_loss(reading: nn.Module, codes: Tensor, seen: Tensor) -> Tensor:
    """Ours: 1 - cosine of what is read off z and what a recogniser sees in the photo, so that Enc
    tells who is who; mean over faces.

    Args:
        reading: z (N, 256) -> (N, D), a linear layer that no trained model needs.
        seen: (N, D) the recogniser's codes.
    """
    return cosine_distance(reading(codes), seen)


def face_length(slopes: Tensor) -> Tensor:
    """Euclidean length of the gradient of one face's loss at its image, mean over faces; scalar.

    Args:
        slopes: (N, C, H, W) gradient of a mean over N faces: of each face's own loss it is N times
            that, whatever the size of the batch.
    """
    return len(slopes) * slopes.flatten(1).norm(dim=1).mean()


def _unmoved(network: nn.Module, faces: Tensor) -> Any:
    """What a network says of faces that no gradient goes to."""
    with torch.no_grad():
        return network(faces)


def _rgb(images: Tensor) -> Tensor:
    """Three channels, of luminance three equal ones."""
    return images.expand(-1, 3, -1, -1)


def _weights(network: nn.Module | None) -> list[nn.Parameter]:
    return [] if network is None else list(network.parameters())


def _known(judged: Tensor | None) -> Tensor:
    assert judged is not None  # only a stage without the adversarial term has no Dis
    return judged
