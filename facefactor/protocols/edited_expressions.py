"""Held-out people given the expressions of others: LEED's Tables 1 and 2, and who it still is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.svm import LinearSVC
from torch import Tensor

from facefactor.abilities import check_separates
from facefactor.data.records import split_hash
from facefactor.editing import set_strength, transfer
from facefactor.evaluation.descriptors import hog
from facefactor.evaluation.edited_expressions import Seen, edit_scores, strength_scores
from facefactor.evaluation.normalization_pictures import people_picture
from facefactor.evaluation.tables import ResultTable, Score, class_numbers
from facefactor.factors import Factors
from facefactor.images import Photo, face_to_photo
from facefactor.protocols.normalisers import normalise_all
from facefactor.protocols.observation import (
    CROP,
    SIZE,
    Instruments,
    embed_drawn,
    load_instruments,
    recut,
)
from facefactor.protocols.pictures import check_draws
from facefactor.protocols.subject import Findings, Subject, suitable
from facefactor.protocols.wanted_edits import PHOTOGRAPHED, People, two_parts

STRENGTHS = (0.0, 0.5, 1.0, 1.4)
_EDITS = 600  # of held-out people, at most
_TRAINED_EDITS = 1000  # for R + G, at most
_SWEPT = 100  # edits whose strength is varied
_SHOWN = 24
_BATCH = 32


@torch.inference_mode()
def edited_expressions(subject: Subject, folders: Mapping[str, Path], seed: int) -> Findings:
    """Photos of held-out people with every other expression that their data set shows of them.

    The expression comes from a photo of another held-out person, drawn by the seed; the truth is
    the person's own photo with it. Beside the model stand itself untrained, a copy of the input,
    the true photo, and the true photo redrawn by the model, which its edits cannot surpass.

    R, G and R + G as in Table 2: a classifier (HoG, linear SVM) of photos of the other
    people is tested on those of held-out people, on the edits, and again on the former after it has
    learnt from edits of the other people, too. The paper splits by photo, this by person.

    Raises:
        FaceFactorError: no suitable data set, no expression to transfer, or a decoder that was
            never trained.
        DataError: nobody is held out, or has photos with two expressions.
    """
    check_separates(subject.model, "expression")
    check_draws(subject)
    names = suitable(folders, PHOTOGRAPHED, "edited-expressions")
    instruments = load_instruments()
    found = [_measure(subject, instruments, name, folders[name], seed) for name in names]
    return Findings(
        [table for each in found for table in each.tables],
        {file: picture for each in found for file, picture in each.pictures.items()},
    )


def _measure(
    subject: Subject, instruments: Instruments, name: str, folder: Path, seed: int
) -> Findings:
    classes = instruments.classifier.classes
    known, strangers = two_parts(subject, name, folder, classes, seed)
    known = known.some(_TRAINED_EDITS, seed)
    strangers = strangers.some(_EDITS, seed)
    judge = _Judge(instruments, known, strangers, subject.header.spec.crop, seed)
    photos = strangers.faces
    redrawn = normalise_all(lambda part: subject.model.decode(subject.model.encode(part)), photos)
    target, truth = strangers.edits.target, strangers.edits.truth
    scores = {
        subject.name: judge.scores(_edit(subject.model, strangers)),
        f"{subject.name}, untrained": judge.scores(_edit(subject.untrained(seed), strangers)),
        "copy of the input": judge.scores_of(judge.photos, target),
        "the true photo": judge.scores_of(judge.photos, truth),
        f"the true photo, redrawn by {subject.name}": judge.scores_of(judge.look(redrawn), truth),
    }
    scores[subject.name] += (
        judge.score_of_both(_edit(subject.model, known)),
        *judge.strength_scores(subject.model),
    )
    tables = [
        ResultTable(
            protocol="edited expressions",
            dataset=f"{name}, held-out people",
            scores=those,
            model=title,
            n=len(strangers.edits),
            seed=seed,
            split_hash=split_hash([*known.records, *strangers.records]),
            instruments=(*instruments.recognisers, "ipdfer"),
        )
        for title, those in scores.items()
    ]
    picture = _picture(subject, strangers, f"{subject.name}: {name}, held-out people", seed)
    return Findings(tables, {f"edited-{name}-{subject.name.replace(' ', '-')}.png": picture})


@dataclass(frozen=True, eq=False)
class _Looked:
    """Faces, and what is seen of them."""

    faces: Tensor  # (N, 3, S, S) in [0, 1]
    seen: Seen
    hog: Tensor  # (N, D)


class _Judge:
    """The same edits for every row of the table, looked at by the same networks."""

    def __init__(
        self, instruments: Instruments, known: People, strangers: People, crop: str, seed: int
    ) -> None:
        self.instruments = instruments
        self.known = known
        self.strangers = strangers
        self.crop = crop
        self.seed = seed
        self.photos = self.look(strangers.faces)
        self.known_codes = hog(known.faces)
        self.classifier = _classifier(self.known_codes, known.labels)
        self.real = accuracy(self.classifier, self.photos.hog, strangers.labels)
        wanted = class_numbers(strangers.wanted(), instruments.classifier.classes)
        self.wanted = torch.from_numpy(wanted)

    def squares(self, faces: Tensor) -> Tensor:
        """The faces as the instruments take them."""
        return recut(faces, self.crop, CROP, SIZE)

    def probabilities(self, squares: Tensor) -> Tensor:
        """(N, K) of expressions."""
        classify = self.instruments.classifier.expression_probabilities
        return torch.cat([classify(part) for part in torch.split(squares, _BATCH)])

    def look(self, faces: Tensor) -> _Looked:
        squares = self.squares(faces)
        people = embed_drawn(self.instruments.recognisers, squares, CROP)
        return _Looked(faces, Seen(people, self.probabilities(squares)), hog(faces))

    def scores(self, edited: Tensor) -> tuple[Score, ...]:
        return self.scores_of(self.look(edited), torch.arange(len(edited)))

    def scores_of(self, looked: _Looked, rows: Tensor) -> tuple[Score, ...]:
        """What the edits are worth that show these rows of faces, (N,)."""
        edits, photos = self.strangers.edits, self.photos
        return (
            *edit_scores(
                looked.faces[rows],
                photos.faces[edits.truth],
                looked.seen.of(rows),
                photos.seen.of(edits.target),
                photos.seen.of(edits.truth),
                self.wanted,
                photos.seen.embeddings,
            ),
            Score("R", self.real, "%", n=len(photos.faces)),
            Score("G", accuracy(self.classifier, looked.hog[rows], self.strangers.wanted()), "%"),
        )

    def score_of_both(self, known_edited: Tensor) -> Score:
        """R + G; the faces are the known people's edits."""
        classifier = _classifier(
            torch.cat([self.known_codes, hog(known_edited)]),
            [*self.known.labels, *self.known.wanted()],
        )
        labels = self.strangers.labels
        return Score("R + G", accuracy(classifier, self.photos.hog, labels), "%", n=len(labels))

    def strength_scores(self, model: Any) -> tuple[Score, ...]:
        few = self.strangers.some(_SWEPT, self.seed)
        names = class_numbers(few.wanted(), self.instruments.classifier.classes)
        wanted = torch.from_numpy(names)[:, None]
        likely = [
            self.probabilities(self.squares(_edit(model, few, strength))).gather(1, wanted)
            for strength in STRENGTHS
        ]
        return strength_scores(torch.cat(likely, dim=1), STRENGTHS)


def _classifier(codes: Tensor, labels: Sequence[str]) -> LinearSVC:
    """A linear SVM of codes (N, D), fit in their span: the optimum lies there, and fewer numbers
    take less time."""
    values = codes.double().numpy()
    axes, _ = np.linalg.qr(values.T)
    # The primal takes half the time of the dual or less, and draws nothing at random.
    classifier = LinearSVC(dual=False).fit(values @ axes, labels)
    classifier.coef_ = classifier.coef_ @ axes.T
    classifier.n_features_in_ = values.shape[1]
    return classifier


def accuracy(classifier: LinearSVC, codes: Tensor, labels: Sequence[str]) -> float:
    """% of codes (N, D) that the classifier knows."""
    return 100 * float((classifier.predict(codes.numpy()) == np.array(labels)).mean())


def _edit(model: Any, people: People, strength: float = 1.0) -> Tensor:
    """The edited faces (N, 3, S, S) in [0, 1]; a photo of many edits is encoded once."""
    both = torch.cat([people.edits.target, people.edits.source])
    photos, places = torch.unique(both, return_inverse=True)
    factors = _encode_all(model, people.faces[photos])
    target, source = places.chunk(2)
    drawn = []
    for rows in torch.split(torch.arange(len(target)), _BATCH):
        own, other = factors.of(target[rows]), factors.of(source[rows])
        codes = transfer(own, other, ["expression"], model.spec)
        if strength != 1:
            codes = set_strength(codes, model, "expression", strength)
        drawn.append(model.decode(codes).float().clamp(0, 1))
    return torch.cat(drawn)


def _encode_all(model: Any, faces: Tensor) -> Factors:
    parts = [model.encode(part) for part in torch.split(faces, _BATCH)]
    first = parts[0]
    return Factors(
        {name: torch.cat([part[name] for part in parts]) for name in first.codes},
        {entry: torch.cat([part.residual[entry] for part in parts]) for entry in first.residual},
    )


def _picture(subject: Subject, people: People, title: str, seed: int) -> Photo:
    """Twenty-four edits to be looked at."""
    few = people.some(_SHOWN, seed)
    rows = {
        "photo": few.faces[few.edits.target],
        "expression of": few.faces[few.edits.source],
        "true photo": few.faces[few.edits.truth],
    }
    for strength in STRENGTHS:
        name = f"strength {strength:g}" if strength else "neutral"
        rows[name] = _edit(subject.model, few, strength)
    return people_picture({name: face_to_photo(faces) for name, faces in rows.items()}, title, 8)
