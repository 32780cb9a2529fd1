"""Commands that tell what faces show."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from facefactor.cli.arguments import (
    Backend,
    Engine,
    Face,
    Inputs,
    Model,
    Restart,
    Workers,
)
from facefactor.cli.screen import finish, progress_bar

if TYPE_CHECKING:
    from facefactor.api import Verification


def encode(
    inputs: Inputs,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The table: .parquet, .csv or .npz.")
    ] = Path("codes.parquet"),
    model: Model = "facecycle",
    face: Face = "all",
    csv: Annotated[bool, typer.Option("--csv", help="Also a CSV beside the table.")] = False,
    backend: Backend = "torch",
    workers: Workers = None,
    engine: Engine = "local",
    restart: Restart = False,
) -> None:
    """Codes of every factor of every face, as a table."""
    from facefactor import api

    with progress_bar("encode") as progress:
        outcome = api.encode(
            inputs,
            output,
            model=model,
            face=face,
            csv=csv,
            progress=progress,
            workers=workers,
            engine=engine,
            restart=restart,
            backend=backend,
        )
    finish(outcome)


def express(
    inputs: Inputs,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="A table: .json, .csv or .parquet; lines on the screen if none."
        ),
    ] = None,
    model: Model = "ipdfer",
    face: Face = "all",
    backend: Backend = "torch",
    workers: Workers = None,
    engine: Engine = "local",
    restart: Restart = False,
) -> None:
    """Expression, head pose and box of every face, with probabilities."""
    from facefactor import api

    if output is None:
        outcome = api.express(
            inputs, None, model=model, face=face, show=_print_face, backend=backend
        )
    else:
        with progress_bar("express") as progress:
            outcome = api.express(
                inputs,
                output,
                model=model,
                face=face,
                progress=progress,
                workers=workers,
                engine=engine,
                restart=restart,
                backend=backend,
            )
    finish(outcome, listed=output is not None)


def verify(
    first: Annotated[str, typer.Argument(metavar="A", help="A photo.")],
    second: Annotated[str, typer.Argument(metavar="B", help="Another photo.")],
    face: Annotated[
        str, typer.Option("--face", help="Which face of each: largest, or a number.")
    ] = "largest",
    as_json: Annotated[
        bool, typer.Option("--json", help="A JSON object, rates as shares.")
    ] = False,
) -> None:
    """Do two photos show one person? Exit code 0 whatever the answer."""
    from facefactor import api

    found = api.verify(first, second, face=face)
    typer.echo(json.dumps(found.to_dict()) if as_json else _answer(found))


def _print_face(row: Mapping[str, Any]) -> None:
    """A line for a face; a frame's error too, while those of whole files are told at the end."""
    if row["error"] is not None:
        if row["frame"] is not None:
            typer.echo(f"facefactor: {row['error']}", err=True)
        return
    place = row["file"] if row["frame"] is None else f"{row['file']}  frame {row['frame']}"
    line = f"{place}  face {row['face']}  {row['expression']} {row['probability']:.3f}"
    if row["yaw_deg"] is not None:
        line += "  yaw {yaw_deg:+.1f}  pitch {pitch_deg:+.1f}  roll {roll_deg:+.1f}".format(**row)
    typer.echo(line + "  box {left:.0f} {top:.0f} {right:.0f} {bottom:.0f}".format(**row))


def _answer(found: Verification) -> str:
    if found.measured is None:
        return f"similarity {found.similarity:.3f}; no threshold was measured for this recogniser"
    measured = found.measured
    answer = "the same person" if found.same_person else "not found to be the same person"
    return (
        f"{answer}: similarity {found.similarity:.3f}, threshold {measured.threshold:.3f}\n"
        f"measured on {measured.pairs:,} pairs of {measured.measured_on}: "
        f"{measured.false_match_rate:.2%} of different people are taken for one, "
        f"{measured.false_non_match_rate:.2%} of the same person for two"
    )
