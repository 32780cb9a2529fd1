"""Commands that measure models."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from facefactor.cli.arguments import Workers, named
from facefactor.cli.screen import finish_report, progress_bar

Data = Annotated[
    list[str] | None,
    typer.Option(
        "--data", "-d", metavar="NAME=FOLDER", callback=named, help="A data set; repeatable."
    ),
]
Reports = Annotated[
    Path | None,
    typer.Option("--output", "-o", help="A folder for results.json, results.md and results.html."),
]
Page = Annotated[
    Path | None,
    typer.Option("--page", help="Also a Markdown file, without pictures, and its .json."),
]
Rendered = Annotated[
    Path | None, typer.Option("--morphable", help="A morphable model's .npz, for rendered faces.")
]
Fresh = Annotated[
    bool, typer.Option("--fresh", help="Measure anew what was measured before and kept.")
]


def evaluate(
    model: Annotated[str, typer.Argument(help="A method's packaged weights, or a weight file.")],
    protocol: Annotated[
        list[str],
        typer.Option(
            "--protocol",
            "-p",
            help="expression-probe, expression-map-probe, head-pose, verification, "
            "neutral-consistency, motion, normalization, normalized-verification, recognition, "
            "recognition-by-yaw, expression-folds, leakage, edited-expressions, synthetic-truth, "
            "synthetic-exchange, predictability, relighting, disentanglement, redrawing, speed, "
            "codes-picture, synthesis. Of the landmark network: landmark-error, fitting. "
            "Repeatable; codes-picture and synthesis need --output.",
        ),
    ],
    dataset: Annotated[
        list[str] | None,
        typer.Option(
            "--dataset",
            "-d",
            metavar="NAME=FOLDER",
            callback=named,
            help="Repeatable. None for protocols that render their faces (synthetic-...).",
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="A folder for the tables.")
    ] = None,
    landmarks: Annotated[
        Path | None,
        typer.Option("--landmarks", help="A folder of DATASET.npz, for landmark-error, fitting."),
    ] = None,
    morphable: Annotated[
        Path | None,
        typer.Option(
            "--morphable", help="A morphable model's .npz, for synthetic-... and fitting."
        ),
    ] = None,
) -> None:
    """Measure a model by published protocols."""
    from facefactor import api

    tables = api.evaluate(
        model, protocol, dataset or [], output=output, landmarks=landmarks, morphable=morphable
    )
    for table in tables:
        typer.echo(table.to_markdown())


def reproduce(
    method: Annotated[
        str | None, typer.Argument(help="facecycle, neurotensorial, leed, nfgan or ipdfer.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="All five, in place of one.")] = False,
    data: Data = None,
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            "-m",
            help="Weights in place of the packaged ones; repeatable, for variants and seeds.",
        ),
    ] = None,
    morphable: Rendered = None,
    output: Reports = None,
    page: Page = None,
    seed: Annotated[int, typer.Option("--seed")] = 0,
    fresh: Fresh = False,
    workers: Workers = None,
) -> None:
    """A paper's tables, row by row: its figures, ours, and what the rest needs."""
    from facefactor import api

    if (method is None) != every:
        raise typer.BadParameter("name one method, or say --all")
    with progress_bar("reproduce") as progress:
        report = api.reproduce(
            method,
            data or [],
            models=model or [],
            morphable=morphable,
            output=output,
            page=page,
            seed=seed,
            fresh=fresh,
            progress=progress,
            workers=workers,
        )
    finish_report(report, output, page)


def compare(
    models: Annotated[
        list[str], typer.Argument(metavar="MODEL", help="Packaged weights, or weight files.")
    ],
    data: Data = None,
    morphable: Rendered = None,
    output: Reports = None,
    page: Page = None,
    seed: Annotated[int, typer.Option("--seed")] = 0,
    fresh: Fresh = False,
    workers: Workers = None,
) -> None:
    """Models side by side: what each code tells of each factor, what drawings keep, speed."""
    from facefactor import api

    with progress_bar("compare") as progress:
        report = api.compare(
            models,
            data or [],
            morphable=morphable,
            output=output,
            page=page,
            seed=seed,
            fresh=fresh,
            progress=progress,
            workers=workers,
        )
    finish_report(report, output, page)
