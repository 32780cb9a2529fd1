"""Where a detector found the faces of photos, kept on disk: it looks once for crops of any kind."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path

from facefactor.data.records import FaceRecord, Points
from facefactor.files import WriteError, file_version

_FORMAT = 1  # part of every key: raise it when the detector would find other points


class FoundPoints:
    """The points of each photo's largest face; photos that have none are remembered too.

    A file of SQLite's, so that several processes may ask and tell at once: two that look at the
    same photo find the same. It is only worth the time that finding takes; delete it at will.
    """

    def __init__(self, folder: Path) -> None:
        self.file = folder / "found_points.sqlite"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self.store = sqlite3.connect(self.file, timeout=60)
            self.store.execute("PRAGMA synchronous = OFF")  # what a power cut takes is found again
            with self.store:
                self.store.execute(
                    "CREATE TABLE IF NOT EXISTS found (photo TEXT PRIMARY KEY, points TEXT)"
                )
        except (OSError, sqlite3.Error) as error:
            raise self._broken(error) from error

    def __enter__(self) -> FoundPoints:
        return self

    def __exit__(self, *_: object) -> None:
        self.store.close()

    def find(self, record: FaceRecord, look: Callable[[], Points | None]) -> Points | None:
        """The points (5, 2) of a record's face; `look` is called where they are not known.

        None where there is no face. What `look` raises is not remembered.
        """
        file = (str(record.path.absolute()), *file_version(record.path))
        photo = json.dumps([_FORMAT, *file, record.frame, record.quarter_turns])
        try:
            row = self.store.execute("SELECT points FROM found WHERE photo = ?", [photo]).fetchone()
            if row is not None:
                known = json.loads(row[0])
                return None if known is None else tuple((x, y) for x, y in known)
            points = look()
            with self.store:
                told = json.dumps(points)
                self.store.execute("INSERT OR REPLACE INTO found VALUES (?, ?)", [photo, told])
            return points
        except sqlite3.Error as error:
            raise self._broken(error) from error

    def _broken(self, error: Exception) -> WriteError:
        return WriteError(f"{self.file}: cannot be used ({error}); delete it, or make room")
