"""Photos a second of `facefactor encode` over a folder, at one worker and at several.

    python benchmarks/encode_folder.py
    python benchmarks/encode_folder.py --photos 2000 --workers 1 2 4

The folder is made here: 640x480 JPEGs, each with one of the two portraits that come with matplotlib
and scikit-image somewhere in it, larger or smaller, darker or brighter. Each run is a process of
its own, bound to as many cores as it has workers; its memory is that of it and its workers at their
largest. Start-up is in the time. Processor time a photo tells what a run costs whatever else the
machine does meanwhile. Below stand the floors: what the parts of the work take for one photo in one
thread, each on what the one before it gave; and how much more work than one the machine lets two
processes do that share nothing, for two cores may be two threads of one.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from facecycle_step import Step, take_turns

from facefactor import api
from facefactor.demo import portrait_paths
from facefactor.factors import encode_codes
from facefactor.images import Photo, read_photo, write_image
from facefactor.photo_edits import face_detector, read_faces

AIM = "aim: 20 photos/s on 2 cores, 1.7 times from 1 to 2, under 2 GB"


def make_folder(folder: Path, photos: int) -> None:
    draw = np.random.default_rng(0)
    portraits = [read_photo(path) for path in portrait_paths().values()]
    for number in range(photos):
        portrait = portraits[number % 2][:480]
        write_image(folder / f"{number:06d}.jpg", scatter(portrait, draw))


def scatter(portrait: Photo, draw: np.random.Generator) -> Photo:
    """The portrait on a grey 640x480, at another place, size and brightness."""
    scale = draw.uniform(0.6, 1.0) * min(1.0, 480 / len(portrait), 640 / portrait.shape[1])
    small = cv2.resize(portrait, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    small = (small * draw.uniform(0.6, 1.0)).astype(np.uint8)
    photo = np.full((480, 640, 3), draw.integers(60, 180), np.uint8)
    top, left = (draw.integers(free + 1) for free in np.subtract((480, 640), small.shape[:2]))
    photo[top : top + small.shape[0], left : left + small.shape[1]] = small
    return photo


def run(folder: Path, output: Path, model: str, workers: int) -> tuple[float, float, float]:
    """Seconds, processor seconds, and megabytes at the peak, of one command."""
    words = ["encode", str(folder), "-o", str(output), "-m", model, "--workers", str(workers)]
    command = [sys.executable, "-m", "facefactor", *words]
    cores = set(sorted(os.sched_getaffinity(0))[:workers])
    began, used, peak = time.perf_counter(), processor_time(), [0.0]
    process = subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        preexec_fn=partial(os.sched_setaffinity, 0, cores),
    )
    watch = threading.Thread(target=watch_memory, args=(process.pid, peak))
    watch.start()
    if process.wait():
        raise SystemExit(f"failed: {' '.join(command)}")
    seconds = time.perf_counter() - began
    watch.join()
    return seconds, processor_time() - used, peak[0]


def processor_time() -> float:
    """Seconds that processes started from here, and those they started, have used."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def watch_memory(pid: int, peak: list[float]) -> None:
    """The largest sum of what a process and its children hold and share with no other, in MB."""
    while total := sum(map(held, [pid, *children(pid)])):
        peak[0] = max(peak[0], total)
        time.sleep(0.2)


def children(pid: int) -> list[int]:
    try:
        return [int(c) for c in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def held(pid: int) -> float:
    """Proportional set size, MB; 0 for a process that has ended."""
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) / 1e3
    except OSError:
        pass
    return 0.0


def report_floor(folder: Path, model: str, rounds: int) -> None:
    """What the parts take in one thread, and with it the photos a second of a core at best."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    network: Any = api.load(model)
    path = sorted(folder.iterdir())[0]
    photo, face = read_photo(path), read_faces(path)[0]
    squares = torch.cat([face.cut(network.spec)[0]] * 32)
    steps: dict[str, Step] = {
        "read the JPEG": partial(read_photo, path),
        "find the faces": partial(face_detector().detect, photo),
        "cut one": partial(face.cut, network.spec),
        "encode 32": partial(encode_codes, network, squares),
    }
    total = 0.0
    print(f"\n{'one photo, one thread':28} {'ms: median':>12}")
    with torch.inference_mode():
        for name, seconds in take_turns(steps, rounds).items():
            taken = 1e3 * statistics.median(seconds) / (32 if name == "encode 32" else 1)
            total += taken
            print(f"{name + (', each' if '32' in name else ''):28} {taken:12.2f}")
    print(f"{'all':28} {total:12.2f}: at most {1e3 / total:.1f} photos/s a core")


def report_scaling(path: Path, workers: int, seconds: float = 10.0) -> None:
    """What processes that share nothing do at once, in units of what one does alone."""
    spawn = multiprocessing.get_context("spawn")
    with spawn.Pool(workers) as pool:
        pool.map(detect_for, [(path, 1.0)] * workers, chunksize=1)  # each has the detector now
        alone = sum(pool.map(detect_for, [(path, seconds)]))
        together = sum(pool.map(detect_for, [(path, seconds)] * workers, chunksize=1))
    print(f"{workers} processes that only find faces: {together / alone:.2f} times the work of one")


def detect_for(asked: tuple[Path, float]) -> int:
    """How often the faces of a photo are found in so many seconds, in one thread."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    path, seconds = asked
    photo, detector, done = read_photo(path), face_detector(), 0
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        detector.detect(photo)
        done += 1
    return done


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    add = parser.add_argument
    add("--photos", type=int, default=2000, help="in the folder; 2000")
    add("--workers", type=int, nargs="+", default=[1, 2], help="runs to make; 1 2")
    add("--model", default="facecycle", help="weights; facecycle")
    add("--rounds", type=int, default=20, help="timed turns of each part; 20")
    args = parser.parse_args()
    load = " ".join(f"{value:.1f}" for value in os.getloadavg())
    print(f"{args.photos} photos of 640x480, {args.model}; load before {load}; {AIM}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "photos"
        folder.mkdir()
        make_folder(folder, args.photos)
        print(f"\n{'workers = cores':>16} {'seconds':>9} {'photos/s':>9} {'ratio':>6}", end="")
        print(f" {'processor ms a photo':>21} {'MB':>7}")
        first = 0.0
        for workers in args.workers:
            seconds, used, peak = run(folder, Path(name) / "codes.parquet", args.model, workers)
            rate = args.photos / seconds
            first = first or rate
            print(
                f"{workers:16} {seconds:9.1f} {rate:9.1f} {rate / first:6.2f}"
                f" {1e3 * used / args.photos:21.1f} {peak:7.0f}",
                flush=True,
            )
        report_floor(folder, args.model, args.rounds)
        if (most := max(args.workers)) > 1:
            report_scaling(sorted(folder.iterdir())[0], most)


if __name__ == "__main__":
    main()
