"""A morphable model fitted to 68 landmarks: rotation, identity, expression; and the light on it.

The landmarks are taken for a scaled, shifted parallel projection of the turned model. Two linear
problems are solved in turns: the camera for a given shape, and the shape for a given camera, with
coefficients drawn to their prior (as Booth et al., "3D Face Morphable Models In-the-Wild", CVPR
2017, fit theirs to landmarks).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from facefactor.geometry.lighting import harmonic_basis
from facefactor.geometry.projection import fit_projection, project

if TYPE_CHECKING:
    from facefactor.geometry.morphable import MorphableModel

_ROUNDS = 8  # camera and shape in turns
_DESCENTS = 60  # accelerated gradient steps for one shape
_NOISE = 0.02  # of landmarks, in distances of the outer eye corners
_EXPRESSION_SPREAD = 0.3  # of expression weights, which lie in [0, 1]; identity's is 1
_TRUST_IN_JAW = 0.3  # weight beside 1: jaw points slide along the outline
_BATCH = 256  # faces: normal matrices of 157 x 157 numbers each
_JAW = 17  # the first landmarks
_MEAN_SHADING = 0.75
_REWEIGHTED = 3  # solutions for the light
_SKIN = 0.05  # of brightness: what is further off is no evenly coloured skin
_STRIP = 0.06  # half the height, in distances of the eye corners, of where a jaw point may slide


@dataclass(frozen=True, eq=False)
class FaceFit:
    """Where and how the model lies in N pictures.

    A vertex X (x to the image's right, y up, z out of the image) is seen at
    `scale * (R X)[:2] * (1, -1) + shift`, in the landmarks' unit, y down.
    """

    rotation: Tensor  # (N, 3, 3); `geometry.rotations` has its angles
    scale: Tensor  # (N,) units of the landmarks in one of the model
    shift: Tensor  # (N, 2)
    identity: Tensor  # (N, K) of the model's identity modes, about standard normal
    expression: Tensor  # (N, E) of its expression shapes, in [0, 1]
    error: Tensor  # (N,) mean distance of landmarks 17-67, in distances of the eye corners

    def project(self, vertices: Tensor) -> Tensor:
        """Turned and shifted: (N, V, 3) -> (N, V, 3) x, y in the landmarks' unit, y down; z to the
        camera at the same scale."""
        return project(vertices, self.rotation, self.scale, self.shift)


def fit_landmarks(
    landmarks: Tensor, model: MorphableModel, jaw: Literal["model", "outline"] = "model"
) -> FaceFit:
    """Fit the model to landmarks (N, 68, 2), x, y with y down, in any unit that both axes share.

    Args:
        jaw: what landmarks 0-16 are. "model": the same points of the skin whichever way the head is
            turned. "outline": on the visible outline of the side turned away; a jaw point of that
            side then is whichever vertex near its height lies furthest out.

    Returns:
        float64; NaN for a face with a NaN.

    Raises:
        ValueError: another shape.
    """
    if landmarks.ndim != 3 or landmarks.shape[1:] != (68, 2):
        raise ValueError(f"landmarks must be (N, 68, 2), got {tuple(landmarks.shape)}")
    known = landmarks.isfinite().flatten(1).all(dim=1)
    shape = _LandmarkShape(model)
    found = [_fit(part.double(), shape, jaw) for part in torch.split(landmarks[known], _BATCH)]
    whole = {}
    for name, width in shape.sizes.items():
        values = [getattr(fit, name) for fit in found]
        filled = torch.full((len(landmarks), *width), torch.nan, dtype=torch.float64)
        if values:
            filled[known] = torch.cat(values)
        whole[name] = filled
    return FaceFit(**whole)


class _LandmarkShape:
    """The rows of the model that its landmarks, and jaw points that slide, ask for."""

    def __init__(self, model: MorphableModel) -> None:
        neutral = torch.as_tensor(model.neutral).double()
        places = torch.as_tensor(model.landmarks68).long()
        self.strips = _strips(neutral, places)
        used = torch.cat([places, *self.strips])
        self.neutral = neutral[used]
        self.eyes = (neutral[places[45]] - neutral[places[36]]).norm()
        people, expressions = torch.as_tensor(model.identity), torch.as_tensor(model.expression)
        self.people = len(people)
        self.modes = torch.cat([people[:, used], expressions[:, used]]).double()  # (K + E, U, 3)
        spread = torch.ones(len(self.modes), dtype=torch.float64)
        spread[self.people :] = _EXPRESSION_SPREAD
        self.precision = 1 / spread.square()
        self.sizes = {
            "rotation": (3, 3),
            "scale": (),
            "shift": (2,),
            "identity": (self.people,),
            "expression": (len(expressions),),
            "error": (),
        }

    def points(self, coefficients: Tensor) -> Tensor:
        """(N, K + E) -> (N, U, 3)."""
        return self.neutral + torch.einsum("nk,kuc->nuc", coefficients, self.modes)

    def start_of_strip(self, jaw: int) -> int:
        return 68 + sum(len(strip) for strip in self.strips[:jaw])


def _strips(neutral: Tensor, places: Tensor) -> list[Tensor]:
    """For each jaw landmark the vertices at its height and of its side that an outline may pass;
    the point of the chin, in the middle, stays."""
    eyes = neutral[places[45], 0] - neutral[places[36], 0]
    strips = []
    for place in places[:_JAW]:
        x, y, _ = neutral[place]
        level = (neutral[:, 1] - y).abs() < _STRIP * eyes
        # further in than half way to the middle no outline of a face comes
        outside = neutral[:, 0] * x.sign() > 0.3 * x.abs()
        strip = torch.nonzero(level & outside)[:, 0]
        strips.append(strip if x.abs() > 0.2 * eyes and len(strip) else place[None])
    return strips


def _fit(landmarks: Tensor, shape: _LandmarkShape, jaw: str) -> FaceFit:
    coefficients = landmarks.new_zeros(len(landmarks), len(shape.modes))
    weights = landmarks.new_ones(68)
    weights[:_JAW] = _TRUST_IN_JAW
    chosen = torch.arange(68).repeat(len(landmarks), 1)
    rows = torch.arange(len(landmarks))[:, None]
    for _ in range(_ROUNDS):
        everything = shape.points(coefficients)
        if jaw == "outline":
            chosen = _slide(
                everything, fit_projection(everything[rows, chosen], landmarks, weights)[0], shape
            )
        rotation, scale, shift = fit_projection(everything[rows, chosen], landmarks, weights)
        coefficients = _shape_for(
            landmarks, rotation, scale, shift, chosen, weights, shape, coefficients
        )
    points = shape.points(coefficients)[rows, chosen]
    rotation, scale, shift = fit_projection(points, landmarks, weights)
    seen = project(points, rotation, scale, shift)[..., :2]
    error = (seen - landmarks)[:, _JAW:].norm(dim=2).mean(dim=1) / (scale * shape.eyes)
    identity, expression = coefficients[:, : shape.people], coefficients[:, shape.people :]
    return FaceFit(rotation, scale, shift, identity, expression, error)


def _shape_for(
    landmarks: Tensor,
    rotation: Tensor,
    scale: Tensor,
    shift: Tensor,
    chosen: Tensor,
    weights: Tensor,
    shape: _LandmarkShape,
    start: Tensor,
) -> Tensor:
    """Coefficients b of a given camera, (N, K + E):

        argmin sum_l w_l |landmark_l - seen_l(b)|^2 / (noise * eyes)^2 + sum_k b_k^2 / spread_k^2

    with expression weights in [0, 1]; by accelerated projected gradients (Beck & Teboulle 2009).
    """
    unit = (weights.sqrt() / (_NOISE * shape.eyes * scale[:, None]))[..., None]  # (N, 68, 1)
    modes = shape.modes[:, chosen].transpose(0, 1)  # (N, K + E, 68, 3)
    turned = torch.einsum("nklc,ndc->nkld", modes, rotation[:, :2]) * modes.new_tensor([1, -1])
    design = (scale[:, None, None, None] * turned * unit[:, None]).flatten(2)  # (N, K + E, 136)
    seen = project(shape.neutral[chosen], rotation, scale, shift)[..., :2]
    target = ((landmarks - seen) * unit).flatten(1)
    normal = design @ design.mT + torch.diag(shape.precision)
    pull = (design @ target[..., None])[..., 0]
    step = 1 / torch.linalg.matrix_norm(normal, ord=2)[:, None]
    found = ahead = start
    for number in range(_DESCENTS):
        slope = (normal @ ahead[..., None])[..., 0] - pull
        moved = ahead - step * slope
        moved[:, shape.people :].clamp_(0, 1)
        ahead = moved + number / (number + 3) * (moved - found)
        found = moved
    return found


def _slide(points: Tensor, rotation: Tensor, shape: _LandmarkShape) -> Tensor:
    """(N, 68) places: jaw landmarks of the side turned away move to the outline."""
    across = (points @ rotation.mT)[..., 0]  # (N, U)
    chosen = torch.arange(68).repeat(len(points), 1)
    nose_to_left = rotation[:, 0, 2] < 0  # then the image's left half is the far one
    for jaw in range(_JAW):
        start = shape.start_of_strip(jaw)
        strip = across[:, start : start + len(shape.strips[jaw])]
        if jaw < _JAW // 2:
            far, furthest = nose_to_left, strip.argmin(dim=1)
        else:
            far, furthest = ~nose_to_left, strip.argmax(dim=1)
        slides = far & (len(shape.strips[jaw]) > 1)
        chosen[:, jaw] = torch.where(slides, start + furthest, chosen[:, jaw])
    return chosen


def fit_lighting(faces: Tensor, normals: Tensor, mask: Tensor) -> Tensor:
    """Grey light that explains faces if skin had one albedo: (N, 9), mean shading 0.75 in the mask.

    Brightness is taken for albedo times shading. Which of the two makes a face dark cannot be told,
    so the mean shading is put to 0.75, that of Neural Face Editing's prior. Brows, eyes and lips
    are no skin: pixels far off the first solution count for less in two more.

    Args:
        faces: (N, 3, H, W) RGB in [0, 1]; normals: (N, 3, H, W), x to the image's right, y up, z to
            the camera; mask: (N, 1, H, W) bool, where the normals hold.

    Returns:
        float64; NaN for a face without a pixel in its mask.
    """
    brightness = faces.double().mean(dim=1).flatten(1)  # (N, P)
    basis = harmonic_basis(normals.double()).flatten(2).mT  # (N, P, 9)
    seen = mask.flatten(1).double()
    weights = seen
    # light of the second order is held back where few normals are seen
    hold = torch.diag(torch.tensor([0.0, *[1e-3] * 3, *[1e-2] * 5], dtype=torch.float64))
    for _ in range(_REWEIGHTED):
        share = weights / weights.sum(dim=1, keepdim=True).clamp(min=1e-12)
        normal = torch.einsum("np,npi,npj->nij", share, basis, basis) + hold
        pull = torch.einsum("np,npi,np->ni", share, basis, brightness)
        # a face without a pixel has no light of order 0 to divide by
        normal = normal + 1e-9 * torch.eye(9, dtype=torch.float64)
        light = torch.linalg.solve(normal, pull)
        off = (torch.einsum("npi,ni->np", basis, light) - brightness).abs()
        weights = seen * (_SKIN / off.clamp(min=_SKIN))  # Huber's
    shaded = torch.einsum("npi,ni->np", basis, light)
    mean = (shaded * seen).sum(dim=1) / seen.sum(dim=1)  # 0 / 0 is NaN
    return light * (_MEAN_SHADING / mean)[:, None]
