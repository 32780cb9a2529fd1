"""Several processes that train one model, each on its share of every batch.

They are started by torchrun, on one machine or several, and learn their places from its variables:

    torchrun --nproc-per-node 2 -m facefactor train facecycle --data celeba=CelebA

Every process draws the batch of a step by its number, as one alone would, and keeps its share;
gradients are averaged before each step of an optimiser. So a loss that is a mean over faces trains
as in one process, to rounding. What looks at a batch as a whole sees a share only: batch
normalisation (which needs two faces), comparisons between faces of a batch, means over those with a
label, and terms that are balanced by their size. Noise inside a step is each process's own.
"""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor, distributed
from torch.utils.data import Dataset

from facefactor.errors import FaceFactorError

_PATIENCE = timedelta(days=1)  # while the first process cuts faces, the others wait


def join_others() -> None:
    """Meet the other processes of this run, if torchrun started several."""
    if int(os.environ.get("WORLD_SIZE", 1)) > 1 and not distributed.is_initialized():
        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
        distributed.init_process_group(backend, timeout=_PATIENCE)


def place() -> tuple[int, int]:
    """The number of this process, from 0, and how many there are."""
    if not distributed.is_initialized():
        return 0, 1
    return distributed.get_rank(), distributed.get_world_size()


def is_first() -> bool:
    """Whether this is the process that writes files."""
    return place()[0] == 0


def wait_for_others() -> None:
    """Until all processes are here."""
    if distributed.is_initialized():
        distributed.barrier()


def own_device() -> list[int] | int:
    """What a Trainer takes: of several GPUs the one with this process's number on its machine."""
    return [int(os.environ.get("LOCAL_RANK", 0))] if torch.cuda.device_count() > 1 else 1


class Share(Dataset[Any]):
    """Batch number `step` of `samples`, of which this process keeps its consecutive share.

    Raises:
        FaceFactorError: a batch cannot be shared evenly.
    """

    def __init__(self, samples: Dataset[Any]) -> None:
        self.samples = samples
        self.number, self.count = place()

    def __getitem__(self, step: int) -> Any:
        batch = self.samples[step]
        if isinstance(batch, Tensor):
            return self._of(batch)
        return type(batch)(*map(self._of, batch))  # a named tuple of tensors

    def _of(self, values: Tensor) -> Tensor:
        if len(values) % self.count:
            raise FaceFactorError(
                f"a batch of {len(values)} is no even share for {self.count} processes; change "
                "the batch size"
            )
        return values.chunk(self.count)[self.number]


class AverageGradients(Callback):
    """Before an optimiser steps, the gradients of its parameters become the mean of all processes.

    Where a process has no gradient its share is 0; where none has one there stays none.
    """

    def on_before_optimizer_step(
        self, trainer: Trainer, module: LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        moved = [value for group in optimizer.param_groups for value in group["params"]]
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in moved]
        there = gradients[0].new_tensor([p.grad is not None for p in moved])
        # In one piece: each exchange takes a while, however small.
        whole = torch.cat([there, *(gradient.flatten() for gradient in gradients)])
        distributed.all_reduce(whole)
        there, *means = torch.split(whole, [len(moved), *(p.numel() for p in moved)])
        for parameter, mean, processes in zip(moved, means, there.tolist(), strict=True):
            if processes:
                parameter.grad = (mean / place()[1]).view_as(parameter)
