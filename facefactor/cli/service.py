"""The command that serves a page."""

from __future__ import annotations

from typing import Annotated

import typer

from facefactor.errors import FaceFactorError
from facefactor.memory import all_is_kept


def serve(
    host: Annotated[
        str, typer.Option("--host", help="Others than this machine's own need the token.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0: any.")] = 7860,
    models: Annotated[
        list[str] | None,
        typer.Option("--model", "-m", help="Weights to serve; repeatable. All packaged if none."),
    ] = None,
    token: Annotated[
        str | None,
        typer.Option(
            envvar="FACEFACTOR_TOKEN", help="What requests must bring; made up where needed."
        ),
    ] = None,
) -> None:
    """A page and a REST service for photos, on this machine."""
    try:
        with all_is_kept():
            from facefactor import server
    except ModuleNotFoundError as error:
        raise FaceFactorError(
            f"serving needs {error.name}; run: pip install 'facefactor[web]'"
        ) from error

    server.serve(host, port, models or [], token)
