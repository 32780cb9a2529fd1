"""Commands that relight and turn, at once or in steps."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from facefactor.cli.arguments import Face, Inputs, Model, Raw, Smooth
from facefactor.cli.screen import finish, progress_bar

Sweep = Annotated[
    Path,
    typer.Option(
        "--output", "-o", help="Where to write; of a video, or with --steps, also .gif or .mp4."
    ),
]
Steps = Annotated[
    int | None, typer.Option("--steps", min=2, help="Pictures of the way: a sheet or a film.")
]
Direction = Literal["front", "left", "right", "above", "below"]


def relight(
    inputs: Inputs,
    output: Sweep,
    source: Annotated[
        str | None, typer.Option("--from", metavar="PHOTO", help="Take the light of this photo.")
    ] = None,
    light_from: Annotated[
        Direction | None,
        typer.Option("--light-from", help="Left is the subject's left, the right of the photo."),
    ] = None,
    azimuth: Annotated[
        float | None,
        typer.Option(min=-180, max=180, help="0 from the camera, 90 from the subject's left."),
    ] = None,
    elevation: Annotated[
        float | None, typer.Option(min=-90, max=90, help="90 from straight above.")
    ] = None,
    ambient: Annotated[
        float, typer.Option(min=0, help="Light from all sides beside that of brightness 1.")
    ] = 0.3,
    to_azimuth: Annotated[
        float | None,
        typer.Option(min=-180, max=180, help="With --steps: the light travels there."),
    ] = None,
    to_elevation: Annotated[
        float | None, typer.Option(min=-90, max=90, help="With --steps: the light travels there.")
    ] = None,
    strength: Annotated[
        float, typer.Option("--strength", "-s", help="0 keeps, 1 replaces, above 1 exaggerates.")
    ] = 1.0,
    steps: Steps = None,
    model: Model = "neurotensorial",
    face: Face = "largest",
    raw: Raw = False,
    smooth: Smooth = 0.0,
) -> None:
    """Another light on a face: of another photo, or from a direction."""
    angles = azimuth is not None or elevation is not None
    if (source is not None) + (light_from is not None) + angles != 1:
        raise typer.BadParameter(
            "say where the light is from: --from PHOTO, --light-from, or --azimuth and --elevation"
        )
    travels = to_azimuth is not None or to_elevation is not None
    if travels and (steps is None or source is not None):
        raise typer.BadParameter("a light travels in --steps, from one direction to another")
    from facefactor import api

    light: Any = source
    if light_from is not None:
        light = api.light_from(light_from, ambient)
    elif angles:
        light = api.Light(azimuth or 0.0, elevation or 0.0, ambient)
    until = None
    if travels:
        until = api.Light(
            light.azimuth_deg if to_azimuth is None else to_azimuth,
            light.elevation_deg if to_elevation is None else to_elevation,
            ambient,
        )
    with progress_bar("relight") as progress:
        outcome = api.relight(
            inputs,
            output,
            light,
            until=until,
            strength=strength,
            steps=steps,
            model=model,
            face=face,
            raw=raw,
            smooth=smooth,
            progress=progress,
        )
    finish(outcome)


def pose(
    inputs: Inputs,
    output: Sweep,
    source: Annotated[
        str | None,
        typer.Option("--from", metavar="PHOTO", help="Turned as the head in this photo."),
    ] = None,
    yaw: Annotated[
        float | None,
        typer.Option(min=-90, max=90, help="Degrees; positive: nose to the photo's left."),
    ] = None,
    pitch: Annotated[
        float | None, typer.Option(min=-90, max=90, help="Degrees; positive: looks up.")
    ] = None,
    roll: Annotated[
        float | None, typer.Option(min=-180, max=180, help="Degrees; positive: tilted clockwise.")
    ] = None,
    steps: Steps = None,
    model: Model = "neurotensorial",
    face: Face = "largest",
    raw: Raw = False,
    smooth: Smooth = 0.0,
) -> None:
    """The head turned to angles (one not given stays), or as in another photo."""
    angles = not (yaw is None and pitch is None and roll is None)
    if angles == (source is not None):
        raise typer.BadParameter("say how to turn: --from PHOTO, or --yaw, --pitch, --roll")
    from facefactor import api

    goal: Any = api.Angles(yaw, pitch, roll) if angles else source
    with progress_bar("pose") as progress:
        outcome = api.pose(
            inputs,
            output,
            goal,
            steps=steps,
            model=model,
            face=face,
            raw=raw,
            smooth=smooth,
            progress=progress,
        )
    finish(outcome)
