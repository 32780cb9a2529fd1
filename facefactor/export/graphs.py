"""A model's parts as ONNX graphs, each written once it was seen to compute what torch does."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from facefactor.checkpoints import hash_tensors
from facefactor.demo import portrait_paths
from facefactor.export.branches import Branch, Graph, branch_of
from facefactor.export.runtime import PROVIDER, ExportError, open_session, operators, required
from facefactor.factors import FaceModel, ModelSpec
from facefactor.files import atomic_path
from facefactor.photo_edits import PhotoFace, read_faces

TOLERANCE = 1e-4  # largest difference between the graph and torch that is let through
OPSET = 17  # of ONNX, from 2022: runtimes of the last years read it
_FACES = 32  # compared at once
_NUDGE, _NUDGES = 1e-6, 8  # of inputs, and how often, to see whether rounding alone changes much


@dataclass(frozen=True)
class Parity:
    """How near an exported graph comes to its model."""

    path: Path
    graph: Graph
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    difference: float  # the largest, over all faces; of values above 1 as a share of the largest
    faces: int  # compared: two portraits, alone and among random ones
    unsteady: int  # faces left out, of which torch, too, says something else after rounding
    operators: Mapping[str, int]  # nodes of each kind, all of which run on the CPU

    def to_dict(self) -> dict[str, Any]:
        return asdict(self) | {"path": str(self.path)}

    def __str__(self) -> str:
        without = f", {self.unsteady} more left out as unsteady" if self.unsteady else ""
        kinds = ", ".join(f"{count} {kind}" for kind, count in self.operators.items())
        return (
            f"{', '.join(self.outputs)}: at most {self.difference:.1e} from torch's on "
            f"{self.faces} faces{without}\n{sum(self.operators.values())} nodes, all of them run "
            f"on {PROVIDER}: {kinds}"
        )


def export_onnx(
    model: FaceModel, path: str | Path, weights_sha256: str = "", graph: Graph = "expression"
) -> Parity:
    """Write a graph of a model, once it was seen to agree with torch.

    All tensors are float32, any number N of faces first. Faces are (N, C, S, S) RGB in [0, 1], of
    the crop and the size that the metadata of the graph name.

    Args:
        weights_sha256: hash of the file the model comes from; "" hashes the weights as they are.
        graph: what it computes, by the names of its inputs and outputs:
            "expression": `faces` -> `probabilities` (N, K), rows summing to 1, in the order of the
            metadata's `classes`; of a model that sorts nothing into classes `codes`, its expression
            codes.
            "encode": `faces` -> an output for each factor and each residual entry, by its name.
            "codes": the same without the residual, for those who draw nothing.
            "decode": what "encode" gives -> `faces`. An input that nothing follows from is not
            there: FaceCycle's residual `neutral_face` says all that its `identity` does.
            "neutral": `faces` -> `neutral`, the same without their expression.
            "normalize": `faces` -> `normalized`, frontal and neutral (NFGAN).

    Raises:
        ExportError: onnx or onnxruntime is not installed, the model has an operation that ONNX
            lacks, or graph and model differ by more than `TOLERANCE`; nothing is written then.
        FaceFactorError: the model has no such part.
        WriteError: when the file system refuses; an older file then stays as it was.
    """
    target = check_name(path)
    branch = branch_of(model, graph)
    about = describe(model, branch, graph, weights_sha256)
    with atomic_path(target) as temporary:
        write_graph(branch, model.spec, temporary, about, target)
        return _compare(branch, model.spec, temporary, target, graph)


def check_name(path: str | Path) -> Path:
    """The path, if it is an ONNX file's; ExportError else: weights are not to be overwritten."""
    if Path(path).suffix.lower() != ".onnx":
        raise ExportError(f"{path}: is no name of an ONNX file; let it end in .onnx")
    return Path(path)


def describe(model: Any, branch: Branch, graph: Graph, weights_sha256: str = "") -> dict[str, str]:
    """What a graph says of itself, as ONNX has it: strings only."""
    spec: ModelSpec = model.spec
    about = {
        "model": spec.name,
        "graph": graph,
        "crop": spec.crop,
        "image_size": str(spec.image_size),
        "faces": "RGB in [0, 1]",
        "licence": "research only",
        "weights_sha256": weights_sha256 or hash_tensors(model.state_dict()),
    }
    named = branch.outputs == ("probabilities",)
    return about | ({"classes": ",".join(model.classes)} if named else {})


def write_graph(
    branch: Branch, spec: ModelSpec, path: Path, about: Mapping[str, str], target: Path
) -> None:
    """Write the graph of `branch` to `path`, unchecked.

    Args:
        target: the path that errors name.
    """
    onnx = required("onnx")
    from torch.onnx.errors import OnnxExporterError  # slow, and most commands export nothing

    # Of torch's two exporters the older one: the newer needs two packages more and 9 s instead of
    # 0.3 s for a graph no faster, and writes the paths of this machine's source files into it.
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # what goes wrong, the parity check sees
        example = branch.given(torch.zeros(2, spec.channels, spec.image_size, spec.image_size))
        shapes = {
            name: tensor.shape
            for name, tensor in zip(branch.outputs, branch(*example), strict=True)
        }
        try:
            torch.onnx.export(
                branch,
                example,
                str(path),
                dynamo=False,
                input_names=branch.inputs,
                output_names=branch.outputs,
                dynamic_axes={name: {0: "N"} for name in branch.inputs + branch.outputs},
                opset_version=OPSET,
            )
        except OnnxExporterError as error:
            reason = str(error).partition("\n")[0]
            raise ExportError(f"{target}: not written: {spec.name}: {reason}") from error
    graph = onnx.load(str(path))
    for output in graph.graph.output:  # of some the exporter does not know all sides
        sides = output.type.tensor_type.shape.dim[1:]
        for side, size in zip(sides, shapes[output.name][1:], strict=True):
            side.dim_value = size
    onnx.helper.set_model_props(graph, dict(about))
    graph.producer_name, graph.producer_version = "facefactor", ""
    onnx.checker.check_model(graph)
    onnx.save(graph, str(path))


@torch.inference_mode()
def _compare(branch: Branch, spec: ModelSpec, written: Path, path: Path, graph: Graph) -> Parity:
    """The graph in `written` against torch: each portrait alone, and 32 faces at once."""
    session = open_session(written)
    taken = tuple(entry.name for entry in session.get_inputs())
    faces = portraits(spec)
    generator = torch.Generator().manual_seed(0)
    noise = torch.rand(_FACES - len(faces), *faces.shape[1:], generator=generator)
    rows = []
    for batch in (faces[:1], faces[1:], torch.cat([faces, noise])):
        given = branch.given(batch)
        named = dict(zip(branch.inputs, given, strict=True))
        found = session.run(list(branch.outputs), {name: named[name].numpy() for name in taken})
        row = _differences([torch.from_numpy(each) for each in found], branch(*given))
        rows.append(row[~_unsteady(branch, given, row)])
    unsteady = _FACES - len(rows[-1])
    if unsteady > _FACES // 4:
        raise ExportError(
            f"{path}: not written: on {unsteady} of {_FACES} faces torch itself says something "
            "else after rounding, so there is too little to compare"
        )
    largest, where = torch.cat(rows).flatten().max(0)  # of NaN, too, which is refused
    if not largest <= TOLERANCE:
        raise ExportError(
            f"{path}: not written: {branch.outputs[where % len(branch.outputs)]} of the graph "
            f"differ from torch's by {largest:.3g}, more than {TOLERANCE:g}; please report this, "
            "with the versions of torch and onnxruntime"
        )
    return Parity(
        path,
        graph,
        taken,
        branch.outputs,
        largest.item(),
        len(rows[-1]),
        unsteady,
        dict(operators(session).most_common()),
    )


def _differences(found: Sequence[Tensor], expected: Sequence[Tensor]) -> Tensor:
    """(N, outputs): the largest of each face, as a share of the output's largest value above 1."""
    columns = [
        (one - other).abs().flatten(1).amax(1) / other.abs().max().clamp(min=1)
        for one, other in zip(found, expected, strict=True)
    ]
    return torch.stack(columns, dim=1)


def _unsteady(branch: Branch, given: Sequence[Tensor], differences: Tensor) -> Tensor:
    """Of faces whose outputs differ, (N,) those that torch, too, answers otherwise when its inputs
    change by what rounding does: where maxima lie is a jump, and Neuro-Tensorial's mask and
    background follow it."""
    unsteady = torch.zeros(len(differences), dtype=torch.bool)
    differing = ~(differences <= TOLERANCE).all(dim=1)
    if not differing.any():
        return unsteady
    own = [tensor[differing] for tensor in given]
    answer, generator = branch(*own), torch.Generator().manual_seed(0)
    for _ in range(_NUDGES):
        nudged = [x + _NUDGE * (torch.rand(x.shape, generator=generator) - 0.5) for x in own]
        moved = (_differences(branch(*nudged), answer) > TOLERANCE).any(dim=1)
        unsteady[differing] |= moved
    return unsteady


def portraits(spec: ModelSpec) -> Tensor:
    """The faces of the two portraits that come with the install, (2, C, S, S)."""
    return torch.cat([face.cut(spec)[0] for face in _portrait_faces()])


@cache
def _portrait_faces() -> list[PhotoFace]:
    return [read_faces(file)[0] for file in portrait_paths().values()]
