"""How good the pseudo-labels are that Neuro-Tensorial learns from: a morphable model fitted to the
landmarks of photos of people held out of training, beside FSA-Net."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from facefactor.data.crops import CroppedFaces
from facefactor.data.held_out import hold_out_people
from facefactor.data.landmarks import crop_landmarks, into_crop, landmarks_file, read_landmarks
from facefactor.data.pseudolabels import PseudoLabels, pseudo_labels, unpack_normals
from facefactor.data.readers import READERS
from facefactor.data.records import DataError, FaceRecord, split_hash
from facefactor.errors import FaceFactorError
from facefactor.evaluation.floors import encode_faces
from facefactor.evaluation.head_angles import agreement_scores, reprojection_scores
from facefactor.evaluation.pictures import faces_picture
from facefactor.evaluation.tables import ResultTable, Score
from facefactor.geometry.lighting import directional_lighting, shading
from facefactor.geometry.morphable import MorphableModel, read_morphable
from facefactor.geometry.projection import fit_projection, project
from facefactor.geometry.rotations import yaw_pitch_roll
from facefactor.geometry.similarity import apply_affine, compose_affine, invert_affine
from facefactor.images import Photo, face_to_photo, photos_to_faces, read_photo
from facefactor.perception import fsanet
from facefactor.perception.align import Placement, cut, place
from facefactor.perception.landmarks import LandmarkNetwork, load_landmark_network
from facefactor.protocols.rendered import normals_as_photos
from facefactor.protocols.subject import Findings, cut_faces, suitable

CROP, SIZE = "facecycle", 64  # what Neuro-Tensorial takes, and its labels are made for
_SHOWN = 10
_DRAWN_PX = 280  # side of photos with landmarks in them
_FOUND, _PROJECTED = (40, 200, 40), (230, 40, 40)
_BRIGHTEST = 1.5  # shading that is white


@dataclass(frozen=True, eq=False)
class _Fit:
    """N faces fitted in some way."""

    landmarks: Tensor  # (N, 68, 2) what was fitted to, in shares of the side
    projected: Tensor  # (N, 68, 2) where the fitted face has them
    angles: Tensor  # (N, 3) yaw, pitch, roll in degrees


def fitting(
    path: Path,
    folders: Mapping[str, Path],
    seed: int,
    cache: Path,
    landmarks: Path | None,
    morphable: Path | None,
) -> Findings:
    """Reprojection error and agreement with FSA-Net of fits to the landmarks that the network in
    the file `path` finds; to those in the folder `landmarks` too, if it is given.

    FSA-Net sees the same upright faces, each in a square around its landmarks. Beside the fits
    stand the model's mean face, fitted without being deformed, and an answer that is always
    FSA-Net's mean.

    Raises:
        FaceFactorError: no morphable model was named.
        InstrumentError: FSA-Net or onnxruntime is not at hand.
        DataError: no such landmarks, or nobody held out, or faces that have no fixed points.
    """
    if morphable is None:
        raise FaceFactorError(
            "fitting needs the morphable model that is fitted; name one (--morphable FILE), as "
            "`facefactor data morphable` makes it of a folder of ICT-FaceKit"
        )
    source, poses = read_morphable(morphable), fsanet.FSANet()
    network = load_landmark_network(path)
    tables, pictures = [], {}
    for name in suitable(folders, ("celeba", "lfw"), "fitting"):
        records = READERS[name](folders[name])
        strangers = records if name == "lfw" else hold_out_people(records)[1]
        if not strangers:
            raise DataError(f"{name}: too few people to hold any out; fitting needs more")
        faces = cut_faces(strangers, CROP, SIZE, cache)
        marks = find_landmarks(network, faces.records, cache)
        reference = head_poses(poses, faces.records, marks)
        labels = pseudo_labels(np.asarray(faces.faces), marks, source, cache / "labels")
        fits = {
            "fit to the landmarks found": _fit_of(labels, marks, source),
            "mean face, fitted to the same": _mean_face(marks, source),
        }
        if landmarks is not None:
            file = landmarks_file(folders[name], landmarks)
            if file is None:
                raise DataError(f"{landmarks}: no {folders[name].resolve().name}.npz in it")
            listed = crop_landmarks(faces.records, read_landmarks(file), CROP)
            others = pseudo_labels(np.asarray(faces.faces), listed, source, cache / "labels")
            fits["fit to the landmarks of the file"] = _fit_of(others, listed, source)
        found = [
            _table(name, title, (*_reprojection(fit), *_agreement(fit.angles, reference)), fit)
            for title, fit in fits.items()
        ]
        constant = reference.mean(dim=0).expand_as(reference)
        floor = ResultTable(
            "fitting", name, agreement_scores(constant, reference), "always FSA-Net's mean",
            n=len(reference), instruments=fsanet.NETWORKS,
        )  # fmt: skip
        tables += [
            replace(table, split_hash=split_hash(faces.records), seed=seed)
            for table in (*found, floor)
        ]
        title = f"Pseudo-labels of held-out faces of {name}: green found, red projected"
        pictures[f"fitting-{name}.png"] = label_sheet(faces, marks, labels, source, title)
    return Findings(tables, pictures)


def find_landmarks(
    network: LandmarkNetwork, records: Sequence[FaceRecord], cache: Path
) -> NDArray[np.float32]:
    """(N, 68, 2) of the records' faces in shares of the side of the crop `CROP`, found in the
    network's own crop.

    Raises:
        DataError: a photo cannot be cut, or has no fixed points that say where its crops lie.
    """
    cropped = cut_faces(records, network.crop, network.image_size, cache)
    if cropped.failures:
        path, reason = cropped.failures[0]
        raise DataError(f"{path}: {reason}; its landmarks are needed")
    found = encode_faces(network, cropped.faces).view(-1, 68, 2).numpy()
    marks = np.empty_like(found)
    for row, record in enumerate(records):
        to_photo = invert_affine(_to_shares(record, network.crop))
        in_photo = apply_affine(to_photo, found[row])
        marks[row] = into_crop(in_photo, _points(record), CROP, record.stretch)
    return marks


def head_poses(
    poses: fsanet.FSANet, records: Sequence[FaceRecord], marks: NDArray[np.float32]
) -> Tensor:
    """(N, 3) degrees by FSA-Net, of faces upright as in the crop, in squares around landmarks."""
    squares = []
    for record, points in zip(records, marks, strict=True):
        low, high = points.min(axis=0), points.max(axis=0)
        scale = fsanet.SIDE / (float((high - low).max()) * (1 + 2 * fsanet.MARGIN))
        shift = fsanet.SIDE / 2 - 0.5 - scale * (low + high) / 2
        to_square = [[scale, 0, shift[0]], [0, scale, shift[1]]]
        placed = compose_affine(_to_shares(record, CROP), to_square)
        squares.append(cut(read_photo(record.path), Placement(placed, fsanet.SIDE)))
    return poses(torch.cat(squares))


def label_sheet(
    faces: CroppedFaces,
    marks: NDArray[np.float32],
    labels: PseudoLabels,
    source: MorphableModel,
    title: str,
) -> Photo:
    """What labels say of ten faces, from the one whose nose points furthest to the image's right to
    the one furthest to its left."""
    yaw = yaw_pitch_roll(torch.from_numpy(labels.rotation))[:, 0]
    order = yaw.argsort()[: int(yaw.isfinite().sum())]  # NaN come last
    rows = order[torch.linspace(0, len(order) - 1, min(_SHOWN, len(order))).long()].numpy()
    photos = [np.ascontiguousarray(faces.faces[row]) for row in rows]
    projected = _fit_of(labels, marks, source).projected
    normals, mask = unpack_normals(labels.packed_normals[rows])
    light = torch.from_numpy(labels.light[rows]).nan_to_num()
    from_left = directional_lighting(torch.tensor(-60.0), torch.tensor(20.0), ambient=0.3)
    relit = shading(normals, from_left.float().expand(len(rows), 9))
    pictures = photos_to_faces(photos)
    return faces_picture(
        {
            "face": photos,
            "its landmarks": [
                _with_landmarks(photo, marks[row], projected[row].numpy())
                for photo, row in zip(photos, rows, strict=True)
            ],
            "normals": normals_as_photos(normals, mask),
            "mask": face_to_photo(pictures * (0.25 + 0.75 * mask)),
            "shading by its light": face_to_photo(shading(normals, light) / _BRIGHTEST * mask),
            "lit from image's left": face_to_photo(relit / _BRIGHTEST * mask),
        },
        title,
    )


def _fit_of(labels: PseudoLabels, marks: NDArray[np.float32], source: MorphableModel) -> _Fit:
    """Of faces with labels; rows of NaN where there are none."""
    shapes = source.vertices(
        torch.from_numpy(labels.identity), torch.from_numpy(labels.expression)
    )[:, source.landmarks68]
    rotation = torch.from_numpy(labels.rotation)
    projected = project(
        shapes, rotation, torch.from_numpy(labels.scale), torch.from_numpy(labels.shift)
    )
    return _Fit(torch.from_numpy(marks), projected[..., :2], yaw_pitch_roll(rotation))


def _mean_face(marks: NDArray[np.float32], source: MorphableModel) -> _Fit:
    mean = source.neutral[source.landmarks68][None].double()
    landmarks = torch.from_numpy(marks).double()
    rotation, scale, shift = fit_projection(mean, landmarks)
    projected = project(mean, rotation, scale, shift)[..., :2]
    return _Fit(landmarks, projected, yaw_pitch_roll(rotation))


def _reprojection(fit: _Fit) -> tuple[Score, ...]:
    known = fit.angles.isfinite().all(dim=1)
    return reprojection_scores(fit.projected[known], fit.landmarks[known], SIZE)


def _agreement(angles: Tensor, reference: Tensor) -> tuple[Score, ...]:
    known = angles.isfinite().all(dim=1)
    return agreement_scores(angles[known], reference[known])


def _table(name: str, title: str, scores: tuple[Score, ...], fit: _Fit) -> ResultTable:
    count = int(fit.angles.isfinite().all(dim=1).sum())
    instruments = ("landmarks", *fsanet.NETWORKS)
    return ResultTable("fitting", name, scores, title, n=count, instruments=instruments)


def _to_shares(record: FaceRecord, crop: str) -> NDArray[np.float64]:
    """(2, 3) from the photo's pixels to shares of the side of a crop."""
    to_crop = place(_points(record), crop, size=1, stretch=record.stretch).to_crop
    # the middle of the only pixel of a crop of size 1 is at 0, its edges at -0.5 and 0.5
    return compose_affine(to_crop, [[1, 0, 0.5], [0, 1, 0.5]])


def _points(record: FaceRecord) -> NDArray[np.float64]:
    if record.points is None:
        raise DataError(
            f"{record.path} has no fixed points that say where its crop lies; only aligned data "
            "sets have"
        )
    return np.asarray(record.points, np.float64)


def _with_landmarks(
    photo: Photo, found: NDArray[np.float32], projected: NDArray[np.float32]
) -> Photo:
    """Enlarged, with points (68, 2) in shares of the side drawn in."""
    drawn = cv2.resize(photo, (_DRAWN_PX, _DRAWN_PX), interpolation=cv2.INTER_CUBIC)
    for points, colour in ((found, _FOUND), (projected, _PROJECTED)):
        for x, y in (_DRAWN_PX * points).round().astype(int).tolist():
            cv2.circle(drawn, (x, y), 3, colour, cv2.FILLED, cv2.LINE_AA)
    return drawn.astype(np.uint8)
