"""A page of results as plain parts, written as Markdown or as one HTML file that needs no other."""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from facefactor.evaluation.tables import ResultTable, Score


@dataclass(frozen=True)
class Heading:
    text: str
    level: int = 2


@dataclass(frozen=True)
class Text:
    """A paragraph; what stands between backticks is code."""

    text: str


@dataclass(frozen=True)
class Grid:
    """A table. The first row is the head; cells are plain text."""

    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Picture:
    """A PNG; pages in Markdown leave it out, as it may show people of research data."""

    path: Path
    title: str


Part = Heading | Text | Grid | Picture

_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; color: #1e1e1e; margin: 2em auto; max-width: 78em;
  padding: 0 1em }
h1, h2, h3 { line-height: 1.2 }
h2 { border-top: 2px solid #14468c; margin-top: 2.5em; padding-top: .6em }
.grid { overflow-x: auto }
table { border-collapse: collapse; margin: .6em 0 1.4em }
th, td { border-bottom: 1px solid #d2d2d2; padding: .25em .7em; text-align: left;
  vertical-align: top }
th { border-bottom: 2px solid #777 }
td.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap }
code { background: #f2f2f2; padding: 0 .2em }
figure { margin: 1em 0 }
img { max-width: 100%; border: 1px solid #d2d2d2 }
figcaption { color: #555 }
"""
_NUMBER = re.compile(r"[-+–]?[\d,.]*( ± [\d.]+)?( ?(%|°|dB|mm|px|ms|MB))?")


def to_markdown(parts: Sequence[Part]) -> str:
    """The page without its pictures."""
    return "\n\n".join(
        _markdown(part) for part in parts if not isinstance(part, Picture) and _has_content(part)
    )


def to_html(title: str, parts: Sequence[Part]) -> str:
    """The whole page: style and pictures are inside."""
    body = "\n".join(_html(part) for part in parts if _has_content(part))
    head = f'<meta charset="utf-8"><title>{html.escape(title)}</title><style>{_STYLE}</style>'
    view = '<meta name="viewport" content="width=device-width, initial-scale=1">'
    top = f'<!doctype html>\n<html lang="en"><head>{head}{view}</head>'
    return f"{top}<body>\n{body}\n</body></html>\n"


def number(value: float | None, unit: str = "", spread: float | None = None) -> str:
    """Two decimals and the unit; SSIM and FID are bare; counts of photos are whole."""
    if value is None:
        return "–"
    if unit == "photos":
        return f"{value:,.0f} photos"
    around = f" ± {spread:.2f}" if spread is not None else ""
    return f"{value:.2f}{around}{'' if unit in ('', '°') else ' '}{unit}"


def of_table(table: ResultTable) -> list[Part]:
    """A protocol's table: what it is of, and its scores."""
    facts = [
        f"{table.protocol} on {table.dataset}: {table.model}",
        f"n = {table.n:,}" if table.n is not None else "",
        f"seed {table.seed}" if table.seed is not None else "",
        f"split {table.split_hash}" if table.split_hash else "",
        f"instruments: {', '.join(table.instruments)}" if table.instruments else "",
        f"`{table.command}`" if table.command else "",
    ]
    rows = [["metric", "paper", "ours", "difference", "n"]]
    rows += [_score(score) for score in table.scores]
    if not any(score.n for score in table.scores):
        rows = [row[:-1] for row in rows]
    if not any(score.published is not None for score in table.scores):
        rows = [[row[0], row[2], *row[4:]] for row in rows]
    return [Text("; ".join(fact for fact in facts if fact)), Grid(rows)]


def _score(score: Score) -> list[str]:
    difference = "–"
    if score.value is not None and score.published is not None:
        difference = f"{score.value - score.published:+.2f}"
    ours = number(score.value, score.unit, score.spread)
    n = "–" if score.n is None else f"{score.n:,}"
    return [score.metric, number(score.published, score.unit), ours, difference, n]


def _has_content(part: Part) -> bool:
    return not isinstance(part, Grid) or len(part.rows) > 1


def _markdown(part: Part) -> str:
    if isinstance(part, Heading):
        return f"{'#' * part.level} {part.text}"
    if isinstance(part, Grid):
        head, *body = [[cell.replace("|", "\\|") for cell in row] for row in part.rows]
        rule = ["---"] * len(head)
        return "\n".join(f"| {' | '.join(row)} |" for row in (head, rule, *body))
    return part.text if isinstance(part, Text) else ""


def _html(part: Part) -> str:
    if isinstance(part, Heading):
        return f"<h{part.level}>{_inline(part.text)}</h{part.level}>"
    if isinstance(part, Grid):
        head, *body = part.rows
        rows = ["".join(f"<th>{_inline(cell)}</th>" for cell in head)]
        rows += ["".join(_cell(cell) for cell in row) for row in body]
        return (
            f'<div class="grid"><table>{"".join(f"<tr>{row}</tr>" for row in rows)}</table></div>'
        )
    if isinstance(part, Picture):
        data = base64.b64encode(part.path.read_bytes()).decode("ascii")
        title = html.escape(part.title)
        image = f'<img alt="{title}" src="data:image/png;base64,{data}">'
        return f"<figure>{image}<figcaption>{title}</figcaption></figure>"
    return f"<p>{_inline(part.text)}</p>"


def _cell(text: str) -> str:
    kind = ' class="number"' if _NUMBER.fullmatch(text) else ""
    return f"<td{kind}>{_inline(text)}</td>"


def _inline(text: str) -> str:
    return re.sub(r"`([^`]*)`", r"<code>\1</code>", html.escape(text))
