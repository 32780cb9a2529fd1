"""The expression branch of a model as an ONNX graph, for programs without torch."""

from __future__ import annotations

import logging
import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from facefactor.checkpoints import hash_tensors
from facefactor.demo import portrait_paths
from facefactor.errors import FaceFactorError
from facefactor.factors import FaceModel, ModelSpec
from facefactor.files import atomic_path
from facefactor.photo_edits import read_faces

TOLERANCE = 1e-4  # largest difference between the graph and torch that is let through
OPSET = 17  # of ONNX, from 2022: runtimes of the last years read it

logger = logging.getLogger(__name__)


class ExportError(FaceFactorError):
    """This model cannot be exported, or what came out does not compute what the model does."""


@dataclass(frozen=True)
class Parity:
    """How near an exported graph comes to its model."""

    path: Path
    output: str  # "probabilities" (N, K), or "codes" (N, D) where the model has no classes
    difference: float  # the largest, over all faces; of codes above 1 as a share of the largest
    faces: int  # compared: random ones and two portraits, one by one and 32 at once

    def to_dict(self) -> dict[str, Any]:
        return {
            "path": str(self.path),
            "output": self.output,
            "difference": self.difference,
            "faces": self.faces,
        }


def export_onnx(model: FaceModel, path: str | Path, weights_sha256: str = "") -> Parity:
    """Write the graph from faces to expression probabilities, once it was seen to agree with torch.

    Its input `faces` is (N, 3, S, S) float32 RGB in [0, 1], of the crop and the size that its
    metadata name. Its output is `probabilities` (N, K), rows summing to 1, in the order of the
    metadata's `classes`; of a model that sorts nothing into classes `codes` (N, D), its expression
    codes.

    Args:
        weights_sha256: hash of the file the model comes from; "" hashes the weights as they are.

    Raises:
        ExportError: onnx or onnxruntime is not installed, the model has no expression branch, or
            graph and model differ by more than `TOLERANCE`; nothing is written then.
        WriteError: when the file system refuses; an older file then stays as it was.
    """
    target = Path(path)
    if target.suffix.lower() != ".onnx":
        raise ExportError(f"{path}: is no name of an ONNX file; let it end in .onnx")
    branch = _expression_branch(model)
    about = _about(model, branch, weights_sha256)
    with atomic_path(target) as temporary:
        _write_graph(branch, model.spec, temporary, about)
        parity = _compare(branch, model.spec, temporary, target)
        if not parity.difference <= TOLERANCE:  # NaN, too, is refused
            raise ExportError(
                f"{path}: not written: {branch.output} of the graph differ from torch's by "
                f"{parity.difference:.3g}, more than {TOLERANCE:g}; please report this, with the "
                "versions of torch and onnxruntime"
            )
    logger.info(
        "%s differ from torch's by at most %.1e on %d faces",
        branch.output,
        parity.difference,
        parity.faces,
    )
    return parity


class _Branch(nn.Module):
    """faces (N, 3, S, S) -> what is exported of a model."""

    output: str


class _Probabilities(_Branch):
    output = "probabilities"

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        self.classes: tuple[str, ...] = model.classes

    def forward(self, faces: Tensor) -> Tensor:
        probabilities: Tensor = self.model.expression_probabilities(faces)
        return probabilities


class _Codes(_Branch):
    output = "codes"

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, faces: Tensor) -> Tensor:
        codes: Tensor = self.model.encode(faces)["expression"]
        return codes


def _expression_branch(model: FaceModel) -> _Branch:
    if hasattr(model, "expression_probabilities"):
        return _Probabilities(model).eval()
    if "expression" in model.spec.factors:
        return _Codes(model).eval()
    raise ExportError(
        f"{model.spec.name} has no expression branch; what can be exported are the expression "
        "probabilities of ipdfer and the expression codes of models that have some"
    )


def _about(model: Any, branch: _Branch, weights_sha256: str) -> dict[str, str]:
    """What the graph says of itself, as ONNX has it: strings only."""
    spec: ModelSpec = model.spec
    about = {
        "model": spec.name,
        "crop": spec.crop,
        "image_size": str(spec.image_size),
        "faces": "RGB in [0, 1]",
        "licence": "research only",
        "weights_sha256": weights_sha256 or hash_tensors(model.state_dict()),
    }
    return about | (
        {"classes": ",".join(model.classes)} if branch.output == "probabilities" else {}
    )


def _write_graph(branch: _Branch, spec: ModelSpec, path: Path, about: dict[str, str]) -> None:
    onnx = _required("onnx")
    # Of torch's two exporters the older one: the newer needs two packages more and 9 s instead of
    # 0.3 s for a graph no faster, and writes the paths of this machine's source files into it.
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore", DeprecationWarning)  # it is the older one
        # What a trace misses, the parity check sees.
        warnings.simplefilter("ignore", torch.jit.TracerWarning)  # type: ignore[attr-defined]
        torch.onnx.export(
            branch,
            (torch.zeros(2, spec.channels, spec.image_size, spec.image_size),),
            str(path),
            dynamo=False,
            input_names=["faces"],
            output_names=[branch.output],
            dynamic_axes={"faces": {0: "N"}, branch.output: {0: "N"}},
            opset_version=OPSET,
        )
    graph = onnx.load(str(path))
    onnx.helper.set_model_props(graph, about)
    graph.producer_name, graph.producer_version = "facefactor", ""
    onnx.checker.check_model(graph)
    onnx.save(graph, str(path))


@torch.inference_mode()
def _compare(branch: _Branch, spec: ModelSpec, written: Path, path: Path) -> Parity:
    """The graph in `written` against torch: each portrait alone, and 32 faces at once."""
    session = open_session(written)
    portraits = [read_faces(file)[0].cut(spec)[0] for file in portrait_paths().values()]
    generator = torch.Generator().manual_seed(0)
    shape = (32 - len(portraits), *portraits[0].shape[1:])
    batches = [*portraits, torch.cat([*portraits, torch.rand(shape, generator=generator)])]
    differences = []
    for faces in batches:
        expected = branch(faces)
        found = torch.from_numpy(session.run([branch.output], {"faces": faces.numpy()})[0])
        differences.append((found - expected).abs().max() / expected.abs().max().clamp(min=1))
    # not max(), which would pass over NaN
    return Parity(path, branch.output, torch.stack(differences).max().item(), len(batches[-1]))


def open_session(path: str | Path, threads: int = 0) -> Any:
    """An ONNX Runtime session of a graph, on the CPU.

    Args:
        threads: that one operator is spread over; 0 for as many as there are cores.

    Raises:
        ExportError: onnxruntime is not installed.
    """
    runtime = _required("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3  # errors only
    return runtime.InferenceSession(os.fspath(path), options, providers=["CPUExecutionProvider"])


def _required(package: str) -> Any:
    """A package of the extra `onnx`."""
    try:
        import onnx
        import onnxruntime
    except ImportError as error:
        raise ExportError(
            f"{error.name} is needed for this and not installed; run: pip install "
            '"facefactor[onnx]" (in a checkout: pip install -e ".[onnx]")'
        ) from error
    return {"onnx": onnx, "onnxruntime": onnxruntime}[package]
