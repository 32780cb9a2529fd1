"""The weights at hand: loaded, listed, asked what they can do, exported, checked."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from facefactor import checkpoints
from facefactor.abilities import is_lit, is_solid, normalises
from facefactor.checkpoints import CheckpointError, packaged_weights, weights_file
from facefactor.doctor import Check, examine, instruments
from facefactor.editing import has_rotation
from facefactor.export import Agreement, Graph, Parity, calibration_faces, export_onnx
from facefactor.export import export_int8 as write_int8
from facefactor.face_expressions import expression_model, tells_expressions
from facefactor.factors import FaceModel, FactorName
from facefactor.nn.inference import quicken
from facefactor.perception.packaged import INSTRUMENTS, packaged_instrument
from facefactor.streams import list_inputs

logger = logging.getLogger(__name__)


def load(model: str | Path) -> FaceModel:
    """A model by the name of packaged weights ("facecycle"), or from a weights file, for use.

    Batch normalisations are folded into the convolutions before them, so it is not to be trained
    on; `facefactor train --from` goes on from a file, `checkpoints.build_model` gives its layers.

    Raises:
        CheckpointError: no such weights, or the file is damaged or of another kind.
    """
    built: Any = quicken(checkpoints.build_model(weights_file(model)))
    return built


def removable_factors(model: FaceModel) -> tuple[FactorName, ...]:
    """Those of a model's factors that can be taken off, because it knows a neutral code."""
    return tuple(name for name in model.spec.factors if _has_neutral(model, name))


def _has_neutral(model: FaceModel, name: FactorName) -> bool:
    try:
        model.neutral(name)
    except ValueError:
        return False
    return True


_ABILITIES: Mapping[str, Callable[[FaceModel], bool]] = {
    "expressions": tells_expressions,
    "light": is_lit,  # from a direction
    "angles": lambda model: has_rotation(model.spec),  # a head can be turned to them
    "shape": is_solid,  # normals, albedo, mesh
    "normalised": normalises,  # it draws normalised faces
}


def abilities(model: FaceModel) -> frozenset[str]:
    """What a model can do beside taking its factors from one face to another: some of
    "expressions", "light", "angles", "shape", "normalised"."""
    return frozenset(name for name, has in _ABILITIES.items() if has(model))


def made_by(file: Path) -> Mapping[str, str]:
    """What a table says of the weights that made it."""
    header = checkpoints.read_header(file)
    return {
        "model": header.method,
        "preset": header.preset,
        "weights_sha256": header.sha256,
        "licence": "research only",
    }


def export(model: str | Path, onnx: Path, graph: Graph = "expression") -> Parity:
    """A part of a model as an ONNX graph in the file `onnx`; see `export.export_onnx`."""
    sha256 = checkpoints.read_header(weights_file(model)).sha256
    parity = export_onnx(load(model), onnx, sha256, graph)
    logger.info("%s", parity)
    return parity


def export_int8(model: str | Path, onnx: Path, photos: str | Path) -> Agreement:
    """What names expressions as an ONNX graph in 8 bits; see `export.export_int8`.

    Args:
        photos: a folder, a photo, a video or a pattern; see `export.calibration_faces`.

    Raises:
        FaceFactorError: the model does not tell expressions apart, or there are no photos.
        ExportError: no face in them; see `export.export_int8`.
    """
    file = weights_file(model)
    network = expression_model(load(file))
    faces = calibration_faces(network.spec, list_inputs([str(photos)]))
    agreement = write_int8(network, onnx, faces, checkpoints.read_header(file).sha256)
    logger.info("%s", agreement)
    return agreement


@dataclass(frozen=True)
class ModelEntry:
    """Weights at hand, and what they separate."""

    name: str
    preset: str
    factors: tuple[str, ...]
    image_size: int
    megabytes: float
    path: Path

    def to_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "preset": self.preset,
            "factors": ", ".join(self.factors),
            "face": f"{self.image_size}x{self.image_size}",
            "MB": round(self.megabytes, 1),
        }


def models() -> list[ModelEntry]:
    """The weights that come with the package."""
    entries = []
    for path in packaged_weights():
        header = checkpoints.read_header(path)
        spec = header.spec
        megabytes = path.stat().st_size / 1e6
        entries.append(
            ModelEntry(
                path.stem, header.preset, tuple(spec.factors), spec.image_size, megabytes, path
            )
        )
    return entries


def model_card(name: str) -> str:
    """The card (Markdown) of a packaged model, or instrument: "landmarks", "recogniser".

    Raises:
        CheckpointError: there is none of this name.
        InstrumentError: an instrument whose weights do not come with this install.
    """
    instrument = next((known for known in INSTRUMENTS if known == name), None)
    file = weights_file(name) if instrument is None else packaged_instrument(instrument)
    card = file.with_suffix(".md")
    if not card.is_file():
        raise CheckpointError(f"{name}: no card {card.name} beside its weights")
    # Comments tie its figures to the page of results; they are not for its readers.
    return re.sub(r" *<!--.*?-->", "", card.read_text(encoding="utf-8"), flags=re.DOTALL)


def verify_models() -> list[Check]:
    """Read every packaged weights file: models with their hashes, and the instruments."""
    checks = []
    for entry in models():
        try:
            header, _ = checkpoints.load(entry.path)
            checks.append(Check(entry.name, "ok", f"sha256 {header.sha256[:12]}…"))
        except CheckpointError as error:
            checks.append(Check(entry.name, "fail", str(error), "install facefactor again"))
    return checks + instruments()


def doctor() -> list[Check]:
    """Is everything here that is needed, and does it work?"""
    return examine()
