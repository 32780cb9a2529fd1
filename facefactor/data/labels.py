"""Labels as files write them: tables of comma-separated values, and words for expressions."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

from facefactor.data.records import DataError

_WORDS = {  # what folders and lists call an expression, in lower case
    "neutral": "neutral",
    "happiness": "happiness",
    "happy": "happiness",
    "sadness": "sadness",
    "sad": "sadness",
    "surprise": "surprise",
    "surprised": "surprise",
    "fear": "fear",
    "afraid": "fear",
    "disgust": "disgust",
    "disgusted": "disgust",
    "anger": "anger",
    "angry": "anger",
    "contempt": "contempt",
}


def expression_named(word: str, where: str) -> str:
    """The name in EXPRESSIONS of a word like "happy" or "Angry", whatever its case.

    `where` names file or folder for the DataError of a word that is none.
    """
    if word.lower() not in _WORDS:
        raise DataError(
            f"{where}: {word!r} is no expression; expected one of {', '.join(sorted(_WORDS))}"
        )
    return _WORDS[word.lower()]


def csv_rows(
    file: Path, columns: Sequence[str], otherwise: Sequence[str] | None = None
) -> Iterator[tuple[int, dict[str, str]]]:
    """Line number and row of a CSV file with at least these columns; DataError otherwise.

    Args:
        otherwise: the columns of a file that begins without a head, all of them, in their order.
    """
    if not file.is_file():
        raise DataError(f"{file} does not exist")
    with file.open(encoding="utf-8-sig", newline="") as lines:
        headless = otherwise is not None and columns[0] not in lines.readline()
        lines.seek(0)
        reader = csv.DictReader(lines, fieldnames=otherwise if headless else None)
        if missing := [name for name in columns if name not in (reader.fieldnames or [])]:
            raise DataError(f"{file}: no column {missing[0]!r}; it has {reader.fieldnames}")
        for row in reader:
            if any(row[name] is None for name in columns):
                raise DataError(f"{file}, line {reader.line_num}: too few columns")
            yield reader.line_num, row
