"""The graph that names expressions, its convolutions in 8 bits: a third of the size, and faster."""

from __future__ import annotations

import logging
import random
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from facefactor.export.branches import branch_of
from facefactor.export.graphs import check_name, describe, portraits, write_graph
from facefactor.export.runtime import ExportError, open_session, operators, required
from facefactor.face_expressions import ExpressionModel
from facefactor.factors import ModelSpec
from facefactor.files import atomic_path
from facefactor.streams import seen_faces

LEAST_AGREEMENT = 0.9  # share of the faces whose expression must stay what torch says
CALIBRATION = 256  # faces that are enough
_FEW = 64  # faces below which a warning is given
_BATCH = 32
# Not the last layer and its softmax: in steps of 1/256 probabilities would not sum to 1.
_ROUNDED = ("Conv", "Clip", "Relu", "Add")

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Agreement:
    """How often a graph in 8 bits names the expression that torch does."""

    path: Path
    agreement: float  # share of the faces, 0 to 1
    difference: float  # of probabilities: the mean, over classes and faces
    faces: int  # the two portraits, and those that it was calibrated on

    def to_dict(self) -> dict[str, Any]:
        return asdict(self) | {"path": str(self.path)}

    def __str__(self) -> str:
        return f"{self.agreement:.1%} of {self.faces} faces keep their expression in 8 bits"


def export_int8(
    model: ExpressionModel, path: str | Path, faces: Tensor, weights_sha256: str = ""
) -> Agreement:
    """Write the graph "expression" of `export_onnx` with 8-bit weights and maps.

    Weights have a scale for each channel and 7 of the 8 bits: CPUs without VNNI instructions add
    products up in 16, where 8 would not always fit. Inputs and outputs stay float32.

    Args:
        faces: (M, C, S, S) in [0, 1], whose maps say which range the 8 bits have to cover; some 100
            of the kind that is to be recognised, and none that accuracy is to be measured on.

    Raises:
        ExportError: onnx or onnxruntime is not installed, the model names no expressions, there are
            no faces, or fewer than `LEAST_AGREEMENT` of them keep their expression; nothing is
            written then.
        WriteError: when the file system refuses; an older file then stays as it was.
    """
    target = check_name(path)
    told: Any = model
    branch = branch_of(told, "expression")
    if branch.outputs != ("probabilities",):
        raise ExportError(f"{model.spec.name} names no expressions; int8 is for ipdfer")
    if not len(faces):
        raise ExportError("no faces to calibrate on; name a folder with about 100 photos of faces")
    if len(faces) < _FEW:
        logger.warning("calibrated on %d faces only; some 100 would be safer", len(faces))
    about = describe(model, branch, "expression", weights_sha256) | {"weights": "int8"}
    with atomic_path(target) as temporary:
        with tempfile.TemporaryDirectory() as folder:
            whole = Path(folder) / "fp32.onnx"
            write_graph(branch, model.spec, whole, about, target)
            _round(whole, temporary, faces, about)
        return _agreement(model, temporary, target, torch.cat([portraits(model.spec), faces]))


def calibration_faces(spec: ModelSpec, files: Sequence[Path]) -> Tensor:
    """The largest faces of photos and frames, (M, C, S, S), of at most `CALIBRATION`; the files in
    an order of chance that is always the same, as a folder may begin with one kind of face."""
    shuffled = random.Random(0).sample(files, len(files))
    seen = seen_faces(shuffled, "largest", lambda face: face.cut(spec)[0], {})
    found = islice((each.cut for each in seen if each.cut is not None), CALIBRATION)
    none = torch.empty(0, spec.channels, spec.image_size, spec.image_size)
    return torch.cat([none, *found])


def _round(whole: Path, path: Path, faces: Tensor, about: Mapping[str, str]) -> None:
    """Write to `path` the graph `whole` in 8 bits."""
    onnx = required("onnx")
    from onnxruntime import quantization

    class Faces(quantization.CalibrationDataReader):  # type: ignore[misc]
        batches = _batches(faces)

        def get_next(self) -> dict[str, NDArray[np.float32]] | None:
            batch = next(self.batches, None)
            return None if batch is None else {"faces": batch.numpy()}

    prepared = whole.with_name("prepared.onnx")
    quantization.quant_pre_process(whole, prepared, skip_symbolic_shape=True)
    quantization.quantize_static(
        prepared,
        path,
        Faces(),
        quant_format=quantization.QuantFormat.QDQ,
        op_types_to_quantize=list(_ROUNDED),
        per_channel=True,
        reduce_range=True,
        activation_type=quantization.QuantType.QUInt8,
        weight_type=quantization.QuantType.QInt8,
    )
    graph = onnx.load(str(path))
    del graph.metadata_props[:]
    onnx.helper.set_model_props(graph, dict(about))
    graph.producer_name, graph.producer_version = "facefactor", ""
    onnx.checker.check_model(graph)
    onnx.save(graph, str(path))


@torch.inference_mode()
def _agreement(model: ExpressionModel, written: Path, path: Path, faces: Tensor) -> Agreement:
    session = open_session(written)
    operators(session)  # raises where some do not run on the CPU
    same, difference = 0, 0.0
    for batch in _batches(faces):
        expected = model.expression_probabilities(batch)
        found = torch.from_numpy(session.run(None, {"faces": batch.numpy()})[0])
        same += int((found.argmax(1) == expected.argmax(1)).sum())
        difference += float((found - expected).abs().mean(1).sum())
    share = same / len(faces)
    if not share >= LEAST_AGREEMENT:
        raise ExportError(
            f"{path}: not written: in 8 bits only {share:.1%} of {len(faces)} faces keep their "
            "expression; calibrate on more photos, or export without int8"
        )
    return Agreement(path, share, difference / len(faces), len(faces))


def _batches(faces: Tensor) -> Iterator[Tensor]:
    return (faces[first : first + _BATCH] for first in range(0, len(faces), _BATCH))
