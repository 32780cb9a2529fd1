"""From a photo to an edited photo: find the face, cut it, change its factors, put it back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from pathlib import Path

import torch
from torch import Tensor

from facefactor.editing import encode_source
from facefactor.factors import FaceModel, FactorName, Factors, ModelSpec
from facefactor.images import Photo, PhotoSource, face_to_photo, read_photo
from facefactor.perception.align import Placement, align, light_and_move, paste_back
from facefactor.perception.mtcnn import DetectedFace, FaceDetector
from facefactor.perception.packaged import packaged_recogniser
from facefactor.perception.recognition import embed
from facefactor.perception.select import NoFaceError, reference_file, select_faces

Change = Callable[[Factors], Factors]


@dataclass(frozen=True, eq=False)
class PhotoFace:
    """One face found in a photo."""

    name: str  # of the photo, for messages
    photo: Photo
    found: DetectedFace

    def cut(self, spec: ModelSpec) -> tuple[Tensor, Placement]:
        """The square a model takes, (1, C, S, S) in [0, 1], and where it lies in the photo."""
        face, placement = align(self.photo, self.found.points, spec.crop, spec.image_size)
        if spec.channels == 1:
            face = (face * torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)).sum(1, keepdim=True)
        return face, placement


@cache
def face_detector() -> FaceDetector:
    """The detector, built once: reading its weights takes longer than finding a face."""
    return FaceDetector()


def read_faces(source: PhotoSource, which: str = "largest") -> list[PhotoFace]:
    """The faces asked for of a photo.

    Args:
        which: "largest", "all", an index in order of size ("0" is the largest), or
            "like:FILE": the face most similar to the largest face of FILE, by the packaged
            recogniser.

    Raises:
        ImageError: the photo cannot be read.
        NoFaceError: no face in it, or fewer than the index asks for.
        InstrumentError: the recogniser is needed and not there.
    """
    name = str(source) if isinstance(source, (str, Path)) else "photo"
    photo = read_photo(source)
    detector = face_detector()
    found = detector.detect_largest(photo) if which == "largest" else detector.detect(photo)
    similarity = None
    if (reference := reference_file(which)) is not None:
        similarity = _similarity_to(reference, photo)
    chosen = select_faces(found, which, similarity, name)
    return [PhotoFace(name, photo, face) for face in chosen]


def _similarity_to(reference: Path, photo: Photo) -> Callable[[DetectedFace], float]:
    """Cosine between embeddings of a face of `photo` and the largest face of `reference`."""
    wanted = embed_largest(reference)
    return lambda face: float(embed_face(photo, face) @ wanted)


def embed_largest(reference: Path) -> Tensor:
    """How the largest face of a photo looks, (D,); see `embed_face`.

    Raises:
        NoFaceError, ImageError: it has none, or cannot be read.
    """
    when = reference.stat().st_mtime_ns if reference.is_file() else 0
    return _embedding_of_largest(reference, when)


@lru_cache(maxsize=8)  # for each photo of a folder it would be looked for again
def _embedding_of_largest(reference: Path, when: int) -> Tensor:
    """Of the largest face of a file that was last changed at `when`."""
    face = read_faces(reference)[0]
    return embed_face(face.photo, face.found)


@torch.inference_mode()
def embed_face(photo: Photo, face: DetectedFace) -> Tensor:
    """How a face looks to the packaged recogniser: its embedding (D,), of length 1.

    Raises:
        InstrumentError: the recogniser is not there.
    """
    recogniser = packaged_recogniser()
    square, _ = align(photo, face.points, recogniser.crop, recogniser.image_size)
    return embed(recogniser, square)[0]


@torch.inference_mode()
def encode_face(
    model: FaceModel, face: PhotoFace, lent: Sequence[FactorName] | None = None
) -> Factors:
    """The factors of one face, N = 1.

    Args:
        lent: the factors that another face is to have of this one: what only the others need may
            then be missing, and takes no time. None: all is there.
    """
    square = face.cut(model.spec)[0]
    return model.encode(square) if lent is None else encode_source(model, square, lent)


@torch.inference_mode()
def edit_face(model: FaceModel, face: PhotoFace, change: Change, raw: bool = False) -> Photo:
    """The photo with the factors of one face changed.

    Args:
        change: from the factors of this face to those it shall have.
        raw: the network's own square alone, (S, S, 3), not put back.

    Where nothing but motion changes the photo's own pixels are moved, at full resolution; another
    person's identity cannot come from these pixels, so that square replaces the face.
    """
    crop, placement = face.cut(model.spec)
    before = model.encode(crop)
    after = change(before)
    if raw:
        return face_to_photo(model.decode(after))[0]
    person = before.codes.get("identity")  # a model may separate none
    if person is not None and not torch.equal(after["identity"], person):
        return paste_back(face.photo, placement, model.decode(after))
    edit_flow = getattr(model, "edit_flow", None)  # models without flow just redraw
    flow = edit_flow(before, after) if edit_flow else None
    edit_gain = getattr(model, "edit_gain", None)
    gain = edit_gain(before, after) if edit_gain else None
    if gain is not None and flow is not None:
        return light_and_move(face.photo, placement, gain, flow)
    return paste_back(face.photo, placement, model.decode(after), model.decode(before), flow)


def edit_all(
    model: FaceModel, faces: Iterable[PhotoFace], change: Change, raw: bool = False
) -> Photo:
    """The photo with several of its faces changed, one after the other.

    Raises:
        NoFaceError: there are none.
    """
    photo: Photo | None = None
    for face in faces:
        current = face if photo is None or raw else replace(face, photo=photo)
        photo = edit_face(model, current, change, raw)
    if photo is None:
        raise NoFaceError("no face to edit")
    return photo


def factor_for(spec: ModelSpec, name: FactorName) -> FactorName:
    """The factor of this model in which `name` lives: itself, or the one that covers it."""
    if name in spec.factors:
        return name
    for other, factor in spec.factors.items():
        if name in factor.covers:
            return other
    return name  # and the edit will say that there is none
