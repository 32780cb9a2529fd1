"""CK+ (Lucey et al., CVPR workshops 2010): people who make a face on request, from neutral to peak.

The official release and two derivatives of it. A subject is "S005" in all three and a clip is a
sequence, "S005_001", so splits by subject agree between them. All of it is seen from the front. CK+
has no split of its own; the usual one is ten folds, `folds.subject_folds`.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from facefactor.data.labels import csv_rows, expression_named
from facefactor.data.listing import (
    existing_folder,
    image_folder,
    image_names,
    image_size,
    is_photo,
    label_file,
)
from facefactor.data.records import EXPRESSION_ORDER, DataError, FaceRecord, Points

# CK+48 was cropped alike: on each axis half of its faces lie within 0.5 px of these at the eyes and
# 1.7 px at the mouth. Medians over the faces `perception.mtcnn` finds in 164 images, one of every
# second person and class, and in their mirror images, enlarged four times (it finds them all),
# made symmetric.
CK48_POINTS: Points = (
    (14.58, 18.52),
    (32.42, 18.52),
    (23.5, 28.15),
    (16.0, 37.49),
    (31.0, 37.49),
)

PEAKS = 3  # last frames of a sequence that show its expression, as the field counts them

# The sequences that CK+ labels contempt. CK+neutral-peak has no such class, but kept their first
# frames, under names shortened like all others: "54_002" is the contempt of S154 where fear of S054
# is meant. (A recogniser puts those frames below a cosine of 0.17, all others above 0.46.)
_CONTEMPT = (
    "S138_008 S139_002 S147_002 S148_002 S149_002 S151_002 S154_002 S155_002 S156_002 S157_002 "
    "S158_002 S160_006 S502_002 S503_002 S504_002 S505_002 S506_002 S895_002"
).split()

_FRAME = re.compile(r"(?P<subject>S\d{3})_(?P<sequence>\d{3})_\d{8}")


class CkplusName(NamedTuple):
    """What a file name of CK+ says."""

    subject: str  # "S010"
    clip: str  # its sequence, "S010_004"


def ckplus_name(path: Path) -> CkplusName:
    """Read a name like S010_004_00000017.png, or a label file's, which ends in _emotion; DataError
    for any other."""
    named = _FRAME.fullmatch(path.stem.removesuffix("_emotion"))
    if named is None:
        raise DataError(f"{path}: expected a name like S010_004_00000017; its subject is in doubt")
    subject, sequence = named.group("subject", "sequence")
    return CkplusName(subject, f"{subject}_{sequence}")


def read_ckplus(folder: Path | str) -> list[FaceRecord]:
    """CK+ as released: `cohn-kanade-images/S005/001/*.png`, `Emotion/S005/001/*_emotion.txt`.

    Of each sequence with a label the first frame is neutral and the last three show the
    expression; of 593 sequences 327 have one, the others are left out. For the six or seven classes
    of the literature leave the neutral frames out, and contempt too for six. Faces are found by the
    detector.
    """
    top = existing_folder(folder)
    images = image_folder(
        top, ["cohn-kanade-images", "extended-cohn-kanade-images/cohn-kanade-images"], "CK+"
    )
    emotions = image_folder(top, ["Emotion", "Emotion_labels/Emotion", "Emotion_labels"], "CK+")
    files = sorted(path for path in emotions.rglob("S*_emotion.txt") if path.is_file())
    if not files:
        raise DataError(f"{emotions}: no label files S005/001/S005_001_00000011_emotion.txt in it")
    records = []
    for file in files:
        subject, clip = ckplus_name(file)
        sequence = images / subject / clip.removeprefix(f"{subject}_")
        if not sequence.is_dir():
            raise DataError(f"{file} labels {sequence}, which does not exist; unpack CK+ again")
        first, *rest = _frames(sequence, clip)
        expression = _emotion(file)
        records.append(FaceRecord(first, subject, "neutral", clip=clip, frontal=True))
        records += [
            FaceRecord(path, subject, expression, clip=clip, frontal=True) for path in rest[-PEAKS:]
        ]
    return records


def read_ckplus48(folder: Path | str) -> list[FaceRecord]:
    """CK+48: `<class>/S010_004_00000017.png`, the last three frames of the 327 labelled sequences.

    981 faces of 48x48 in seven classes with contempt; no neutral ones. Of another size they have no
    fixed points; the first image's size is taken for all.
    """
    top = existing_folder(folder)
    classes = sorted(path for path in top.iterdir() if path.is_dir())
    if not classes:
        raise DataError(f"{top}: no folders of classes (anger, contempt, ...); is this CK+48?")
    photos = [of_class / name for of_class in classes for name in sorted(image_names(of_class))]
    points = CK48_POINTS if image_size(photos[0]) == (48, 48) else None
    records = []
    for path in photos:
        expression = expression_named(path.parent.name, where=str(path.parent))
        subject, clip = ckplus_name(path)
        records.append(FaceRecord(path, subject, expression, points, clip=clip, frontal=True))
    return records


def read_ckplus_pairs(folder: Path | str) -> list[FaceRecord]:
    """CK+neutral-peak: the neutral and the peak frame of a sequence, as `pairs.csv` matches them.

    A row names a peak frame (in the folder of its class), its subject, and the neutral frame (in
    `neutral_all309`) of the same sequence. The release shortened "S100_005" to "00_005", which two
    people may share; rows flagged for that, or without a subject, are left out, as are those whose
    neutral frame is the beginning of another person's contempt. Neutral before peak, pair by pair;
    the two have one clip. Faces are found by the detector.
    """
    top = existing_folder(folder)
    file = label_file(top, ["pairs.csv"], "CK+neutral-peak")
    neutral = image_folder(top, ["neutral_all309", "neutral"], "CK+neutral-peak")
    flag = "neutral_file_claimed_by_two_sequences"
    contempts = {clip[2:] for clip in _CONTEMPT}
    records = []
    for line, row in csv_rows(file, ["peak_file", "emotion", "subject", "neutral_file", flag]):
        where = f"{file}, line {line}"
        if row[flag] not in ("0", "1"):
            raise DataError(f"{where}: expected 0 or 1 in {flag}, found {row[flag]!r}")
        sequence = "_".join(row["peak_file"].split("_")[:-1])
        if row[flag] == "1" or not row["subject"] or sequence in contempts:
            continue
        expression = expression_named(row["emotion"], where)
        first, peak = neutral / row["neutral_file"], top / row["emotion"] / row["peak_file"]
        for path in (first, peak):
            if not path.is_file():
                raise DataError(f"{where}: {path} does not exist; unpack the images again")
        clip = f"{row['subject']}{sequence[2:]}"
        records.append(FaceRecord(first, row["subject"], "neutral", clip=clip, frontal=True))
        records.append(FaceRecord(peak, row["subject"], expression, clip=clip, frontal=True))
    if not records:
        raise DataError(f"{file}: no pairs in it")
    return records


def _frames(sequence: Path, clip: str) -> list[Path]:
    """The frames of a sequence in their order, two or more, all of it by name."""
    paths = sorted(path for path in sequence.iterdir() if is_photo(path.name))
    for path in paths:
        if ckplus_name(path).clip != clip:
            raise DataError(f"{path} belongs to another sequence than {clip}, by its name")
    if len(paths) < 2:
        raise DataError(
            f"{sequence}: expected a neutral frame and a peak, found {len(paths)} frames"
        )
    return paths


def _emotion(file: Path) -> str:
    """The expression in a label file, which is one number, "   3.0000000e+00"."""
    order = EXPRESSION_ORDER["ckplus"]
    text = file.read_text(encoding="utf-8").strip()
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if number not in range(1, len(order)):
        known = ", ".join(f"{i} {name}" for i, name in enumerate(order) if i)
        raise DataError(f"{file}: expected one of {known}; found {text!r}")
    return order[int(number)]
