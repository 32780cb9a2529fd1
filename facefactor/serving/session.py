"""What one open page holds: a photo, the edits made of it, and which face is meant."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image, ImageDraw

from facefactor import api
from facefactor.errors import FaceFactorError

_MEGAPIXELS = 120.0  # of all photos of a session; the oldest edits are forgotten
_MOST = 24  # steps
_THUMBNAIL = 240
_CHOSEN, _OTHER = (255, 140, 0), (255, 255, 255)


@dataclass(frozen=True, eq=False)
class Step:
    """A photo of the history: the one given, or one made of the step before."""

    label: str
    faces: list[api.PhotoFace]  # all of one photo, at least one
    chosen: int

    @property
    def face(self) -> api.PhotoFace:
        return self.faces[self.chosen]

    @property
    def photo(self) -> api.Photo:
        return self.face.photo

    @property
    def thumbnail(self) -> api.Photo:
        picture = Image.fromarray(self.photo)
        picture.thumbnail((_THUMBNAIL, _THUMBNAIL))
        return np.asarray(picture)


@dataclass(frozen=True, eq=False)
class Session:
    """The steps, the first of them the photo itself, and which one is shown."""

    steps: Sequence[Step]
    place: int = 0

    @property
    def now(self) -> Step:
        return self.steps[self.place]

    def at(self, place: int) -> Session:
        return replace(self, place=min(max(place, 0), len(self.steps) - 1))

    def instead(self, step: Step) -> Session:
        """With `step` in the place of the one shown."""
        return replace(self, steps=[step if one is self.now else one for one in self.steps])

    def then(self, step: Step) -> Session:
        """With a new step, which is shown; beyond the limits the oldest but the first go."""
        steps = [*self.steps, step]
        while len(steps) > 2 and (len(steps) > _MOST or _megapixels(steps) > _MEGAPIXELS):
            del steps[1]
        return Session(steps, len(steps) - 1)


def _megapixels(steps: Sequence[Step]) -> float:
    return sum(step.photo.shape[0] * step.photo.shape[1] for step in steps) / 1e6


def follow(label: str, before: Step, photo: api.Photo) -> Step:
    """The step after an edit: faces are found anew, for a turned head has other points; where the
    face can no longer be found, it is where it was."""
    kept = [replace(face, photo=photo) for face in before.faces]
    try:
        faces = api.read_faces(photo, "all")
    except FaceFactorError:
        return Step(label, kept, before.chosen)
    middle = _middle(before.face)
    offsets = [float(np.hypot(*(_middle(face) - middle))) for face in faces]
    nearest = int(np.argmin(offsets))
    if offsets[nearest] > _width(before.face) / 2:
        return Step(label, kept, before.chosen)
    return Step(label, faces, nearest)


def face_at(faces: Sequence[api.PhotoFace], x: float, y: float) -> int:
    """The number of the face whose middle is nearest to a point of the photo, in box widths."""
    offsets = [np.hypot(*(_middle(face) - (x, y))) / _width(face) for face in faces]
    return int(np.argmin(offsets))


def boxed(step: Step) -> api.Photo:
    """The photo with a box around each face, the chosen one's in colour."""
    picture = Image.fromarray(step.photo)
    draw = ImageDraw.Draw(picture)
    width = max(2, max(picture.size) // 250)
    for number, face in enumerate(step.faces):
        colour = _CHOSEN if number == step.chosen else _OTHER
        draw.rectangle(face.found.box, outline=colour, width=width)
    return np.asarray(picture)


def _middle(face: api.PhotoFace) -> np.ndarray:
    left, top, right, bottom = face.found.box
    return np.array([left + right, top + bottom]) / 2


def _width(face: api.PhotoFace) -> float:
    left, _, right, _ = face.found.box
    return right - left
