"""Photos with head pose angles: a folder and one table."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from facefactor.data.records import DataError, FaceRecord

_COLUMNS = ("image", "yaw_deg", "pitch_deg", "roll_deg", "split")


def read_poses(folder: Path | str) -> tuple[list[FaceRecord], NDArray[np.float32]]:
    """A folder of photos with `poses.csv`: image, yaw_deg, pitch_deg, roll_deg, split.

    Angles have the signs of 300W-LP and AFLW2000; `split` is train or test. Faces are found by the
    detector.

    Returns:
        N records and their angles, (N, 3) in degrees.

    Raises:
        DataError: the table or an image is missing, or a line is not understood.
    """
    table = Path(folder) / "poses.csv"
    if not table.is_file():
        raise DataError(f"{table} is missing; it needs the columns {', '.join(_COLUMNS)}")
    records, angles = [], []
    with open(table, newline="", encoding="utf-8") as file:
        rows = csv.DictReader(file)
        if missing := [name for name in _COLUMNS if name not in (rows.fieldnames or ())]:
            raise DataError(f"{table}: no column {missing[0]!r}; it needs {', '.join(_COLUMNS)}")
        for line, row in enumerate(rows, 2):
            path = Path(folder) / row["image"]
            if not path.is_file():
                raise DataError(f"{table}, line {line}: {path} does not exist")
            split = row["split"]
            if split not in ("train", "test"):
                raise DataError(f"{table}, line {line}: split {split!r} is neither train nor test")
            try:
                angle = [float(row[name]) for name in _COLUMNS[1:4]]
            except ValueError as error:
                raise DataError(f"{table}, line {line}: {error}; angles are in degrees") from error
            records.append(FaceRecord(path, split="train" if split == "train" else "test"))
            angles.append(angle)
    if not records:
        raise DataError(f"{table}: lists no images")
    return records, np.array(angles, np.float32)
