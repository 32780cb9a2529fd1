"""What a run over several inputs leaves: one bad file is a line in the report, not its end."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Progress = Callable[[int, int | None], None]  # done, and how many in all where that is known


@dataclass(frozen=True)
class Outcome:
    """What was written, and which inputs failed, why."""

    done: tuple[Path, ...]
    failed: Mapping[str, str] = field(default_factory=dict)  # input -> the error, naming the file

    @property
    def exit_code(self) -> int:
        """0 all done, 1 nothing done, 3 some inputs failed."""
        if not self.failed:
            return 0
        return 3 if self.done else 1

    def to_dict(self) -> dict[str, Any]:
        return {"done": [str(path) for path in self.done], "failed": dict(self.failed)}
