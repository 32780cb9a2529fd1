"""The exported graph computes what the model does, says what it takes, or is not written."""

from __future__ import annotations

import dataclasses
import json
import shutil
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from facefactor import api, checkpoints, cli
from facefactor.checkpoints import CheckpointHeader, hash_tensors
from facefactor.demo import portrait_paths
from facefactor.errors import FaceFactorError
from facefactor.export import TOLERANCE, ExportError, Parity, export_int8, export_onnx
from facefactor.factors import FaceModel, Factors, FactorSpec, ModelSpec
from facefactor.files import WriteError
from facefactor.methods import METHODS
from facefactor.methods.ipdfer.model import IPDFER
from facefactor.methods.ipdfer.recipe import PRESETS, build
from facefactor.neutralising import neutral_faces
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
        "graph": "expression",
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
    model, parity = exported
    assert parity.faces == 32 and parity.unsteady == 0
    assert parity.outputs == ("probabilities",) and parity.inputs == ("faces",)
    assert 0 <= parity.difference <= TOLERANCE
    layers = model.expression_encoder.modules()
    convolutions = sum(isinstance(layer, torch.nn.Conv2d) for layer in layers)
    assert parity.operators["Conv"] == convolutions and parity.operators["Softmax"] == 1
    assert f"{sum(parity.operators.values())} nodes, all of them run on CPU" in str(parity)
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
    assert parity.outputs == ("codes",)
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
    with pytest.raises(ExportError, match=f"{package} is needed"):
        api.encode([str(tmp_path)], tmp_path / "codes.npz", backend="onnx")
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


def model_of(method: str) -> FaceModel:
    """The packaged weights; of StarGAN, which has none, random ones."""
    if method != "stargan":
        return api.load(method)
    torch.manual_seed(0)
    return METHODS[method].build(METHODS[method].PRESETS["small"]).eval()


def faces_for(spec: ModelSpec) -> torch.Tensor:
    """Three: another number than was traced with, and than the portraits are."""
    noise = torch.rand(
        1, 3, spec.image_size, spec.image_size, generator=torch.Generator().manual_seed(3)
    )
    return torch.cat([*portraits(spec.crop, spec.image_size), noise])


def outputs_of(path: Path, given: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """What the graph says of those of `given` that it takes; it has standard operators only."""
    used = [(used.domain, used.version) for used in onnx.load(path).opset_import]
    assert used == [("", 17)]  # of which GridSample, for one, takes four dimensions and no more
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    taken = {entry.name: given[entry.name].numpy() for entry in session.get_inputs()}
    answers = {}
    for entry, answer in zip(session.get_outputs(), session.run(None, taken), strict=True):
        assert entry.shape == ["N", *answer.shape[1:]]
        answers[entry.name] = torch.from_numpy(answer)
    return answers


@pytest.mark.parametrize("method", METHODS)
@torch.inference_mode()
def test_what_is_encoded_and_then_drawn_is_what_the_model_draws(tmp_path, method):
    model = model_of(method)
    faces = faces_for(model.spec)
    encode = export_onnx(model, tmp_path / "encode.onnx", graph="encode")
    decode = export_onnx(model, tmp_path / "decode.onnx", graph="decode")

    factors = model.encode(faces)
    found = outputs_of(encode.path, {"faces": faces})
    expected = {**factors.codes, **factors.residual}
    assert list(found) == list(expected)
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, rtol=1e-4, atol=1e-4)

    # each face with the codes of the next
    codes = {name: code.roll(1, 0) for name, code in factors.codes.items()}
    mixed = Factors(codes, factors.residual)
    drawn = outputs_of(decode.path, {**mixed.codes, **mixed.residual})["faces"]
    torch.testing.assert_close(drawn, model.decode(mixed), rtol=0, atol=1e-4)
    assert (drawn - model.decode(factors)).abs().max() > 1e-3 or method == "stargan"


@torch.inference_mode()
def test_faces_are_made_neutral_in_one_graph(tmp_path):
    model = model_of("leed")
    parity = export_onnx(model, tmp_path / "neutral.onnx", graph="neutral")
    faces = faces_for(model.spec)
    found = outputs_of(parity.path, {"faces": faces})["neutral"]
    torch.testing.assert_close(found, neutral_faces(model, faces), rtol=0, atol=1e-4)


@torch.inference_mode()
def test_faces_are_normalised_in_one_graph(tmp_path):
    model = model_of("nfgan")
    parity = export_onnx(model, tmp_path / "normal.onnx", graph="normalize")
    faces = faces_for(model.spec)
    found = outputs_of(parity.path, {"faces": faces})["normalized"]
    torch.testing.assert_close(found, model.normalise(faces), rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("method", "graph", "why"),
    [
        ("facecycle", "normalize", "facecycle draws no normalised faces"),
        ("nfgan", "expression", "nfgan has no expression branch"),
        ("facecycle", "nonsense", "no graph is called 'nonsense'; there are expression, encode"),
    ],
)
def test_what_a_model_cannot_do_is_no_graph(tmp_path, method, graph, why):
    with pytest.raises(FaceFactorError, match=why):
        export_onnx(model_of(method), tmp_path / "model.onnx", graph=graph)
    assert not list(tmp_path.iterdir())


class Toy(torch.nn.Module):
    """Two codes; what `wrong` adds to the second one is added in its graph only."""

    spec = ModelSpec(
        "toy",
        "arcface",
        112,
        3,
        {"identity": FactorSpec((3,), "mean"), "pose": FactorSpec((3,), "mean")},
    )

    def encode(self, faces: torch.Tensor) -> Factors:
        mean = faces.mean(dim=(2, 3))
        wrong = self.wrong(faces) if torch.jit.is_tracing() else 0
        return Factors({"identity": mean, "pose": mean + self.jump(faces) + wrong})

    def wrong(self, faces: torch.Tensor) -> torch.Tensor:
        return torch.zeros_like(faces[:, :, 0, 0])

    def jump(self, faces: torch.Tensor) -> torch.Tensor:
        return torch.zeros_like(faces[:, :, 0, 0])


class Jumping(Toy):
    """Rounding changes much, of faces whose first pixel is bright; and there it is wrong, too."""

    bright = 0.9

    def jump(self, faces: torch.Tensor) -> torch.Tensor:
        bright = faces[:, :1, 0, 0] > self.bright
        return torch.where(bright, (1e7 * faces[:, :1, 1, 1]).floor() % 2, 0.0)

    def wrong(self, faces: torch.Tensor) -> torch.Tensor:
        return torch.where(faces[:, :1, 0, 0] > self.bright, 0.5, 0.0)


def test_an_error_names_the_output_that_is_off(tmp_path, monkeypatch):
    monkeypatch.setattr(Toy, "wrong", lambda self, faces: faces[:, :, 0, 0])
    with pytest.raises(ExportError, match="not written: pose of the graph differ"):
        export_onnx(Toy(), tmp_path / "toy.onnx", graph="encode")
    assert not list(tmp_path.iterdir())


def test_faces_of_which_torch_is_not_sure_itself_are_left_out_and_counted(tmp_path):
    parity = export_onnx(Jumping(), tmp_path / "toy.onnx", graph="encode")
    assert 1 <= parity.unsteady <= 8 and parity.faces == 32 - parity.unsteady
    assert f"{parity.unsteady} more left out as unsteady" in str(parity)


def test_a_model_that_is_sure_of_few_faces_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(Jumping, "bright", 0.2)
    with pytest.raises(ExportError, match="too little to compare"):
        export_onnx(Jumping(), tmp_path / "toy.onnx", graph="encode")
    assert not list(tmp_path.iterdir())


def test_an_operation_that_onnx_lacks_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(Toy, "wrong", lambda self, faces: torch.linalg.svd(faces[:, 0])[1][:, :3])
    with pytest.raises(ExportError, match="toy.onnx: not written: toy: .*linalg_svd"):
        export_onnx(Toy(), tmp_path / "toy.onnx", graph="encode")
    assert not list(tmp_path.iterdir())


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for file in portrait_paths().values():
        shutil.copy(file, folder)
    return folder


@pytest.mark.parametrize("model", ["facecycle", "neurotensorial"])
def test_onnx_runtime_gives_the_codes_of_torch(tmp_path, photos, model):
    rows = {}
    for backend in ("torch", "onnx"):
        table = tmp_path / f"{backend}.npz"
        assert run("encode", str(photos), "-m", model, "-o", str(table), "--backend", backend) == 0
        rows[backend] = dict(np.load(table))
    assert rows["onnx"].keys() == rows["torch"].keys() >= api.load(model).spec.factors.keys()
    for name, column in rows["torch"].items():
        if name == "about":
            assert '"backend": "onnx"' in str(rows["onnx"][name])
        elif column.dtype.kind == "f":
            np.testing.assert_allclose(rows["onnx"][name], column, atol=1e-4, rtol=1e-4)
        else:
            np.testing.assert_array_equal(rows["onnx"][name], column)


def test_onnx_runtime_gives_the_expressions_of_torch(tmp_path, photos):
    rows = {}
    for backend in ("torch", "onnx"):
        table = tmp_path / f"{backend}.json"
        assert run("express", str(photos), "-o", str(table), "--backend", backend) == 0
        rows[backend] = json.loads(table.read_text())
    assert len(rows["onnx"]) == len(rows["torch"]) >= 2
    for found, expected in zip(rows["onnx"], rows["torch"], strict=True):
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            near = isinstance(value, float) and name not in ("left", "top", "right", "bottom")
            assert found[name] == (pytest.approx(value, abs=1e-4) if near else value)


def test_eight_bits_stay_near_the_whole_graph_on_photos(tmp_path, photos, caplog):
    whole, rounded = tmp_path / "whole.onnx", tmp_path / "int8.onnx"
    assert run("export", "ipdfer", "--onnx", str(whole)) == 0
    assert run("export", "ipdfer", "--onnx", str(rounded), "--int8", str(photos)) == 0
    assert "calibrated on 2 faces only" in caplog.text
    faces = torch.cat(portraits("arcface", 112))
    expected, found = run_graph(whole, faces), run_graph(rounded, faces)
    np.testing.assert_allclose(found, expected, atol=0.1)
    assert (found.argmax(1) == expected.argmax(1)).all()
    assert np.abs(found - expected).max() > TOLERANCE  # it is not the same graph
    np.testing.assert_allclose(found.sum(1), 1, atol=1e-5)
    assert rounded.stat().st_size < 0.4 * whole.stat().st_size
    about = {
        path: onnxruntime.InferenceSession(str(path)).get_modelmeta().custom_metadata_map
        for path in (whole, rounded)
    }
    assert about[rounded] == {**about[whole], "weights": "int8"}


class Misnaming(IPDFER):
    """Its graph has the classes in another order."""

    def expression_probabilities(self, faces):
        probabilities = super().expression_probabilities(faces)
        return probabilities.roll(1, 1) if torch.jit.is_tracing() else probabilities


def test_eight_bits_that_name_other_expressions_are_not_written(tmp_path):
    model = untrained()
    model.__class__ = Misnaming
    with pytest.raises(ExportError, match="int8.onnx: not written: in 8 bits only 0.0% of 4 faces"):
        export_int8(model, tmp_path / "int8.onnx", torch.cat(portraits("arcface", 112)))
    assert not list(tmp_path.iterdir())


def test_eight_bits_need_faces_and_a_model_that_names_expressions(tmp_path, capsys):
    target = tmp_path / "int8.onnx"
    with pytest.raises(ExportError, match="no faces to calibrate on"):
        export_int8(untrained(), target, torch.zeros(0, 3, 112, 112))
    with pytest.raises(ExportError, match="facecycle names no expressions"):
        export_int8(api.load("facecycle"), target, torch.zeros(1, 3, 64, 64))
    assert run("export", "ipdfer", "--onnx", str(target), "--int8", ".", "--graph", "encode") == 2
    assert not list(tmp_path.iterdir())
