"""Where what is made of each photo or video goes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from facefactor.errors import FaceFactorError
from facefactor.images import IMAGE_SUFFIXES, VIDEO_SUFFIXES
from facefactor.sweeps import FILM_SUFFIXES


def still(file: Path) -> str:
    """The suffix of what is made of a photo."""
    return ".png"


def targets_of(
    files: Sequence[Path],
    output: Path,
    suffixes: Collection[str] = IMAGE_SUFFIXES,
    suffix_of: Callable[[Path], str] = still,
) -> list[Path]:
    """Where each edited photo goes; no two to the same place, none onto its own input.

    Args:
        suffixes: that make `output` a file, not a folder.
        suffix_of: of what is made of a file, in a folder.

    Raises:
        FaceFactorError: several photos and `output` is a file name, or one would be overwritten.
    """
    if len(files) == 1 and output.suffix.lower() in suffixes:
        targets = [output]
    elif output.suffix.lower() in suffixes:
        raise FaceFactorError(f"{output}: {len(files)} photos need a folder to go to, not a file")
    else:
        targets = []
        for file in files:
            suffix, count = suffix_of(file), 1
            target = output / f"{file.stem}{suffix}"
            while target in targets:
                target, count = output / f"{file.stem}-{count}{suffix}", count + 1
            targets.append(target)
    for file, target in zip(files, targets, strict=True):
        if target.exists() and file.exists() and target.samefile(file):
            raise FaceFactorError(f"{target}: would overwrite the photo it is made from")
    return targets


def is_video(file: Path) -> bool:
    return file.suffix.lower() in VIDEO_SUFFIXES


def _film_of_video(file: Path) -> str:
    """The suffix of what is made of a photo, or of all frames of a video."""
    if not is_video(file):
        return still(file)
    return ".gif" if file.suffix.lower() == ".gif" else ".mp4"


def edit_targets(files: Sequence[Path], output: Path, steps: int | None = None) -> list[Path]:
    """`targets_of`; films, too, of videos, and where a photo is edited in steps.

    Raises:
        FaceFactorError: fewer than 2 steps, a film of a photo without steps, an unknown suffix.
    """
    if steps is not None and steps < 2:
        raise FaceFactorError(f"a path has at least 2 steps, not {steps}")
    moving = steps is None and any(is_video(file) for file in files)
    suffix = output.suffix.lower()
    films = FILM_SUFFIXES if moving or steps is not None else frozenset()
    if suffix in FILM_SUFFIXES - films:
        raise FaceFactorError(
            f"{output}: a film is made of a video, or of steps where a command has --steps; "
            f"{files[0]} is a photo"
        )
    if suffix and suffix not in IMAGE_SUFFIXES | films and not output.is_dir():
        known = ", ".join([".png", ".jpg", ".webp", *sorted(films)])
        raise FaceFactorError(
            f"{output}: cannot write {suffix}; end it in {known}, or in no dot for a folder"
        )
    return targets_of(files, output, IMAGE_SUFFIXES | films, _film_of_video if moving else still)
