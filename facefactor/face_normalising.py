"""The normalised face of a person, frontal and neutral: in a photo, in a video, and the way to it.

As NFGAN draws it. It consists of other pixels than the photo's, so it takes the face's place as
another person's identity does (`photo_edits`); no difference is added to the photo.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from facefactor import editing
from facefactor.abilities import NormalisingModel, normalising_model
from facefactor.factors import FaceModel, ModelSpec
from facefactor.images import (
    Photo,
    face_to_photo,
)
from facefactor.perception.align import paste_back, place
from facefactor.photo_edits import PhotoFace
from facefactor.sheets import around, row
from facefactor.sweeps import write_path

_SHOWN = 4  # times that a film shows the photo before the way begins: half a second
_HEIGHT = 160  # of a sheet's pictures


@torch.inference_mode()
def normalise_faces(model: FaceModel, faces: Sequence[PhotoFace], raw: bool = False) -> Photo:
    """The photo with the normalised faces of `faces`, one or more of it, in their places.

    The squares are put in with feathered edges, the mean and spread of each colour matched to the
    photo's: one that is grey takes the tint of the skin.

    Args:
        raw: the network's own squares side by side, (S, K S, 3), not put back.

    Raises:
        FaceFactorError: the model draws no normalised faces; names the methods that do.
    """
    able = normalising_model(model)
    squares = [able.normalise(face.cut(able.spec)[0]) for face in faces]
    return _shown(able.spec, faces, squares, raw)


@torch.inference_mode()
def morph(
    model: FaceModel, faces: Sequence[PhotoFace], steps: int, raw: bool = False
) -> list[tuple[str, Photo]]:
    """The photo, and after it `steps` pictures of the way to the normalised face; with their names.

    The way is that of Sec. 5.5 of NFGAN: all codes go straight from those of the face, z, to those
    of its normalised face, z~. What is decoded is normalised at every step, at z too.

    Args:
        faces: of one photo, each on its own way.
        steps: 2 or more; the first is at z, the last at z~.

    Raises:
        FaceFactorError: the model draws no normalised faces; names the methods that do.
    """
    able = normalising_model(model)
    spec, shares = able.spec, torch.linspace(0, 1, steps).tolist()
    own = [face.cut(spec)[0] for face in faces]
    ways = [_way(able, square, shares) for square in own]
    photo = _shown(spec, faces, own, raw) if raw else faces[0].photo
    pictures = [
        _shown(spec, faces, [way[step : step + 1] for way in ways], raw) for step in range(steps)
    ]
    return [("photo", photo), *zip([f"{share:.2f}" for share in shares], pictures, strict=True)]


def write_morph(
    path: Path, model: FaceModel, faces: Sequence[PhotoFace], steps: int, raw: bool = False
) -> None:
    """`morph` as a film there and back (.gif), a film (.mp4), or a sheet of the largest face (.png
    and others)."""
    named = morph(model, faces, steps, raw)
    photos = [photo for _, photo in named]

    def sheet() -> Photo:
        shown = photos if raw else [around(photo, faces[0].found.box) for photo in photos]
        return row(shown, [name for name, _ in named], _HEIGHT)

    write_path(path, [*photos[:1] * (_SHOWN - 1), *photos], sheet)


def _way(model: NormalisingModel, square: Tensor, shares: Sequence[float]) -> Tensor:
    """(1, C, S, S) -> (K, C, S, S) decoded at K shares of the way from its codes to those of its
    normalised face."""
    own, goal = model.encode(square), model.encode(model.normalise(square))  # z and z~
    names = tuple(model.spec.factors)
    return model.decode(editing.interpolate(own, goal, names, shares, model.spec))


def _shown(
    spec: ModelSpec, faces: Sequence[PhotoFace], squares: Sequence[Tensor], raw: bool
) -> Photo:
    """The photo of `faces` with their `squares` (1, C, S, S) in it, or these alone, in a row."""
    if raw:
        return np.concatenate(face_to_photo(torch.cat(list(squares))), axis=1)
    photo = faces[0].photo
    for face, square in zip(faces, squares, strict=True):
        placement = place(face.found.points, spec.crop, spec.image_size)
        photo = paste_back(photo, placement, square, oval=True)
    return photo
