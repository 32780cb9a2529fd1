"""What commands show: a bar on the way; at the end what was written, and what failed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from facefactor.outcomes import Outcome

if TYPE_CHECKING:
    from facefactor.api import Report


def finish(outcome: Outcome, listed: bool = True) -> None:
    """Tell what was written, unless not `listed`, and what failed; exit."""
    for path in outcome.done if listed else ():
        typer.echo(path)
    for message in outcome.failed.values():
        typer.echo(f"facefactor: {message}", err=True)
    raise typer.Exit(outcome.exit_code)


def finish_report(report: Report, output: Path | None, page: Path | None) -> None:
    """Print the page, and where it was written; exit."""
    typer.echo(report.to_markdown())
    for path in (output and output / "results.html", page):
        if path is not None:
            typer.echo(path, err=True)
    for run, reason in report.failed.items():
        typer.echo(f"facefactor: {run}: {reason}", err=True)
    raise typer.Exit(report.exit_code)


@contextmanager
def progress_bar(title: str) -> Iterator[Callable[[int, int | None], None]]:
    """A bar on a terminal; calling it with (done, total) moves it, total None is not known."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
