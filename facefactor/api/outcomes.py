"""What became of each of many photos, or of a clip."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from facefactor.errors import FaceFactorError
from facefactor.following import Reading
from facefactor.outcomes import Outcome, Progress

logger = logging.getLogger(__name__)


def each_photo(
    files: Sequence[Path],
    targets: Sequence[Path],
    write: Callable[[Path, Path], str | None],
    progress: Progress | None,
) -> Outcome:
    """`write` a target of each file; one bad file is a line of the outcome, not the end.

    Args:
        write: raises where nothing can be written, returns an error where not all could.
    """
    done: list[Path] = []
    failed: dict[str, str] = {}
    for index, (file, target) in enumerate(zip(files, targets, strict=True)):
        try:
            error_half_way = write(file, target)
            done.append(target)
            if error_half_way is not None:
                failed[str(file)] = error_half_way
        except (FaceFactorError, ValueError) as error:
            failed[str(file)] = str(error)
        if progress:
            progress(index + 1, len(files))
    return Outcome(tuple(done), failed)


def of_clip(clip: str, output: Path, reading: Reading) -> Outcome:
    """The clip is done, or as far as it goes; frames without a face are told."""
    tell_gaps(clip, reading.gaps())
    return Outcome((output,), {} if reading.error is None else {clip: reading.error})


def tell_gaps(clip: str | Path, gaps: str | None) -> None:
    """A warning where frames of a clip show no face, as `Reading.gaps` has it."""
    if gaps is not None:
        logger.warning("%s: %s", clip, gaps)
