"""The doctor tells what is wrong and what to do about it."""

import importlib.util
import os
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest
import torch

from facefactor import doctor
from facefactor.checkpoints import CheckpointHeader, save
from facefactor.factors import FactorSpec, ModelSpec

HEADER = CheckpointHeader(
    "facecycle",
    "small",
    {},
    ModelSpec("facecycle", "facecycle", 64, 3, {"identity": FactorSpec((2,), "who")}),
)


def test_here_nothing_fails(tmp_path: Path) -> None:
    checks = doctor.examine(tmp_path)
    assert {"python", "dependencies", "detector", "weights", "video", "disk"} <= {
        check.name for check in checks
    }
    assert not [check for check in checks if check.status == "fail"]
    assert all(check.advice for check in checks if check.status != "ok")
    assert all(not check.advice for check in checks if check.status == "ok")


def test_dependencies_missing_too_old_and_for_other_systems() -> None:
    fitting, missing, old = doctor.dependencies(
        [
            "pytest>=1",
            "no-such-package-here>=2",
            "numpy>=999",
            "winonly>1; sys_platform == 'win95'",
            "gradio>=6; extra == 'web'",
        ]
    )
    assert fitting.status == "ok" and "pytest" in fitting.seen
    assert (missing.status, missing.seen) == ("fail", "is not installed")
    assert missing.advice == "run: pip install 'no-such-package-here>=2'"
    assert old.status == "warn" and "this needs >=999" in old.seen


def test_torchvision_is_warned_about(monkeypatch: pytest.MonkeyPatch) -> None:
    assert doctor.torchvision().status == "ok"
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: ModuleSpec(name, None))
    check = doctor.torchvision()
    assert check.status == "warn" and "pip uninstall torchvision" in check.advice


def test_packaged_weights(tmp_path: Path) -> None:
    assert [check.status for check in doctor.weights(tmp_path)] == ["warn"]
    save(tmp_path / "a.safetensors", {"weight": torch.ones(4)}, HEADER)
    (check,) = doctor.weights(tmp_path)
    assert check.status == "ok" and "a.safetensors: facecycle, preset small" in check.seen
    data = bytearray((tmp_path / "a.safetensors").read_bytes())
    data[-1] ^= 1
    (tmp_path / "a.safetensors").write_bytes(data)
    (check,) = doctor.weights(tmp_path)
    assert check.status == "fail" and "a.safetensors" in check.seen


def test_a_detector_without_its_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise RuntimeError("the face detector's weights are missing")

    monkeypatch.setattr(doctor, "load_network", missing)
    (check,) = [check for check in doctor.examine() if check.name == "detector"]
    assert check.status == "fail" and "pip install mtcnn" in check.advice


def test_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert doctor.disk(tmp_path / "not" / "yet").status in ("ok", "warn")
    monkeypatch.setattr(doctor, "LOW_DISK", 1e9)
    assert doctor.disk(tmp_path).status == "warn"
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert doctor.disk(tmp_path).status == "fail"
