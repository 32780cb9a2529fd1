"""The one stage of the recogniser: from another one's codes, and from who is known to be who.

A teacher says where each face lies among faces, for photos of anybody; the margin softmax pulls
photos of one known person together. Weights of zero switch terms off.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from lightning import LightningModule
from torch import Tensor, nn

from facefactor.losses.identity import cosine_distance, relational_loss
from facefactor.losses.maps import map_distance
from facefactor.losses.margin import margin_softmax
from facefactor.nn.schedules import each_step
from facefactor.perception.frozen import Frozen
from facefactor.perception.recognition import MobileFaceNet, Recogniser

if TYPE_CHECKING:
    from facefactor.data.samples import LabelledBatch
    from facefactor.instruments.recogniser.recipe import TermWeights

_MOMENTUM = 0.9  # of SGD, as ArcFace has it


@dataclass(frozen=True)
class Schedule:
    """The optimiser and its learning rate over the stage."""

    optimiser: Literal["sgd", "adamw"]
    rate: float
    weight_decay: float
    steps: int
    warm_up: int  # steps
    drops: tuple[float, ...]  # shares of `steps`; none: cosine

    def factor(self, step: int) -> float:
        """What the rate is multiplied by at `step`, from 0 to `steps` - 1; in (0, 1].

        It rises in a straight line over the warm-up. Then it falls to a tenth at each of `drops`,
        or, where there are none, as half a period of a cosine to the end.
        """
        if step < self.warm_up:
            return (step + 1) / self.warm_up
        if self.drops:
            return 0.1 ** sum(step >= drop * self.steps for drop in self.drops)
        left = 1 - (step - self.warm_up) / max(1, self.steps - self.warm_up)
        return (1 - math.cos(math.pi * left)) / 2


class RecogniserStage(LightningModule):
    """The student, and what only its training has: a linear map and a direction for each person.

    Args:
        teacher: frozen, faces in [0, 1] -> (N, teacher_size) embeddings; None: no distillation.
        people: number of known subjects K.
        margin: of the margin softmax, radians; scale: its length of codes.
    """

    def __init__(
        self,
        model: Recogniser,
        teacher: Frozen | None,
        teacher_size: int,
        people: int,
        weights: TermWeights,
        margin: float,
        scale: float,
        schedule: Schedule,
    ) -> None:
        super().__init__()
        self.model = model
        self.teacher = teacher
        self.weights = weights
        self.margin = margin
        self.scale = scale
        self.schedule = schedule
        # the teacher's axes mean nothing to the student, whose code has another size, too
        self.to_teacher = nn.Linear(model.code_size, teacher_size, bias=False) if teacher else None
        self.map_to_teacher = _map_to_teacher(model, teacher) if weights.maps else None
        self.centres = nn.Parameter(torch.randn(people, model.code_size))

    def configure_optimizers(self):  # type: ignore[no-untyped-def]
        trained = [weight for weight in self.parameters() if weight.requires_grad]
        groups = [
            # shrinking a scale or a shift of a normalisation only undoes it
            {
                "params": [w for w in trained if w.ndim > 1],
                "weight_decay": self.schedule.weight_decay,
            },
            {"params": [w for w in trained if w.ndim <= 1], "weight_decay": 0.0},
        ]
        optimizer: torch.optim.Optimizer
        if self.schedule.optimiser == "sgd":
            optimizer = torch.optim.SGD(groups, self.schedule.rate, _MOMENTUM)
        else:
            optimizer = torch.optim.AdamW(groups, self.schedule.rate)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, self.schedule.factor)
        return each_step(optimizer, schedule)

    def training_step(self, batch: LabelledBatch, batch_index: int) -> Tensor:
        codes, maps = _codes_and_maps(self.model, batch.faces, bool(self.weights.maps))
        terms = self._distillation_terms(batch.faces, codes, maps)
        if self.weights.margin:
            distance = margin_softmax(codes, self.centres, batch.subject, self.margin, self.scale)
            terms["margin"] = self.weights.margin * distance
        return self._total(terms)

    def _distillation_terms(
        self, faces: Tensor, codes: Tensor, maps: list[Tensor]
    ) -> dict[str, Tensor]:
        if self.teacher is None or self.to_teacher is None:
            return {}
        with torch.no_grad():
            embeddings, targets = _codes_and_maps(self.teacher.network, faces, bool(maps))
        distance = cosine_distance(self.to_teacher(codes), embeddings)
        # mean cosine of student and teacher over the batch, 1 at best
        self.log("agreement", 1 - distance.detach(), prog_bar=True)
        terms = {
            "cosine": self.weights.cosine * distance,
            # the map may hide from the cosine term what else is in a code; cosines of codes, which
            # are what users compare, see all of it
            "relational": self.weights.relational * relational_loss(codes, embeddings),
        }
        if self.map_to_teacher is not None:
            missed = [
                map_distance(project(own), target)
                for project, own, target in zip(
                    list(self.map_to_teacher), maps, targets, strict=True
                )
            ]
            terms["maps"] = self.weights.maps * torch.stack(missed).mean()
        return terms

    def _total(self, terms: dict[str, Tensor]) -> Tensor:
        """Log each (already weighted) term under its name and return their sum."""
        loss = torch.stack(list(terms.values())).sum()
        self.log_dict({f"loss/{name}": term.detach() for name, term in terms.items()})
        self.log("loss", loss.detach(), prog_bar=True)
        return loss


def _codes_and_maps(
    network: nn.Module, faces: Tensor, with_maps: bool
) -> tuple[Tensor, list[Tensor]]:
    """Codes of a recogniser, and its feature maps where it has any and they are asked for."""
    if not with_maps:
        return network(faces), []
    if not isinstance(network, MobileFaceNet):
        raise TypeError("maps of a MobileFaceNet only; set weights.maps to 0 for other networks")
    return network.codes_and_maps(faces)


def _map_to_teacher(student: Recogniser, teacher: Frozen | None) -> nn.ModuleList:
    """A linear map of channels for each scale, from the student's to the teacher's."""
    others = teacher.network if teacher else None
    if not (isinstance(student, MobileFaceNet) and isinstance(others, MobileFaceNet)):
        raise TypeError("maps of a MobileFaceNet only; set weights.maps to 0 for other networks")
    return nn.ModuleList(
        nn.Conv2d(own, its, 1)
        for own, its in zip(student.map_channels, others.map_channels, strict=True)
    )
