"""What is seen of a run while it trains: lines of figures, pictures of held-out faces."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import torch
from kornia.color import rgb_to_grayscale
from lightning import Callback, LightningModule, Trainer
from numpy.typing import NDArray

from facefactor.files import atomic_path
from facefactor.images import face_to_photo, photos_to_faces, write_image
from facefactor.stages import Stage

logger = logging.getLogger(__name__)


class LogLines(Callback):
    """Every `every` steps a line: step, rate, time left, the figures a stage shows on its bar.

    A progress bar leaves nothing in a log file; this does.
    """

    def __init__(self, stage: Stage, start: int, every: int = 100) -> None:
        self.stage = stage
        self.start = start
        self.every = every
        self.clock = time.monotonic()

    def on_train_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Any, batch_index: int
    ) -> None:
        done = batch_index + 1
        if done % self.every:
            return
        now = time.monotonic()
        rate = self.every / (now - self.clock)  # steps a second since the last line
        self.clock = now
        step = self.start + done
        left = timedelta(seconds=round((self.stage.steps - step) / rate))
        shown = {name: float(value) for name, value in trainer.progress_bar_metrics.items()}
        logger.info(
            "%s: step %d of %d, %.1f images/s, %s left, %s",
            self.stage.name,
            step,
            self.stage.steps,
            rate * self.stage.batch_size,
            left,
            ", ".join(f"{name} {value:.4g}" for name, value in shown.items()),
        )


class SampleSheets(Callback):
    """Every `every` steps a PNG of held-out faces, see `sample_sheet`."""

    def __init__(
        self,
        folder: Path,
        faces: NDArray[np.uint8],
        stage: Stage,
        start: int,
        every: int = 500,
        columns: int = 12,
    ) -> None:
        self.folder = folder
        self.faces = photos_to_faces(faces[:columns])
        self.stage = stage
        self.start = start
        self.every = every

    def on_train_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Any, batch_index: int
    ) -> None:
        step = self.start + batch_index + 1
        if len(self.faces) and (step % self.every == 0 or step == self.stage.steps):
            sheet = sample_sheet(module.model, self.faces.to(module.device))
            write_image(self.folder / f"{self.stage.name}-{step:07d}.png", sheet)


class Validation(Callback):
    """Ten times a stage: how many photos that are not trained on have their expression recognised.

    Args:
        file: a JSON list of {"stage", "step", "photos", "accuracy", "class_mean"}; it grows.
        faces: (N, S, S, 3) uint8.
        labels: N expressions, all among the model's classes.
    """

    def __init__(
        self, file: Path, faces: NDArray[np.uint8], labels: Sequence[str], stage: Stage, start: int
    ) -> None:
        self.file = file
        self.faces = faces
        self.labels = np.array(labels)
        self.present = sorted(set(labels))
        self.stage = stage
        self.start = start
        self.every = max(1, stage.steps // 10)

    def on_train_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Any, batch_index: int
    ) -> None:
        step = self.start + batch_index + 1
        if step % self.every and step != self.stage.steps:
            return
        model: Any = module.model
        modes = {part: part.training for part in model.modules()}
        model.eval()
        right = self._right(model, module.device)
        for part, mode in modes.items():
            part.training = mode
        accuracy = float(right.mean())
        class_mean = float(np.mean([right[self.labels == name].mean() for name in self.present]))
        row = {
            "stage": self.stage.name,
            "step": step,
            "photos": len(right),
            "accuracy": accuracy,
            "class_mean": class_mean,
        }
        earlier = json.loads(self.file.read_text(encoding="utf-8")) if self.file.exists() else []
        # what a resumed run repeats replaces what was there; a fresh run has nothing earlier
        kept = [old for old in earlier if self._is_before(old, step)]
        with atomic_path(self.file) as temporary:
            temporary.write_text(json.dumps([*kept, row], indent=2) + "\n", encoding="utf-8")
        logger.info(
            "%s: step %d, validation: accuracy %.2f %%, class mean %.2f %% of %d photos",
            self.stage.name,
            step,
            100 * accuracy,
            100 * class_mean,
            len(right),
        )

    @torch.no_grad()
    def _right(self, model: Any, device: torch.device, batch: int = 64) -> NDArray[np.bool_]:
        """(N,) whether the expression said of each face is its label."""
        said: list[str] = []
        for start in range(0, len(self.faces), batch):
            faces = photos_to_faces(self.faces[start : start + batch]).to(device)
            likely = model.expression_probabilities(faces)
            said += [model.classes[index] for index in likely.argmax(dim=1).tolist()]
        return np.array(said) == self.labels

    def _is_before(self, row: dict[str, Any], step: int) -> bool:
        return row["stage"] != self.stage.name or row["step"] < step


@torch.no_grad()
def sample_sheet(model: Any, faces: torch.Tensor) -> NDArray[np.uint8]:
    """Rows of a sheet: input, every neutral the model has, redrawn, expression of the next face.

    Args:
        faces: (N, 3, S, S) in [0, 1]; a model of grey faces gets them grey.
    """
    modes = {part: part.training for part in model.modules()}
    model.eval()
    if model.spec.channels == 1:
        faces = rgb_to_grayscale(faces)
    codes = model.encode(faces)
    rows = [faces]
    for name in model.spec.factors:
        try:
            code = model.neutral(name).expand_as(codes[name])
        except ValueError:  # this factor cannot be left out
            continue
        rows.append(model.decode(codes.replace({name: code})))
    rows.append(model.decode(codes))
    if "expression" in model.spec.factors:
        rows.append(model.decode(codes.replace({"expression": codes["expression"].roll(1, 0)})))
    without_residual = type(codes)(codes.codes)
    if "neutral_face" in codes.residual:  # from the codes alone
        rows.append(model.decode(without_residual))
    for part, mode in modes.items():
        part.training = mode
    return np.vstack([np.hstack(face_to_photo(row.float().cpu())) for row in rows])
