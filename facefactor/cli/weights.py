"""Commands on the weights at hand, and on whether this install works."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

models_app = typer.Typer(no_args_is_help=True, help="The weights at hand.")


def export(
    model: Annotated[str, typer.Argument(help="A method's packaged weights, or a weight file.")],
    onnx: Annotated[
        Path, typer.Option("--onnx", metavar="FILE", help="Where to write the graph; .onnx.")
    ],
    graph: Annotated[
        Literal["expression", "encode", "codes", "decode", "neutral", "normalize"],
        typer.Option("--graph", "-g", help="What it computes; codes: encode, but nothing to draw."),
    ] = "expression",
    int8: Annotated[
        Path | None,
        typer.Option(
            "--int8",
            metavar="FOLDER",
            help="ipdfer's expression graph in 8 bits, calibrated on these photos of faces.",
        ),
    ] = None,
) -> None:
    """A part of a model as an ONNX graph, checked against torch."""
    from facefactor import api

    if int8 is None:
        typer.echo(api.export(model, onnx, graph).path)
    elif graph == "expression":
        typer.echo(api.export_int8(model, onnx, int8).path)
    else:
        raise typer.BadParameter(f"only the expression graph is written in 8 bits, not {graph}")


@models_app.command("list")
def models_list() -> None:
    """The models at hand and what they separate."""
    from facefactor import api

    _print_table([entry.to_dict() for entry in api.models()])


@models_app.command("card")
def models_card(name: Annotated[str, typer.Argument(help="As `models list` has it.")]) -> None:
    """How a model was trained, on what, how good it is, what it is bad at."""
    from facefactor import api

    typer.echo(api.model_card(name))


@models_app.command("verify")
def models_verify() -> None:
    """Compare every weight file with its hash."""
    from facefactor import api

    _print_checks(api.verify_models())


def doctor() -> None:
    """Is everything here that is needed, and does it work?"""
    from facefactor import api

    _print_checks(api.doctor())


def _print_table(rows: Sequence[Mapping[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(*(rows[0] if rows else ()), box=None)
    for row in rows:
        table.add_row(*(str(value) for value in row.values()))
    Console().print(table)


def _print_checks(checks: Sequence[Any]) -> None:
    """Print each `doctor.Check`; exit 1 when one failed."""
    for check in checks:
        typer.echo(f"{check.status:4}  {check.name}: {check.seen}")
        if check.advice:
            typer.echo(f"      -> {check.advice}")
    raise typer.Exit(1 if any(check.status == "fail" for check in checks) else 0)
