"""Commands on folders of faces."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from facefactor.cli.arguments import Engine, Workers
from facefactor.cli.screen import finish, progress_bar
from facefactor.outcomes import Outcome

data_app = typer.Typer(no_args_is_help=True, help="Folders of faces.")


@data_app.command("check")
def data_check(
    folder: Annotated[Path, typer.Argument(help="The folder of the data set.")],
    reader: Annotated[str, typer.Option("--reader", "-r", help="How it is laid out.")] = "auto",
) -> None:
    """Read a data set and say what is in it, or what is wrong with it."""
    from facefactor import api

    for name, value in api.check_data(folder, reader).to_dict().items():
        typer.echo(f"{name}: {value}")


@data_app.command("frontal-neutral")
def data_frontal_neutral(
    folder: Annotated[Path, typer.Argument(help="The folder of the data set.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Where to write it; .csv.")],
    reader: Annotated[str, typer.Option("--reader", "-r", help="How it is laid out.")] = "auto",
    angle: Annotated[
        float, typer.Option("--angle", min=0, help="Degrees of yaw and pitch, either way.")
    ] = 5.0,
) -> None:
    """List which photos are frontal, neutral and sharp."""
    from facefactor import api

    with progress_bar("look") as progress:
        found = api.find_frontal_neutral(
            folder, output, reader=reader, max_angle=angle, progress=progress
        )
    people = f", of {found.people} people" if found.people else ""
    typer.echo(f"{found.found} of {found.photos} photos are frontal and neutral{people}")
    finish(Outcome((found.table,), found.failed))


@data_app.command("prepare")
def data_prepare(
    clips: Annotated[Path, typer.Argument(help="A folder of clips, person/video/clip.mp4.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="A folder for the frames.")],
    reader: Annotated[str, typer.Option("--reader", "-r", help="How it is laid out.")] = "voxceleb",
    rate: Annotated[float, typer.Option("--rate", help="Frames a second.")] = 6.0,
    crop: Annotated[str, typer.Option("--crop", help="facecycle or arcface.")] = "facecycle",
    size: Annotated[int, typer.Option("--size", help="Side of the crop in pixels.")] = 128,
    margin: Annotated[
        float, typer.Option("--margin", help="What is added on each side, a share of the size.")
    ] = 0.25,
    workers: Workers = None,
    engine: Engine = "local",
) -> None:
    """Cut a person's face out of the frames of each clip, to train on."""
    from facefactor import api

    with progress_bar("prepare") as progress:
        outcome = api.prepare(
            clips,
            output,
            reader=reader,
            rate=rate,
            crop=crop,
            size=size,
            margin=margin,
            progress=progress,
            workers=workers,
            engine=engine,
        )
    finish(outcome)


@data_app.command("morphable")
def data_morphable(
    folder: Annotated[Path, typer.Argument(help="A folder of ICT-FaceKit, or its FaceXModel.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Where to write it; .npz.")],
) -> None:
    """Make the morphable model that some methods learn from."""
    from facefactor import api

    typer.echo(api.convert_morphable(folder, output))


@data_app.command("synthetic")
def data_synthetic(
    output: Annotated[Path, typer.Option("--output", "-o", help="A folder.")],
    morphable: Annotated[
        Path, typer.Option("--morphable", help="A morphable model's .npz, of `data morphable`.")
    ],
    people: Annotated[int, typer.Option("--people", min=1, help="Eight pictures of each.")] = 10,
    seed: Annotated[int, typer.Option("--seed", min=0)] = 0,
    size: Annotated[int, typer.Option("--size", min=16, help="Side in pixels.")] = 64,
    crop: Annotated[str, typer.Option("--crop", help="facecycle or arcface.")] = "facecycle",
) -> None:
    """Render faces of people who do not exist; every factor is known exactly."""
    from facefactor import api

    with progress_bar("render") as progress:
        table = api.render_people(
            output, morphable, people=people, seed=seed, size=size, crop=crop, progress=progress
        )
    typer.echo(table)
