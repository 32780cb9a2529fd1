"""Arguments that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

EXPRESSION_MODEL = "leed"  # the one whose mouths close and open


def named(values: list[str] | None) -> list[str] | None:
    for value in values or ():
        name, equals, rest = value.partition("=")
        if not (name and equals and rest):
            raise typer.BadParameter(f"{value!r} is not of the form name=value")
    return values


Inputs = Annotated[
    list[str], typer.Argument(metavar="INPUT", help="Photos, folders, patterns or videos.")
]
Model = Annotated[
    str, typer.Option("--model", "-m", help="A method's packaged weights, or a weight file.")
]
Face = Annotated[
    str, typer.Option("--face", help="Which face: largest, all, a number, or like:photo.jpg.")
]
Backend = Annotated[
    Literal["torch", "onnx"],
    typer.Option("--backend", help="What computes; onnx is ONNX Runtime, and starts later."),
]
Raw = Annotated[bool, typer.Option("--raw", help="The network's own square, not put back.")]
Smooth = Annotated[
    float,
    typer.Option(
        "--smooth", min=0, help="Of videos: average over so many frames to each side; 0 does not."
    ),
]
Output = Annotated[Path, typer.Option("--output", "-o", help="Where to write.")]
Workers = Annotated[
    int | None, typer.Option("--workers", min=1, help="Processes; as many as there are cores.")
]
Engine = Annotated[
    str, typer.Option("--engine", help="local, or ray: a Ray cluster, this machine if no other.")
]
Restart = Annotated[bool, typer.Option("--restart", help="Drop what an unfinished run has left.")]
