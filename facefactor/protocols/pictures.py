"""Pictures of what a model does: maps of its codes, and faces drawn of fewer codes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from sklearn.manifold import TSNE
from torch import Tensor

from facefactor.checkpoints import build_recipe
from facefactor.data.held_out import hold_out_people
from facefactor.data.readers import READERS
from facefactor.data.records import FaceRecord, of_split
from facefactor.errors import FaceFactorError
from facefactor.evaluation.pictures import faces_picture, map_picture
from facefactor.factors import EXPRESSIONS, FactorName
from facefactor.images import Photo, face_to_photo, photos_to_faces
from facefactor.protocols.labelled import (
    DATASETS,
    Labels,
    all_codes,
    known_rows,
    labelled_faces,
)
from facefactor.protocols.subject import Findings, Subject, some, suitable

_MAP_FACES = 800  # more are a blot, and t-SNE of them takes most of the time
_PEOPLE = 8
_ORDER: tuple[FactorName, ...] = ("pose", "illumination", "expression")  # added to the person


def codes_picture(subject: Subject, folders: Mapping[str, Path], seed: int) -> Findings:
    """t-SNE of every code, coloured by every attribute that a data set labels (IPD-FER's Fig. 10,
    Neuro-Tensorial's Fig. 14 and 15): a picture an attribute, in it a map of each code.

    Of RAF-DB the test part, of CelebA people held out of training. Of an attribute of more than
    eight classes, such as people, the eight most frequent are drawn.
    """
    pictures = {}
    for name in suitable(folders, tuple(DATASETS), "codes-picture"):
        for known in labelled_faces(subject, name, folders[name], seed):
            codes = all_codes(subject.model, known.cut.faces)
            for attribute, labels in known.labels.items():
                picture = _maps(codes, known.title, attribute, labels, seed)
                pictures[f"codes-{known.name}-{attribute}.png"] = picture
    return Findings(pictures=pictures)


def _maps(
    codes: Mapping[FactorName, Tensor], title: str, attribute: str, labels: Labels, seed: int
) -> Photo:
    """A map of each code beside the next, coloured by one attribute."""
    rows, names = known_rows(_most_frequent(labels))
    chosen = np.sort(np.random.default_rng(seed).permutation(len(rows))[:_MAP_FACES])
    if len(chosen) < 4:
        raise FaceFactorError(
            f"{title}: {len(chosen)} faces of known {attribute} are too few for a map"
        )
    places, drawn = rows[chosen], [names[place] for place in chosen]
    maps = [
        _map(code[places], drawn, f"{factor} code by {attribute}: {title}", seed)
        for factor, code in codes.items()
    ]
    return np.concatenate(maps, axis=1)


def _map(codes: Tensor, labels: list[str], title: str, seed: int) -> Photo:
    nearest = min(30.0, (len(codes) - 1) / 3)
    tsne = TSNE(perplexity=nearest, init="pca", random_state=seed)
    points = tsne.fit_transform(codes.numpy())
    known = set(labels)
    classes = EXPRESSIONS if known <= set(EXPRESSIONS) else tuple(sorted(known))
    return map_picture(points, labels, f"t-SNE of {title}, {len(labels):,} faces", classes)


def _most_frequent(labels: Labels) -> Labels:
    """The labels of the eight most frequent classes, of equals the first by name."""
    count = Counter(sorted(label for label in labels if label is not None))
    kept = {label for label, _ in count.most_common(len(EXPRESSIONS))}
    return [label if label in kept else None for label in labels]


@torch.inference_mode()
def synthesis(subject: Subject, folders: Mapping[str, Path], seed: int) -> Findings:
    """Faces drawn from the identity alone, then with one code after the other (Fig. 9).

    Of people held out of training; of RAF-DB, whose people are unknown, test faces.
    """
    check_draws(subject)
    pictures = {}
    for name in suitable(folders, ("rafdb", "celeba", "kdef", "lfw"), "synthesis"):
        cut = subject.cut(_one_photo_each(READERS[name](folders[name]), seed))
        faces = photos_to_faces(cut.faces)
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
    recipe = build_recipe(subject.header)
    drawing: object = getattr(getattr(recipe, "weights", None), "draw", True)
    encoders_alone: object = getattr(getattr(recipe, "contrast", None), "images", None)  # MoCo
    if not drawing or encoders_alone:
        raise FaceFactorError(f"{subject.name} draws nothing: its decoder was never trained")
