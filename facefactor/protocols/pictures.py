"""Pictures of what a model does: a map of its expression codes, and faces drawn of fewer codes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from sklearn.manifold import TSNE
from torch import Tensor

from facefactor.checkpoints import build_recipe
from facefactor.data.held_out import hold_out_people
from facefactor.data.readers import READERS
from facefactor.data.records import FaceRecord, labelled, of_split
from facefactor.errors import FaceFactorError
from facefactor.evaluation.floors import encode_faces
from facefactor.evaluation.pictures import faces_picture, map_picture
from facefactor.factors import FactorName
from facefactor.images import face_to_photo
from facefactor.protocols.subject import Findings, Subject, some, suitable

_MAP_FACES = 1500
_PEOPLE = 8
_ORDER: tuple[FactorName, ...] = ("pose", "illumination", "expression")  # added to the person


def codes_picture(subject: Subject, folders: Mapping[str, Path], seed: int) -> Findings:
    """t-SNE of the expression codes of RAF-DB's test faces (Fig. 10)."""
    pictures = {}
    for name in suitable(folders, ("rafdb",), "codes-picture"):
        test = of_split(labelled(READERS[name](folders[name])), "test")
        cut = subject.cut(some(test, _MAP_FACES, seed))
        if len(cut.faces) < 4:
            raise FaceFactorError(f"{name}: {len(cut.faces)} test faces are too few for a map")
        codes = encode_faces(lambda faces: subject.model.encode(faces)["expression"], cut.faces)
        nearest = min(30.0, (len(codes) - 1) / 3)
        points = TSNE(perplexity=nearest, init="pca", random_state=seed).fit_transform(
            codes.numpy()
        )
        labels = [str(record.expression) for record in cut.records]
        title = f"{subject.name}: t-SNE of expression codes, {len(labels):,} faces of {name} test"
        pictures[f"codes-{name}.png"] = map_picture(points, labels, title)
    return Findings(pictures=pictures)


@torch.inference_mode()
def synthesis(subject: Subject, folders: Mapping[str, Path], seed: int) -> Findings:
    """Faces drawn from the identity alone, then with one code after the other (Fig. 9).

    Of people held out of training; of RAF-DB, whose people are unknown, test faces.
    """
    check_draws(subject)
    pictures = {}
    for name in suitable(folders, ("rafdb", "celeba", "kdef", "lfw"), "synthesis"):
        cut = subject.cut(_one_photo_each(READERS[name](folders[name]), seed))
        faces = torch.from_numpy(np.array(cut.faces)).permute(0, 3, 1, 2).float() / 255
        rows = {"photo": faces} | _drawn(subject, faces)
        title = f"{subject.name}: faces of {name} drawn from some of their codes"
        pictures[f"synthesis-{name}.png"] = faces_picture(
            {label: face_to_photo(row) for label, row in rows.items()}, title
        )
    return Findings(pictures=pictures)


def _drawn(subject: Subject, faces: Tensor) -> dict[str, Tensor]:
    """What was kept -> the faces drawn from it; the other codes are the model's neutral ones."""
    model, spec = subject.model, subject.header.spec
    codes = model.encode(faces)
    added = [name for name in _ORDER if name in spec.factors]
    rows = {}
    for count in range(len(added) + 1):
        neutral = {name: model.neutral(name).expand_as(codes[name]) for name in added[count:]}
        rows[" + ".join(["identity", *added[:count]])] = model.decode(codes.replace(neutral))
    return rows


def _one_photo_each(records: list[FaceRecord], seed: int) -> list[FaceRecord]:
    """A photo of each of eight people nobody was trained on; or test photos of unknown people."""
    _, held_out = hold_out_people(records)
    people = {record.subject: record for record in held_out}
    photos = list(people.values()) or of_split(records, "test")
    if not photos:
        raise FaceFactorError("synthesis needs held-out people, or a test part; there are none")
    return some(photos, _PEOPLE, seed)


def check_draws(subject: Subject) -> None:
    """FaceFactorError unless the decoder was trained."""
    weights = getattr(build_recipe(subject.header), "weights", None)
    if not getattr(weights, "draw", True):
        raise FaceFactorError(f"{subject.name} draws nothing: its decoder was never trained")
