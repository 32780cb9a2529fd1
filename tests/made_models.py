"""Models to encode with that need no weights, and misbehave when told to."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import torch
from torch import Tensor, nn

from facefactor.factors import Factors, FactorSpec, ModelSpec


class MeanColour(nn.Module):
    """Its identity code is the mean colour of a face.

    Args:
        kill: kills its own process with SIGKILL when it first encodes and this file is not there,
            having made it.
        pause: seconds that encoding takes.
    """

    def __init__(self, kill: Path | None = None, pause: float = 0) -> None:
        super().__init__()
        self.kill = kill
        self.pause = pause
        self.spec = ModelSpec(
            "mean-colour", "facecycle", 64, 3, {"identity": FactorSpec((3,), "mean colour")}
        )

    def encode(self, faces: Tensor) -> Factors:
        if self.kill and not self.kill.exists():
            self.kill.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(self.pause)
        return Factors({"identity": faces.mean(dim=(2, 3)).to(torch.float32)})
