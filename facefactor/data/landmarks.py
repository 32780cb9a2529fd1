"""68 landmarks, computed once and kept beside the photos, and where a crop has them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from facefactor.data.records import DataError, FaceRecord
from facefactor.files import read_arrays
from facefactor.geometry.similarity import apply_affine
from facefactor.perception.align import place

Landmarks = NDArray[np.float32]  # (68, 2): x, y; iBUG order (geometry.landmarks)
_KINDS = {"names": "U", "landmarks68": "f", "found": "b"}  # numpy's letters of their types


def landmarks_file(data: Path, folder: Path) -> Path | None:
    """The file in `folder` for a data set's folder: NAME.npz, NAME being that folder or the one
    above it (RAF-DB/basic); None where there is none."""
    for name in (data.resolve().name, data.resolve().parent.name):
        if (folder / f"{name}.npz").is_file():
            return folder / f"{name}.npz"
    return None


def read_landmarks(file: Path | str) -> dict[str, Landmarks]:
    """A file of pseudo-labels: photo name -> landmarks in the photo's pixels, centres at integers.

    The file is an `.npz` of `names` (N,) text, `landmarks68` (N, 68, 2 or 3) floating point and
    `found` (N,) bool. A third coordinate is left out, and so are photos where `found` is false.

    Raises:
        DataError: no such file, none of this kind, or a wrong shape; names twice; NaN in a found
            face.
    """
    path = Path(file)
    names, points, found = _arrays(path)
    if points.ndim != 3 or points.shape[1] != 68 or points.shape[2] not in (2, 3):
        raise DataError(f"{path}: landmarks68 must be (N, 68, 2 or 3), it is {points.shape}")
    if not names.shape == found.shape == points.shape[:1]:
        raise DataError(
            f"{path}: names {names.shape}, landmarks68 {points.shape} and found {found.shape} are "
            "not of the same photos"
        )
    if len(set(names.tolist())) < len(names):
        raise DataError(f"{path}: a name is listed twice; each photo needs one of its own")
    flat = points[..., :2].astype(np.float32)
    if broken := names[found & ~np.isfinite(flat).all(axis=(1, 2))].tolist():
        raise DataError(f"{path}: {broken[0]} is said to be found, but has NaN or infinity in it")
    return {str(names[row]): flat[row] for row in np.flatnonzero(found)}


def landmarks_of(
    records: Sequence[FaceRecord], found: Mapping[str, Landmarks]
) -> NDArray[np.float32]:
    """(N, 68, 2) in pixels of the records' photos; NaN for a photo that `found` does not have.

    `found` names photos by the end of their path: `a.jpg`, `person/a.jpg`, as long as it is whole
    names. The longest end that is in `found` counts.

    Raises:
        DataError: not one record is in `found`: these are landmarks of another data set.
    """
    rows = [_by_path(record.path, found) for record in records]
    if records and all(row is None for row in rows):
        some = next(iter(found), "none")
        raise DataError(
            f"none of {len(records)} photos has landmarks, not even {records[0].path}; the file "
            f"names {len(found)} photos like {some!r}"
        )
    unknown = np.full((68, 2), np.nan, np.float32)
    return np.array([unknown if row is None else row for row in rows], np.float32).reshape(
        len(rows), 68, 2
    )


def into_crop(
    landmarks: ArrayLike, points: ArrayLike, crop: str, stretch: bool = False
) -> Landmarks:
    """Landmarks (68, 2) of a photo, in shares of the side of its face's crop: 0 left and top edge,
    1 right and bottom. Beyond these they lie outside of the crop, as ends of jaws do.

    Args:
        points: the five points (5, 2) in the photo's pixels that placed the crop.
        crop, stretch: as for `perception.align.place`.
    """
    placement = place(points, crop, size=1, stretch=stretch)
    # the middle of the only pixel of a crop of size 1 is at 0, its edges at -0.5 and 0.5
    return (apply_affine(placement.to_crop, landmarks) + 0.5).astype(np.float32)


def crop_landmarks(
    records: Sequence[FaceRecord], found: Mapping[str, Landmarks], crop: str
) -> NDArray[np.float32]:
    """(N, 68, 2) landmarks of the records' faces in a named crop, shares of its side; NaN: unknown.

    Raises:
        DataError: as `landmarks_of`; a record has no five points of its own (use `into_crop` with
            those of the detector); landmarks lie nowhere near those points.
    """
    landmarks = landmarks_of(records, found)
    for record in records:
        if record.points is None:
            raise DataError(
                f"{record.path} has no fixed points that say where its crop lies; only aligned "
                "data sets have"
            )
    _check_scale(records, landmarks)
    for row, record in enumerate(records):
        if record.points is not None:
            landmarks[row] = into_crop(landmarks[row], record.points, crop, record.stretch)
    return landmarks


def _check_scale(records: Sequence[FaceRecord], landmarks: NDArray[np.float32]) -> None:
    """Photos of the same names, cut or scaled otherwise, would give wrong landmarks silently."""
    eyes = np.stack([landmarks[:, 36:42].mean(axis=1), landmarks[:, 42:48].mean(axis=1)], axis=1)
    expected = np.array([record.points[:2] for record in records if record.points is not None])
    apart = np.linalg.norm(expected[:, 1] - expected[:, 0], axis=1)  # (N,) pixels
    away = np.linalg.norm(eyes - expected, axis=2).mean(axis=1) / apart
    known = np.flatnonzero(np.isfinite(away))
    if len(known) and np.median(away[known]) > 0.5:
        raise DataError(
            f"{records[known[0]].path}: its landmarks are of a picture cut or scaled otherwise: "
            f"eyes expected near {np.round(expected[known[0]]).tolist()}, found at "
            f"{np.round(eyes[known[0]]).tolist()}"
        )


def _arrays(path: Path) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """names, landmarks68 and found, of the right kinds of value; nothing is unpickled."""
    if not path.is_file():
        raise DataError(f"{path} does not exist; it should hold the 68 landmarks of a data set")
    arrays = read_arrays(path, _KINDS, DataError)
    if missing := [name for name in _KINDS if name not in arrays]:
        raise DataError(f"{path}: no array {missing[0]!r}; it needs {', '.join(_KINDS)}")
    for name, kind in _KINDS.items():
        if arrays[name].dtype.kind != kind:
            raise DataError(f"{path}: {name} has the unexpected type {arrays[name].dtype}")
    return arrays["names"], arrays["landmarks68"], arrays["found"]


def _by_path(path: Path, found: Mapping[str, Landmarks]) -> Landmarks | None:
    for first in range(len(path.parts)):
        name = "/".join(path.parts[first:])
        if name in found:
            return found[name]
    return None
