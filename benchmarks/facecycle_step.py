"""Speed of FaceCycle: training steps of both stages, and the edit of one photo.

    python benchmarks/facecycle_step.py
    python benchmarks/facecycle_step.py --preset code --peer /path/to/FaceCycle

`--peer` is a checkout of the paper's released code (JiaRenChang/FaceCycle); `released_facecycle.py`
says what is run of it. All steps are timed in turn, A B A B, in one process, on the same random
images and with random frozen weights: speed does not depend on either. What is timed is the step
alone, from a batch on the device to updated weights: ours in training's precision, the peer in
float32, as released (`--precision 32-true` compares like with like).

Beside each speed stands the arithmetic that is asked for (convolutions and matrix products, forward
and backward) and the rate it is done at. "of one conv." holds that against the best rate of one
large convolution in the same precision, timed in the same turns: the floor of the time is at 100%.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from released_facecycle import ReleasedStep, import_released
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from facefactor import api, checkpoints
from facefactor.methods.facecycle.recipe import PRESETS, build, stages
from facefactor.nn.imagenet import ImageNetSpace
from facefactor.perception.align import paste_back
from facefactor.perception.instruments import feature_network
from facefactor.perception.recognition import FeatureMaps, MobileFaceNet
from facefactor.training.train import _has_bf16

Step = Callable[[], Any]


def our_step(preset: str, stage: str, pairs: Tensor, bf16: bool) -> Step:
    """One step as `facefactor train` takes it, on a model of its own: stage 2 freezes stage 1."""
    recipe = PRESETS[preset]
    if recipe.instrument == "mobilefacenet":
        instrument: nn.Module = FeatureMaps(MobileFaceNet())
    else:
        instrument = feature_network("random_vgg19")
    built = {each.name: each for each in stages(recipe, build(recipe), instrument)}
    module: Any = built[stage].module().to(memory_format=torch.channels_last).to(pairs.device)
    module.log = module.log_dict = lambda *args, **kwargs: None  # there is no trainer to log to
    optimizer = module.configure_optimizers()["optimizer"]

    def step() -> Tensor:
        with torch.autocast(pairs.device.type, torch.bfloat16, enabled=bf16):
            loss: Tensor = module.training_step(pairs, 0)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        return loss.detach()

    return step


def edit_steps(folder: Path) -> dict[str, Step]:
    """What editing scikit-image's astronaut is made of; untrained where no weights are packaged."""
    from skimage.data import astronaut

    paths = [entry.path for entry in api.models() if entry.name == "facecycle"]
    path = paths[0] if paths else _save_untrained(folder / "model.safetensors")
    model: Any = api.load(path)
    photo = astronaut()  # type: ignore[no-untyped-call]
    face = api.read_face(photo)
    crop, placement = face.cut(model.spec)
    factors = model.encode(crop)
    redrawn = model.decode(factors)
    flow = model.edit_flow(factors, factors)
    return {
        "load the model": partial(api.load, path),
        "find the face": partial(api.read_face, photo),
        "align": partial(face.cut, model.spec),
        "encode": partial(model.encode, crop),
        "decode": partial(model.decode, factors),
        "paste back": partial(paste_back, photo, placement, redrawn, redrawn, flow),
        "model loaded, in all": lambda: api.neutral_face(model, api.read_face(photo)),
    }


def _save_untrained(path: Path) -> Path:
    recipe = PRESETS["small"]
    model = build(recipe)
    settings = json.loads(json.dumps(dataclasses.asdict(recipe)))
    header = checkpoints.CheckpointHeader("facecycle", "small", settings, model.spec)
    checkpoints.save(path, model.state_dict(), header)
    return path


def take_turns(steps: Mapping[str, Step], rounds: int) -> dict[str, list[float]]:
    """Seconds of each step, `rounds` times after one warm-up, A B A B."""
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(rounds + 1):
        for name, step in steps.items():
            start = time.perf_counter()
            step()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            if turn:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def count_gflop(step: Step) -> float:
    """Of one step; refuses a loss that is not finite, whose time would mean nothing."""
    with FlopCounterMode(display=False) as counter:
        result = step()
    if isinstance(result, Tensor) and not result.isfinite().all():
        raise SystemExit(f"{step}: gives {result}")
    return counter.get_total_flops() / 1e9


def convolution(batch: int, device: str, dtype: torch.dtype) -> Step:
    """One 3x3 convolution from 256 to 256 channels at 64x64, forward."""
    layer: Any = nn.Conv2d(256, 256, 3, padding=1).to(device, dtype).requires_grad_(False)
    maps = torch.rand(batch, 256, 64, 64, device=device).to(dtype)
    maps = maps.contiguous(memory_format=torch.channels_last)
    return partial(layer.to(memory_format=torch.channels_last), maps)


def spread(values: list[float]) -> str:
    low, middle, high = min(values), statistics.median(values), max(values)
    return f"{middle:9.2f} ({low:.2f} to {high:.2f})"


def report_training(args: argparse.Namespace) -> None:
    bf16 = args.precision == "bf16-mixed"
    dtypes = {"ours": torch.bfloat16 if bf16 else torch.float32, "peer": torch.float32}
    pairs = torch.rand(args.batch // 2, 2, 3, 64, 64, device=args.device)
    if args.peer:
        released = import_released(args.peer, args.device)
        images = ImageNetSpace().to(args.device)(pairs.transpose(0, 1).flatten(0, 1))
    print(
        f"\n{'training step':24} {'images/s: median (range)':32} {'GFLOP/image':>11} {'GFLOP/s':>9}"
        f" {'of one conv.':>12}  {'speed over peer: median (range)' if args.peer else ''}"
    )
    for stage in ("expression", "identity"):
        steps = {preset: our_step(preset, stage, pairs, bf16) for preset in args.preset}
        if args.peer:
            steps["peer"] = ReleasedStep(released, stage, images)
        for dtype in dict.fromkeys(dtypes.values() if args.peer else [dtypes["ours"]]):
            steps[str(dtype)] = convolution(args.batch, args.device, dtype)
        gflop = {name: count_gflop(step) for name, step in steps.items()}
        seconds = take_turns(steps, args.rounds)
        for name, taken in seconds.items():
            yardstick = name if name.startswith("torch.") else str(dtypes.get(name, dtypes["ours"]))
            floor = gflop[name] * min(seconds[yardstick]) / gflop[yardstick]  # seconds
            middle = statistics.median(taken)
            label = f"one conv. {name[6:]}" if name == yardstick else f"{name} {stage}"
            row = f"{label:24} {spread([args.batch / s for s in taken]):32}"
            row += f" {gflop[name] / args.batch:11.2f} {gflop[name] / middle:9.1f}"
            row += f" {floor / middle:12.0%}"
            if args.peer and name in args.preset:
                row += spread([b / a for a, b in zip(taken, seconds["peer"], strict=True)])
            print(row, flush=True)


def report_edit(rounds: int) -> None:
    print(f"\n{'edit of a photo, CPU':20} {'ms: median (range)':32} {'GFLOP':>11} {'GFLOP/s':>9}")
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        steps = edit_steps(Path(folder))
        for name, taken in take_turns(steps, rounds).items():
            gflop = count_gflop(steps[name])
            reached = gflop / statistics.median(taken)
            print(f"{name:20} {spread([1e3 * s for s in taken]):32} {gflop:11.3f} {reached:9.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    add = parser.add_argument
    add("--preset", action="append", choices=PRESETS, help="repeatable; small and code")
    add("--batch", type=int, default=32, help="images a step, an even number; 32")
    add("--rounds", type=int, default=5, help="timed steps of each; 5")
    add("--device", choices=("cpu", "cuda"), help="of training; cuda where there is one")
    add("--precision", choices=("bf16-mixed", "32-true"), help="of ours; as training chooses")
    add("--peer", type=Path, metavar="DIR", help="checkout of the released code")
    add("--no-edit", action="store_true", help="training steps alone")
    args = parser.parse_args()
    if args.batch < 2 or args.batch % 2 or args.rounds < 1:
        parser.error("--batch is an even number of images, --rounds at least 1")
    if args.peer and not (args.peer / "Loss.py").is_file():
        parser.error(f"{args.peer} has no Loss.py; name a checkout of JiaRenChang/FaceCycle")
    args.preset = args.preset or ["small", "code"]
    args.device = args.device or ("cuda" if torch.cuda.is_available() else "cpu")
    args.precision = args.precision or ("bf16-mixed" if _has_bf16() else "32-true")
    torch.manual_seed(0)
    where = torch.cuda.get_device_name() if args.device == "cuda" else "CPU"
    threads = torch.get_num_threads()
    print(
        f"torch {torch.__version__}, {where}, {threads} CPU threads, batch {args.batch}, "
        f"ours in {args.precision}, peer in 32-true"
    )
    report_training(args)
    if not args.no_edit:
        report_edit(args.rounds)


if __name__ == "__main__":
    main()
