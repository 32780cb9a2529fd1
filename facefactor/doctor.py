"""Is everything here that the project needs, and does it work? One `Check` per question."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from importlib import metadata, resources
from pathlib import Path
from typing import Any, Literal

import av
import torch
from packaging.requirements import Requirement

from facefactor.checkpoints import CheckpointError, load
from facefactor.errors import FaceFactorError
from facefactor.perception.mtcnn import WEIGHTS_SHA256, load_network
from facefactor.perception.packaged import (
    INSTRUMENTS,
    packaged_instrument,
    packaged_landmarks,
    packaged_recogniser,
)
from facefactor.perception.state_dicts import InstrumentError

LOW_DISK = 2.0  # gigabytes; a training run keeps a few checkpoints and sample sheets
_CODECS: dict[str, Callable[[], object]] = {
    "h264": lambda: av.codec.Codec("h264", "r"),
    "libx264": lambda: av.codec.Codec("libx264", "w"),
}
_CPU_FLAGS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")


@dataclass(frozen=True)
class Check:
    """The answer to one question."""

    name: str
    status: Literal["ok", "warn", "fail"]
    seen: str
    advice: str = ""  # what to do; empty when ok

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def examine(folder: Path | None = None) -> list[Check]:
    """All checks; `folder` is where results would be written, here unless given."""
    here = folder or Path.cwd()
    questions: list[Callable[[], Iterable[Check]]] = [
        lambda: [_python()],
        _dependencies,
        lambda: [torchvision()],
        lambda: [_processor()],
        lambda: [_gpu()],
        lambda: [_detector()],
        lambda: weights(Path(str(resources.files("facefactor"))) / "weights"),
        instruments,
        lambda: [_video()],
        lambda: [disk(here)],
    ]
    return [check for question in questions for check in question()]


def dependencies(requirements: Iterable[str]) -> list[Check]:
    """One line for all that are there in a version that fits, one for each that is not."""
    fitting, wrong = [], []
    for text in requirements:
        wanted = Requirement(text)
        if wanted.marker is not None and not wanted.marker.evaluate({"extra": ""}):
            continue
        advice = f"run: pip install '{wanted.name}{wanted.specifier}'"
        try:
            version = metadata.version(wanted.name)
        except metadata.PackageNotFoundError:
            wrong.append(Check(wanted.name, "fail", "is not installed", advice))
            continue
        if wanted.specifier.contains(version, prereleases=True):
            fitting.append(f"{wanted.name} {version}")
        else:
            seen = f"{version}, this needs {wanted.specifier}"
            wrong.append(Check(wanted.name, "warn", seen, advice))
    return [Check("dependencies", "ok", ", ".join(fitting)), *wrong] if fitting else wrong


def torchvision() -> Check:
    if importlib.util.find_spec("torchvision") is None:
        return Check("torchvision", "ok", "not installed, as it should be")
    return Check(
        "torchvision",
        "warn",
        "is installed; beside a CPU build of torch it may not load, and lightning and torchmetrics "
        "then fail with it",
        "run: pip uninstall torchvision (nothing here uses it)",
    )


def weights(folder: Path) -> list[Check]:
    """Every packaged weight file against the hash in its header."""
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        advice = "train a method, or give --model a weight file"
        return [Check("weights", "warn", "none come with this install", advice)]
    checks = []
    for file in files:
        try:
            header, _ = load(file)
        except CheckpointError as error:
            checks.append(Check("weights", "fail", str(error), "install facefactor again"))
        else:
            seen = f"{file.name}: {header.method}, preset {header.preset}, hash as it should be"
            checks.append(Check("weights", "ok", seen))
    return checks


def instruments() -> list[Check]:
    """Do the packaged instruments read?"""
    checks = []
    loaders: Mapping[str, Callable[[], object]] = {
        "landmarks": packaged_landmarks,
        "recogniser": packaged_recogniser,
    }
    for name in INSTRUMENTS:
        try:
            file = packaged_instrument(name)
        except InstrumentError:
            advice = f"train it (facefactor train {name}); its place is weights/instruments"
            checks.append(Check(name, "warn", "does not come with this install", advice))
            continue
        try:
            network = loaders[name]()
        except InstrumentError as error:
            checks.append(Check(name, "fail", str(error), "install facefactor again"))
        else:
            seen = f"{file.name}: {type(network).__name__}, reads as it should"
            checks.append(Check(name, "ok", seen))
    return checks


def disk(folder: Path) -> Check:
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(existing).free / 1e9
    if not os.access(existing, os.W_OK):
        return Check("disk", "fail", f"{folder} is not writable", "work in another folder")
    if free < LOW_DISK:
        return Check("disk", "warn", f"{free:.1f} GB free in {folder}", "free some space")
    return Check("disk", "ok", f"{free:.0f} GB free in {folder}")


def _python() -> Check:
    return Check("python", "ok", f"{platform.python_version()} on {platform.system()}")


def _dependencies() -> list[Check]:
    try:
        return dependencies(metadata.requires("facefactor") or [])
    except metadata.PackageNotFoundError:
        seen = "this is a checkout that was not installed, its dependencies are not known"
        return [Check("dependencies", "warn", seen, "run: pip install -e .")]


def _processor() -> Check:
    cores = os.cpu_count() or 1
    try:
        listed = set(Path("/proc/cpuinfo").read_text(encoding="utf-8").split())
    except OSError:
        listed = set()
    flags = [flag for flag in _CPU_FLAGS if flag in listed]
    kernels = torch.backends.cpu.get_cpu_capability()
    seen = f"{cores} cores, {torch.get_num_threads()} threads, torch uses {kernels}"
    if listed:
        seen += f"; {', '.join(flags) or 'no vector extensions'}"
    if listed and "avx512_bf16" not in flags:
        seen += "; without avx512_bf16, training in bf16 is no faster than in float32"
    return Check("processor", "ok", seen)


def _gpu() -> Check:
    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
        return Check("gpu", "ok", ", ".join(names))
    if shutil.which("nvidia-smi"):
        build = torch.version.cuda or "none"
        return Check(
            "gpu",
            "warn",
            f"there is an NVIDIA driver, but torch {torch.__version__} (CUDA {build}) sees no GPU",
            "install a CUDA build of torch that fits the driver",
        )
    return Check("gpu", "ok", "none; the small presets are made for processors")


def _detector() -> Check:
    try:
        for name in WEIGHTS_SHA256:
            load_network(name)
    except (FaceFactorError, RuntimeError, OSError) as error:
        return Check("detector", "fail", str(error), "run: pip install mtcnn==1.0.0")
    return Check("detector", "ok", "the three MTCNN networks are there, hashes as they should be")


def _video() -> Check:
    library = av.library_versions["libavcodec"]
    missing = []
    for name, open_codec in _CODECS.items():
        try:
            open_codec()
        except av.error.FFmpegError:
            missing.append(name)
    if missing:
        return Check(
            "video",
            "fail",
            f"PyAV's FFmpeg lacks {' and '.join(missing)}",
            "run: pip install --force-reinstall --only-binary :all: av",
        )
    return Check("video", "ok", f"FFmpeg in PyAV, libavcodec {'.'.join(map(str, library))}")
