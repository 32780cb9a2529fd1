"""What is seen of a run while it trains."""

import json
import types

import numpy as np
import pytest
import torch
from torch import nn

from facefactor.stages import Stage
from facefactor.training.monitor import Validation


class Model(nn.Module):
    """Calls bright faces happy, others sad; its dropout must be asleep."""

    classes = ("sad", "happy", "fear")

    def __init__(self) -> None:
        super().__init__()
        self.dropout = nn.Dropout(0.99)

    def expression_probabilities(self, faces: torch.Tensor) -> torch.Tensor:
        bright = self.dropout(faces.mean((1, 2, 3)))
        return torch.stack([1 - bright, bright, torch.zeros_like(bright)], dim=1)


@pytest.fixture
def watch(tmp_path):
    """Four bright faces and one dark one; one bright face is called sad, so 4 of 5 are right."""
    faces = np.full((5, 8, 8, 3), 250, np.uint8)
    faces[0] = 3
    labels = ["sad", "happy", "happy", "happy", "sad"]
    stage = Stage("only", nn.Module, "labelled", images=80, batch_size=4)  # 20 steps

    def at(*steps: int, start: int = 0) -> list[dict[str, float]]:
        module = types.SimpleNamespace(model=Model().train(), device="cpu")
        callback = Validation(tmp_path / "validation.json", faces, labels, stage, start)
        for step in steps:
            callback.on_train_batch_end(None, module, None, None, step - 1 - start)
        assert module.model.dropout.training
        path = tmp_path / "validation.json"
        return json.loads(path.read_text()) if path.exists() else []

    return at


def test_accuracy_and_class_mean_are_written_ten_times_a_stage(watch):
    assert watch(1) == []
    rows = watch(*range(1, 21))
    assert [row["step"] for row in rows] == list(range(2, 21, 2))
    assert rows[0] == {
        "stage": "only",
        "step": 2,
        "photos": 5,
        "accuracy": pytest.approx(4 / 5),
        "class_mean": pytest.approx((1 / 2 + 1) / 2),  # fear is absent
    }


def test_a_resumed_run_replaces_what_it_repeats(watch):
    watch(2, 4, 6)
    assert [row["step"] for row in watch(6, 8, start=5)] == [2, 4, 6, 8]
    assert [row["step"] for row in watch(4, start=3)] == [2, 4]
