"""A killed run continues to the very weights an undisturbed one reaches; bad settings are told."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning import Callback, LightningModule
from safetensors import safe_open

from facefactor.data.records import FaceRecord
from facefactor.data.samples import FacePairs, LabelledBatch
from facefactor.errors import FaceFactorError
from facefactor.methods.facecycle.recipe import PRESETS
from facefactor.perception.frozen import Frozen
from facefactor.stages import Stage
from facefactor.training import monitor, processes
from facefactor.training.run import TrainingError, run_stages, sole_run
from facefactor.training.train import change_settings


class TinyStage(LightningModule):
    """Everything a real stage has: Adam, a schedule, noise in the step, a frozen instrument."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.network = torch.nn.Conv2d(3, 3, 3, padding=1)
        self.instrument = Frozen(torch.nn.Conv2d(3, 2, 1))

    def configure_optimizers(self):
        optimizer = torch.optim.Adam(self.network.parameters(), lr=0.01)
        schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, [4], gamma=0.1)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def training_step(self, pairs, batch_index):
        faces = pairs.flatten(0, 1)
        if delay := float(os.environ.get("STEP_SECONDS", 0)):
            time.sleep(delay)
        noisy = faces + 0.1 * torch.randn_like(faces)
        difference = self.instrument(self.network(noisy)) - self.instrument(faces)
        return difference.square().mean()


class Calm(TinyStage):
    """Nothing in its step is random."""

    def training_step(self, pairs, batch_index):
        faces = pairs.flatten(0, 1)
        difference = self.instrument(self.network(faces)) - self.instrument(faces)
        return difference.square().mean()


class TwoPlayers(TinyStage):
    """Two optimisers that take turns, as adversarial methods have them."""

    automatic_optimization = False

    def __init__(self) -> None:
        super().__init__()
        self.rival = torch.nn.Conv2d(3, 1, 1)

    def configure_optimizers(self):
        players = [torch.optim.Adam(part.parameters()) for part in (self.network, self.rival)]
        return players, [torch.optim.lr_scheduler.StepLR(players[0], 3, gamma=0.1)]

    def training_step(self, pairs, batch_index):
        first, second = self.optimizers()
        judged = self.rival(self.network(pairs.flatten(0, 1))).square().mean()
        first.zero_grad()
        second.zero_grad()
        self.manual_backward(judged)
        first.step()
        second.step()
        self.lr_schedulers().step()


class PowerCut(Callback):
    def __init__(self, at: int) -> None:
        self.at = at

    def on_train_batch_start(self, trainer, module, batch, batch_index):
        if batch_index == self.at:
            raise RuntimeError("power cut")


def run(
    out: Path,
    steps: int = 8,
    save_every: int = 2,
    kind: type[TinyStage] = TinyStage,
    callbacks=lambda stage, start: [],
    earlier: Path | None = None,
    **settings,
) -> dict[str, torch.Tensor]:
    modules: list[TinyStage] = []

    def build() -> TinyStage:
        modules.append(kind())
        return modules[-1]

    faces = np.random.default_rng(0).integers(0, 256, (6, 16, 16, 3), dtype=np.uint8)
    records = [FaceRecord(Path(f"{i}.png")) for i in range(6)]
    run_stages(
        [Stage("only", build, "pairs", images=4 * steps, batch_size=4)],
        lambda stage: FacePairs(faces, records, 2, seed=5),
        out,
        seed=5,
        settings=settings,
        callbacks=callbacks,
        save_every=save_every,
        accelerator="cpu",
        earlier=earlier,
    )
    return modules[0].network.state_dict()


def test_killed_at_any_moment_the_same_command_reaches_the_same_weights(tmp_path):
    undisturbed = run(tmp_path / "whole")
    code = (
        "from pathlib import Path; from tests.unit.training.test_run import run; "
        f"run(Path({str(tmp_path / 'killed')!r}))"
    )
    progress = tmp_path / "killed" / "progress-1-only.safetensors"
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        env={**os.environ, "STEP_SECONDS": "0.3"},
        cwd=Path(__file__).parents[3],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 90
    while not progress.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert progress.exists() and process.returncode == -signal.SIGKILL
    resumed = run(tmp_path / "killed")
    for name, weight in undisturbed.items():
        assert torch.equal(resumed[name], weight), name


def test_two_optimisers_take_all_steps_and_resume(tmp_path):
    undisturbed = run(tmp_path / "whole", kind=TwoPlayers)
    with pytest.raises(RuntimeError, match="power cut"):
        run(tmp_path / "cut", kind=TwoPlayers, callbacks=lambda stage, start: [PowerCut(5)])
    starts = []
    resumed = run(
        tmp_path / "cut", kind=TwoPlayers, callbacks=lambda stage, start: starts.append(start) or []
    )
    assert starts == [4]  # saved every second step
    for name, weight in undisturbed.items():
        assert torch.equal(weight, resumed[name])


class WithModel(LightningModule):
    """Two players of whom one is the model, which has a weights file of its own."""

    automatic_optimization = False
    rival_size = 1

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.model = torch.nn.Conv2d(3, 3, 3, padding=1)
        self.rival = torch.nn.Conv2d(3, self.rival_size, 1)

    network = property(lambda self: self.model)
    configure_optimizers = TwoPlayers.configure_optimizers
    training_step = TwoPlayers.training_step


class WithLargerRival(WithModel):
    rival_size = 2


def beginning(out: Path, earlier: Path | None, kind: type[LightningModule] = WithModel):
    """The state a run begins with, and how many weights its optimisers know the moments of."""
    seen = {}

    class Look(Callback):
        def on_train_batch_start(self, trainer, module, batch, batch_index):
            if not seen:
                seen.update({name: x.clone() for name, x in module.state_dict().items()})
                seen["moments"] = sum(len(each.state) for each in trainer.optimizers)

    run(out, 2, kind=kind, callbacks=lambda stage, start: [Look()], earlier=earlier)
    return seen


def test_what_a_run_trained_beside_its_model_goes_on_from_there(tmp_path):
    first = tmp_path / "first"
    run(first, kind=WithModel)
    with safe_open(first / "progress-1-only.safetensors", "pt") as file:
        left = {name: file.get_tensor(f"module.{name}") for name in ("rival.weight", "rival.bias")}
    anew, again = beginning(tmp_path / "anew", None), beginning(tmp_path / "again", first)
    for name, weight in left.items():
        assert torch.equal(again[name], weight) and not torch.equal(anew[name], weight)
    assert (anew["moments"], again["moments"]) == (0, 4)
    # the model's own weights come from its file, which is not read here
    assert torch.equal(again["model.weight"], anew["model.weight"])


def test_what_does_not_fit_or_is_not_there_begins_anew(tmp_path):
    first = tmp_path / "first"
    run(first, kind=WithModel)
    larger = beginning(tmp_path / "larger", first, WithLargerRival)
    untouched = beginning(tmp_path / "untouched", None, WithLargerRival)
    for name in ("rival.weight", "rival.bias"):
        assert torch.equal(larger[name], untouched[name])
    assert larger["moments"] == 0
    alone = beginning(tmp_path / "alone", tmp_path / "no such run")
    assert alone["moments"] == 0
    (first / "progress-1-only.safetensors").write_bytes(b"cut off")
    with pytest.raises(TrainingError, match="not a progress file"):
        beginning(tmp_path / "damaged", first)


SECOND = """
import sys
from pathlib import Path
import torch
from facefactor.training.processes import join_others
from tests.unit.training import test_run
join_others()
for kind in (test_run.Calm, test_run.TwoPlayers):
    torch.save(test_run.run(Path(sys.argv[1]), kind=kind), Path(sys.argv[1], kind.__name__))
"""


def test_two_processes_train_as_one_does_with_the_same_batches(tmp_path, monkeypatch):
    """Gradients are averaged, whoever owns them: one optimiser, or two that take turns by hand."""
    kinds = (Calm, TwoPlayers)
    alone = [run(tmp_path / f"alone-{kind.__name__}", kind=kind) for kind in kinds]
    places = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    for name, value in (places | {"RANK": "0"}).items():  # what torchrun says to the first
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(processes, "_PATIENCE", timedelta(minutes=3))
    other = subprocess.Popen(
        [sys.executable, "-c", SECOND, tmp_path],
        env={**os.environ, "RANK": "1", "PYTHONPATH": str(Path(__file__).parents[3])},
    )
    processes.join_others()
    try:
        shared = [run(tmp_path / f"shared-{kind.__name__}", kind=kind) for kind in kinds]
        assert other.wait(60) == 0
    finally:
        other.kill()
        torch.distributed.destroy_process_group()
    for kind, one, first in zip(kinds, alone, shared, strict=True):
        second, untrained = torch.load(tmp_path / kind.__name__), kind().network.state_dict()
        for name, weight in one.items():
            assert torch.equal(first[name], second[name])
            assert not torch.allclose(weight, untrained[name], atol=1e-3)
            torch.testing.assert_close(first[name], weight, rtol=1e-4, atol=1e-5)
    assert not list(tmp_path.glob("progress*"))  # only the first writes


def free_port():
    with socket.socket() as connection:
        connection.bind(("127.0.0.1", 0))
        return connection.getsockname()[1]


def test_each_process_has_its_share_of_the_same_batch(monkeypatch):
    rows = torch.arange(6.0)
    batches = [rows, LabelledBatch(rows, rows + 1, rows + 2, rows[:, None])]
    shares = []
    for number in range(2):
        monkeypatch.setattr(processes, "place", lambda number=number: (number, 2))
        share = processes.Share(batches)
        shares.append((share[0], *share[1]))
    assert isinstance(share[1], LabelledBatch)
    for first, second, whole in zip(*shares, (rows, *batches[1]), strict=True):
        assert torch.equal(torch.cat([first, second]), whole) and len(first) == 3
    monkeypatch.setattr(processes, "place", lambda: (0, 4))
    with pytest.raises(FaceFactorError, match="a batch of 6 is no even share for 4 processes"):
        processes.Share(batches)[0]


def test_sheets_are_numbered_by_the_steps_of_the_stage_not_of_the_process(tmp_path, monkeypatch):
    monkeypatch.setattr(monitor, "sample_sheet", lambda model, faces: np.zeros((4, 4, 3), np.uint8))
    faces = np.zeros((2, 4, 4, 3), np.uint8)

    def sheets(stage, start):
        return [monitor.SampleSheets(tmp_path / "sheets", faces, stage, start, every=3)]

    monkeypatch.setattr(TinyStage, "model", None, raising=False)
    with pytest.raises(RuntimeError, match="power cut"):
        run(tmp_path / "run", callbacks=lambda stage, start: [*sheets(stage, start), PowerCut(5)])
    run(tmp_path / "run", callbacks=sheets)
    names = sorted(path.name for path in (tmp_path / "sheets").iterdir())
    assert names == ["only-0000003.png", "only-0000006.png", "only-0000008.png"]


def test_a_finished_stage_is_loaded_not_trained_again(tmp_path):
    first = run(tmp_path)
    before = (tmp_path / "progress-1-only.safetensors").stat().st_mtime_ns
    again = run(tmp_path)
    assert (tmp_path / "progress-1-only.safetensors").stat().st_mtime_ns == before
    assert all(torch.equal(first[name], again[name]) for name in first)


def test_a_log_tells_step_rate_and_time_left(tmp_path, caplog):
    with caplog.at_level("INFO", "facefactor.training.monitor"):
        run(tmp_path, steps=100, save_every=100)
    own = "facefactor.training.monitor"
    (line,) = [record.getMessage() for record in caplog.records if record.name == own]
    assert line.startswith("only: step 100 of 100,") and "images/s, 0:00:00 left" in line


def test_other_settings_are_refused_by_name(tmp_path):
    run(tmp_path, steps=2, learning_rate=1)
    with pytest.raises(TrainingError, match="learning_rate"):
        run(tmp_path, steps=2, learning_rate=2)


def test_a_file_is_no_folder_to_train_into(tmp_path):
    (tmp_path / "run").write_text("kept")
    with (
        pytest.raises(TrainingError, match="run: no folder to train into"),
        sole_run(tmp_path / "run"),
    ):
        pass
    assert (tmp_path / "run").read_text() == "kept"


def test_two_processes_do_not_train_into_one_folder(tmp_path):
    where = f"Path({str(tmp_path / 'run')!r})"
    code = (
        "import sys; from pathlib import Path; from facefactor.training.run import sole_run\n"
        f"with sole_run({where}): print('in', flush=True); sys.stdin.read()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert other.stdout.readline() == "in\n"
    with (
        pytest.raises(TrainingError, match="another process is training"),
        sole_run(tmp_path / "run"),
    ):
        pass
    other.send_signal(signal.SIGKILL)
    other.communicate()
    for _ in range(2):  # whose lock nobody has to remove
        with sole_run(tmp_path / "run"):
            pass


def test_a_broken_progress_file_is_named(tmp_path):
    (tmp_path / "progress-1-only.safetensors").write_bytes(b"not a file of ours")
    with pytest.raises(TrainingError, match=r"progress-1-only.*remove it"):
        run(tmp_path)


def test_instruments_are_not_in_progress_files(tmp_path):
    from safetensors import safe_open

    run(tmp_path, steps=2)
    with safe_open(tmp_path / "progress-1-only.safetensors", "pt") as file:
        assert not [name for name in file.keys() if "instrument" in name]  # noqa: SIM118
        assert json.loads(file.metadata()["progress"])["step"] == 2


def test_settings_change_by_name_and_type():
    recipe = change_settings(
        PRESETS["small"], {"drop_at": "1", "expression.gram": "0.2", "padding": "zeros"}
    )
    assert recipe.drop_at == 1.0 and recipe.expression.gram == 0.2 and recipe.padding == "zeros"
    assert PRESETS["small"].expression.gram != 0.2


@pytest.mark.parametrize(
    ("name", "text"), [("nonsense", "1"), ("batch_size", "many"), ("padding.x", "1")]
)
def test_wrong_settings_are_refused(name, text):
    with pytest.raises(TrainingError, match=name.split(".")[0]):
        change_settings(PRESETS["small"], {name: text})
