"""Algorithm 1 of IPD-FER as meant: three updates a step, each of other networks.

The box has three slips. Line 3 prints the loss of fakes, L^f_exp, for D: Eq. 8 and Sec. 3.3 train
D on real faces, and so do we. Line 4 prints L_G + beta_2 L_confusion, but L_G (Eq. 12) holds that
term already, and L_c and L_cos, which line 2 has descended: we descend L'_G + beta_2 L_confusion.
Its output is E_exp with C_exp, not E_pose.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal

import torch
from lightning import LightningModule
from torch import Tensor, nn
from torch.optim import Optimizer

from facefactor.losses.classification import class_loss, share_right
from facefactor.methods.ipdfer.losses import (
    Weights,
    confusion_loss,
    identity_loss,
    orthogonality_loss,
    reconstruction_loss,
)
from facefactor.methods.ipdfer.model import IPDFER, POSES
from facefactor.nn.schedules import Schedule, adams, listed

if TYPE_CHECKING:
    from facefactor.data.samples import LabelledBatch

Update = Literal["recognition", "discriminator", "generator"]  # lines 2, 3 and 4


class IPDFERStage(LightningModule):
    """The one stage of IPD-FER.

    Weights of zero switch terms off; an update without terms, and a network that no term asks for,
    are left out: ID-FER and the baseline of Table 8 are settings of this step.

    Args:
        discriminator: D, faces (N, 3, H, W) in [0, 1] -> K logits; it sorts expressions, and does
            not tell real from fake (Sec. 3.3).
        recogniser: N of Eq. 2, faces -> embeddings (N, D); None for E_id itself.
        pose_bins: landmarks (M, 68, 2) in shares of the face's side -> (M,) int64, bins of Table 1.
        class_of: for each expression number of a batch, its class or -1.
        class_weights: (K,) factors of the real faces of each class in Eq. 5 and 8.
        adversary: whom expression codes must confuse: C_p, which learns from pose codes only
            ("shared", as published), or a classifier that learns pose from expression codes.
        drawn: line 4 looks at the first so many faces of a batch.
    """

    class_of: Tensor
    class_weights: Tensor

    def __init__(
        self,
        model: IPDFER,
        discriminator: nn.Module,
        recogniser: nn.Module | None,
        pose_bins: Callable[[Tensor], Tensor],
        class_of: Sequence[int],
        class_weights: Tensor,
        weights: Weights,
        adversary: Literal["shared", "own_head"],
        drawn: int,
        schedule: Schedule,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.model = model
        self.discriminator = discriminator if weights.judge else None
        self.recogniser = recogniser
        self.pose_bins = pose_bins
        self.weights = weights
        self.drawn = drawn
        self.schedule = schedule
        self.neutral_class = model.classes.index("neutral") if weights.draw else -1
        own_head = adversary == "own_head" and model.classify_pose is not None
        self.pose_adversary = nn.Linear(model.code_size, POSES) if own_head else None
        # the last entry is found by -1, too
        self.register_buffer("class_of", torch.tensor([*class_of, -1]), persistent=False)
        self.register_buffer("class_weights", class_weights, persistent=False)
        self.learners = self._learners()
        # not all weights of a network learn: iresnet18 keeps its last scale at 1
        self.learnt = {
            update: [w for part in parts for w in part.parameters() if w.requires_grad]
            for update, parts in self.learners.items()
        }
        self._release()

    def _learners(self) -> dict[Update, list[nn.Module]]:
        """Whose weights each update moves; all others are frozen in it, and in eval mode."""
        model, weights = self.model, self.weights
        pose = [] if model.pose_encoder is None else [model.pose_encoder]
        classifiers = [model.classify_expression, model.classify_pose, self.pose_adversary]
        learners: dict[Update, list[nn.Module]] = {
            "recognition": [
                model.expression_encoder,
                *pose,
                *(classifier for classifier in classifiers if classifier is not None),
            ]
        }
        if self.discriminator is not None:
            learners["discriminator"] = [self.discriminator]
        if weights.draw:
            learners["generator"] = [model.expression_encoder, *pose, model.decoder]
        elif weights.confusion:
            learners["generator"] = [model.expression_encoder]
        return learners

    def configure_optimizers(self):  # type: ignore[no-untyped-def]
        """An Adam for each update: E_pose and E_exp have other moments in line 2 and in line 4."""
        return adams(self.learnt.values(), self.schedule)

    def training_step(self, batch: LabelledBatch, batch_index: int) -> Tensor:
        """Lines 2 to 4; the sum of all terms is returned to be watched, no gradient follows it."""
        faces = batch.faces
        expression = self.class_of[batch.expression]
        pose = self.pose_labels(batch.landmarks)
        with torch.no_grad():  # E_id never changes: once for all that asks for it
            identity = self.model.identity_encoder(faces).float()
        terms: dict[Update, Callable[[], dict[str, Tensor]]] = {
            "recognition": lambda: self.recognition_terms(faces, identity, expression, pose),
            "discriminator": lambda: self.discriminator_terms(faces, expression),
            # encodes again: line 2 has moved the encoders
            "generator": lambda: self.generator_terms(
                *(rows[: self.drawn] for rows in (faces, identity, expression, pose))
            ),
        }
        loss = torch.stack(
            [
                self._descend(update, optimizer, terms[update])
                for update, optimizer in zip(self.learners, listed(self.optimizers()), strict=True)
            ]
        ).sum()
        self._release()
        for schedule in listed(self.lr_schedulers()):
            schedule.step()
        self.log("loss", loss, prog_bar=True)
        return loss

    def recognition_terms(
        self, faces: Tensor, identity: Tensor, expression: Tensor, pose: Tensor
    ) -> dict[str, Tensor]:
        """Line 2: L_c + beta_1 L_cos (Eq. 3, 5, 6).

        Args:
            identity: (N, D) codes of `faces`, without a gradient.
            expression, pose: (N,) classes, -1 where unknown.
        """
        model, weights = self.model, self.weights
        code = model.expression_encoder(faces).float()
        logits = model.classify_expression(code)
        terms = {"expression": class_loss(logits, expression, self.class_weights)}  # Eq. 5
        if weights.orthogonality:
            distance = orthogonality_loss(identity, code)
            terms["orthogonality"] = weights.orthogonality * distance  # Eq. 3
        if model.pose_encoder is not None and model.classify_pose is not None:
            pose_logits = model.classify_pose(model.pose_encoder(faces).float())
            terms["pose"] = weights.pose * class_loss(pose_logits, pose)  # Eq. 6
            self.log("pose_accuracy", share_right(pose_logits, pose), prog_bar=True)
        if self.pose_adversary is not None:
            terms["adversary"] = class_loss(self.pose_adversary(code.detach()), pose)
        self.log("accuracy", share_right(logits, expression), prog_bar=True)
        return terms

    def discriminator_terms(self, faces: Tensor, expression: Tensor) -> dict[str, Tensor]:
        """Line 3, as Eq. 8 has it: real faces only."""
        assert self.discriminator is not None
        return {"real": class_loss(self.discriminator(faces), expression, self.class_weights)}

    def generator_terms(
        self, faces: Tensor, identity: Tensor, expression: Tensor, pose: Tensor
    ) -> dict[str, Tensor]:
        """Line 4: L'_G + beta_2 L_confusion (Eq. 11, 4); arguments as of `recognition_terms`."""
        model, weights = self.model, self.weights
        code = model.expression_encoder(faces).float()
        terms = {}
        critic = self.pose_adversary or model.classify_pose
        if weights.confusion and critic is not None:
            terms["confusion"] = weights.confusion * confusion_loss(critic(code), pose >= 0)
        if not weights.draw:
            return terms
        without = identity  # f_{i-p}; in ID-FER f_i
        if model.pose_encoder is not None:
            without = identity + model.pose_encoder(faces).float()
        # nothing on their way mixes faces, so both drawings go together
        drawn = model.decoder(torch.cat([without + code, without]))
        rebuilt, neutral = drawn.chunk(2)
        if weights.reconstruction:
            distance = reconstruction_loss(
                rebuilt, neutral, faces, expression == self.neutral_class
            )
            terms["reconstruction"] = weights.reconstruction * distance  # Eq. 1
        if weights.identity:
            seen_rebuilt, seen_neutral = self._embed(drawn).chunk(2)
            person = identity if self.recogniser is None else self._embed(faces).detach()
            distance = identity_loss(seen_rebuilt, seen_neutral, person)
            terms["identity"] = weights.identity * distance  # Eq. 2
        return terms | self._judge(drawn, expression)

    def _judge(self, drawn: Tensor, expression: Tensor) -> dict[str, Tensor]:
        """What D says of the rebuilt and the neutral faces, (2N, 3, H, W) in this order."""
        if self.discriminator is None:
            return {}
        as_rebuilt, as_neutral = self.discriminator(drawn).chunk(2)
        neutral = torch.full_like(expression, self.neutral_class)  # needs nobody's label
        return {
            # Eq. 10 and 9
            "fake_expression": self.weights.fake_expression * class_loss(as_rebuilt, expression),
            "fake_neutral": self.weights.fake_neutral * class_loss(as_neutral, neutral),
        }

    def _embed(self, faces: Tensor) -> Tensor:
        """N of Eq. 2."""
        recogniser = self.recogniser or self.model.identity_encoder
        embeddings: Tensor = recogniser(faces)
        return embeddings.float()

    def pose_labels(self, landmarks: Tensor) -> Tensor:
        """(N,) int64 bins of landmarks (N, 68, 2), -1 for faces with a landmark unknown."""
        known = landmarks.isfinite().flatten(1).all(dim=1)
        labels = torch.full_like(known, -1, dtype=torch.int64)
        if known.any():
            with torch.autocast(landmarks.device.type, enabled=False):  # degrees want float32
                labels[known] = self.pose_bins(landmarks[known].float())
        return labels

    def _descend(
        self, update: Update, optimizer: Optimizer, terms: Callable[[], dict[str, Tensor]]
    ) -> Tensor:
        """One step of the update's own networks on the sum of its terms, which is returned.

        They alone are in training mode: D judges fakes by its statistics of real faces, which never
        see a fake. Those of E_pose and E_exp follow both of their updates.
        """
        self.requires_grad_(False).eval()
        for network in self.learners[update]:
            network.train()
        for weight in self.learnt[update]:
            weight.requires_grad_(True)
        found = terms()
        loss = torch.stack(list(found.values())).sum()
        self.manual_backward(loss)
        optimizer.step()
        optimizer.zero_grad()
        self.log_dict({f"{update}/{name}": term.detach() for name, term in found.items()})
        return loss.detach()

    def _release(self) -> None:
        """Between updates everything that ever learns can, and is in training mode."""
        self.train().requires_grad_(False)
        for learnt in self.learnt.values():
            for weight in learnt:
                weight.requires_grad_(True)
