"""The exported graph computes what the model does, says what it takes, or is not written."""

from __future__ import annotations

import dataclasses
import json
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from facefactor import api, checkpoints, cli
from facefactor.checkpoints import CheckpointHeader, hash_tensors
from facefactor.demo import portrait_paths
from facefactor.export import TOLERANCE, ExportError, Parity, export_onnx
from facefactor.factors import FactorSpec, ModelSpec
from facefactor.files import WriteError
from facefactor.methods.ipdfer.model import IPDFER
from facefactor.methods.ipdfer.recipe import PRESETS, build
from facefactor.perception.align import align

RECIPE = replace(
    PRESETS["small"], width=0.125, code_size=16, decoder_channels=(8, 8, 8, 8, 8), batch_size=2
)


@cache
def portraits(crop: str, size: int) -> tuple[torch.Tensor, ...]:
    faces = [api.read_face(file) for file in portrait_paths().values()]
    return tuple(align(face.photo, face.found.points, crop, size)[0] for face in faces)


def untrained() -> IPDFER:
    """A small one whose verdicts differ from face to face, as a trained one's do."""
    torch.manual_seed(0)
    model = build(RECIPE)
    for module in model.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            module.momentum = None  # one pass sets the statistics
    with torch.no_grad():
        model.expression_encoder(
            torch.cat([*portraits("arcface", 112), torch.rand(6, 3, 112, 112)])
        )
        model.classify_expression.weight.mul_(4)
    return model.eval()


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[IPDFER, Parity]:
    model = untrained()
    return model, export_onnx(model, tmp_path_factory.mktemp("export") / "model.onnx")


def run_graph(path: Path, faces: torch.Tensor) -> np.ndarray:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (answer,) = session.run(None, {"faces": faces.numpy()})
    return answer


@pytest.mark.parametrize("count", [1, 3, 32])
def test_any_number_of_faces_gets_the_probabilities_of_the_model(exported, count):
    model, parity = exported
    faces = torch.rand(count, 3, 112, 112, generator=torch.Generator().manual_seed(count))
    faces[0] = portraits("arcface", 112)[0][0]
    found = run_graph(parity.path, faces)
    with torch.inference_mode():
        expected = model.expression_probabilities(faces)
    np.testing.assert_allclose(found, expected, atol=TOLERANCE)
    np.testing.assert_allclose(found.sum(1), 1, atol=1e-5)


def test_verdicts_differ_so_that_agreeing_means_something(exported):
    _, parity = exported
    answers = run_graph(parity.path, torch.cat(portraits("arcface", 112)))
    assert np.abs(answers[0] - answers[1]).max() > 100 * TOLERANCE
    assert np.ptp(answers, axis=1).min() > 100 * TOLERANCE


def test_the_graph_says_what_it_takes_and_gives(exported):
    model, parity = exported
    session = onnxruntime.InferenceSession(str(parity.path), providers=["CPUExecutionProvider"])
    (given,), (answer,) = session.get_inputs(), session.get_outputs()
    assert (given.name, given.type, given.shape) == ("faces", "tensor(float)", ["N", 3, 112, 112])
    assert (answer.name, answer.type, answer.shape) == ("probabilities", "tensor(float)", ["N", 7])
    assert session.get_modelmeta().custom_metadata_map == {
        "model": "ipdfer",
        "crop": "arcface",
        "image_size": "112",
        "faces": "RGB in [0, 1]",
        "licence": "research only",
        "classes": "neutral,happiness,sadness,surprise,fear,disgust,anger",
        "weights_sha256": hash_tensors(model.state_dict()),
    }


def test_only_the_expression_branch_is_in_the_file(exported):
    """Of three encoders and a decoder one encoder, float32, and little else."""
    model, parity = exported
    branch = [*model.expression_encoder.parameters(), *model.classify_expression.parameters()]
    size = 4 * sum(weights.numel() for weights in branch)
    assert 0.9 * size < parity.path.stat().st_size < 1.5 * size


def test_no_path_of_this_machine_is_in_the_file(exported):
    _, parity = exported
    content = parity.path.read_bytes()
    assert b".py" not in content and str(Path.home()).encode() not in content


def test_what_was_compared_is_reported(exported):
    _, parity = exported
    assert parity.faces == 32 and parity.output == "probabilities"
    assert 0 <= parity.difference <= TOLERANCE
    assert json.loads(json.dumps(parity.to_dict()))["difference"] == parity.difference


class Rounding(IPDFER):
    """Its graph is off by a known amount, as a faulty exporter's would be."""

    off = 0.0

    def expression_probabilities(self, faces):
        probabilities = super().expression_probabilities(faces)
        return probabilities + self.off if torch.jit.is_tracing() else probabilities


def doctored(off: float) -> IPDFER:
    model = untrained()
    model.__class__ = Rounding
    model.off = off
    return model


@pytest.mark.parametrize(("off", "figure"), [(2e-3, r"0\.00(19|20)"), (float("nan"), "nan")])
def test_a_graph_that_is_off_is_not_written_and_the_figure_is_said(tmp_path, off, figure):
    path = tmp_path / "model.onnx"
    path.write_bytes(b"an older file")
    with pytest.raises(ExportError, match=rf"model.onnx: not written: .* by {figure}"):
        export_onnx(doctored(off), path)
    assert path.read_bytes() == b"an older file"
    assert list(tmp_path.iterdir()) == [path]


def test_a_graph_that_is_off_by_less_is_written(tmp_path):
    parity = export_onnx(doctored(5e-5), tmp_path / "model.onnx")
    assert parity.path.is_file()
    assert parity.difference == pytest.approx(5e-5, abs=2e-5)  # and what is rounded anyway


def test_a_model_without_classes_gives_its_expression_codes(tmp_path):
    model = api.load("facecycle")
    parity = export_onnx(model, tmp_path / "codes.onnx")
    assert parity.output == "codes"
    (face, _) = portraits("facecycle", 64)
    with torch.inference_mode():
        expected = model.encode(face)["expression"].numpy()
    np.testing.assert_allclose(run_graph(parity.path, face), expected, atol=1e-4)
    session = onnxruntime.InferenceSession(str(parity.path), providers=["CPUExecutionProvider"])
    about = session.get_modelmeta().custom_metadata_map
    assert (about["crop"], about["image_size"]) == ("facecycle", "64")
    assert "classes" not in about


class Nameless(torch.nn.Module):
    spec = ModelSpec("nameless", "arcface", 112, 3, {"identity": FactorSpec((4,), "who it is")})


def test_a_model_without_expression_is_refused(tmp_path):
    with pytest.raises(ExportError, match="nameless has no expression branch; what can be"):
        export_onnx(Nameless(), tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("package", ["onnx", "onnxruntime"])
def test_without_the_extra_the_command_that_installs_it_is_said(tmp_path, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ExportError, match=rf'{package} is needed .* pip install "facefactor\[onnx'):
        export_onnx(untrained(), tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


def test_weights_are_not_overwritten_by_a_slip(tmp_path):
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(b"weights")
    with pytest.raises(ExportError, match="end in .onnx"):
        export_onnx(untrained(), weights)
    assert weights.read_bytes() == b"weights"


def test_a_folder_in_the_way_is_an_error(tmp_path):
    (tmp_path / "model.onnx").mkdir()
    with pytest.raises(WriteError, match="is a folder"):
        export_onnx(untrained(), tmp_path / "model.onnx")


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as stopped:
        cli.main(arguments)
    return int(stopped.value.code or 0)


def test_the_command_line_from_weights_to_a_portraits_expression(tmp_path, capsys):
    model = untrained()
    settings = json.loads(json.dumps(dataclasses.asdict(RECIPE)))
    weights, graph = tmp_path / "mine.safetensors", tmp_path / "new" / "mine.onnx"
    header = checkpoints.save(
        weights, model.state_dict(), CheckpointHeader("ipdfer", "small", settings, model.spec)
    )
    assert run("export", str(weights), "--onnx", str(graph)) == 0
    assert capsys.readouterr().out == f"{graph}\n"

    session = onnxruntime.InferenceSession(str(graph), providers=["CPUExecutionProvider"])
    about = session.get_modelmeta().custom_metadata_map
    assert about["weights_sha256"] == header.sha256
    (face, _) = portraits("arcface", 112)
    named = dict(zip(about["classes"].split(","), run_graph(graph, face)[0], strict=True))
    with torch.inference_mode():
        expected = model.expression_probabilities(face)[0]
    assert max(named, key=lambda name: named[name]) == model.classes[expected.argmax()]


def test_the_command_line_names_weights_that_are_not_there(tmp_path, capsys):
    assert run("export", "nobody", "--onnx", str(tmp_path / "model.onnx")) == 1
    assert capsys.readouterr().err.startswith("facefactor: nobody: no weights of this name")
    assert run("export", "nobody") == 2
    assert not list(tmp_path.iterdir())
