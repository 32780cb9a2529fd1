"""How good our own frozen networks are: the recogniser on pairs, landmarks on held-out people."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from facefactor.data.crops import CroppedFaces
from facefactor.data.held_out import hold_out_people
from facefactor.data.landmarks import crop_landmarks, landmarks_file, read_landmarks
from facefactor.data.readers import READERS
from facefactor.data.records import DataError, split_hash
from facefactor.errors import FaceFactorError
from facefactor.evaluation.floors import encode_faces, pixel_floor
from facefactor.evaluation.landmarks import landmark_error
from facefactor.evaluation.tables import ResultTable, Score
from facefactor.evaluation.verification import cosine, error_rates, threshold_at, verification
from facefactor.nn.inference import quicken
from facefactor.perception.landmarks import load_landmark_network
from facefactor.perception.packaged import INSTRUMENTS, packaged_instrument
from facefactor.perception.recognition import embed, load_recogniser
from facefactor.protocols.fitting import fitting
from facefactor.protocols.kept_codes import kept_embeddings
from facefactor.protocols.subject import (
    FLOOR_FACES,
    Findings,
    Pairs,
    cut_faces,
    cut_pairs,
    some,
    suitable,
)

FALSE_MATCHES = 0.01  # of pairs of two people: what `facefactor verify` lets pass
_FLOOR_SIZE = 256  # components


def instrument_file(model: str | Path) -> tuple[str, Path] | None:
    """Which instrument `model` is, by its name or by what its file says of itself; else None."""
    if str(model) in INSTRUMENTS:
        return str(model), packaged_instrument(str(model))  # type: ignore[arg-type]
    path = Path(model) / "model.safetensors" if Path(model).is_dir() else Path(model)
    if path.suffix != ".safetensors" or not path.is_file():
        return None
    try:
        with safe_open(str(path), framework="pt") as file:
            told = json.loads((file.metadata() or {}).get("facefactor", "{}"))
    except (SafetensorError, ValueError):
        return None
    return (told["network"], path) if told.get("network") in INSTRUMENTS else None


def measure_instrument(
    name: str,
    path: Path,
    protocol: str,
    folders: Mapping[str, Path],
    seed: int,
    cache: Path,
    landmarks: Path | None,
    morphable: Path | None = None,
) -> Findings:
    """`verification` of the recogniser; of the landmark network `landmark-error`, and `fitting` of
    a morphable model to its landmarks.

    Raises:
        FaceFactorError: another protocol, or data sets that do not suit it.
    """
    if (name, protocol) == ("recogniser", "verification"):
        return Findings(_recogniser_on_pairs(path, folders, seed, cache))
    if (name, protocol) == ("landmarks", "landmark-error"):
        return Findings(_landmarks_of_strangers(path, folders, cache, landmarks))
    if (name, protocol) == ("landmarks", "fitting"):
        return fitting(path, folders, seed, cache, landmarks, morphable)
    known = {"recogniser": "verification", "landmarks": "landmark-error or fitting"}[name]
    raise FaceFactorError(f"the instrument {name} is measured by {known}, not by {protocol}")


def _recogniser_on_pairs(
    path: Path, folders: Mapping[str, Path], seed: int, cache: Path
) -> list[ResultTable]:
    """LFW in ten folds, beside pixels; then the errors at a threshold chosen on other people.

    Pixels and threshold come from CelebA, if that is given: the threshold from its held-out people.
    """
    network = quicken(load_recogniser(path))
    size = network.image_size
    tables = []
    for name in suitable(folders, ("lfw",), "verification"):
        pairs = cut_pairs(folders[name], lambda records: cut_faces(records, "arcface", size, cache))
        with_mirror = partial(embed, network, with_mirror=True)
        codes = {
            "recogniser": kept_embeddings(network, pairs.cut.faces, cache),
            "recogniser, mirror image too": encode_faces(with_mirror, pairs.cut.faces),
        }
        if "celeba" in folders:
            train, strangers = hold_out_people(READERS["celeba"](folders["celeba"]))
            others = cut_faces(some(train, FLOOR_FACES, seed), "arcface", size, cache)
            floor = pixel_floor(others.faces, _FLOOR_SIZE, seed)
            codes[floor.title] = encode_faces(floor, pairs.cut.faces)
        for title, found in codes.items():
            table = verification(
                found[pairs.left], found[pairs.right], pairs.same, name, model=title
            )
            tables.append(replace(table, split_hash=split_hash(pairs.cut.records), seed=seed))
        if "celeba" in folders:
            known = cut_faces(strangers, "arcface", size, cache)
            others_codes = kept_embeddings(network, known.faces, cache)
            tables.append(_at_a_threshold(codes["recogniser"], pairs, others_codes, known, name))
    return tables


def _at_a_threshold(
    codes: Tensor, pairs: Pairs, others: Tensor, known: CroppedFaces, dataset: str
) -> ResultTable:
    """Errors on the pairs at the threshold that lets 1 % of `known` people's pairs pass.

    Args:
        codes: (N, D) of the pairs' photos.
        others: (M, D) of the `known` people's.
    """
    first, second = torch.triu_indices(len(others), len(others), offset=1)
    people = np.array([str(record.subject) for record in known.records])
    one = torch.from_numpy(people[first] == people[second])
    threshold = threshold_at((others @ others.T)[first, second], one, FALSE_MATCHES)
    similarity = cosine(codes[pairs.left], codes[pairs.right])
    accepted, missed = error_rates(similarity, torch.tensor(pairs.same), threshold)
    scores = (
        Score("threshold", threshold, ""),
        Score("false matches", 100 * accepted, "%"),
        Score("false non-matches", 100 * missed, "%"),
    )
    return ResultTable(
        f"verification at the threshold of {100 * FALSE_MATCHES:g} % false matches on held-out "
        "people of celeba",
        dataset,
        scores,
        "recogniser",
        n=len(pairs.same),
    )


def _landmarks_of_strangers(
    path: Path, folders: Mapping[str, Path], cache: Path, landmarks: Path | None
) -> list[ResultTable]:
    """Against the labels of people held out of training; of LFW, which nothing trains on, of all.

    Beside it the mean of all labels of the same data set: what needs no photo.
    """
    if landmarks is None:
        raise FaceFactorError(
            "landmark-error compares with labels; name their folder (--landmarks DIR)"
        )
    network = load_landmark_network(path)
    tables = []
    for name in suitable(folders, ("celeba", "lfw"), "landmark-error"):
        file = landmarks_file(folders[name], landmarks)
        if file is None:
            raise DataError(f"{landmarks}: no {folders[name].resolve().name}.npz in it")
        records = READERS[name](folders[name])
        strangers = records if name == "lfw" else hold_out_people(records)[1]
        cut = cut_faces(strangers, network.crop, network.image_size, cache)
        truth = torch.from_numpy(crop_landmarks(cut.records, read_landmarks(file), network.crop))
        found = encode_faces(network, cut.faces).view(-1, 68, 2)
        mean = truth.nanmean(dim=0).expand_as(truth)
        for title, points in (("landmarks", found), ("the mean of the labels", mean)):
            table = landmark_error(points, truth, name, title)
            tables.append(replace(table, split_hash=split_hash(cut.records)))
    return tables
