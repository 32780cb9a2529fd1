"""One person's face through the frames of a clip, across cuts and frames where it is not seen.

Where the face was in the frame before is looked at first. Only where it is no longer there, and
after a cut, the whole frame is searched, and then faces must look like the person to count.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from facefactor.face_verification import read_threshold
from facefactor.images import Photo, VideoError, read_timed_frames
from facefactor.outcomes import Progress
from facefactor.perception.mtcnn import DetectedFace
from facefactor.perception.packaged import packaged_instrument
from facefactor.perception.select import NoFaceError, reference_file, select_faces
from facefactor.photo_edits import PhotoFace, embed_face, embed_largest, face_detector

SAME_PLACE = 0.3  # intersection over union of a face and where it was
_CUT = 20.0  # mean difference of two frames, of 255, that no face's motion makes
_THUMBNAIL = (32, 32)
_LOOKED_AT_EVERY = 10  # frames: how a followed face looks by now
_LOOKS = 16  # of a person that are remembered
_KNOWN_LOOK = 0.7  # cosine; what is more like a remembered one is not remembered, too


@dataclass
class Reading:
    """What came of reading a clip; it fills while its frames are used."""

    frames: int = 0
    without_face: list[int] = field(default_factory=list)  # numbers of frames, from 0
    error: str | None = None  # where it broke off; what came before was used

    def gaps(
        self, instead: str = "they repeat the one before, those at the beginning the first"
    ) -> str | None:
        """Which frames show no face and what is done with them, in words; None if all do."""
        if not self.without_face:
            return None
        # what number and place have between them stays the same along a run
        numbered = groupby(enumerate(self.without_face), key=lambda pair: pair[1] - pair[0])
        runs = [[number for _, number in run] for _, run in numbered]
        told = ", ".join(f"{run[0]}-{run[-1]}" if run[1:] else f"{run[0]}" for run in runs)
        return f"no face in {len(self.without_face)} of {self.frames} frames ({told}); {instead}"


class Follower:
    """Finds one person in the frames of a clip, given one after the other.

    Within a shot a face that overlaps its last place is the person's. Elsewhere, and after a cut,
    it is the one most like what was seen of the person so far, by the packaged recogniser, if it is
    as like as two photos of one person are (at the threshold that `verify` uses).

    Args:
        which: who is followed: "largest" or a number in order of size, in the first frame that has
            so many faces; "like:FILE", whoever looks like the largest face of FILE.

    Raises:
        NoFaceError, ImageError: FILE has no face or cannot be read.
        FaceChoiceError: `which` is none of these.
    """

    def __init__(self, which: str = "largest") -> None:
        self.which = which
        self._looks: list[Tensor] = []  # embeddings (D,) of the person
        self._last: DetectedFace | None = None  # in the shot that goes on
        self._thumbnail: NDArray[np.float32] | None = None
        self._unlooked = 0  # frames since the person was looked at
        if (reference := reference_file(which)) is not None:
            self._looks.append(embed_largest(reference))

    def find(self, frame: Photo) -> DetectedFace | None:
        """The person's face in the next frame; None if it is not seen.

        Raises:
            FaceChoiceError: who is to be followed is not understood.
        """
        if self._is_cut(frame):
            self._last = None
        if self._last is not None:
            near = face_detector().detect_near(frame, self._last.box)
            if (face := self._in_place(near)) is not None:
                return self._seen(frame, face)
        first_of_all = self.which == "largest" and not self._looks
        detect = face_detector().detect_largest if first_of_all else face_detector().detect
        faces = detect(frame)
        if (face := self._in_place(faces) or self._by_look(frame, faces)) is None:
            return None
        return self._seen(frame, face)

    def _is_cut(self, frame: Photo) -> bool:
        small = cv2.resize(frame, _THUMBNAIL, interpolation=cv2.INTER_AREA).astype(np.float32)
        before, self._thumbnail = self._thumbnail, small
        return before is None or float(np.abs(small - before).mean()) > _CUT

    def _in_place(self, faces: list[DetectedFace]) -> DetectedFace | None:
        """The face that overlaps the last place most."""
        if self._last is None or not faces:
            return None
        last = self._last
        best = max(faces, key=lambda face: overlap(face, last))
        return best if overlap(best, last) > SAME_PLACE else None

    def _by_look(self, frame: Photo, faces: list[DetectedFace]) -> DetectedFace | None:
        """Who is asked for, as long as nobody is known; then the face most like the person."""
        if not self._looks:
            try:
                return select_faces(faces, self.which)[0]
            except NoFaceError:
                return None
        alike = [self._likeness(embed_face(frame, face)) for face in faces]
        if not alike or max(alike) < _least_likeness():
            return None
        return faces[int(np.argmax(alike))]

    def _likeness(self, look: Tensor) -> float:
        return float((torch.stack(self._looks) @ look).max())

    def _seen(self, frame: Photo, face: DetectedFace) -> DetectedFace:
        self._last = face
        if self._unlooked == 0 and len(self._looks) < _LOOKS:
            look = embed_face(frame, face)
            if not self._looks or self._likeness(look) < _KNOWN_LOOK:
                self._looks.append(look)
        self._unlooked = (self._unlooked + 1) % _LOOKED_AT_EVERY
        return face


def overlap(first: DetectedFace, second: DetectedFace) -> float:
    """Intersection over union of two boxes."""
    corners = np.array([first.box, second.box])
    left, top = corners[:, :2].max(0)
    right, bottom = corners[:, 2:].min(0)
    shared = max(0.0, right - left) * max(0.0, bottom - top)
    return float(shared / (first.area + second.area - shared))


def _least_likeness() -> float:
    """Of two photos of one person, by the packaged recogniser."""
    measured = read_threshold(packaged_instrument("recogniser"))
    return measured.threshold if measured else 0.5


@dataclass(frozen=True, eq=False)
class FilmFrame:
    """A frame of a clip, and who of those asked for is in it."""

    photo: Photo
    seconds: float  # since the first frame
    faces: list[PhotoFace]  # one; of all faces asked for as many as there are; or none


def read_film(
    clip: str | Path,
    which: str = "largest",
    reading: Reading | None = None,
    progress: Progress | None = None,
) -> Iterator[FilmFrame]:
    """The frames of a clip with one person's face, or with all faces, found anew in each.

    Args:
        which: see `Follower`; or "all".
        reading: is told of frames without a face, and where the clip breaks off: that ends the
            frames, but is no error once there was a face.
        progress: called with frames done and None, as nobody knows how many there are.

    Raises:
        NoFaceError: there is no such face in any frame, or none before the clip breaks off.
        VideoError: not a video.
    """
    told = Reading() if reading is None else reading
    follower = None if which == "all" else Follower(which)
    try:
        for number, (frame, seconds) in enumerate(read_timed_frames(clip)):
            told.frames = number + 1
            faces = _faces(frame, follower)
            if not faces:
                told.without_face.append(number)
            yield FilmFrame(frame, seconds, faces)
            if progress:
                progress(told.frames, None)
    except VideoError as error:
        if not told.frames:
            raise
        if len(told.without_face) == told.frames:
            raise NoFaceError(
                f"{clip}: breaks off after {told.frames} frames without a face; copy it again"
            ) from error
        told.error = str(error)
        return
    if len(told.without_face) == told.frames:
        reference = reference_file(which)
        like = "" if reference is None else f" like that in {reference}"
        raise NoFaceError(f"{clip}: no face{like} found in any of its {told.frames} frames")


def _faces(frame: Photo, follower: Follower | None) -> list[PhotoFace]:
    if follower is None:
        found = face_detector().detect(frame)
    else:
        face = follower.find(frame)
        found = [] if face is None else [face]
    return [PhotoFace("photo", frame, face) for face in found]
