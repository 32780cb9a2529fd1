"""What a model's drawings keep: the face redrawn, a factor exchanged and back, who it is."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from facefactor import editing
from facefactor.data.held_out import hold_out_people
from facefactor.data.readers import READERS
from facefactor.data.records import DataError, FaceRecord, split_hash
from facefactor.evaluation.redrawing import likeness_scores, path_scores
from facefactor.evaluation.tables import ResultTable, Score
from facefactor.evaluation.verification import cosine
from facefactor.factors import FactorName, Factors
from facefactor.geometry.rotations import nearest_rotation
from facefactor.images import photos_to_faces
from facefactor.perception.recognition import Recogniser
from facefactor.protocols.normalisers import normalise_all
from facefactor.protocols.observation import (
    CROP,
    SIZE,
    embed_drawn,
    embed_photos,
    load_recognisers,
)
from facefactor.protocols.pictures import check_draws
from facefactor.protocols.subject import Findings, Subject, some, suitable

REDRAWN = ("celeba", "kdef", "ckplus", "ckplus48", "cropped-yale", "lfw")
_FACES = 96
_BATCH = 32
_ON_PATHS = 20  # of a batch: paths need most of the drawings
_SHARES = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)  # places on a path
_TIMES = 5  # a speed is the median of so many

Embeddings = Mapping[str, Tensor]  # recogniser -> (N, D)
Recognisers = Mapping[str, Recogniser]


@torch.inference_mode()
def redrawing(subject: Subject, folders: Mapping[str, Path], seed: int) -> Findings:
    """96 faces drawn again, and with each factor of the next face, and back; who they still are.

    Of CelebA, and of what the model is known to have been trained on, people held out. "Exchanged
    and back": the factor is taken from the next face, the drawing encoded again, and the face's own
    put back. Paths go from a face's code to the next face's, in five steps; of 60 of the faces.

    Beside the model stand itself untrained, which only redraws, and a copy of the input, which is
    perfect at all but being an edit; for the recognisers it is the photo at the model's size and
    crop.

    Raises:
        FaceFactorError: no suitable data set, or the decoder was never trained.
    """
    check_draws(subject)
    recognisers = load_recognisers()
    tables = []
    for name in suitable(folders, REDRAWN, "redrawing"):
        cut = subject.cut(_records(subject, name, folders[name], seed))
        squares = subject.cut(cut.records, SIZE, CROP)
        if squares.failures:
            path, reason = squares.failures[0]
            raise DataError(f"{path}: {reason}; the recogniser needs its face")
        faces = photos_to_faces(cut.faces)
        photos = embed_photos(recognisers, squares.faces, subject.cache)
        rows = {
            subject.name: _drawn_scores(subject, subject.model, faces, photos, recognisers),
            f"{subject.name}, untrained": _drawn_scores(
                subject, subject.untrained(seed), faces, photos, recognisers, edits=False
            ),
            "copy of the input": (
                *likeness_scores(faces, faces, "redrawn"),
                *_kept(subject, faces, photos, recognisers, "redrawn"),
                *_same(photos, {name: own.roll(-1, 0) for name, own in photos.items()}, "the next"),
            ),
        }
        tables += [
            ResultTable(
                protocol="redrawing",
                dataset=name,
                scores=scores,
                model=title,
                n=len(faces),
                seed=seed,
                split_hash=split_hash(cut.records),
                instruments=tuple(recognisers),
            )
            for title, scores in rows.items()
        ]
    return Findings(tables)


@torch.inference_mode()
def speed(subject: Subject, folders: Mapping[str, Path], seed: int) -> Findings:
    """Milliseconds a face, one by one and 32 together, of encoding and of drawing; and the size.

    Medians of five times, of random pictures. They are of this machine and what else it does.
    """
    spec, model = subject.header.spec, subject.model
    random = torch.Generator().manual_seed(seed)
    faces = torch.rand(_BATCH, 3, spec.image_size, spec.image_size, generator=random)
    scores = []
    for count in (1, _BATCH):
        part = faces[:count]
        codes = model.encode(part)
        encode = _milliseconds(lambda part=part: model.encode(part)) / count
        decode = _milliseconds(lambda codes=codes: model.decode(codes)) / count
        scores.append(Score(f"encode a face, {count} at once", encode, "ms"))
        scores.append(Score(f"draw a face, {count} at once", decode, "ms"))
    scores.append(Score("parameters", subject.parameters / 1e6, "million"))
    scores.append(Score("weights as float16", 2 * subject.stored_numbers / 1e6, "MB"))
    table = ResultTable(
        protocol="speed and size",
        dataset=f"random pictures of {spec.image_size} pixels, {torch.get_num_threads()} threads",
        scores=tuple(scores),
        model=subject.name,
        n=_TIMES,
        seed=seed,
    )
    return Findings([table])


def _records(subject: Subject, name: str, folder: Path, seed: int) -> list[FaceRecord]:
    records = READERS[name](folder)
    if name == "celeba" or name in subject.trained_on:
        _, records = hold_out_people(records)
    if len(records) < 2:
        raise DataError(f"{folder}: too few people in it to hold any out of training")
    return some(records, _FACES, seed)


def _drawn_scores(
    subject: Subject,
    model: Any,
    faces: Tensor,
    photos: Embeddings,
    recognisers: Recognisers,
    edits: bool = True,
) -> tuple[Score, ...]:
    """Of one model; one that does not redraw faces but normalises them has no likeness to them."""
    if hasattr(model, "normalise"):
        normalised = normalise_all(model.normalise, faces)
        return tuple(_kept(subject, normalised, photos, recognisers, "normalised"))
    names = tuple(subject.header.spec.factors) if edits else ()
    drawings = [
        _drawings(model, *part, names)
        for part in zip(
            torch.split(faces, _BATCH), torch.split(faces.roll(-1, 0), _BATCH), strict=True
        )
    ]
    redrawn = torch.cat([each.redrawn for each in drawings])
    scores = [
        *likeness_scores(redrawn, faces, "redrawn"),
        *_kept(subject, redrawn, photos, recognisers, "redrawn"),
    ]
    for name in names:
        back = torch.cat([each.back[name] for each in drawings])
        edited = torch.cat([each.edited[name] for each in drawings])
        path = torch.cat([each.paths[name] for each in drawings], dim=1)
        scores += likeness_scores(back, faces, f"{name} exchanged and back")
        scores += path_scores(path, name)
        if name != "identity":
            scores += _kept(subject, edited, photos, recognisers, f"another's {name}")
    return tuple(scores)


@dataclass(frozen=True, eq=False)
class _Drawings:
    """What a model draws of N faces, each (N, 3, S, S) in [0, 1]."""

    redrawn: Tensor
    back: Mapping[FactorName, Tensor]  # a factor exchanged, encoded again, and the own put back
    edited: Mapping[FactorName, Tensor]  # another's code in place of the own, alone
    paths: Mapping[FactorName, Tensor]  # (K, M, 3, S, S) to the other's code, of the first M faces


def _drawings(model: Any, faces: Tensor, others: Tensor, names: Sequence[FactorName]) -> _Drawings:
    own, source = model.encode(faces), editing.encode_source(model, others, names)

    def draw(codes: Factors) -> Tensor:
        drawn: Tensor = model.decode(codes).float().clamp(0, 1)
        return drawn

    first = torch.arange(min(_ON_PATHS, len(faces)))
    redrawn, back, ends, paths = draw(own), {}, {}, {}
    for name in names:
        edited = draw(editing.transfer(own, source, [name], model.spec))
        back[name] = draw(editing.transfer(model.encode(edited), own, [name], model.spec))
        few = own.of(first), source.of(first)
        if model.spec.factors[name].owns:
            ends[name] = draw(_moved(model, own, source, name, 1.0))
            moved = [draw(_moved(model, *few, name, share)) for share in _SHARES]
        else:  # its ends are drawn already
            ends[name] = edited
            inside = [draw(_moved(model, *few, name, share)) for share in _SHARES[1:-1]]
            moved = [redrawn[first], *inside, edited[first]]
        paths[name] = torch.stack(moved)
    return _Drawings(redrawn, back, ends, paths)


def _moved(model: Any, own: Factors, other: Factors, name: FactorName, share: float) -> Factors:
    if name == "pose" and editing.has_rotation(model.spec):
        goal = nearest_rotation(other["pose"].reshape(-1, 3, 3))
        return editing.turn(own, goal, model.spec, share)
    moved = editing.move_towards(own, name, other[name], share, model.spec)
    # Between two people there is no photo to take what the factor owns from, as in `interpolate`.
    owned = model.spec.factors[name].owns
    kept = {entry: value for entry, value in moved.residual.items() if entry not in owned}
    return Factors(moved.codes, kept)


def _kept(
    subject: Subject, drawn: Tensor, photos: Embeddings, recognisers: Recognisers, label: str
) -> list[Score]:
    """How like the photo's person recognisers find a drawing."""
    return _same(embed_drawn(recognisers, drawn, subject.header.spec.crop), photos, label)


def _same(found: Embeddings, photos: Embeddings, label: str) -> list[Score]:
    """Cosines of embeddings with those of the photos, means and deviations."""
    scores = []
    for name, codes in found.items():
        alike = cosine(codes, photos[name])
        spread = float(alike.std(correction=0))
        scores.append(Score(f"likeness by {name}, {label}", float(alike.mean()), "", spread=spread))
    return scores


def _milliseconds(call: Any) -> float:
    taken: list[float] = []
    for _ in range(_TIMES + 1):  # the first warms up
        begun = time.perf_counter()
        call()
        taken.append(1000 * (time.perf_counter() - begun))
    return statistics.median(taken[1:])
