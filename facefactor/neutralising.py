"""Any model that takes expressions off, as a plain function from faces to neutral faces.

What LEED asks of its neutraliser: faces in, the same people's neutral faces out. The weights may be
of any method, whatever crop and size it was made for.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from facefactor.editing import FactorError, check_factor, set_strength
from facefactor.factors import FaceModel, ModelSpec
from facefactor.geometry.similarity import invert_affine, similarity_transform
from facefactor.perception.align import crop_points

_FEATHER = 0.1  # share of the model's square over which it fades into the rest of a wider crop


def neutral_faces(model: FaceModel, faces: Tensor) -> Tensor:
    """The faces without their expression, (N, C, S, S) in [0, 1], as the model redraws them.

    Of a model whose codes tell nothing but the person (NFGAN) whatever it decodes is neutral, and
    frontal too.

    Args:
        faces: of the model's own crop and size.

    Raises:
        FactorError: the model takes no expression off, or the faces have another size.
    """
    spec = model.spec
    wanted = (spec.channels, spec.image_size, spec.image_size)
    if faces.shape[1:] != wanted:
        raise FactorError(
            f"{spec.name} takes faces of {' x '.join(map(str, wanted))}, not "
            f"{' x '.join(map(str, faces.shape[1:]))}; cut them so (crop {spec.crop!r})"
        )
    factors = model.encode(faces)
    if _tells_the_person_only(spec):
        return model.decode(factors)
    check_factor(spec, "expression")
    return model.decode(set_strength(factors, model, "expression", 0.0))


class Neutraliser(nn.Module):
    """`neutral_faces` for faces of any crop and size, (N, 3, S, S) in [0, 1] in and out.

    The model's square is cut out of the given one and put back. Where the given faces show more
    than the model sees, their pixels stay; where it sees more, it is shown their outermost pixels
    repeated.

    Args:
        model: whose crop and size may be others.
        crop, size: those of the faces given; crop is a key of `perception.align.CROPS`.

    Raises:
        FactorError: the model takes no expression off.
    """

    to_model: Tensor
    to_faces: Tensor
    mask: Tensor

    def __init__(self, model: FaceModel, crop: str, size: int) -> None:
        super().__init__()
        spec = model.spec
        if not _tells_the_person_only(spec):
            check_factor(spec, "expression")
        self.model: Any = model
        self.size = size
        self.same_crop = crop == spec.crop
        # pixels are placed by the sampler in [-1, 1], from outer edge to outer edge
        theirs, ours = (_sampler_points(name) for name in (spec.crop, crop))
        there = similarity_transform(theirs, ours)
        back = invert_affine(there)
        self.scale = float((there[0, 0] ** 2 + there[1, 0] ** 2) ** 0.5) * size / spec.image_size
        shapes = [(there, spec.image_size), (back, size)]
        to_model, to_faces = (
            F.affine_grid(
                torch.tensor(transform, dtype=torch.float32)[None],
                [1, 3, side, side],
                align_corners=False,
            )
            for transform, side in shapes
        )
        self.register_buffer("to_model", to_model, persistent=False)
        self.register_buffer("to_faces", to_faces, persistent=False)
        # 1 where the model's square lies, 0 outside of it; `to_faces` is within [-1, 1] there
        inwards = 1 - to_faces.abs().amax(dim=-1)  # (1, S, S), to the nearest edge
        faded = (inwards / (2 * _FEATHER)).clamp(0, 1)
        mask = torch.ones_like(faded) if self.same_crop else faded
        self.register_buffer("mask", mask[:, None], persistent=False)

    def forward(self, faces: Tensor) -> Tensor:
        spec = self.model.spec
        if self.same_crop and spec.image_size == self.size:
            return neutral_faces(self.model, faces)
        if faces.shape[-1] != self.size:
            raise FactorError(f"faces of {faces.shape[-1]} pixels, expected {self.size}")
        neutral = neutral_faces(self.model, _sampled(_softened(faces, self.scale), self.to_model))
        return torch.lerp(faces.float(), _sampled(neutral, self.to_faces), self.mask)


def _tells_the_person_only(spec: ModelSpec) -> bool:
    return set(spec.factors) == {"identity"} and not spec.factors["identity"].covers


def _sampler_points(crop: str) -> list[list[float]]:
    """The five points of a crop where the sampler has them: -1 to 1, edge to edge."""
    points = crop_points(crop, 1) + 0.5  # shares of the side
    return (2 * points - 1).tolist()


def _softened(faces: Tensor, scale: float) -> Tensor:
    """The faces as small as they will be drawn, if smaller: skipped pixels would alias."""
    if scale <= 1:
        return faces
    size = max(1, round(faces.shape[-1] / scale))
    return F.interpolate(
        faces.float(), size=(size, size), mode="bilinear", antialias=True, align_corners=False
    )


def _sampled(faces: Tensor, grid: Tensor) -> Tensor:
    return F.grid_sample(
        faces.float(),
        grid.expand(len(faces), -1, -1, -1),
        padding_mode="border",
        align_corners=False,
    )
