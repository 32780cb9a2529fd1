"""Which faces of a collection look into the camera without an expression, sharp, without glasses.

NFGAN's targets and guides are such faces. Its authors asked a cloud service for them (pan and tilt
within 5 degrees, no emotion, no blur, no glasses); here two networks of our own tell, and what a
data set itself says of a photo goes before what they see.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from facefactor.data.crops import CroppedFaces, Detect, crop_faces
from facefactor.data.kept_parts import kept_in_parts
from facefactor.data.records import FaceRecord
from facefactor.factors import ModelSpec
from facefactor.files import atomic_path
from facefactor.images import photos_to_faces
from facefactor.perception.head_pose import head_pose
from facefactor.perception.landmarks import LandmarkNetwork
from facefactor.perception.quality import brightness_under_eyes, sharpness

MAX_ANGLE = 5.0  # degrees of yaw and of pitch, either way (Sec. 5.1)
# Probability, where no label tells the expression. Of KDEF's photos from the front 80 % of the
# neutral ones reach it, and 2.6 % of those of six other expressions.
MIN_NEUTRAL = 0.4
# Measured on CelebA-128: 1 % of its faces are below; of those reduced to 28 pixels and enlarged
# again to 112, 95 %; to 40 pixels, under half; to 56 pixels, a tenth.
MIN_SHARPNESS = 0.035
# By eye, on CelebA-128: of 923 frontal neutral faces one in twenty lies below, four fifths of these
# in dark glasses; a handful with pale or mirrored ones lies just above.
MIN_UNDER_EYES = 0.72
MAX_LIGHT_ANGLE = 10.0  # degrees of azimuth and of elevation, where they are known

_BATCH = 64  # faces a pass
_FORMAT = 1  # part of every name: raise it when the same faces would be judged otherwise


class ExpressionTeller(Protocol):
    """A network that tells expressions apart, such as IPD-FER."""

    spec: ModelSpec

    @property
    def classes(self) -> tuple[str, ...]: ...

    def expression_probabilities(self, faces: Tensor) -> Tensor: ...

    def state_dict(self) -> dict[str, Tensor]: ...


@dataclass(frozen=True, eq=False)
class Judges:
    """The networks that look at faces; both take the same square.

    Raises:
        ValueError: they do not, or one of the expressions told is not "neutral".
    """

    landmarks: LandmarkNetwork
    expressions: ExpressionTeller

    def __post_init__(self) -> None:
        spec, marks = self.expressions.spec, self.landmarks
        if (spec.crop, spec.image_size, spec.channels) != (marks.crop, marks.image_size, 3):
            raise ValueError(
                f"{spec.name} takes the crop {spec.crop} of {spec.image_size} pixels with "
                f"{spec.channels} channels; the landmark network takes {marks.crop} of "
                f"{marks.image_size} with 3"
            )
        if "neutral" not in self.expressions.classes:
            raise ValueError(f"{spec.name} tells {self.expressions.classes}, none of them neutral")

    @property
    def crop(self) -> str:
        return self.landmarks.crop

    @property
    def image_size(self) -> int:
        return self.landmarks.image_size


@dataclass(frozen=True, eq=False)
class Judgements:
    """What is seen of N faces."""

    yaw: NDArray[np.float32]  # (N,) degrees, of the head in the crop: its eyes are level
    pitch: NDArray[np.float32]  # (N,) degrees; 0 as people look who look into the camera
    neutral: NDArray[np.float32]  # (N,) probability of no expression
    sharpness: NDArray[np.float32]  # (N,) of `sharpness`
    under_eyes: NDArray[np.float32]  # (N,) of `brightness_under_eyes`


def judge_faces(
    faces: NDArray[np.uint8],
    judges: Judges,
    folder: Path,
    progress: Callable[[int, int], None] | None = None,
) -> Judgements:
    """Look at each face once; what `folder` holds already is read, so a killed run goes on.

    Args:
        faces: (N, S, S, 3) RGB crops as the judges take them.
        folder: for files of 256 faces each, named by their contents and the networks'.
        progress: called with (done, N).

    Raises:
        ValueError: no faces, or of another size.
        DataError: a file in `folder` is damaged.
    """
    size = judges.image_size
    if not len(faces) or faces.shape[1:] != (size, size, 3):
        raise ValueError(f"faces must be (N, {size}, {size}, 3), N > 0, got {faces.shape}")
    key = _hash_networks(judges)
    found = kept_in_parts(
        (faces,),
        folder,
        name=lambda part: hashlib.sha256(key + part.tobytes()).hexdigest()[:24],
        compute=lambda part: vars(_look(part, judges)),
        arrays=[field.name for field in _FIELDS],
        progress=progress,
    )
    return Judgements(**found)


def frontal_neutral(
    records: Sequence[FaceRecord], seen: Judgements, max_angle: float = MAX_ANGLE
) -> NDArray[np.bool_]:
    """(N,) which faces are frontal, neutral and sharp, without glasses and lit from the front.

    What the data set says of expression and glasses counts, for or against; where it says nothing,
    what is seen, and of glasses only dark ones are. Light counts where the data set knows it. Roll
    is not asked for: crops are upright.

    A photo of which the data set says that it was not taken from straight ahead is none. If it was,
    by a camera that somebody posed for, pitch is not asked for, in which faces differ by more
    degrees than such heads do; nor are dark glasses looked for, as the shadow that a lamp above
    throws looks like them.

    Args:
        max_angle: degrees of yaw and of pitch, either way.
    """
    straight = np.array([record.frontal is True for record in records], bool)
    aside = np.array([record.frontal is False for record in records], bool)
    level = straight | (np.abs(seen.pitch) <= max_angle)  # False for NaN, as is the next
    ahead = level & (np.abs(seen.yaw) <= max_angle) & ~aside
    told = np.array([record.expression is not None for record in records], bool)
    is_neutral = np.array([record.expression == "neutral" for record in records], bool)
    neutral = np.where(told, is_neutral, seen.neutral >= MIN_NEUTRAL)
    lit = np.array([_lit_from_the_front(record) for record in records], bool)
    dark = (~straight & (seen.under_eyes < MIN_UNDER_EYES)).tolist()
    pairs = zip(records, dark, strict=True)
    glasses = np.array([is_dark if r.glasses is None else r.glasses for r, is_dark in pairs], bool)
    found: NDArray[np.bool_] = ahead & neutral & lit & ~glasses & (seen.sharpness >= MIN_SHARPNESS)
    return found


@dataclass(frozen=True)
class FrontalNeutralList:
    """What a collection was found to hold; the table has a line a photo."""

    table: Path
    photos: int
    found: int  # frontal and neutral
    people: int  # known ones who have such a photo
    failed: Mapping[str, str]  # photo -> why no face was cut


def list_frontal_neutral(
    records: Sequence[FaceRecord],
    folder: Path,
    table: Path,
    judges: Judges,
    cache: Path,
    detect: Detect | None = None,
    max_angle: float = MAX_ANGLE,
    progress: Callable[[int, int], None] | None = None,
) -> FrontalNeutralList:
    """Cut the faces of a collection, look at them, write the table `table` (CSV).

    Its columns: image (path in `folder`), subject, frontal_neutral (1 or 0), yaw_deg, pitch_deg,
    neutral (probability), sharpness, under_eyes, error. Photos without a face come last, with the
    error.

    Args:
        cache: folder for the cut faces; what was seen of them goes to `labels` in it.
        detect, progress: as for `crop_faces`; photos are counted twice, cut and looked at.

    Raises:
        DataError: not one face could be cut.
    """
    cut = crop_faces(records, judges.crop, judges.image_size, cache, detect, progress)
    seen = judge_faces(cut.faces, judges, cache / "labels", progress)
    found = frontal_neutral(cut.records, seen, max_angle)
    _write_table(table, cut, seen, found, folder)
    chosen = [record for record, is_one in zip(cut.records, found, strict=True) if is_one]
    return FrontalNeutralList(
        table=table,
        photos=len(records),
        found=len(chosen),
        people=len({record.subject for record in chosen} - {None}),
        failed={str(path): reason for path, reason in cut.failures},
    )


def _write_table(
    file: Path, cut: CroppedFaces, seen: Judgements, found: NDArray[np.bool_], folder: Path
) -> None:
    with atomic_path(file) as temporary, temporary.open("w", newline="", encoding="utf-8") as lines:
        writer = csv.writer(lines)
        writer.writerow(_COLUMNS)
        for row, record in enumerate(cut.records):
            numbers = [getattr(seen, field.name)[row] for field in _FIELDS]
            writer.writerow(
                [
                    _inside(record.path, folder),
                    record.subject or "",
                    int(found[row]),
                    *(f"{number:.4g}" for number in numbers),
                    "",
                ]
            )
        for path, reason in cut.failures:
            writer.writerow([_inside(path, folder), "", 0, *("" for _ in _FIELDS), reason])


_FIELDS = fields(Judgements)
_COLUMNS = (
    "image",
    "subject",
    "frontal_neutral",
    "yaw_deg",
    "pitch_deg",
    "neutral",
    "sharpness",
    "under_eyes",
    "error",
)


@torch.inference_mode()
def _look(faces: NDArray[np.uint8], judges: Judges) -> Judgements:
    neutral = judges.expressions.classes.index("neutral")
    poses, probabilities = [], []
    for start in range(0, len(faces), _BATCH):
        batch = photos_to_faces(faces[start : start + _BATCH])
        poses.append(head_pose(judges.landmarks(batch)))
        probabilities.append(judges.expressions.expression_probabilities(batch)[:, neutral])
    pose = torch.cat(poses).float().numpy()
    return Judgements(
        yaw=pose[:, 0],
        pitch=pose[:, 1],
        neutral=torch.cat(probabilities).float().numpy(),
        sharpness=sharpness(faces),
        under_eyes=brightness_under_eyes(faces),
    )


def _lit_from_the_front(record: FaceRecord) -> bool:
    return record.light is None or max(map(abs, record.light)) <= MAX_LIGHT_ANGLE


def _inside(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else str(path)


def _hash_networks(judges: Judges) -> bytes:
    digest = hashlib.sha256(str(_FORMAT).encode())
    for network in (judges.landmarks, judges.expressions):
        for name, tensor in network.state_dict().items():
            digest.update(name.encode())
            digest.update(tensor.cpu().contiguous().numpy().tobytes())
    return digest.digest()
