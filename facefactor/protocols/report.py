"""What `reproduce` and `compare` found, as JSON, as Markdown and as one HTML file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from facefactor.files import atomic_path
from facefactor.protocols.compare import Comparison, comparison_parts
from facefactor.protocols.kept import Kept, Run
from facefactor.protocols.pages import (
    Grid,
    Heading,
    Part,
    Picture,
    Text,
    number,
    of_table,
    to_html,
    to_markdown,
)
from facefactor.protocols.reproduce import Line, Reproduction

_ABOUT = (
    "Ours less the paper's is the difference. It is left out where the two are not of the same "
    'thing; the note says why. "Split" names the photos and labels, "weights" are the first '
    "twelve digits of the hash of the weights' values."
)


@dataclass(frozen=True)
class Report:
    """A page and the same in plain types."""

    title: str
    parts: Sequence[Part]  # what is asked for
    more: Sequence[Part]  # all tables and pictures behind it
    data: Mapping[str, Any]
    measured: int  # runs
    failed: Mapping[str, str]  # run -> why it gave nothing

    @property
    def exit_code(self) -> int:
        """0 all done, 1 nothing measured, 3 some runs failed."""
        if not self.measured:
            return 1
        return 3 if self.failed else 0

    def to_dict(self) -> dict[str, Any]:
        return dict(self.data)

    def to_markdown(self) -> str:
        """The page without the tables behind it."""
        return to_markdown(self.parts) + "\n"

    def write(self, folder: Path) -> list[Path]:
        """`results.json`, `results.md` and `results.html` in a folder; WriteError names a file."""
        whole = [Heading(self.title, 1), *self.parts, *self.more]
        written = {
            "results.json": self._json(),
            "results.md": to_markdown(whole) + "\n",
            "results.html": to_html(self.title, whole),
        }
        for name, content in written.items():
            _write(folder / name, content)
        return [folder / name for name in written]

    def write_page(self, file: Path) -> Path:
        """The Markdown alone, as a page of its own, and its figures as JSON beside it."""
        whole = [Heading(self.title, 1), *self.parts, *self.more]
        _write(file.with_suffix(".json"), self._json())
        _write(file, to_markdown(whole) + "\n")
        return file

    def _json(self) -> str:
        return json.dumps(self.data, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def report_of(
    title: str,
    command: str,
    papers: Sequence[Reproduction] = (),
    comparison: Comparison | None = None,
) -> Report:
    """One page for papers and for methods side by side, as far as given."""
    about = f" {_ABOUT}" if papers else ""
    parts: list[Part] = [Text(f"Written by `{command}`; nothing here was typed by hand.{about}")]
    more: list[Part] = []
    data: dict[str, Any] = {"command": command}
    found: list[Reproduction | Comparison] = [*papers]
    for each in papers:
        parts += _rows(each)
        more += _behind(f"{each.method}: all that was measured", each.runs)
    if papers:
        data["papers"] = [each.to_dict() for each in papers]
    if comparison is not None:
        found.append(comparison)
        parts += comparison_parts(comparison)
        more += _behind("Side by side: all that was measured", comparison.runs)
        data["comparison"] = comparison.to_dict()
    failed = {str(run): reason for each in found for run, reason in each.failed.items()}
    parts += _failures(failed)
    measured = sum(len(each.runs) for each in found)
    return Report(title, parts, more, data, measured, failed)


def _failures(failed: Mapping[str, str]) -> list[Part]:
    if not failed:
        return []
    rows = [["run", "why it gave nothing"], *map(list, failed.items())]
    return [Heading("Not measured, though asked for"), Grid(rows)]


def _rows(found: Reproduction) -> list[Part]:
    parts: list[Part] = [Heading(f"{found.method}: {found.title}")]
    if found.weights:
        weights = [[each.title, each.model, each.sha256[:12]] for each in found.weights]
        parts.append(Grid([["called", "weights", "hash"], *weights]))
    else:
        parts.append(
            Text(
                f"No weights of {found.method} come with the package: train them (`facefactor "
                f"train {found.method}`) and name them (--model FILE)."
            )
        )
    measured = [line for line in found.lines if line.ours is not None]
    head = ["table", "row", "paper", "ours", "difference", "n", "seed", "split", "instruments"]
    grid = [[*head, "weights", "note"], *map(_cells, measured)]
    parts += [Heading("Measured", 3), Grid(grid)] if measured else []
    open_rows = [line for line in found.lines if line.ours is None and line.row.answers]
    if open_rows:
        parts += [Heading("Not measured yet", 3), Grid(_grouped(open_rows, "what it needs"))]
    closed = [line for line in found.lines if not line.row.answers]
    if closed:
        parts += [Heading("No code here answers", 3), Grid(_grouped(closed, "why"))]
    return parts


def _cells(line: Line) -> list[str]:
    row = line.row
    difference = line.difference
    return [
        row.table,
        row.name,
        number(row.value, row.unit),
        number(line.ours, row.unit, line.spread),
        "–" if difference is None else f"{difference:+.2f}",
        "–" if line.n is None else f"{line.n:,}",
        "–" if line.seed is None else str(line.seed),
        line.split_hash or "–",
        ", ".join(line.instruments) or "–",
        ", ".join(line.weights),
        line.note,
    ]


def _grouped(lines: Sequence[Line], what: str) -> list[list[str]]:
    """Rows of one table with one note in one line: they are many."""
    groups: dict[tuple[str, str], list[str]] = {}
    for line in lines:
        text = f"{line.row.name} ({_bare(line.row.value, line.row.unit)})"
        groups.setdefault((line.row.table, line.note), []).append(text)
    rows = [[table, "; ".join(names), note] for (table, note), names in groups.items()]
    return [["table", "rows (the paper's figure)", what], *rows]


def _bare(value: float, unit: str) -> str:
    """A published figure as it is printed: SSIM has four decimals."""
    digits = (
        f"{value:,.0f}" if unit == "photos" else f"{value:.4f}" if value < 1 else f"{value:.2f}"
    )
    gap = "" if unit in ("", "°", "photos") else " "
    return f"{digits}{gap}{'' if unit == 'photos' else unit}"


def _behind(title: str, runs: Mapping[Run, Kept]) -> list[Part]:
    """Every table and picture of some runs."""
    parts: list[Part] = [Heading(title)] if runs else []
    for run, kept in runs.items():
        parts += [Heading(str(run), 3)] if kept.tables else []
        for table in kept.tables:
            parts += of_table(table)
        parts += [Picture(path, f"{run}: {path.stem}") for path in kept.pictures]
    return parts


def _write(path: Path, text: str) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
