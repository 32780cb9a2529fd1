"""The two stages of FaceCycle: first expression, then identity with expression frozen (Sec. 3.1);
and that of its baseline.

Each stage is one optimiser on one sum of named terms. Weights of zero switch terms off: the
published objective and the released code's are two settings of the same step (`recipe.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from lightning import LightningModule
from torch import Tensor, nn
from torch.nn import functional as F

from facefactor.geometry.flow import (
    flow_magnitude_px,
    folded_share,
    mirror_flow,
    random_flow,
    random_shifts,
    shift,
    warp,
)
from facefactor.losses.perceptual import gram_distance
from facefactor.losses.reconstruction import ssim_loss
from facefactor.losses.symmetry import symmetry_loss
from facefactor.methods.facecycle.contrast import Contrast, contrast_loss, view
from facefactor.methods.facecycle.losses import (
    ExpressionWeights,
    IdentityWeights,
    equivariance_loss,
    margin_loss,
    perceptual_loss,
    swap_halves,
)
from facefactor.methods.facecycle.model import FaceCycle
from facefactor.nn.schedules import each_step, falling
from facefactor.perception.frozen import Frozen

if TYPE_CHECKING:
    from facefactor.data.samples import LabelledBatch

# Random motions of the equivariance term: nodes a side, deviation of a node in half image sides.
# The first are shifts, turns and scales of the face, the second move its parts (2 px at 64).
_MOTIONS = ((2, 0.06), (6, 0.07))
_FLOW_SIZE = 16

# MoCo's own training
_SGD_MOMENTUM, _DECAY = 0.9, 1e-4
_DROPS = (0.6, 0.8)  # shares of it after which the rate falls: 120 and 160 of 200 epochs
_GROUPS = 4  # that a batch of keys is encoded in


@dataclass(frozen=True)
class Schedule:
    """Adam's settings over a stage; the rate falls to a tenth at `drop_step`."""

    rate: float
    betas: tuple[float, float]
    drop_step: int


class FaceCycleStage(LightningModule):
    """What both stages share: the optimiser of the paper and the logging of named terms.

    Args:
        instrument: frozen network, faces in [0, 1] -> feature maps, for the perceptual terms.
        shake: pixels, either way, by which it sees faces moved at random; 0 does not.
    """

    def __init__(
        self, model: FaceCycle, instrument: nn.Module, schedule: Schedule, shake: float = 0.0
    ) -> None:
        super().__init__()
        self.model = model
        self.instrument = instrument
        self.schedule = schedule
        self.shake = shake

    def configure_optimizers(self):  # type: ignore[no-untyped-def]
        trained = [weight for weight in self.parameters() if weight.requires_grad]
        optimizer = torch.optim.Adam(trained, lr=self.schedule.rate, betas=self.schedule.betas)
        return each_step(optimizer, falling(optimizer, [self.schedule.drop_step]))

    def stack(self, pairs: Tensor) -> Tensor:
        """Pairs (P, 2, 3, H, W) in [0, 1] -> network images (2P, 3, H, W), partners P apart."""
        return self.model.to_images(pairs.transpose(0, 1).flatten(0, 1))

    def see(self, images: Tensor, by: Tensor) -> list[Tensor]:
        """Feature maps of network images through the instrument, moved by `by` if it shakes."""
        faces = self.model.to_faces(images)
        return list(self.instrument(shift(faces, by) if self.shake else faces))

    def total(self, terms: dict[str, Tensor]) -> Tensor:
        """Log each (already weighted) term under its name and return their sum."""
        loss = torch.stack(list(terms.values())).sum()
        self.log_dict({f"loss/{name}": term.detach() for name, term in terms.items()})
        self.log("loss", loss.detach(), prog_bar=True)
        return loss

    def watch(self, codes: Tensor, forward: Tensor) -> None:
        """Zero flow is a minimum of Eq. 4 and the initial state: show whether it was left."""
        size = self.model.spec.image_size
        self.log("flow_px", flow_magnitude_px(forward.detach(), size).mean(), prog_bar=True)
        self.log("folded", folded_share(forward.detach()).mean())
        self.log("code_std", codes.detach().std(dim=0).mean(), prog_bar=True)


def motion_terms(
    model: FaceCycle, weights: ExpressionWeights, images: Tensor, forward: Tensor, backward: Tensor
) -> tuple[dict[str, Tensor], Tensor]:
    """The terms that see flows only, and the images they rebuild: each from its partner's pixels.

    Args:
        images: (2P, 3, H, W), partners P apart; forward, backward: their flows.
    """
    warped = warp(images, forward, model.padding)
    cycled = warp(swap_halves(warped), backward, model.padding)
    terms = {
        "swapped_cycle": weights.swapped_cycle * F.l1_loss(cycled, images),
        "swapped_cycle_ssim": weights.swapped_cycle_ssim * ssim_loss(cycled, images),
        "warped_symmetry": weights.warped_symmetry * symmetry_loss(warped),
    }
    if weights.coarse_cycle:
        # a motion of several pixels has no gradient at full resolution, where edges miss each other
        coarse = [
            F.l1_loss(F.avg_pool2d(cycled, side), F.avg_pool2d(images, side)) for side in (2, 4, 8)
        ]
        terms["coarse_cycle"] = weights.coarse_cycle * torch.stack(coarse).sum()
    if weights.mean_flow:
        # squared: at the start all flow is common, and a norm would pin it to zero there
        common = forward.mean(dim=0).square().sum(dim=0).mean()
        terms["mean_flow"] = weights.mean_flow * common
    if weights.cycle:
        same = warp(warped, backward, model.padding)
        terms["cycle"] = weights.cycle * F.l1_loss(same, images)  # Eq. 4
    return terms, cycled


def encode_with_motion(
    model: FaceCycle, weights: ExpressionWeights, images: Tensor
) -> tuple[Tensor, Tensor, Tensor, dict[str, Tensor]]:
    """Codes, forward and backward flows of images, and the term that compares them with the flows
    of the same images mirrored and moved at random.

    One pass for both: batch normalisation then shifts their codes alike.
    """
    if not weights.equivariance:
        codes = model.expression_encoder(images)
        return codes, *model.flows(codes), {}
    motion = torch.stack(
        [
            random_flow(len(images), _FLOW_SIZE, deviation, nodes, images.device)
            for nodes, deviation in _MOTIONS
        ]
    ).sum(dim=0)
    moved = warp(images.flip(3), motion, "border")
    codes, moved_codes = model.expression_encoder(torch.cat([images, moved])).chunk(2)
    forward, backward = model.flows(codes)
    moved_forward, _ = model.flows(moved_codes)
    distance = equivariance_loss(mirror_flow(forward), motion, moved_forward)
    return codes, forward, backward, {"equivariance": weights.equivariance * distance}


class MotionStage(FaceCycleStage):
    """Warm-up of `small`, unpublished: E_exp and D_flow learn to align pairs by their flows alone.

    A step costs a seventh of stage 1's, and the decoder never sees flows that mean nothing.
    """

    def __init__(
        self,
        model: FaceCycle,
        instrument: nn.Module,
        weights: ExpressionWeights,
        schedule: Schedule,
    ) -> None:
        super().__init__(model, instrument, schedule)
        self.weights = weights
        model.requires_grad_(False)
        for part in (model.expression_encoder, model.flow_decoder):
            part.requires_grad_(True)

    def training_step(self, pairs: Tensor, batch_index: int) -> Tensor:
        """`pairs`: (P, 2, 3, H, W) faces in [0, 1], two of one person."""
        images = self.stack(pairs)
        codes, forward, backward, followed = encode_with_motion(self.model, self.weights, images)
        terms, _ = motion_terms(self.model, self.weights, images, forward, backward)
        self.watch(codes, forward)
        return self.total(terms | followed)


class ExpressionStage(FaceCycleStage):
    """Stage 1: E_exp, D_flow, D_exp (and a learned stem) from pairs of one person."""

    def __init__(
        self,
        model: FaceCycle,
        instrument: nn.Module,
        weights: ExpressionWeights,
        schedule: Schedule,
        shake: float,
    ) -> None:
        super().__init__(model, instrument, schedule, shake)
        self.weights = weights
        model.requires_grad_(True)
        model.identity_encoder.requires_grad_(False)
        model.identity_decoder.requires_grad_(False)
        if isinstance(model.stem, Frozen):
            model.stem.requires_grad_(False)

    def training_step(self, pairs: Tensor, batch_index: int) -> Tensor:
        """`pairs`: (P, 2, 3, H, W) faces in [0, 1], two of one person."""
        model, weights = self.model, self.weights
        images = self.stack(pairs)
        codes, forward, backward, followed = encode_with_motion(model, weights, images)
        terms, cycled = motion_terms(model, weights, images, forward, backward)
        terms |= followed

        features = model.stem(images)
        neutral = model.express_features(features, forward)  # Eq. 5
        partner = swap_halves(neutral)
        redrawn = model.express(partner, backward)  # F'' of Eq. 8
        warped_neutral = warp(partner, backward, model.padding)
        terms |= {
            "reexpression": weights.reexpression * F.l1_loss(redrawn, images),
            "reexpression_ssim": weights.reexpression_ssim * ssim_loss(redrawn, images),
            "warped_neutral": weights.warped_neutral * F.l1_loss(warped_neutral, images),
            "symmetry": weights.symmetry * symmetry_loss(neutral),
        }
        if weights.autoencoding:
            copied = model.express_features(features, None)
            terms["autoencoding"] = weights.autoencoding * F.l1_loss(copied, images)
            terms["autoencoding_ssim"] = weights.autoencoding_ssim * ssim_loss(copied, images)
        terms |= self._instrument_terms(images, redrawn, neutral, [warped_neutral, cycled])
        self.watch(codes, forward)
        return self.total(terms)

    def _instrument_terms(
        self, images: Tensor, redrawn: Tensor, neutral: Tensor, warped: list[Tensor]
    ) -> dict[str, Tensor]:
        weights = self.weights
        if not (weights.gram or weights.perceptual):
            return {}
        by = random_shifts(images, self.shake)  # one for all that is compared
        with torch.no_grad():  # once a step: all comparisons share these
            targets = self.see(images, by)
        seen = self.see(redrawn, by)
        terms = {}
        if weights.perceptual:
            terms["perceptual"] = weights.perceptual * perceptual_loss(seen, targets)
        if weights.gram:
            distance = gram_distance(seen, targets) + gram_distance(self.see(neutral, by), targets)
            terms["gram"] = weights.gram * distance
        if weights.warped_gram:
            distances = [gram_distance(self.see(image, by), targets) for image in warped]
            terms["warped_gram"] = weights.warped_gram * torch.stack(distances).sum()
        return terms


class IdentityStage(FaceCycleStage):
    """Stage 2: E_id and D_id with both MLPs, from pairs of people; stage 1 is frozen.

    Args:
        mean_from: whose mean face each neutral face is rebuilt from: the "swap" partner's (Eq. 14
            and 15) or the mean over the batch (released code).
    """

    def __init__(
        self,
        model: FaceCycle,
        instrument: nn.Module,
        weights: IdentityWeights,
        mean_from: Literal["swap", "batch_mean"],
        schedule: Schedule,
        shake: float,
    ) -> None:
        super().__init__(model, instrument, schedule, shake)
        self.weights = weights
        self.mean_from = mean_from
        # also out of training mode: no noise in the neutral faces this stage learns from
        model.requires_grad_(False).eval()
        for part in (model.identity_encoder, model.identity_decoder):
            part.requires_grad_(True).train()

    def training_step(self, pairs: Tensor, batch_index: int) -> Tensor:
        """`pairs`: (P, 2, 3, H, W) faces in [0, 1], of any two photos; no label is read."""
        model, weights = self.model, self.weights
        images = self.stack(pairs)
        with torch.no_grad():
            forward, backward = model.flows(model.expression_encoder(images))
            neutral = model.express(images, forward)
        identity = model.identity_encoder(images)  # Eq. 9
        mean_faces = model.deidentify(neutral, identity)  # Eq. 10
        if self.mean_from == "swap":
            shared = swap_halves(mean_faces)
        else:
            shared = mean_faces.mean(dim=0, keepdim=True)
        self._follow_mean_face(mean_faces)
        rebuilt = model.reidentify(shared, identity)  # Eq. 12, 14, 15

        redrawn = model.express(rebuilt, backward)
        warped = warp(rebuilt, backward, model.padding)
        terms = {
            "reidentity": weights.reidentity * F.l1_loss(rebuilt, neutral),
            "reexpression": weights.reexpression * F.l1_loss(redrawn, images),
            "warped_neutral": weights.warped_neutral * F.l1_loss(warped, images),
            "reexpression_ssim": weights.reexpression_ssim * ssim_loss(redrawn, images),
            "warped_neutral_ssim": weights.warped_neutral_ssim * ssim_loss(warped, images),
            "symmetry": weights.symmetry * symmetry_loss(rebuilt),
            "margin": weights.margin * margin_loss(mean_faces, neutral),
        }
        terms |= self._instrument_terms(images, neutral, rebuilt, [redrawn, warped])
        self.log("code_std", identity.detach().std(dim=0).mean(), prog_bar=True)
        spread = mean_faces.detach().std(dim=0).mean()  # zero when all agree on one mean face
        self.log("mean_face_spread", spread, prog_bar=True)
        return self.total(terms)

    def _instrument_terms(
        self, images: Tensor, neutral: Tensor, rebuilt: Tensor, others: list[Tensor]
    ) -> dict[str, Tensor]:
        weights = self.weights
        terms = {}
        by = random_shifts(images, self.shake)
        if weights.identity_perceptual:
            with torch.no_grad():
                person = self.see(neutral, by)
            distance = perceptual_loss(self.see(rebuilt, by), person)
            terms["identity_perceptual"] = weights.identity_perceptual * distance
        if weights.gram:
            with torch.no_grad():
                targets = self.see(images, by)
            distances = [gram_distance(self.see(image, by), targets) for image in others]
            terms["gram"] = weights.gram * torch.stack(distances).sum()
        return terms

    @torch.no_grad()
    def _follow_mean_face(self, mean_faces: Tensor) -> None:
        """Exponential average for decoding without a photo; the first batch sets it."""
        batch_mean = mean_faces.detach().mean(dim=0)
        keep = 0.99 if self.model.mean_face.any() else 0.0
        self.model.mean_face.lerp_(batch_mean, 1 - keep)


class ContrastStage(LightningModule):
    """MoCo, the paper's baseline: E_exp learns by contrast, E_id encodes keys and follows.

    Labels are not looked at. Nothing else of the model learns. Equations are the MoCo paper's.

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
