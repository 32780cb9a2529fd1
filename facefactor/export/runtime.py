"""ONNX Runtime: sessions of graphs, and where it runs their operators."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Any

from facefactor.errors import FaceFactorError

PROVIDER = "CPUExecutionProvider"


class ExportError(FaceFactorError):
    """This model cannot be exported, or what came out does not compute what the model does."""


def open_session(graph: str | Path | bytes, threads: int = 0) -> Any:
    """An ONNX Runtime session of a graph, on the CPU.

    Args:
        graph: its file, or what is in it.
        threads: that one operator is spread over; 0 for as many as there are cores.

    Raises:
        ExportError: onnxruntime is not installed, or has no such operator for the CPU.
    """
    runtime = required("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3  # errors only
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    try:
        given = graph if isinstance(graph, bytes) else os.fspath(graph)
        return runtime.InferenceSession(given, options, providers=[PROVIDER])
    except runtime.capi.onnxruntime_pybind11_state.NotImplemented as error:
        name = "the graph" if isinstance(graph, bytes) else graph
        raise ExportError(
            f"{name}: ONNX Runtime cannot run this graph on the CPU: {error}"
        ) from error


def operators(session: Any) -> Counter[str]:
    """How many nodes of each kind a session runs; nodes of constants only are none of them.

    Raises:
        ExportError: some node does not run where it was to.
    """
    placed = Counter(
        (part.ep_name, node.op_type)
        for part in session.get_provider_graph_assignment_info()
        for node in part.get_nodes()
    )
    if elsewhere := sorted({place for place, _ in placed} - {PROVIDER}):
        raise ExportError(f"nodes of this graph run on {', '.join(elsewhere)}, not on {PROVIDER}")
    return Counter({kind: count for (_, kind), count in placed.items()})


def required(package: str) -> Any:
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
