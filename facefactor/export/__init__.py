"""Models as ONNX graphs, for programs without torch and for ONNX Runtime in the place of torch."""

from facefactor.export.branches import GRAPHS, Graph
from facefactor.export.graphs import TOLERANCE, Parity, export_onnx
from facefactor.export.int8 import Agreement, calibration_faces, export_int8
from facefactor.export.onnx_models import OnnxClassifier, OnnxEncoder
from facefactor.export.runtime import ExportError, open_session

__all__ = [
    "GRAPHS",
    "TOLERANCE",
    "Agreement",
    "ExportError",
    "Graph",
    "OnnxClassifier",
    "OnnxEncoder",
    "Parity",
    "calibration_faces",
    "export_int8",
    "export_onnx",
    "open_session",
]
