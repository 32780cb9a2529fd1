"""ONNX Runtime in the place of torch, where faces are encoded or their expressions told."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from facefactor.export.branches import Graph
from facefactor.export.graphs import export_onnx
from facefactor.export.runtime import open_session
from facefactor.face_expressions import ExpressionModel
from facefactor.factors import FaceModel, Factors

Run = Callable[[Tensor], Mapping[str, Tensor]]


class OnnxEncoder:
    """A model's `encode` by ONNX Runtime, codes only: nothing of the residual.

    Raises:
        ExportError: see `export_onnx`; the graph is made, and compared with torch, here.
    """

    def __init__(self, model: FaceModel) -> None:
        self.spec = model.spec
        self._run = _run(model, "codes")

    def encode(self, faces: Tensor) -> Factors:
        codes: Any = self._run(faces)
        return Factors(codes)


class OnnxClassifier:
    """A model's `expression_probabilities` by ONNX Runtime.

    Raises:
        ExportError: see `export_onnx`; the graph is made, and compared with torch, here.
    """

    def __init__(self, model: ExpressionModel) -> None:
        self.spec = model.spec
        self.classes = model.classes
        self._run = _run(model, "expression")

    def expression_probabilities(self, faces: Tensor) -> Tensor:
        return self._run(faces)["probabilities"]


def _run(model: Any, graph: Graph) -> Run:
    """Faces (N, C, S, S) -> the outputs of a graph, by as many threads as torch takes."""
    with tempfile.TemporaryDirectory() as folder:
        parity = export_onnx(model, Path(folder) / f"{graph}.onnx", graph=graph)
        session = open_session(parity.path, torch.get_num_threads())

    def run(faces: Tensor) -> Mapping[str, Tensor]:
        found = session.run(list(parity.outputs), {"faces": faces.numpy()})
        tensors = (torch.from_numpy(each) for each in found)
        return dict(zip(parity.outputs, tensors, strict=True))

    return run
