"""Commands that edit photos and videos."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from facefactor.cli.arguments import (
    EXPRESSION_MODEL,
    Face,
    Inputs,
    Model,
    Output,
    Raw,
    Smooth,
)
from facefactor.cli.screen import finish, progress_bar


def _factors(value: str) -> str:
    if not all(name.strip() for name in value.split(",")):
        raise typer.BadParameter(f"{value!r} is not a list of factors such as expression,pose")
    return value


Factor = Annotated[
    str,
    typer.Option("--factor", "-f", callback=_factors, help="Factors to take, comma-separated."),
]


def demo(
    output: Annotated[Path, typer.Option("--output", "-o", help="A folder.")] = Path("demo"),
) -> None:
    """Edit two portraits that come with the install: sheets, and a mesh of each."""
    from facefactor import api

    for path in api.demo(output):
        typer.echo(path)


def neutral(
    inputs: Inputs,
    output: Output,
    model: Model = EXPRESSION_MODEL,
    face: Face = "largest",
    raw: Raw = False,
    smooth: Smooth = 0.0,
) -> None:
    """The same face without its expression, in photos or through videos."""
    _edit_photos("neutral", inputs, output, model, face, raw, smooth)


def frontalize(
    inputs: Inputs,
    output: Output,
    model: Model = "facecycle",
    face: Face = "largest",
    raw: Raw = False,
    smooth: Smooth = 0.0,
) -> None:
    """The same face seen from the front, in photos or through videos."""
    _edit_photos("frontalize", inputs, output, model, face, raw, smooth)


def normalize(
    inputs: Inputs,
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", help="Where to write; of a video, or with --steps, also .gif or .mp4."
        ),
    ],
    steps: Annotated[
        int | None,
        typer.Option(
            "--steps",
            min=2,
            help="Pictures of the way to it after the photo, from its code to that of the "
            "normalised face: a sheet or a film. All of them are normalised.",
        ),
    ] = None,
    model: Model = "nfgan",
    face: Face = "largest",
    raw: Raw = False,
    smooth: Smooth = 0.0,
) -> None:
    """The normalised face, frontal and neutral, in photos or in each frame of a video.

    The whole face is drawn anew, 64 pixels wide, its colours matched to the photo's. Weights of a
    grey preset draw it grey (see --raw); in the photo it has the tint of the skin.
    """
    from facefactor import api

    with progress_bar("normalize") as progress:
        outcome = api.normalize(
            inputs,
            output,
            steps=steps,
            model=model,
            face=face,
            raw=raw,
            smooth=smooth,
            progress=progress,
        )
    finish(outcome)


def transfer(
    target: Annotated[str, typer.Argument(help="The photo or video that is changed.")],
    source: Annotated[
        str, typer.Option("--from", metavar="SOURCE", help="The photo or video to take from.")
    ],
    output: Output,
    factor: Factor = "expression",
    strength: Annotated[
        float, typer.Option("--strength", "-s", help="0 keeps, 1 takes, above 1 exaggerates.")
    ] = 1.0,
    model: Model = EXPRESSION_MODEL,
    face: Face = "largest",
    raw: Raw = False,
    smooth: Smooth = 0.0,
) -> None:
    """One face with another's expression, or any other factor; of or from a video a film."""
    from facefactor import api

    with progress_bar("transfer") as progress:
        outcome = api.transfer(
            target,
            source,
            output,
            factors=_split(factor),
            strength=strength,
            model=model,
            face=face,
            raw=raw,
            smooth=smooth,
            progress=progress,
        )
    finish(outcome)


def interpolate(
    start: Annotated[str, typer.Argument(metavar="A", help="The photo where the path starts.")],
    end: Annotated[str, typer.Argument(metavar="B", help="The photo where it leads.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="A sheet (.png), or a film (.gif, .mp4).")
    ],
    factor: Factor = "expression",
    steps: Annotated[int, typer.Option("--steps", min=2, help="Faces on the path.")] = 11,
    begin: Annotated[float, typer.Option("--begin", help="0 is A; below 0 leads away.")] = 0.0,
    stop: Annotated[float, typer.Option("--stop", help="1 is B; above 1 leads beyond.")] = 1.0,
    model: Model = EXPRESSION_MODEL,
    face: Face = "largest",
) -> None:
    """The path from one face to another, along the factors named."""
    from facefactor import api

    outcome = api.interpolate(
        start,
        end,
        output,
        factors=_split(factor),
        steps=steps,
        span=(begin, stop),
        model=model,
        face=face,
    )
    finish(outcome)


def _edit_photos(
    edit: Literal["neutral", "frontalize"],
    inputs: list[str],
    output: Path,
    model: str,
    face: str,
    raw: bool,
    smooth: float,
) -> None:
    from facefactor import api

    with progress_bar(edit) as progress:
        outcome = api.edit_photos(
            inputs, output, edit, model=model, face=face, raw=raw, smooth=smooth, progress=progress
        )
    finish(outcome)


def _split(factors: str) -> list[Any]:
    return [name.strip() for name in factors.split(",")]
