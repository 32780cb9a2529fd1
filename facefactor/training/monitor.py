"""What is seen of a run while it trains: lines of figures, pictures of held-out faces."""

from __future__ import annotations

import logging
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning import Callback, LightningModule, Trainer
from numpy.typing import NDArray

from facefactor.images import face_to_photo, write_image
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
        chosen = torch.from_numpy(faces[:columns].copy()).permute(0, 3, 1, 2)
        self.faces = chosen.float() / 255
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


@torch.no_grad()
def sample_sheet(model: Any, faces: torch.Tensor) -> NDArray[np.uint8]:
    """Rows of a sheet: input, every neutral the model has, redrawn, expression of the next face.

    Args:
        faces: (N, C, S, S) in [0, 1].
    """
    modes = {part: part.training for part in model.modules()}
    model.eval()
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
