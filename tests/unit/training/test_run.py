"""A killed run continues to the very weights an undisturbed one reaches; bad settings are told."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning import LightningModule

from facefactor.data.records import FaceRecord
from facefactor.data.samples import FacePairs, deform, match_colour
from facefactor.methods.facecycle.recipe import PRESETS
from facefactor.perception.frozen import Frozen
from facefactor.stages import Stage
from facefactor.training.run import TrainingError, run_stages
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


def run(out: Path, steps: int = 8, save_every: int = 2, **settings) -> dict[str, torch.Tensor]:
    modules: list[TinyStage] = []

    def build() -> TinyStage:
        modules.append(TinyStage())
        return modules[-1]

    faces = np.random.default_rng(0).integers(0, 256, (6, 16, 16, 3), dtype=np.uint8)
    records = [FaceRecord(Path(f"{i}.png")) for i in range(6)]
    run_stages(
        [Stage("only", build, "pairs", images=4 * steps, batch_size=4)],
        lambda stage: FacePairs(faces, records, 2, seed=5),
        out,
        seed=5,
        settings=settings,
        callbacks=lambda stage: [],
        save_every=save_every,
        accelerator="cpu",
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


def faces_of(*people: str) -> tuple[np.ndarray, list[FaceRecord]]:
    faces = np.stack([np.full((8, 8, 3), 10 * i, np.uint8) for i in range(len(people))])
    faces[:, :, :4] += 5  # left and right differ
    return faces, [FaceRecord(Path(f"{i}.png"), p or None) for i, p in enumerate(people)]


def test_batches_are_functions_of_seed_and_step():
    faces, records = faces_of("a", "a", "b")
    one, two = (FacePairs(faces, records, 4, seed=1) for _ in range(2))
    torch.manual_seed(99)
    first = one[7]
    two[3]
    assert torch.equal(first, two[7])
    assert not torch.equal(first, one[8])
    assert not torch.equal(first, FacePairs(faces, records, 4, seed=2)[7])
    assert first.shape == (4, 2, 3, 8, 8) and 0 <= first.min() and first.max() <= 1


def test_partners_are_the_same_person_or_the_mirror_image():
    faces, records = faces_of("a", "a", "b", "")
    pairs = FacePairs(faces, records, 1, seed=0, flip_probability=0.0)
    assert [list(p) for p in pairs.partners] == [[1], [0], [], []]
    drawn = [pairs._pair(np.random.default_rng(s)) for s in range(30)]
    for pair in drawn:
        first = int(pair[0].min()) // 10
        if first >= 2:  # alone: the partner is the mirror image
            assert np.array_equal(pair[1], pair[0][:, ::-1])


def test_strangers_are_never_the_same_photo():
    faces, records = faces_of("a", "b", "c")
    pairs = FacePairs(faces, records, 1, seed=0, strangers=True)
    for seed in range(30):
        pair = pairs._pair(np.random.default_rng(seed))
        assert pair[0].min() != pair[1].min()


def test_each_face_is_deformed_by_its_own_smooth_motion():
    torch.manual_seed(0)
    ramp = torch.linspace(0, 1, 64).expand(64, 1, 64, 64)
    moved = deform(ramp)
    shift_px = (moved - ramp) * 63  # how far each pixel's colour came from, along x
    assert 1.0 < shift_px.square().mean().sqrt() < 2.5
    assert (moved[0] - moved[1]).abs().mean() > 0.005
    assert shift_px.diff(dim=-1).abs().mean() < 0.5  # neighbours move together


def test_pairs_of_one_person_are_deformed_and_strangers_are_not():
    faces, records = faces_of("", "", "")
    ramp = np.broadcast_to(np.arange(0, 240, 4, dtype=np.uint8)[:, None], (3, 60, 60, 3))
    kept = FacePairs(ramp, records, 8, seed=0, strangers=True)[0]
    moved = FacePairs(ramp, records, 8, seed=0)[0]
    assert kept.shape == moved.shape and faces.shape[0] == 3

    def bend(batch):  # rows of a ramp stay straight under an affine motion
        return batch[..., 10:50, 10:50].diff(dim=-1).diff(dim=-1).abs().mean()

    assert bend(moved) > 2 * bend(kept)


def test_matched_colour_has_the_other_mean_and_deviation():
    random = np.random.default_rng(0)
    face = random.integers(60, 120, (32, 32, 3), dtype=np.uint8)
    like = random.integers(90, 200, (32, 32, 3), dtype=np.uint8)
    matched = match_colour(face, like).astype(float)
    np.testing.assert_allclose(matched.mean((0, 1)), like.mean((0, 1)), atol=1)
    np.testing.assert_allclose(matched.std((0, 1)), like.std((0, 1)), rtol=0.03)


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
