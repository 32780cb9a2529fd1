"""ONNX Runtime in the place of torch, where faces are encoded or their expressions told."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from facefactor.export.branches import Graph
from facefactor.export.graphs import export_onnx
from facefactor.export.runtime import open_session
from facefactor.face_expressions import ExpressionModel
from facefactor.factors import FaceModel, Factors


class OnnxEncoder:
    """A model's `encode` by ONNX Runtime, codes only: nothing of the residual.

    Raises:
        ExportError: see `export_onnx`; the graph is made, and compared with torch, here.
    """

    def __init__(self, model: FaceModel) -> None:
        self.spec = model.spec
        self._graph = _Graph(model, "codes")

    def encode(self, faces: Tensor) -> Factors:
        codes: Any = self._graph.run(faces)
        return Factors(codes)


class OnnxClassifier:
    """A model's `expression_probabilities` by ONNX Runtime.

    Raises:
        ExportError: see `export_onnx`; the graph is made, and compared with torch, here.
    """

    def __init__(self, model: ExpressionModel) -> None:
        self.spec = model.spec
        self.classes = model.classes
        self._graph = _Graph(model, "expression")

    def expression_probabilities(self, faces: Tensor) -> Tensor:
        return self._graph.run(faces)["probabilities"]


class _Graph:
    """A graph of a model as faces (N, C, S, S) -> its outputs, by as many threads as torch takes.

    It can be sent to other processes; each opens it for itself.
    """

    def __init__(self, model: Any, graph: Graph) -> None:
        with tempfile.TemporaryDirectory() as folder:
            parity = export_onnx(model, Path(folder) / f"{graph}.onnx", graph=graph)
            self.content, self.outputs = parity.path.read_bytes(), parity.outputs
        self._session: Any = None

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_session": None}

    def run(self, faces: Tensor) -> Mapping[str, Tensor]:
        if self._session is None:
            self._session = open_session(self.content, torch.get_num_threads())
        found = self._session.run(list(self.outputs), {"faces": faces.numpy()})
        tensors = (torch.from_numpy(each) for each in found)
        return dict(zip(self.outputs, tensors, strict=True))
