"""Look through a data set before hours are spent on it, and say what is wrong."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from facefactor.data import augmented, frame_sets
from facefactor.data.ckplus import ckplus_name
from facefactor.data.cropped_yale import cropped_yale_name
from facefactor.data.listing import existing_folder, is_photo, is_video
from facefactor.data.named_photos import kdef_name
from facefactor.data.rafd import rafd_name
from facefactor.data.readers import READERS
from facefactor.data.records import DataError, FaceRecord
from facefactor.files import file_hash
from facefactor.images import read_frames, read_photo

TINY_PX = 48  # a shorter side holds less of a face than the smallest benchmark's (FER2013)
_SHOWN = 3  # examples in a line of advice
_RARE = 0.01  # share of the labels below which a class is hardly learnt


@dataclass(frozen=True)
class DataReport:
    """What a folder holds, and what of it would spoil training or a figure."""

    folder: str
    reader: str
    layout_error: str | None = None  # the reader gave up; nothing below is known then
    photos: int = 0
    splits: dict[str, int] = field(default_factory=dict)
    expressions: dict[str, int] = field(default_factory=dict)
    without_expression: int = 0
    subjects: int = 0
    lone_subjects: int = 0  # with one photo
    clips: int = 0
    same_person_pairs: bool = False  # some person or clip has two photos, or is a video
    subjects_on_both_sides: tuple[str, ...] = ()
    broken: tuple[tuple[str, str], ...] = ()  # (path, reason)
    tiny: tuple[str, ...] = ()  # a side below TINY_PX
    grey: int = 0
    duplicates: tuple[tuple[str, ...], ...] = ()  # groups of files with the same bytes
    odd_names: tuple[str, ...] = ()  # not UTF-8, or with control characters, escaped
    advice: tuple[str, ...] = ()  # one line a finding, the worst first

    @property
    def usable(self) -> bool:
        """Training could start: the layout is understood and some photo can be read."""
        return self.layout_error is None and len(self.broken) < self.photos

    def to_dict(self) -> dict[str, Any]:
        """All of it in plain types, for JSON."""
        return {**asdict(self), "usable": self.usable}


def check_folder(
    folder: Path | str,
    reader: str = "auto",
    progress: Callable[[int, int], None] | None = None,
) -> DataReport:
    """Read a data set as training would, open every photo, and report.

    Args:
        reader: a key of READERS, or "auto" to tell by the files.
        progress: called with (done, total) after each photo.

    Raises:
        DataError: no such folder or reader. A folder whose layout is broken is a report.
    """
    top = existing_folder(folder)
    name = guess_reader(top) if reader == "auto" else reader
    if name not in READERS:
        raise DataError(f"no reader is called {name!r}; there are auto, {', '.join(READERS)}")
    try:
        records = READERS[name](top)
    except DataError as error:
        return DataReport(str(top), name, layout_error=str(error), advice=(str(error),))
    return check_records(records, top, name, progress)


_NAMED: dict[str, Callable[[Path], object]] = {  # CFEED's numbers might be anybody's
    "kdef": kdef_name,
    "rafd": rafd_name,
    "cropped-yale": cropped_yale_name,
    "ckplus48": ckplus_name,
}


def guess_reader(folder: Path) -> str:
    """The reader whose files a folder has; of data sets that only photos' names tell, that which
    most of them follow.

    Sub-folders are clips where the photos of one are numbered through, or where there are videos.
    Doubtful ones are read as a plain folder: taking classes for clips would pair strangers.
    """
    marks = {
        "celeba": ["identity_CelebA.txt", "identity.txt", "Anno/identity_CelebA.txt"],
        "rafdb": ["basic/EmoLabel", "EmoLabel"],
        "ferplus": ["fer2013new.csv"],
        "fer2013": ["fer2013_labels.csv", "fer2013.csv"],
        "lfw": ["pairs.txt", "lfw", "aligned112"],
        "multipie": ["session01/multiview", "data/session01/multiview"],
        "photoface": ["PhotofaceDB"],
        "mmi": ["Sessions"],
        "affectnet": ["Manually_Annotated_Images", "Manually_Annotated", "train_set/annotations"],
        "sfew": ["Train/Train_Aligned_Faces", "Train_Aligned_Faces", "Train/Angry"],
        "ckplus": ["cohn-kanade-images", "extended-cohn-kanade-images", "Emotion_labels"],
        "ckplus-pairs": ["pairs.csv"],
    }
    for name, marked in marks.items():
        if any((folder / mark).exists() for mark in marked):
            return name
    for name, index in {"augmented": augmented, "frame-sets": frame_sets}.items():
        if _first_line(folder / index.INDEX) == ",".join(index.COLUMNS):
            return name
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    if any(path.stem == f"{path.parent.name}_0001" for path in files):
        return "lfw"
    photos = [path for path in files if is_photo(path.name)]
    for name, read_name in _NAMED.items():
        if sum(_is_read_by(read_name, path) for path in photos) > len(photos) / 2:
            return name
    loose = any(path.parent == folder for path in photos)
    film = any(is_video(path.name) for path in files)
    first = [path.stem for path in photos if path.parent == photos[0].parent]
    return "clips" if not loose and (film or _numbered_through(first)) else "folder"


def _is_read_by(read_name: Callable[[Path], object], path: Path) -> bool:
    try:
        read_name(path)
    except DataError:
        return False
    return True


def _first_line(table: Path) -> str:
    if not table.is_file():
        return ""
    with open(table, encoding="utf-8", errors="replace") as file:
        return file.readline().rstrip("\n")


def _numbered_through(names: Sequence[str]) -> bool:
    """Two names or more, alike but for the number at their end, which counts up by one."""
    parts = [re.fullmatch(r"(.*?)(\d+)", name) for name in names]
    found = [(part[1], int(part[2])) for part in parts if part is not None]
    if len(found) < max(2, len(names)):
        return False
    numbers = sorted(number for _, number in found)
    alike = len({prefix for prefix, _ in found}) == 1
    return alike and numbers == list(range(numbers[0], numbers[0] + len(numbers)))


def check_records(
    records: Sequence[FaceRecord],
    folder: Path,
    reader: str,
    progress: Callable[[int, int], None] | None = None,
) -> DataReport:
    """The report on records already read."""
    broken, tiny, grey = [], [], 0
    by_content: defaultdict[str, list[FaceRecord]] = defaultdict(list)
    for done, record in enumerate(records, start=1):
        try:
            short, is_grey = _look_at(record.path)
            if record.frame is None:  # frames of one film are no copies of one another
                by_content[file_hash(record.path)].append(record)
            tiny += [_printable(record.path)] if short < TINY_PX else []
            grey += is_grey
        except (ValueError, OSError) as error:  # ImageError and VideoError are ValueErrors
            broken.append((_printable(record.path), str(error)))
        if progress is not None:
            progress(done, len(records))

    copies = [group for group in by_content.values() if len(group) > 1]
    people = Counter(record.subject for record in records if record.subject is not None)
    clips = Counter(record.clip for record in records if record.clip is not None)
    has_video = any(is_video(record.path.name) for record in records)
    report = DataReport(
        folder=str(folder),
        reader=reader,
        photos=len(records),
        splits=_counts(record.split for record in records),
        expressions=_counts(record.expression for record in records),
        without_expression=sum(record.expression is None for record in records),
        subjects=len(people),
        lone_subjects=sum(count == 1 for count in people.values()),
        clips=len(clips),
        same_person_pairs=has_video or max([0, *people.values(), *clips.values()]) > 1,
        subjects_on_both_sides=_on_both_sides(records),
        broken=tuple(broken),
        tiny=tuple(tiny),
        grey=grey,
        duplicates=tuple(tuple(_printable(record.path) for record in group) for group in copies),
        odd_names=tuple(
            _printable(record.path) for record in records if not record.path.name.isprintable()
        ),
    )
    return _with_advice(report, copies)


def _with_advice(report: DataReport, copies: list[list[FaceRecord]]) -> DataReport:
    lines = []
    if report.broken:
        _, reason = report.broken[0]
        lines.append(f"{len(report.broken)} photos cannot be read, the first: {reason}")
    if report.subjects_on_both_sides:
        lines.append(
            f"{len(report.subjects_on_both_sides)} subjects are in more than one split "
            f"({_some(report.subjects_on_both_sides)}): figures would be too good; split by subject"
        )
    lines += _advice_on_copies(copies)
    lines += _advice_on_labels(report)
    if report.odd_names:
        lines.append(f"{len(report.odd_names)} names are unreadable ({_some(report.odd_names)})")
    if report.tiny:
        lines.append(
            f"{len(report.tiny)} photos have a side below {TINY_PX} px ({_some(report.tiny)}): "
            "networks at 64 px and more see them blurred"
        )
    if 0 < report.grey < report.photos:
        lines.append(
            f"{report.grey} of {report.photos} photos are grey among coloured ones: whether a "
            "photo has colour must not go with its label or its person"
        )
    if not report.same_person_pairs:
        lines.append(
            "no two photos are known to show the same person: training on pairs of one person "
            "has mirror images only, or refuses"
        )
    elif report.lone_subjects:
        lines.append(f"{report.lone_subjects} of {report.subjects} subjects have one photo only")
    if report.reader == "clips":
        lines.append("each sub-folder is taken for one person's clip; if not, read it as 'folder'")
    return replace(report, advice=tuple(lines))


def _advice_on_copies(copies: list[list[FaceRecord]]) -> list[str]:
    lines = []
    if copies:
        first = [_printable(record.path) for record in copies[0]]
        extra = sum(len(group) - 1 for group in copies)
        lines.append(f"{extra} photos are copies of others, byte for byte ({_some(first)})")
    for what, values in (
        ("more than one split", [{record.split for record in group} for group in copies]),
        ("more than one label", [{record.expression for record in group} for group in copies]),
        ("more than one subject", [{record.subject for record in group} for group in copies]),
    ):
        if torn := sum(len(kinds) > 1 for kinds in values):
            lines.append(f"{torn} of the copied photos are in {what}")
    return lines


def _advice_on_labels(report: DataReport) -> list[str]:
    total = sum(report.expressions.values())
    lines = [
        f"only {count} of {total} labels are {name}: report the mean over classes beside accuracy"
        for name, count in report.expressions.items()
        if count < _RARE * total
    ]
    if total and report.without_expression:
        lines.append(f"{report.without_expression} photos have no label that can be trusted")
    return lines


def _look_at(path: Path) -> tuple[int, bool]:
    """Shorter side in pixels, and whether it is grey, of a photo or a video's first frame."""
    if is_video(path.name):
        photo = next(iter(read_frames(path)), None)
        if photo is None:
            raise ValueError(f"{path}: a video without frames")
    else:
        photo = read_photo(path)
    grey = np.array_equal(photo[..., 0], photo[..., 1]) and np.array_equal(
        photo[..., 1], photo[..., 2]
    )
    return min(photo.shape[:2]), grey


def _on_both_sides(records: Sequence[FaceRecord]) -> tuple[str, ...]:
    splits: defaultdict[str, set[str]] = defaultdict(set)
    for record in records:
        if record.subject is not None and record.split is not None:
            splits[record.subject].add(record.split)
    return tuple(sorted(subject for subject, sides in splits.items() if len(sides) > 1))


def _counts(values: Iterable[str | None]) -> dict[str, int]:
    """How often each value comes, None left out, the most frequent first."""
    return dict(Counter(value for value in values if value is not None).most_common())


def _printable(path: Path) -> str:
    """The path with bytes that are no UTF-8, and control characters, escaped."""
    name = str(path).encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in name)


def _some(names: Sequence[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(Path(name).name for name in names[:_SHOWN]) + (
        f", {more} more" if more > 0 else ""
    )
