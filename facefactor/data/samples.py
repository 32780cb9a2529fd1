"""Training batches from faces already cut: a batch is a function of (seed, step) and nothing else.

That is what lets a killed run continue to the very same weights: no generator state is saved, the
batch of step 1,000 is drawn afresh from its number.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
from kornia.augmentation import AugmentationSequential, ColorJiggle, RandomAffine
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from facefactor.data.colour import match_colour
from facefactor.data.records import FaceRecord
from facefactor.data.same_session import place_of
from facefactor.factors import EXPRESSIONS
from facefactor.geometry.flow import random_flow, warp
from facefactor.geometry.landmarks import mirror_landmarks
from facefactor.images import photos_to_faces

_NODES = 6  # a side of the grid of random displacements
_DEFORMATION = 0.064  # standard deviation of a node's displacement; 1 is half the face's side


class FacePairs(Dataset[Tensor]):
    """Batch number `step` of face pairs, (P, 2, 3, S, S) in [0, 1].

    A pair is two photos of one person where there are several (frames of a clip, or photos of a
    subject), else a photo and its mirror image; with `flip_probability` a mirror image in any
    case. A partner photo takes over the first one's colour mean and deviation: photos of one
    person differ in light, frames of one clip do not, and light is no expression.

    Each face is then deformed by a small smooth random flow. A mirror image differs from its photo
    in pose only: without deformations nothing would ask a model to see that a mouth is open. (The
    paper has frames of clips, which differ in expression.)

    Args:
        faces: (N, S, S, 3) uint8.
        records: N of them; `clip`, else `subject`, says which photos show one person, so the names
            of several data sets must not be confusable.
        strangers: pair each face with any other face instead (stage 2 of FaceCycle).
        clip_share: of pairs, these are two frames of one clip, or two photos of a person taken from
            straight ahead by somebody who says so (KDEF) and does not vary the light (Yale), where
            there are any: what differs is the expression. 0 gives them no preference.
    """

    def __init__(
        self,
        faces: NDArray[np.uint8],
        records: Sequence[FaceRecord],
        pairs: int,
        seed: int,
        flip_probability: float = 0.5,
        strangers: bool = False,
        clip_share: float = 0.0,
    ) -> None:
        if len(faces) < 2:
            raise ValueError(f"{len(faces)} faces are too few to train on; at least 2 are needed")
        self.faces = faces
        self.pairs = pairs
        self.seed = seed
        self.flip_probability = flip_probability
        self.strangers = strangers
        self.partners = _others_of_same([record.clip or record.subject for record in records])
        self.takes = _others_of_same([None if r.light else place_of(r) for r in records])
        self.filmed = np.flatnonzero([len(others) > 0 for others in self.takes])
        self.clip_share = clip_share if len(self.filmed) else 0.0
        self.move = RandomAffine(
            degrees=3, translate=(0.02, 0.02), scale=(0.95, 1.05), padding_mode="border"
        )
        self.jitter = ColorJiggle(0.05, 0.05, 0.05, 0.01, p=0.8)

    def __getitem__(self, step: int) -> Tensor:
        draw = np.random.default_rng((self.seed, step))
        chosen = [self._pair(draw) for _ in range(self.pairs)]
        pairs = torch.from_numpy(np.stack(chosen)).permute(0, 1, 4, 2, 3).float() / 255
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(draw.integers(2**62)))
            return self._augment(pairs)

    def _pair(self, draw: np.random.Generator) -> NDArray[np.uint8]:
        """(2, S, S, 3) uint8."""
        filmed = bool(self.clip_share) and draw.random() < self.clip_share
        first = int(draw.choice(self.filmed) if filmed else draw.integers(len(self.faces)))
        face = self.faces[first]
        mirrored = draw.random() < 0.5
        others = (self.takes if filmed else self.partners)[first]
        if self.strangers:
            other = self.faces[
                (first + 1 + int(draw.integers(len(self.faces) - 1))) % len(self.faces)
            ]
        elif len(others) > 0 and (filmed or draw.random() >= self.flip_probability):
            other = match_colour(self.faces[others[int(draw.integers(len(others)))]], face)
            if draw.random() < 0.5:
                other = other[:, ::-1]
        else:
            other = face[:, ::-1]
        if mirrored:
            face, other = face[:, ::-1], other[:, ::-1]
        return np.stack([face, other])

    def _augment(self, pairs: Tensor) -> Tensor:
        """Small motions for each face, one colour jitter for both faces of a pair."""
        faces = self.move(pairs.flatten(0, 1))
        if not self.strangers:  # between people nothing has to be told from motion
            faces = deform(faces)
        moved = faces.unflatten(0, (-1, 2))
        tall = moved.transpose(1, 2).flatten(2, 3)  # (P, 3, 2S, S): one image a pair
        return self.jitter(tall).unflatten(2, (2, -1)).transpose(1, 2).clamp(0, 1).contiguous()


class LabelledBatch(NamedTuple):
    """Faces with whatever is known about each."""

    faces: Tensor  # (N, 3, S, S) in [0, 1]
    subject: Tensor  # (N,) int64, -1 where unknown
    expression: Tensor  # (N,) int64 index into EXPRESSIONS, -1 where unknown
    landmarks: Tensor  # (N, 68, 2) x, y in shares of the face's side; NaN where unknown


class FittedBatch(NamedTuple):
    """Faces with what a fitted morphable model says of each; NaN all over a row: not known.

    x is to the image's right, y up, z to the camera.
    """

    faces: Tensor  # (N, 3, S, S) in [0, 1]
    rotation: Tensor  # (N, 3, 3), of the head, as in `geometry.rotations`
    identity: Tensor  # (N, P) coefficients as the morphable model takes them
    expression: Tensor  # (N, E) the same; 0 is no expression
    shape: Tensor  # (N, 3, 9375) displacement from the mean face, unturned, cm; rows x, y, z
    normals: Tensor  # (N, 3, S, S) unit vectors where the mask is, 0 elsewhere
    lighting: Tensor  # (N, 9), or (N, 27) colour by colour; order of `geometry.lighting`
    mask: Tensor  # (N, 1, S, S) in [0, 1]: 1 where the fitted face is seen
    frontal: Tensor  # (N,) bool: rotation known and |yaw| below 15 degrees


class RenderedBatch(NamedTuple):
    """Rendered morphable faces, all of whose factors are known exactly."""

    faces: Tensor  # (N, 3, S, S) in [0, 1]
    rotation: Tensor  # (N, 3, 3)
    identity: Tensor  # (N, P) coefficients
    expression: Tensor  # (N, E) coefficients
    texture: Tensor  # (N, 3, S, S) in [0, 1]: unfolded, as the model's texture coordinates have it


class NormalizedBatch(NamedTuple):
    """Faces, the frontal neutral face of the same person, frontal neutral faces of anybody, and
    faces whose own frontal neutral face nobody knows."""

    faces: Tensor  # (N, 3, S, S) in [0, 1]
    targets: Tensor  # (N, 3, S, S) the same people, frontal and neutral (y)
    guides: Tensor  # (N, 3, S, S) frontal neutral faces of anybody (g)
    unpaired: Tensor  # (M, 3, S, S) faces of other people; M may be 0


class NeutralisedBatch(NamedTuple):
    """Faces, and the same faces without expression: photographed, rendered, or as another model
    draws them."""

    faces: Tensor  # (N, 3, S, S) in [0, 1]
    neutrals: Tensor  # (N, 3, S, S) in [0, 1]: the same person, pose and light


class Mixed(Dataset[Any]):
    """Batch number `step` of one set of samples, then that of another; both of one kind."""

    def __init__(self, first: Dataset[Any], second: Dataset[Any]) -> None:
        self.first = first
        self.second = second

    def __getitem__(self, step: int) -> Any:
        first, second = self.first[step], self.second[step]
        return type(first)(*(torch.cat(both) for both in zip(first, second, strict=True)))


class LabelledFaces(Dataset[LabelledBatch]):
    """Batch number `step` of faces with their labels; every face once an epoch, in random order.

    Each face is mirrored half of the time, moved and scaled a little, its colours changed a little;
    landmarks go with it.

    Args:
        faces: (N, S, S, 3) uint8.
        records: N of them. Subjects are numbered as `number_subjects` does.
        landmarks: (N, 68, 2) in shares of the face's side, NaN where unknown; None: all unknown.
    """

    def __init__(
        self,
        faces: NDArray[np.uint8],
        records: Sequence[FaceRecord],
        batch_size: int,
        seed: int,
        landmarks: NDArray[np.float32] | None = None,
    ) -> None:
        if len(faces) < batch_size:
            raise ValueError(f"{len(faces)} faces are fewer than a batch of {batch_size}")
        self.faces = faces
        self.batch_size = batch_size
        self.seed = seed
        self.subject = number_subjects(records)
        self.expression = np.array(
            [EXPRESSIONS.index(r.expression) if r.expression else -1 for r in records], np.int64
        )
        unknown = np.full((len(faces), 68, 2), np.nan, np.float32)
        self.landmarks = unknown if landmarks is None else landmarks
        self.change = AugmentationSequential(
            RandomAffine(
                degrees=8, translate=(0.04, 0.04), scale=(0.9, 1.1), padding_mode="border"
            ),
            ColorJiggle(0.2, 0.2, 0.2, 0.02, p=0.8),
            data_keys=["input", "keypoints"],
        )

    def __getitem__(self, step: int) -> LabelledBatch:
        rows = rows_of_step(step, len(self.faces), self.batch_size, self.seed)
        draw = np.random.default_rng((self.seed, 1, step))
        mirrored = draw.random(len(rows)) < 0.5
        faces = self.faces[rows]
        faces[mirrored] = faces[mirrored, :, ::-1]
        points = self.landmarks[rows]
        points[mirrored] = mirror_landmarks(points[mirrored])
        images = photos_to_faces(faces)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(draw.integers(2**62)))
            images, moved = self._change(images, torch.from_numpy(points))
        return LabelledBatch(
            images,
            torch.from_numpy(self.subject[rows]),
            torch.from_numpy(self.expression[rows]),
            moved,
        )

    def _change(self, images: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
        """Points in shares of the side are half a pixel off kornia's, whose centres are whole."""
        side = images.shape[-1]
        images, points = self.change(images, points * side - 0.5)
        return images.clamp(0, 1).contiguous(), (points + 0.5) / side


def rows_of_step(step: int, count: int, batch_size: int, seed: int) -> NDArray[np.int64]:
    """(batch_size,) which of `count` faces are in a batch: each once an epoch, those left over
    when the last batch is full not at all."""
    epoch, place = divmod(step, count // batch_size)
    order = _permutation(seed, epoch, count)
    return order[place * batch_size : (place + 1) * batch_size]


@lru_cache(maxsize=2)
def _permutation(seed: int, epoch: int, count: int) -> NDArray[np.int64]:
    return np.random.default_rng((seed, 0, epoch)).permutation(count)


def number_subjects(records: Sequence[FaceRecord]) -> NDArray[np.int64]:
    """(N,) numbers from 0 for the people of the records, in order of their names; -1: unknown."""
    names = {record.subject for record in records if record.subject}
    numbers = {name: number for number, name in enumerate(sorted(names))}
    return np.array([numbers[r.subject] if r.subject else -1 for r in records], np.int64)


def deform(faces: Tensor) -> Tensor:
    """Each face (N, C, S, S) moved by its own smooth random flow; about 2 px an axis at 64."""
    flow = random_flow(len(faces), faces.shape[-1], _DEFORMATION, _NODES)
    return warp(faces, flow, padding="border")


def _others_of_same(names: Sequence[Hashable | None]) -> list[NDArray[np.int64]]:
    """For each name, the positions of the others that equal it; of None there are none."""
    groups: dict[Hashable, list[int]] = defaultdict(list)
    for index, name in enumerate(names):
        if name:
            groups[name].append(index)
    return [
        np.array([other for other in (groups[name] if name else []) if other != index], np.int64)
        for index, name in enumerate(names)
    ]
