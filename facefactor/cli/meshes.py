"""The command that makes a mesh of a face."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from facefactor.cli.arguments import Face, Model
from facefactor.cli.screen import finish, progress_bar


def reconstruct(
    photo: Annotated[str, typer.Argument(metavar="PHOTO", help="A photo, or a video.")],
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            help="A mesh (.glb, .obj, .ply), numbers (.npz), pictures (.png); of a video a folder "
            "of meshes, or .npz.",
        ),
    ],
    morphable: Annotated[
        Path | None,
        typer.Option("--morphable", help="The .npz the model learned from."),
    ] = None,
    surface: Annotated[
        Literal["direct", "coefficients"] | None,
        typer.Option(help="The mesh: the model's own, or the morphable one of its coefficients."),
    ] = None,
    texture: Annotated[
        Literal["photo", "albedo"],
        typer.Option(help="The photo's own pixels, or the model's skin without light."),
    ] = "photo",
    template: Annotated[
        str | None,
        typer.Option(
            "--template",
            metavar="PHOTO",
            help="Whose face shows a video's expressions; the mean face of --morphable if none.",
        ),
    ] = None,
    model: Model = "neurotensorial",
    face: Face = "largest",
) -> None:
    """The face in three dimensions: mesh, normals, albedo, light, coefficients.

    Of a video: a face that moves as the one in it.
    """
    from facefactor import api

    with progress_bar("reconstruct") as progress:
        outcome = api.reconstruct(
            photo,
            output,
            morphable,
            surface=surface,
            texture=texture,
            model=model,
            face=face,
            template=template,
            progress=progress,
        )
    finish(outcome)
