"""What protocols on rendered faces share: who is rendered, and in which variety."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from facefactor.errors import FaceFactorError
from facefactor.factors import ModelSpec
from facefactor.geometry.morphable import MorphableModel, naming, read_morphable
from facefactor.images import Photo, face_to_photo
from facefactor.protocols.subject import Subject

if TYPE_CHECKING:
    from facefactor.data.synthetic import FaceRenderer


def morphable_of(subject: Subject, protocol: str) -> MorphableModel:
    """The morphable model named for a protocol.

    Raises:
        FaceFactorError: none was.
        MorphableModelError: its file is not there, or none.
    """
    if subject.morphable is None:
        raise FaceFactorError(
            f"{protocol} renders its faces from a morphable model; name one (--morphable FILE), as "
            "`facefactor data morphable` makes it of a folder of ICT-FaceKit"
        )
    return read_morphable(subject.morphable)


def renderer_of(subject: Subject, model: MorphableModel) -> FaceRenderer:
    """Of the subject's crop and size; MorphableModelError, naming the file, if it cannot smile."""
    from facefactor.data.synthetic import FaceRenderer  # brings kornia: slow

    spec = subject.header.spec
    with naming(subject.morphable):
        return FaceRenderer(model, spec.crop, spec.image_size)


def variety(spec: ModelSpec) -> dict[str, bool]:
    """Faces differ in what a model separates, or folds into what it separates."""
    covered = {name for factor in spec.factors.values() for name in factor.covers}
    known = {*spec.factors, *covered}
    return {"turned": "pose" in known, "lit": "illumination" in known}


def normals_as_photos(normals: Tensor, mask: Tensor) -> list[Photo]:
    """Normals (N, 3, S, S) as colours: red to the right, green up, blue to the camera; black off
    the mask (N, 1, S, S)."""
    return face_to_photo((normals + 1) / 2 * mask)
