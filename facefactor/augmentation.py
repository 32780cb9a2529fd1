"""Normalised faces of a labelled folder, to train on beside its photos (NFGAN, Sec. 5.4)."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from facefactor.abilities import NormalisingModel, normalising_model
from facefactor.data.augmented import ABOUT, expression_or_none, write_index
from facefactor.data.check import guess_reader
from facefactor.data.crops import cut_face
from facefactor.data.listing import existing_folder, photos_below
from facefactor.data.readers import READERS
from facefactor.data.records import DataError, FaceRecord
from facefactor.errors import FaceFactorError
from facefactor.factors import FaceModel
from facefactor.files import WriteError, atomic_path
from facefactor.images import face_to_photo, photo_to_face, write_image
from facefactor.outcomes import Outcome, Progress
from facefactor.photo_edits import face_detector
from facefactor.streams import BATCH

CLASSES = "classes"  # the layout with a sub-folder for each class; any other is a key of READERS
NEUTRAL = "neutral"

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LabelledPhoto:
    """A photo, and how it and its normalised face are labelled."""

    record: FaceRecord
    source_label: str  # its class or expression; "" where it is not known
    label: str  # of its normalised face


def labelled_photos(
    folder: Path | str, reader: str = "auto", label: str | None = None
) -> list[LabelledPhoto]:
    """The photos of a folder to train on, and the labels of their normalised faces.

    A normalised face is neutral, whatever its photo shows. Where classes are no expressions, they
    may be people or anything that normalising leaves, and the face keeps the class of its photo.

    Args:
        reader: a key of READERS, "classes" for a folder with a sub-folder for each class, or "auto"
            to tell by the files.
        label: of all normalised faces, where neither is right: of expressions that are numbers.

    Raises:
        DataError: no such folder or reader, a layout that is broken, no photo to train on, or a
            label that can be no folder.
    """
    top = existing_folder(folder)
    name = _guess(top) if reader == "auto" else reader
    if label is not None and (not label.strip(". ") or Path(label).name != label):
        raise DataError(f"the label {label!r} cannot be the name of a folder; take a plain word")
    if name == CLASSES:
        photos = _of_classes(top)
    elif name in READERS:
        photos = [LabelledPhoto(r, r.expression or "", NEUTRAL) for r in READERS[name](top)]
    else:
        known = ", ".join(["auto", CLASSES, *READERS])
        raise DataError(f"no reader is called {name!r}; there are {known}")
    training = [photo for photo in photos if photo.record.split != "test"]
    if left_out := len(photos) - len(training):
        logger.info("%s: %d photos of its test part are left out", top, left_out)
    if not training:
        raise DataError(f"{top}: all photos are of its test part; nobody may train on them")
    if label is None:
        return training
    return [LabelledPhoto(photo.record, photo.source_label, label) for photo in training]


def augment_folder(
    model: FaceModel,
    photos: Sequence[LabelledPhoto],
    folder: Path,
    output: Path,
    about: Mapping[str, Any],
    progress: Progress | None = None,
) -> Outcome:
    """Write the normalised face of each photo into `output`, and an index (`data.augmented`).

    The faces are the network's own squares, `<label>/<the photo's place in folder>.png`. Called
    again it draws those that are missing; a photo that fails is a line of the index.

    Args:
        about: what drew the faces; a folder that was begun with another one is refused.
        progress: called with photos done and photos in all.

    Raises:
        FaceFactorError: the model draws no normalised faces; `output` lies in `folder`, or holds
            something else.
        WriteError: when the file system refuses; what was drawn stays.
    """
    able = normalising_model(model)
    spec = able.spec
    note = {
        **about,
        "folder": _utf8(str(folder.resolve())),
        "crop": spec.crop,
        "image_size": spec.image_size,
    }
    _begin(folder, output, note)
    rows: list[dict[str, Any]] = []
    failed: dict[str, str] = {}
    for start in range(0, len(photos), BATCH):
        batch = photos[start : start + BATCH]
        places = [_place(photo, folder) for photo in batch]
        reasons = _draw(able, batch, [output / place for place in places])
        for photo, place, reason in zip(batch, places, reasons, strict=True):
            rows.append(_line(photo, place, reason))
            if reason:
                failed[str(photo.record.path)] = reason
        if progress:
            progress(len(rows), len(photos))
    index = write_index(output, rows)
    return Outcome((index,) if any(not row["error"] for row in rows) else (), failed)


@torch.inference_mode()
def _draw(
    model: NormalisingModel, photos: Sequence[LabelledPhoto], targets: Sequence[Path]
) -> list[str]:
    """Write the normalised faces that are missing; for each photo why there is none, or ""."""
    spec, reasons = model.spec, [""] * len(photos)
    squares, missing = [], []
    for number, (photo, target) in enumerate(zip(photos, targets, strict=True)):
        if target.is_file():
            continue
        detect = None if photo.record.points else face_detector().detect
        try:
            cut = cut_face(photo.record, spec.crop, spec.image_size, detect)
        except (ValueError, OSError) as error:
            reasons[number] = str(error)
        else:
            squares.append(photo_to_face(cut))
            missing.append(target)
    if squares:
        drawn = face_to_photo(model.normalise(torch.cat(squares)))
        for target, square in zip(missing, drawn, strict=True):
            write_image(target, square)
    return reasons


def _begin(folder: Path, output: Path, note: Mapping[str, Any]) -> None:
    """Check that `output` is new, or was begun with the same note; leave it there."""
    if output.resolve().is_relative_to(folder.resolve()):
        raise FaceFactorError(
            f"{output}: lies in the folder the photos are read from; name one outside of {folder}"
        )
    told = output / ABOUT
    if told.is_file():
        if told.read_text(encoding="utf-8") == _json(note):
            return
        raise FaceFactorError(
            f"{output}: was begun with other weights, another folder or other labels (see "
            f"{ABOUT}); name a new folder"
        )
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise WriteError(f"{output}: holds something else; name a new folder")
    with atomic_path(told) as temporary:
        temporary.write_text(_json(note), encoding="utf-8")


def _json(note: Mapping[str, Any]) -> str:
    return json.dumps(dict(note), indent=1, ensure_ascii=False) + "\n"


def _guess(top: Path) -> str:
    """The reader whose files a folder has; sub-folders of an unknown one are classes."""
    name = guess_reader(top)
    return CLASSES if name in ("folder", "clips") else name


def _of_classes(top: Path) -> list[LabelledPhoto]:
    """`class/photo.jpg`, or deeper. Words for expressions are read as such if all classes are."""
    photos = photos_below(top)
    if not photos:
        raise DataError(f"{top}: no photos in its sub-folders")
    if loose := [path for path in photos if path.parent == top]:
        raise DataError(
            f"{loose[0]}: lies loose; each class needs a folder of its own (or --reader folder)"
        )
    classes = {path: path.relative_to(top).parts[0] for path in photos}
    expressions = {word: expression_or_none(word) for word in sorted(set(classes.values()))}
    if None in expressions.values():
        logger.info("%s: %d classes, kept by the normalised faces", top, len(expressions))
        return [LabelledPhoto(FaceRecord(path), word, word) for path, word in classes.items()]
    calls = [word for word, expression in expressions.items() if expression == NEUTRAL]
    neutral = calls[0] if calls else NEUTRAL  # as the tree spells it
    return [
        LabelledPhoto(FaceRecord(path, expression=expressions[word]), word, neutral)
        for path, word in classes.items()
    ]


def _place(photo: LabelledPhoto, folder: Path) -> Path:
    """Where in the output a photo's normalised face goes: nowhere else than any other's."""
    record = photo.record
    frame = "" if record.frame is None else f".{record.frame}"
    whole = Path(_utf8(photo.label), _utf8(str(record.path.relative_to(folder))))
    return whole.with_name(f"{whole.name}{frame}.png")


def _line(photo: LabelledPhoto, place: Path, error: str) -> dict[str, Any]:
    record = photo.record
    told = {
        "file": "" if error else place.as_posix(),
        "source": str(record.path),
        "frame": "" if record.frame is None else str(record.frame),
        "label": photo.label,
        "source_label": photo.source_label,
        "subject": record.subject or "",
        "split": record.split or "",
        "error": error,
    }
    return {name: _utf8(value) for name, value in told.items()}


def _utf8(text: str) -> str:
    """Names of files need not be UTF-8, tables must: bytes that are not are escaped."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
