"""What the guides say is run: their code, and every command of the tutorial."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch

from facefactor import cli, editing
from facefactor.api import abilities
from facefactor.data.crops import CroppedFaces
from facefactor.data.records import FaceRecord
from facefactor.data.samples import LabelledBatch
from facefactor.images import read_photo
from tests.methods.test_contract import fit

DOCS = Path(__file__).resolve().parents[2] / "docs"


def blocks(page: str, language: str) -> list[str]:
    text = (DOCS / page).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def module_of(page: str) -> ModuleType:
    """All python of a guide, one block after the other, as one module."""
    made = ModuleType("guide")
    code = "\n".join(blocks(page, "python"))
    exec(compile(code, page, "exec", dont_inherit=True), made.__dict__)
    return made


@pytest.fixture(scope="module")
def method():
    return module_of("add-a-method.md")


def test_the_method_is_one(method):
    recipe = method.PRESETS["small"]
    torch.manual_seed(0)
    model = method.build(recipe).eval()
    faces = torch.rand(2, 3, 32, 32)
    codes = model.encode(faces)
    assert {name: codes[name].shape[1:] for name in model.spec.factors} == {
        name: factor.shape for name, factor in model.spec.factors.items()
    }
    drawn = model.decode(editing.set_strength(codes, model, "expression", 0.0))
    assert drawn.shape == faces.shape and 0 <= drawn.min() and drawn.max() <= 1
    assert abilities(model) == frozenset()
    with pytest.raises(editing.FactorError, match="keeps pose inside expression"):
        editing.check_factor(model.spec, "pose")


def test_the_method_learns(method, tmp_path):
    torch.manual_seed(0)
    recipe = method.PRESETS["small"]
    model = method.begin(recipe)
    faces = torch.rand(4, 3, 32, 32)
    unknown = torch.full((4,), -1)
    batch = LabelledBatch(faces, unknown, unknown, torch.full((4, 68, 2), torch.nan))
    (stage,) = method.stages(recipe, model, method.load_instrument(recipe))
    losses = [(model.decode(model.encode(faces)) - faces).square().mean().item()]
    fit(stage.module(), [batch] * 30, tmp_path)
    losses.append((model.decode(model.encode(faces)) - faces).square().mean().item())
    assert losses[1] < 0.8 * losses[0]


def test_the_protocol_measures(method, monkeypatch, tmp_path):
    protocol = module_of("add-a-protocol.md")
    torch.manual_seed(0)
    model = method.build(method.PRESETS["small"]).eval()
    pixels = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3)).astype(np.uint8)
    records = [FaceRecord(tmp_path / f"{number}.png", subject=str(number)) for number in range(3)]
    monkeypatch.setitem(protocol.READERS, "celeba", lambda folder: records)
    monkeypatch.setattr(protocol, "hold_out_people", lambda records: ([], list(records)))
    subject = SimpleNamespace(
        name="linear",
        model=model,
        untrained=lambda seed: model,
        cut=lambda records: CroppedFaces(pixels, list(records), []),
    )
    found = protocol.brightness(subject, {"celeba": tmp_path}, seed=0)
    own, untrained = found.tables
    assert (own.model, untrained.model, own.n) == ("linear", "untrained", 3)
    assert own["brightness changed"] == untrained["brightness changed"] > 0
    faces = torch.full((2, 3, 4, 4), 0.5)
    assert protocol.brightness_kept(faces + 0.2, faces).value == pytest.approx(51)


def run_commands(page: str, capsys: pytest.CaptureFixture[str]) -> int:
    """How many there are, one after the other in the folder at hand; a line that begins with
    `# fails:` says that the next one is to be refused, and with what words."""
    refused, ran = "", 0
    for line in "\n".join(blocks(page, "bash")).splitlines():
        words = shlex.split(line, comments=True)
        if not words:
            refused = line.removeprefix("# fails:").strip() if "# fails:" in line else ""
            continue
        assert words[0] == "facefactor", line
        with pytest.raises(SystemExit) as left:
            cli.main(words[1:])
        said = capsys.readouterr()
        if refused:
            assert left.value.code == 1 and refused in said.err, line
        else:
            assert not left.value.code, f"{line}: {said.err}"
        refused, ran = "", ran + 1
    return ran


def test_every_command_of_the_tutorial_works(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run_commands("tutorial.md", capsys) > 15
    text = (DOCS / "tutorial.md").read_text(encoding="utf-8")
    made = re.findall(r"`(\S+\.(?:png|gif|mp4|csv|parquet|glb))`", text)
    assert {name for name in made if not (tmp_path / name).is_file()} == set() and len(made) > 6


def test_the_gallery_is_what_its_commands_make(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    run_commands("gallery.md", capsys)
    text = (DOCS / "gallery.md").read_text(encoding="utf-8")
    shown = re.findall(r"\]\(images/(\S+)\)", text)
    demo = ["demo.png", "expressions.png", "light.png", "normal.png"]  # the README's
    assert len(shown) == 5
    for name in [*shown, *(f"demo/{sheet}" for sheet in demo)]:
        made, kept = (read_photo(path) for path in (name, DOCS / "images" / Path(name).name))
        assert made.shape == kept.shape, name
        # Processors round differently, and a rounded landmark moves a square by a little.
        assert np.abs(made.astype(int) - kept).mean() < 2, f"{name} is not what is shown"
