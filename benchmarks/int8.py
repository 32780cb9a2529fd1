"""What expression recognition loses and gains in 8 bits: accuracy, size and speed of both graphs.

    python benchmarks/int8.py --rafdb RAF-DB
    python benchmarks/int8.py --rafdb RAF-DB --model runs/ipdfer/model.safetensors --rounds 50

The graph in 8 bits is calibrated on photos of RAF-DB's training part, drawn at random, and both
are tested on the whole of its test part, cut as `facefactor evaluate -p recognition` cuts them.
Speed is that of ONNX Runtime on aligned faces, in turn, A B A B, in one process and with the same
number of threads.
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from facecycle_step import spread, take_turns
from torch import Tensor

from facefactor import api
from facefactor.data.crops import crop_faces
from facefactor.data.readers import READERS
from facefactor.data.records import FaceRecord, labelled, of_split
from facefactor.export import export_int8, export_onnx, open_session
from facefactor.export.int8 import CALIBRATION
from facefactor.factors import ModelSpec

BATCH = 32


def cut(records: Sequence[FaceRecord], spec: ModelSpec, cache: Path) -> tuple[Tensor, list[str]]:
    """Faces (N, 3, S, S) in [0, 1] and their expressions."""
    found = crop_faces(records, spec.crop, spec.image_size, cache)
    faces = torch.from_numpy(np.array(found.faces)).permute(0, 3, 1, 2).float() / 255
    return faces.contiguous(), [str(record.expression) for record in found.records]


def verdicts(session: Any, faces: Tensor) -> Tensor:
    """(N,) numbers of the classes named."""
    answers = [
        torch.from_numpy(session.run(None, {"faces": faces[first : first + BATCH].numpy()})[0])
        for first in range(0, len(faces), BATCH)
    ]
    return torch.cat(answers).argmax(dim=1)


def report_accuracy(sessions: dict[str, Any], faces: Tensor, labels: Tensor) -> None:
    print(f"\n{'graph':6} {'accuracy, %':>12} {'class mean, %':>14} {'as fp32, %':>11}")
    found = {name: verdicts(session, faces) for name, session in sessions.items()}
    for name, verdict in found.items():
        right = (verdict == labels).float()
        classes = [right[labels == label].mean() for label in labels.unique()]
        same = (verdict == found["fp32"]).float().mean()
        mean = torch.stack(classes).mean()
        print(f"{name:6} {100 * right.mean():12.2f} {100 * mean:14.2f} {100 * same:11.2f}")


def report_speed(sessions: dict[str, Any], faces: Tensor, rounds: int) -> None:
    print(f"\n{'graph':6} {'faces':>5} {'ms a face: median (range)':32} {'faces/s':>8}")
    for count in (1, BATCH):
        given = {"faces": faces[:count].numpy()}
        steps = {name: partial(each.run, None, given) for name, each in sessions.items()}
        for name, seconds in take_turns(steps, rounds).items():
            each = [1e3 * taken / count for taken in seconds]
            rate = 1e3 / statistics.median(each)
            print(f"{name:6} {count:5} {spread(each):32} {rate:8.0f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    add = parser.add_argument
    add("--rafdb", type=Path, metavar="FOLDER", required=True, help="RAF-DB")
    add("--model", default="ipdfer", metavar="FILE", help="weights of an ipdfer; the packaged ones")
    add("--rounds", type=int, default=50, help="timed turns of each; 50")
    add("--seed", type=int, default=0, help="of the choice of photos to calibrate on; 0")
    add("--cache", type=Path, default=Path(".cache") / "faces", help="where cut faces are kept")
    args = parser.parse_args()
    if args.rounds < 1:
        parser.error("--rounds is at least 1")
    model: Any = api.load(args.model)
    records = labelled(READERS["rafdb"](args.rafdb))
    training = random.Random(args.seed).sample(of_split(records, "train"), CALIBRATION)
    calibration, _ = cut(training, model.spec, args.cache)
    faces, names = cut(of_split(records, "test"), model.spec, args.cache)
    threads = torch.get_num_threads()
    with tempfile.TemporaryDirectory() as name:
        paths = {kind: Path(name) / f"{kind}.onnx" for kind in ("fp32", "int8")}
        export_onnx(model, paths["fp32"])
        export_int8(model, paths["int8"], calibration)
        print(
            f"onnxruntime {onnxruntime.__version__}, {threads} CPU threads; calibrated on "
            f"{len(calibration)} training faces, tested on {len(faces):,}"
        )
        for kind, path in paths.items():
            print(f"{kind}: {path.stat().st_size / 1e6:.2f} MB")
        sessions = {kind: open_session(path, threads) for kind, path in paths.items()}
        report_accuracy(sessions, faces, torch.tensor([model.classes.index(n) for n in names]))
        report_speed(sessions, faces, args.rounds)


if __name__ == "__main__":
    main()
