"""Commands that train, and that make more to train on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from facefactor.cli.arguments import Model, named
from facefactor.cli.screen import finish, progress_bar


def train(
    method: Annotated[str, typer.Argument(help="One of the methods, such as facecycle.")],
    data: Annotated[
        list[str] | None,
        typer.Option(
            "--data",
            "-d",
            metavar="NAME=FOLDER",
            callback=named,
            help="Photos; repeatable. None for presets that learn from rendered faces.",
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="A folder; runs/METHOD unless named.")
    ] = None,
    preset: Annotated[
        str, typer.Option("--preset", help="small for CPUs, paper as published, or another.")
    ] = "small",
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", callback=named, help="Change a setting."),
    ] = None,
    seed: Annotated[int, typer.Option("--seed")] = 0,
    fresh: Annotated[bool, typer.Option("--fresh", help="Start over, do not resume.")] = False,
    start_from: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="MODEL",
            help="Begin with these weights, not random ones; critics that their run left beside "
            "them go on, too.",
        ),
    ] = None,
    recogniser: Annotated[
        Path | None,
        typer.Option("--recogniser", help="A face recogniser's weights, for ipdfer."),
    ] = None,
    landmarks: Annotated[
        Path | None,
        typer.Option("--landmarks", help="A folder of DATASET.npz with 68 landmarks a photo."),
    ] = None,
    validation: Annotated[
        float,
        typer.Option(
            "--validation", metavar="SHARE", help="Of the labelled photos: scored, not trained on."
        ),
    ] = 0.0,
    morphable: Annotated[
        Path | None,
        typer.Option("--morphable", help="A morphable model's .npz, for neurotensorial."),
    ] = None,
) -> None:
    """Train a method on your faces, or go on where it stopped."""
    from facefactor import api

    weights = api.train(
        method,
        data or [],
        preset=preset,
        output=output or Path("runs") / method,
        changes=changes or [],
        seed=seed,
        resume=not fresh,
        start_from=start_from,
        landmarks=landmarks,
        recogniser=recogniser,
        validation=validation,
        morphable=morphable,
    )
    typer.echo(weights)


def augment(
    folder: Annotated[Path, typer.Argument(help="A labelled folder: of classes, or a data set.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="A new folder, or one to go on with.")
    ],
    reader: Annotated[
        str,
        typer.Option(
            "--reader", "-r", help="How it is laid out: classes (sub-folders), or a data set."
        ),
    ] = "auto",
    label: Annotated[
        str | None,
        typer.Option(
            "--label",
            help="Of all normalised faces. Without it: neutral where the photos' labels are "
            "expressions, else the photo's own.",
        ),
    ] = None,
    model: Model = "nfgan",
) -> None:
    """Normalised faces of a labelled folder, with an index.csv, to train on beside it.

    Photos of a data set's test part are left out; `normalize` takes any folder.
    """
    from facefactor import api

    with progress_bar("augment") as progress:
        outcome = api.augment(
            folder, output, reader=reader, label=label, model=model, progress=progress
        )
    finish(outcome)
