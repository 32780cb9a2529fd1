"""Are people still told apart once their faces are normalised? LFW's pairs, before and after."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from facefactor.data.records import split_hash
from facefactor.evaluation.verification import verification
from facefactor.images import photos_to_faces
from facefactor.perception.recognition import Recogniser
from facefactor.protocols.normalisers import (
    Normalise,
    check_normalises,
    normalise_all,
    normaliser,
)
from facefactor.protocols.observation import (
    CROP,
    SIZE,
    embed_all,
    embed_photos,
    load_recognisers,
    recut,
)
from facefactor.protocols.subject import (
    Findings,
    Pairs,
    Subject,
    cut_faces,
    cut_pairs,
    suitable,
)

_BATCH = 32
_FEW = 1000  # pairs, about, of what is a floor by far


@torch.inference_mode()
def normalized_verification(subject: Subject, folders: Mapping[str, Path], seed: int) -> Findings:
    """Same person or not, by recognisers that see normalised faces, beside the same recognisers on
    the photos: as they cut them, and as the model takes them; and the model untrained, of which a
    thousand pairs are enough."""
    check_normalises(subject, "normalized-verification")
    recognisers = load_recognisers()
    spec = subject.header.spec
    tables = []
    for name in suitable(folders, ("lfw",), "normalized-verification"):
        whole = cut_pairs(
            folders[name], lambda records: cut_faces(records, CROP, SIZE, subject.cache)
        )
        pairs = cut_pairs(folders[name], subject.cut)
        rows: dict[str, tuple[Pairs, str, Normalise]] = {
            f"photos, {CROP} crop of {SIZE} px": (whole, CROP, _copy),
            f"photos, {spec.crop} crop of {spec.image_size} px": (pairs, spec.crop, _copy),
            f"normalised by {subject.name}": (pairs, spec.crop, normaliser(subject.model)),
            f"normalised by {subject.name}, untrained": (
                _few(pairs),
                spec.crop,
                normaliser(subject.untrained(seed)),
            ),
        }
        for title, (shown, crop, normalise) in rows.items():
            if shown is whole:
                codes = embed_photos(recognisers, whole.cut.faces, subject.cache)
            else:
                codes = _embeddings(recognisers, shown, crop, normalise)
            for recogniser, found in codes.items():
                table = verification(
                    found[shown.left], found[shown.right], shown.same, name, model=title
                )
                tables.append(
                    replace(
                        table,
                        protocol="verification of normalised faces",
                        seed=seed,
                        split_hash=split_hash(shown.cut.records),
                        instruments=(recogniser,),
                    )
                )
    return Findings(tables)


def _few(pairs: Pairs) -> Pairs:
    """About a thousand of the pairs, evenly from all folds, and their photos."""
    step = max(1, len(pairs.same) // _FEW)
    left, right = pairs.left[::step], pairs.right[::step]
    rows = sorted({*left, *right})
    place = {row: number for number, row in enumerate(rows)}
    cut = replace(
        pairs.cut,
        faces=np.asarray(pairs.cut.faces)[rows],
        records=[pairs.cut.records[row] for row in rows],
    )
    return Pairs(
        cut, [place[row] for row in left], [place[row] for row in right], pairs.same[::step]
    )


def _copy(faces: Tensor) -> Tensor:
    return faces


def _embeddings(
    recognisers: Mapping[str, Recogniser], pairs: Pairs, crop: str, normalise: Normalise
) -> dict[str, Tensor]:
    """Recogniser -> embeddings (N, D) of the pairs' photos, a batch at a time."""
    parts = []
    for start in range(0, len(pairs.cut.faces), _BATCH):
        faces = photos_to_faces(pairs.cut.faces[start : start + _BATCH])
        squares = recut(normalise_all(normalise, faces), crop, CROP, SIZE)
        parts.append(embed_all(recognisers, squares))
    return {name: torch.cat([part[name] for part in parts]) for name in recognisers}
