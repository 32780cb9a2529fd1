"""Speed of expression recognition: of one aligned face, and from a photo to its label.

    python benchmarks/express.py
    python benchmarks/express.py --model runs/ipdfer/model.safetensors --rounds 50

Faces: the exported graph in ONNX Runtime and the model in torch, timed in turn, A B A B, in one
process and with the same number of threads. Beside each stands the arithmetic that is asked for, in
multiplications, and the rate it is done at (two operations a multiplication), beside that the rate
of one large convolution in torch, timed in the same turns: the floor of the time.

Photos: the two portraits that come with matplotlib and scikit-image, cut to 640x480 and written as
JPEG, through every part of `facefactor express`. Without packaged weights an untrained model of the
same size is timed: speed does not depend on what was learnt.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import torch
from facecycle_step import Step, convolution, count_gflop, spread, take_turns

from facefactor import api, checkpoints
from facefactor.demo import portrait_paths
from facefactor.export import export_onnx, open_session
from facefactor.images import Photo, read_photo, write_image
from facefactor.methods.ipdfer.recipe import PRESETS, build
from facefactor.perception import mtcnn
from facefactor.perception.align import align
from facefactor.perception.head_pose import head_pose
from facefactor.perception.packaged import packaged_landmarks
from facefactor.perception.state_dicts import InstrumentError
from facefactor.photo_edits import face_detector

AIMS = "aims: 3 ms a face, 400 faces/s at batch 32, 40 ms from photo to label at 640x480"
POSE = "landmarks and pose, torch"


def find_weights(named: Path | None, folder: Path) -> Path:
    """The weights to time; untrained ones, saying so, where none are named and none packaged."""
    if named:
        return named
    for path in checkpoints.packaged_weights():
        if path.stem == "ipdfer":
            return path
    print("no packaged ipdfer: an untrained one of preset small is timed")
    recipe = PRESETS["small"]
    model, path = build(recipe), folder / "untrained.safetensors"
    settings = json.loads(json.dumps(dataclasses.asdict(recipe)))
    header = checkpoints.CheckpointHeader("ipdfer", "small", settings, model.spec)
    checkpoints.save(path, model.state_dict(), header)
    return path


def to_vga(photo: Photo) -> Photo:
    """The middle of a photo that fills 640x480."""
    height, width = photo.shape[:2]
    scale = max(480 / height, 640 / width)
    size = round(width * scale), round(height * scale)
    large = cv2.resize(photo, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    left = (large.shape[1] - 640) // 2
    return large[:480, left : left + 640].astype(photo.dtype, copy=False)  # the face is high up


def face_steps(model: Any, session: Any, batch: int) -> dict[str, Step]:
    faces = torch.rand(batch, 3, model.spec.image_size, model.spec.image_size)
    return {
        "onnxruntime": partial(session.run, None, {"faces": faces.numpy()}),
        "torch": partial(model.expression_probabilities, faces),
        "one conv., torch": convolution(1, "cpu", torch.float32),
    }


def report_faces(model: Any, session: Any, rounds: int) -> None:
    print(
        f"\n{'expression of aligned faces':28} {'ms: median (range)':32} {'faces/s':>8}"
        f" {'M mult./face':>12} {'GFLOP/s':>8}"
    )
    for batch in (1, 32):
        steps = face_steps(model, session, batch)
        gflop = {name: count_gflop(step) for name, step in steps.items()}
        gflop["onnxruntime"] = gflop["torch"]  # the same graph, which torch's counter cannot see
        for name, seconds in take_turns(steps, rounds).items():
            middle = statistics.median(seconds)
            row = f"{f'{name}, batch {batch}':28} {spread([1e3 * s for s in seconds]):32}"
            if name in ("onnxruntime", "torch"):
                row += f" {batch / middle:8.0f} {1e3 * gflop[name] / 2 / batch:12.1f}"
            else:
                row = f"{name:28} {spread([1e3 * s for s in seconds]):32} {'':8} {'':12}"
            print(f"{row} {gflop[name] / middle:8.1f}", flush=True)


def photo_steps(path: Path, model: Any, session: Any) -> dict[str, Step]:
    """The parts of photo to label, each on what the one before it gave, and all of them."""
    detector, spec = face_detector(), model.spec
    photo = read_photo(path)
    halvings = mtcnn._halve(photo)
    proposed = detector._propose(halvings)
    refined = detector._refine(halvings, proposed)
    points = detector.detect(photo)[0].points
    face = align(photo, points, spec.crop, spec.image_size)[0]
    try:
        landmarks = packaged_landmarks()
    except InstrumentError:
        landmarks = None

    def pose(face: torch.Tensor) -> torch.Tensor | None:
        return None if landmarks is None else head_pose(landmarks(face))

    def everything() -> int:
        photo = read_photo(path)
        points = detector.detect(photo)[0].points
        face = align(photo, points, spec.crop, spec.image_size)[0]
        pose(face)
        label: int = session.run(None, {"faces": face.numpy()})[0].argmax()
        return label

    steps: dict[str, Step] = {
        "read the JPEG": partial(read_photo, path),
        "halve the photo": partial(mtcnn._halve, photo),
        "P-Net over the pyramid": partial(detector._propose, halvings),
        f"R-Net on {len(proposed)} squares": partial(detector._refine, halvings, proposed),
        f"O-Net on {len(refined)} squares": partial(detector._finish, halvings, refined),
        "align": partial(align, photo, points, spec.crop, spec.image_size),
        "expression, onnxruntime": partial(session.run, None, {"faces": face.numpy()}),
    }
    if landmarks is not None:
        steps[POSE] = partial(pose, face)
    return steps | {"photo to label": everything}


def report_photos(model: Any, session: Any, folder: Path, rounds: int) -> None:
    for name, file in portrait_paths().items():
        path = folder / f"{name}.jpg"
        write_image(path, to_vga(read_photo(file)))
        steps = photo_steps(path, model, session)
        seconds = take_turns(steps, rounds)
        whole = statistics.median(seconds["photo to label"])
        print(f"\n{name + ', 640x480':28} {'ms: median (range)':32} {'share':>8}")
        for part, taken in seconds.items():
            share = statistics.median(taken) / whole
            print(f"{part:28} {spread([1e3 * s for s in taken]):32} {share:8.0%}", flush=True)
        if POSE not in steps:
            print("no packaged landmark network: the time of landmarks and pose is not in these")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    add = parser.add_argument
    add("--model", type=Path, metavar="FILE", help="weights of an ipdfer; the packaged ones")
    add("--rounds", type=int, default=20, help="timed turns of each; 20")
    args = parser.parse_args()
    if args.rounds < 1:
        parser.error("--rounds is at least 1")
    torch.manual_seed(0)
    threads = torch.get_num_threads()
    print(f"torch {torch.__version__}, {threads} CPU threads each; {AIMS}")
    with tempfile.TemporaryDirectory() as name, torch.inference_mode():
        folder = Path(name)
        model: Any = api.load(find_weights(args.model, folder))
        parity = export_onnx(model, folder / "model.onnx")
        if parity.outputs != ("probabilities",):
            parser.error(f"{args.model} tells no expressions apart; name weights of an ipdfer")
        print(f"graph and torch differ by at most {parity.difference:.1e}")
        session = open_session(parity.path, threads)
        report_faces(model, session, args.rounds)
        report_photos(model, session, folder, args.rounds)


if __name__ == "__main__":
    main()
