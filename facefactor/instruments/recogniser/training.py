"""The one stage of the recogniser: from another one's codes, and from who is known to be who.

A teacher says where each face lies among faces, for photos of anybody; the margin softmax pulls
photos of one known person together. Weights of zero switch terms off.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, Protocol

import torch
from lightning import LightningModule
from torch import Tensor, nn

from facefactor.losses.identity import cosine_distance, relational_loss
from facefactor.losses.margin import margin_softmax
from facefactor.perception.frozen import Frozen
from facefactor.perception.recognition import Recogniser

if TYPE_CHECKING:
    from facefactor.instruments.recogniser.recipe import TermWeights

_MOMENTUM = 0.9  # of SGD, as ArcFace has it


class LabelledFaces(Protocol):
    """What a step reads of its batch."""

    @property
    def faces(self) -> Tensor: ...  # (N, 3, 112, 112) in [0, 1]

    @property
    def subject(self) -> Tensor: ...  # (N,) int64 in [0, people), -1 where unknown


class RecogniserStage(LightningModule):
    """The student, and what only its training has: a linear map and a direction for each person.

    Args:
        teacher: frozen, faces in [0, 1] -> (N, teacher_size) embeddings; None: no distillation.
        people: number of known subjects K.
        margin: of the margin softmax, radians; scale: its length of codes.
        warm_up: steps over which the learning rate rises to its full value.
        drops: see `rate_factor`.
    """

    def __init__(
        self,
        model: Recogniser,
        teacher: Frozen | None,
        teacher_size: int,
        weights: TermWeights,
        people: int,
        margin: float,
        scale: float,
        optimiser: Literal["sgd", "adamw"],
        learning_rate: float,
        weight_decay: float,
        steps: int,
        warm_up: int,
        drops: Sequence[float],
    ) -> None:
        super().__init__()
        self.model = model
        self.teacher = teacher
        self.weights = weights
        self.margin = margin
        self.scale = scale
        self.optimiser = optimiser
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.steps = steps
        self.warm_up = warm_up
        self.drops = tuple(drops)
        # the teacher's axes mean nothing to the student, whose code has another size, too
        self.to_teacher = nn.Linear(model.code_size, teacher_size, bias=False) if teacher else None
        self.centres = nn.Parameter(torch.randn(people, model.code_size))

    def configure_optimizers(self):  # type: ignore[no-untyped-def]
        trained = [weight for weight in self.parameters() if weight.requires_grad]
        groups = [
            # shrinking a scale or a shift of a normalisation only undoes it
            {"params": [w for w in trained if w.ndim > 1], "weight_decay": self.weight_decay},
            {"params": [w for w in trained if w.ndim <= 1], "weight_decay": 0.0},
        ]
        optimizer: torch.optim.Optimizer
        if self.optimiser == "sgd":
            optimizer = torch.optim.SGD(groups, self.learning_rate, _MOMENTUM)
        else:
            optimizer = torch.optim.AdamW(groups, self.learning_rate)
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: rate_factor(step, self.steps, self.warm_up, self.drops)
        )
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }

    def training_step(self, batch: LabelledFaces, batch_index: int) -> Tensor:
        codes = self.model(batch.faces)
        terms = self._distillation_terms(batch.faces, codes)
        if self.weights.margin:
            distance = margin_softmax(codes, self.centres, batch.subject, self.margin, self.scale)
            terms["margin"] = self.weights.margin * distance
        return self._total(terms)

    def _distillation_terms(self, faces: Tensor, codes: Tensor) -> dict[str, Tensor]:
        if self.teacher is None or self.to_teacher is None:
            return {}
        with torch.no_grad():
            embeddings = self.teacher(faces)
        distance = cosine_distance(self.to_teacher(codes), embeddings)
        # mean cosine of student and teacher over the batch, 1 at best
        self.log("agreement", 1 - distance.detach(), prog_bar=True)
        return {
            "cosine": self.weights.cosine * distance,
            # the map may hide from the cosine term what else is in a code; cosines of codes, which
            # are what users compare, see all of it
            "relational": self.weights.relational * relational_loss(codes, embeddings),
        }

    def _total(self, terms: dict[str, Tensor]) -> Tensor:
        """Log each (already weighted) term under its name and return their sum."""
        loss = torch.stack(list(terms.values())).sum()
        self.log_dict({f"loss/{name}": term.detach() for name, term in terms.items()})
        self.log("loss", loss.detach(), prog_bar=True)
        return loss


def rate_factor(step: int, steps: int, warm_up: int, drops: Sequence[float]) -> float:
    """What the learning rate is multiplied by at `step` (from 0) of `steps`; in (0, 1].

    It rises in a straight line for `warm_up` steps. Then it falls to a tenth at each share of
    `steps` in `drops`, or, where there are none, as half a period of a cosine to the end.
    """
    if step < warm_up:
        return (step + 1) / warm_up
    if drops:
        return 0.1 ** sum(step >= drop * steps for drop in drops)
    left = 1 - (step - warm_up) / max(1, steps - warm_up)
    return (1 - math.cos(math.pi * left)) / 2
