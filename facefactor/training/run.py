"""Stages -> Lightning trainer -> weights; a run killed at any moment continues where it was."""

from __future__ import annotations

import json
import logging
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from lightning import Callback, LightningModule, Trainer, seed_everything
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from facefactor.errors import FaceFactorError
from facefactor.files import atomic_path
from facefactor.perception.frozen import Frozen
from facefactor.stages import Stage
from facefactor.training.monitor import LogLines
from facefactor.training.processes import AverageGradients, Share, is_first, own_device, place


class TrainingError(FaceFactorError, ValueError):
    """A run that cannot start or continue; says why and what to do."""


def run_stages(
    stages: Sequence[Stage],
    samples: Callable[[Stage], Dataset[Tensor]],
    out: Path,
    seed: int,
    settings: Mapping[str, Any],
    callbacks: Callable[[Stage, int], list[Callback]],
    save_every: int = 200,
    precision: str = "32-true",
    accelerator: str = "auto",
    workers: int = 0,
    earlier: Path | None = None,
) -> None:
    """Train every stage in order; finished ones are loaded, a half-done one continues.

    Where there are several processes (`training.processes`) all of them call this; the first one
    writes.

    Args:
        samples: the batches of a stage: a dataset whose item number `step` is the batch of that
            step, so that a step's batch does not depend on where the run was interrupted.
        out: folder for progress files and logs.
        settings: whatever decides the result besides the code; a run in `out` that was started
            with other settings is refused.
        callbacks: made for each stage that runs, from it and the step it starts at, in the first
            process.
        save_every: steps between progress files.
        earlier: folder of the run whose weights the model begins with. What its stages trained
            beside the model (critics and the like, which no weights file holds) goes on from there;
            critics that begin anew know nothing of what the model has learnt.

    Raises:
        TrainingError: `out` holds a run with other settings, or a loss is not finite.
    """
    out.mkdir(parents=True, exist_ok=True)
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)  # it advertises
    warnings.filterwarnings("ignore", message=r"Found \d+ module\(s\) in eval mode")  # instruments
    for number, stage in enumerate(stages, 1):
        path = out / f"progress-{number}-{stage.name}.safetensors"
        seed_everything(seed + number, verbose=False)
        module = stage.module().to(memory_format=torch.channels_last)
        progress = Progress(path, stage, {**settings, "seed": seed}, save_every)
        if progress.resume(module) >= stage.steps:
            continue
        if earlier is not None and not progress.start:
            progress.take_over(module, earlier / path.name)
        number_here, processes = place()
        watchers: list[Callback] = []
        if is_first():
            watchers = [*callbacks(stage, progress.start), LogLines(stage, progress.start)]
        loader = DataLoader(
            Share(samples(stage)) if processes > 1 else samples(stage),
            batch_size=None,
            sampler=range(progress.start, stage.steps),
            num_workers=workers,
        )
        trainer = Trainer(
            max_epochs=1,  # the loader ends where the stage does, however many optimisers step
            accelerator=accelerator,
            devices=own_device() if accelerator == "auto" else 1,
            plugins=[LightningEnvironment()],  # torchrun's is for its own way to share batches
            precision=precision,  # type: ignore[arg-type]
            logger=is_first() and _logger(out, stage.name),
            enable_progress_bar=is_first(),
            log_every_n_steps=10,
            enable_checkpointing=False,
            enable_model_summary=False,
            callbacks=[
                *watchers,
                *([AverageGradients()] if processes > 1 else ()),
                SeedEachStep(seed + number + 1_000 * number_here, progress),
                progress,
            ],
        )
        trainer.fit(module, loader)
        if trainer.interrupted:
            raise KeyboardInterrupt


class SeedEachStep(Callback):
    """All randomness inside a step follows from (seed, step)."""

    def __init__(self, seed: int, progress: Progress) -> None:
        self.seed = seed
        self.progress = progress

    def on_train_batch_start(
        self, trainer: Trainer, module: LightningModule, batch: Tensor, batch_index: int
    ) -> None:
        torch.manual_seed(self.seed * 1_000_003 + self.progress.start + batch_index)


class Progress(Callback):
    """Writes weights, optimiser state and step number to one file, and reads them back.

    Attributes:
        start: the step this process started from.
    """

    def __init__(
        self, path: Path, stage: Stage, settings: Mapping[str, Any], save_every: int
    ) -> None:
        self.path = path
        self.stage = stage
        self.settings = _as_read_back(settings)
        self.save_every = save_every
        self.start = 0
        self.seconds = 0.0
        self.began = time.monotonic()
        self._optimizer_state: dict[str, Tensor] = {}

    def resume(self, module: LightningModule) -> int:
        """Load what the file holds into `module`; the step reached, 0 without a file."""
        if not self.path.exists():
            return 0
        header, tensors = _read(self.path)
        _check_settings(self.path, header, self.settings)
        own = {name: tensors[f"module.{name}"] for name in _own_state(module)}
        module.load_state_dict(own, strict=False)
        self._optimizer_state = _optimizer_part(tensors)
        self.start, self.seconds = header["step"], header["seconds"]
        return self.start

    def take_over(self, module: LightningModule, path: Path) -> None:
        """Begin with what another run's file of this stage holds beside its `model`, and with the
        moments of its optimisers where all networks are of one size; nothing where it is not there.
        """
        if not path.is_file():
            return
        _, tensors = _read(path)
        own = _own_state(module)
        fitting = {
            name: tensors[f"module.{name}"]
            for name, value in own.items()
            if f"module.{name}" in tensors and tensors[f"module.{name}"].shape == value.shape
        }
        beside = {name: x for name, x in fitting.items() if not name.startswith("model.")}
        module.load_state_dict(beside, strict=False)
        if len(fitting) == len(own):
            self._optimizer_state = _optimizer_part(tensors)

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        for index, optimizer in enumerate(trainer.optimizers):
            _load_optimizer(optimizer, f"optimizer.{index}.", self._optimizer_state)
        self._optimizer_state = {}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that no optimiser step was made in between
            for config in trainer.lr_scheduler_configs:
                for _ in range(self.start):  # schedules are functions of the step: walk there
                    config.scheduler.step()  # type: ignore[call-arg]

    def on_train_batch_end(
        self,
        trainer: Trainer,
        module: LightningModule,
        outputs: Any,
        batch: Tensor,
        batch_index: int,
    ) -> None:
        step = self.start + batch_index + 1
        loss = outputs.get("loss") if isinstance(outputs, dict) else outputs
        if loss is None:  # manual optimisation: what the module logged under this name
            loss = trainer.callback_metrics.get("loss")
        if step % self.save_every == 0 or step == self.stage.steps:
            if loss is not None and not torch.isfinite(loss):
                raise TrainingError(
                    f"stage {self.stage.name}: the loss is {loss.item()} at step {step}; "
                    f"{self.path} still holds the last finite state; lower the learning rate"
                )
            self.save(trainer, module, step)

    def save(self, trainer: Trainer, module: LightningModule, step: int) -> None:
        """Write the file: never half of it, whatever happens meanwhile."""
        if not is_first():
            return
        tensors = {f"module.{name}": value for name, value in _own_state(module).items()}
        for index, optimizer in enumerate(trainer.optimizers):
            tensors |= _optimizer_tensors(optimizer, f"optimizer.{index}.")
        header = {
            "stage": self.stage.name,
            "step": step,
            "seconds": self.seconds + time.monotonic() - self.began,
            "settings": self.settings,
        }
        with atomic_path(self.path) as temporary:
            save_file(
                {name: value.detach().cpu().contiguous() for name, value in tensors.items()},
                temporary,
                metadata={"progress": json.dumps(header)},
            )


@contextmanager
def sole_run(out: Path) -> Iterator[None]:
    """Nobody else trains into this folder meanwhile.

    Args:
        out: made if it is not there.

    Raises:
        TrainingError: another process is at it, or nothing can be written there.
    """
    try:  # the system lets go of it however the process ends
        out.mkdir(parents=True, exist_ok=True)
        held = FileLock(out / ".lock").acquire(blocking=False)
    except Timeout:
        raise TrainingError(
            f"{out}: another process is training into this folder; wait for it to end, or give "
            "another --out"
        ) from None
    except OSError as error:  # a file of that name, no permission, a full disk
        raise TrainingError(f"{out}: no folder to train into ({error.strerror})") from error
    with held:
        yield


def refuse_other_settings(out: Path, settings: Mapping[str, Any]) -> None:
    """TrainingError where the folder holds progress of a run with other settings.

    Args:
        settings: all of them, the seed included.
    """
    for path in sorted(out.glob("progress-*.safetensors")):
        _check_settings(path, _read(path, with_tensors=False)[0], _as_read_back(settings))


def _as_read_back(settings: Mapping[str, Any]) -> Any:
    return json.loads(json.dumps(settings))


def _check_settings(path: Path, header: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    """TrainingError where a progress file is of a run with other settings."""
    there = header["settings"]
    changed = sorted(key for key in {*there, *settings} if there.get(key) != settings.get(key))
    if changed:
        raise TrainingError(
            f"{path}: was started with other settings ({', '.join(changed)}); give another --out, "
            "or the same settings to continue"
        )


def _read(path: Path, with_tensors: bool = True) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Header and tensors of a progress file."""
    try:
        with safe_open(path, "pt") as file:
            header = json.loads(file.metadata()["progress"])
            names = file.keys() if with_tensors else ()
            return header, {name: file.get_tensor(name) for name in names}
    except Exception as error:
        raise TrainingError(
            f"{path}: not a progress file ({error}); remove it to start this stage anew"
        ) from error


def _optimizer_part(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in tensors.items() if name.startswith("optimizer.")}


def _own_state(module: LightningModule) -> dict[str, Tensor]:
    """The state of everything but the instruments, which come from elsewhere and never change."""
    frozen = tuple(f"{name}." for name, part in module.named_modules() if isinstance(part, Frozen))
    return {
        name: value
        for name, value in module.state_dict().items()
        if not name.startswith(frozen or ("\0",))
    }


def _optimizer_tensors(optimizer: torch.optim.Optimizer, prefix: str) -> dict[str, Tensor]:
    """Moments and counters of an optimiser as flat named tensors."""
    return {
        f"{prefix}{index}.{name}": value
        for index, state in optimizer.state_dict()["state"].items()
        for name, value in state.items()
        if isinstance(value, Tensor)
    }


def _load_optimizer(
    optimizer: torch.optim.Optimizer, prefix: str, tensors: Mapping[str, Tensor]
) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        if key.startswith(prefix):
            index, name = key.removeprefix(prefix).split(".", 1)
            state.setdefault(int(index), {})[name] = value
    if state:
        whole = optimizer.state_dict()
        optimizer.load_state_dict({**whole, "state": state})


def _logger(out: Path, name: str) -> Iterable[Any] | bool:
    """TensorBoard where it is installed."""
    try:
        from lightning.pytorch.loggers import TensorBoardLogger

        return [TensorBoardLogger(out / "logs", name=name, version="")]
    except ModuleNotFoundError:
        return False
