"""Small ONNX networks in the place of FSA-Net's."""

from pathlib import Path

import pytest


def write_networks(folder: Path, gains: tuple[float, float] = (1.0, 3.0)) -> Path:
    """Two networks whose yaw, pitch and roll are the means of the three channels, times a gain."""
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    folder.mkdir(parents=True, exist_ok=True)
    for name, gain in zip(("fsanet-1x1", "fsanet-var"), gains, strict=True):
        graph = helper.make_graph(
            [
                helper.make_node("GlobalAveragePool", ["face"], ["means"]),
                helper.make_node("Flatten", ["means"], ["flat"]),
                helper.make_node("Mul", ["flat", "gain"], ["angles"]),
            ],
            name,
            [helper.make_tensor_value_info("face", kind, [1, 3, 64, 64])],
            [helper.make_tensor_value_info("angles", kind, [1, 3])],
            [helper.make_tensor("gain", kind, [1], [gain])],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
        model.ir_version = 8
        onnx.save(model, str(folder / f"{name}.onnx"))
    return folder
