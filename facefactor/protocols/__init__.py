"""Protocols on data sets: read, cut, encode, hand the codes to `evaluation`; floors beside."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from facefactor import checkpoints
from facefactor.errors import FaceFactorError
from facefactor.evaluation.tables import ResultTable, write_json
from facefactor.files import atomic_path
from facefactor.images import write_image
from facefactor.protocols.codes import expression, expression_map, head_pose, verification_of_pairs
from facefactor.protocols.disentanglement import disentanglement
from facefactor.protocols.edited_expressions import edited_expressions
from facefactor.protocols.exchange import synthetic_exchange
from facefactor.protocols.instruments import instrument_file, measure_instrument
from facefactor.protocols.leakage import leakage
from facefactor.protocols.neutral import motion_asked_for, neutral_faces
from facefactor.protocols.normalization import normalized_faces
from facefactor.protocols.normalized_pairs import normalized_verification
from facefactor.protocols.pictures import codes_picture, synthesis
from facefactor.protocols.predictability import predictability_matrix
from facefactor.protocols.recognition import recognition, recognition_by_yaw
from facefactor.protocols.recognition_folds import expression_folds
from facefactor.protocols.redrawing import redrawing, speed
from facefactor.protocols.relighting import relighting_of_pairs
from facefactor.protocols.subject import CACHE, Encode, Findings, Subject
from facefactor.protocols.synthetic import synthetic_truth

__all__ = ["CACHE", "PICTURES", "PROTOCOLS", "Encode", "Findings", "Subject", "evaluate"]

# Name -> what measures the subject on the data sets given (reader -> folder), under a seed.
PROTOCOLS: dict[str, Callable[[Subject, Mapping[str, Path], int], Findings]] = {
    "expression-probe": expression,
    "expression-map-probe": expression_map,
    "head-pose": head_pose,
    "verification": verification_of_pairs,
    "neutral-consistency": neutral_faces,
    "motion": motion_asked_for,
    "normalization": normalized_faces,
    "normalized-verification": normalized_verification,
    "recognition": recognition,
    "recognition-by-yaw": recognition_by_yaw,
    "expression-folds": expression_folds,
    "leakage": leakage,
    "edited-expressions": edited_expressions,
    "synthetic-truth": synthetic_truth,
    "synthetic-exchange": synthetic_exchange,
    "predictability": predictability_matrix,
    "relighting": relighting_of_pairs,
    "disentanglement": disentanglement,
    "redrawing": redrawing,
    "speed": speed,
    "codes-picture": codes_picture,
    "synthesis": synthesis,
}
OF_LANDMARKS = ("landmark-error", "fitting")  # what the landmark network is measured by
PICTURES = ("codes-picture", "synthesis")  # give nothing else, so they need an output folder


def evaluate(
    model: str | Path,
    protocols: Sequence[str],
    datasets: Sequence[str] = (),
    output: Path | None = None,
    seed: int = 0,
    cache: Path = CACHE,
    landmarks: Path | None = None,
    morphable: Path | None = None,
) -> list[ResultTable]:
    """Every protocol on every data set it applies to; tables of the model and of its floors.

    Args:
        protocols: of `PROTOCOLS`, or `OF_LANDMARKS` for the landmark network.
        datasets: "reader=folder"; none for protocols that render their faces. Verification takes
            its pixel floor from the other data sets.
        landmarks: folder of `<data set>.npz` with 68 landmarks a photo, for landmark-error.
        morphable: file of a morphable model, for synthetic-truth, synthetic-exchange, fitting and
            normalization.
        output: folder for `results.json`, `results.md` and pictures.

    Raises:
        FaceFactorError: an unknown protocol, none of the data sets suits one, or a protocol that
            gives pictures only and no output folder.
    """
    instrument = instrument_file(model)
    subject = None if instrument else Subject(checkpoints.weights_file(model), cache, morphable)
    folders = {}
    for text in datasets:
        name, _, folder = text.partition("=")
        folders[name] = Path(folder)
    tables: list[ResultTable] = []
    for protocol in protocols:
        if protocol not in (*PROTOCOLS, *OF_LANDMARKS):
            raise FaceFactorError(f"no protocol {protocol!r}; there are {', '.join(PROTOCOLS)}")
        if protocol in PICTURES and output is None:
            raise FaceFactorError(f"{protocol} writes pictures; name a folder (--output FOLDER)")
        if instrument:
            found = measure_instrument(
                *instrument, protocol, folders, seed, cache, landmarks, morphable
            )
        elif subject and protocol in PROTOCOLS:
            found = PROTOCOLS[protocol](subject, folders, seed)
        else:
            raise FaceFactorError(f"{protocol} is for the landmark network, {model} is not one")
        command = f"facefactor evaluate {model} -p {protocol}"
        command += "".join(f" -d {name}=FOLDER" for name in folders)
        if landmarks is not None:
            command += " --landmarks FOLDER"
        if morphable is not None:
            command += " --morphable FILE"
        tables += [replace(table, command=command) for table in found.tables]
        if output is not None:
            for file, picture in found.pictures.items():
                write_image(output / file, picture)
    if output is not None and tables:
        write_json(output / "results.json", tables)
        with atomic_path(output / "results.md") as temporary:
            text = "\n\n".join(table.to_markdown() for table in tables)
            temporary.write_text(text + "\n", encoding="utf-8")
    return tables
