"""Speed of Neuro-Tensorial: of an edit's parts, of edits of a photo, and of a training step.

    python benchmarks/relight.py
    python benchmarks/relight.py --model runs/neurotensorial/model.safetensors --rounds 20

All is timed in turn, A B A B, in one process. Beside each stands the arithmetic that is asked for
(two operations a multiplication) and the rate it is done at; beside that the rate of one large
convolution in torch, timed in the same turns, tells what this machine can do. Photos are
scikit-image's astronaut. Training steps are those of preset `small`, on random faces and labels:
`unjudged` without discriminator and recogniser, `main` with both.
"""

from __future__ import annotations

import argparse
import statistics
from functools import partial
from pathlib import Path
from typing import Any

import torch
from facecycle_step import Step, convolution, count_gflop, spread, take_turns
from torch.nn import functional as F

from facefactor import api
from facefactor.data.samples import FittedBatch
from facefactor.methods.neurotensorial.recipe import PRESETS, build, stages

AIMS = "aims: encode, relight and decode one face in 100 ms; 20 images/s of training at 64 px"


def edits(model: Any) -> dict[str, Step]:
    """Of one face: in the network's square, and in a photo."""
    from skimage.data import astronaut

    face = api.read_face(astronaut())  # type: ignore[no-untyped-call]
    square, _ = face.cut(model.spec)
    light = api.light_from("left")
    code = model.encode(square)["illumination"].roll(1, dims=1)

    def relit() -> torch.Tensor:
        image: torch.Tensor = model.decode(model.encode(square).replace({"illumination": code}))
        return image

    return {
        "encode": lambda: model.encode(square)["identity"],
        "encode, relight, decode": relit,
        "relight a photo": partial(api.relight_face, model, face, light),
        "turn a photo by 30 degrees": partial(api.pose_face, model, face, api.Angles(yaw_deg=30)),
        "reconstruct, with mesh": partial(api.reconstruct_face, model, face),
    }


def training_steps(batch: int, bf16: bool) -> dict[str, Step]:
    """One step of each stage, on a model of its own."""
    faces = _random_batch(batch)
    recipe = PRESETS["small"]
    steps: dict[str, Step] = {}
    for stage in stages(recipe, build(recipe)):
        module: Any = stage.module()
        module.log = module.log_dict = lambda *args, **kwargs: None  # there is no trainer
        optimizers, schedules = module.configure_optimizers()
        module.optimizers, module.lr_schedulers = lambda o=optimizers: o, lambda s=schedules: s
        module.manual_backward = lambda loss: loss.backward()

        def step(module: Any = module) -> torch.Tensor:
            with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                loss: torch.Tensor = module.training_step(faces, 0)
            return loss

        steps[stage.name] = step
    return steps


def _random_batch(count: int) -> FittedBatch:
    return FittedBatch(
        faces=torch.rand(count, 3, 64, 64),
        rotation=torch.eye(3).expand(count, 3, 3),
        identity=torch.randn(count, PRESETS["small"].identity_modes),
        expression=torch.rand(count, PRESETS["small"].expression_modes) / 5,
        shape=torch.randn(count, 3, 9375) / 10,
        normals=F.normalize(torch.randn(count, 3, 64, 64), dim=1),
        lighting=torch.randn(count, 9) / 10,
        mask=torch.ones(count, 1, 64, 64),
        frontal=torch.ones(count, dtype=torch.bool),
    )


def report(steps: dict[str, Step], rounds: int, batch: int = 0) -> None:
    steps["one convolution"] = convolution(1, "cpu", torch.bfloat16 if batch else torch.float32)
    unit = "images/s" if batch else "ms"
    print(f"\n{'':28} {unit + ': median (range)':34} {'GFLOP':>8} {'GFLOP/s':>9}")
    for name, taken in take_turns(steps, rounds).items():
        gflop = count_gflop(steps[name])
        shown = [batch / s if batch and name != "one convolution" else 1e3 * s for s in taken]
        rate = gflop / statistics.median(taken)
        print(f"{name:28} {spread(shown):34} {gflop:8.2f} {rate:9.1f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    add = parser.add_argument
    add("--model", default="neurotensorial", help="weights; the packaged ones without it")
    add("--rounds", type=int, default=10, help="timed turns of each; 10")
    add("--batch", type=int, default=32, help="images a training step; 32")
    add("--precision", choices=("bf16", "32"), default="bf16", help="of training; bf16")
    args = parser.parse_args()
    if args.rounds < 1 or args.batch < 1:
        parser.error("--rounds and --batch are at least 1")
    path = Path(args.model)
    model = api.load(path if path.exists() else args.model)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} CPU threads; {AIMS}")
    with torch.inference_mode():
        report(edits(model), args.rounds)
    report(
        training_steps(args.batch, args.precision == "bf16"), max(1, args.rounds // 3), args.batch
    )


if __name__ == "__main__":
    main()
