"""The commands: each a plain function with typed arguments that calls `facefactor.api`.

`api` is imported inside the functions, because it brings torch and `--help` must not wait for it.
Exit codes: 0 done, 1 nothing done, 2 usage, 3 some inputs failed.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Sequence
from typing import Annotated, NoReturn

import typer

from facefactor.cli.data import data_app
from facefactor.cli.faces import encode, express, verify
from facefactor.cli.learning import augment, train
from facefactor.cli.measuring import compare, evaluate, reproduce
from facefactor.cli.meshes import reconstruct
from facefactor.cli.photos import demo, frontalize, interpolate, neutral, normalize, transfer
from facefactor.cli.service import serve
from facefactor.cli.sweeps import pose, relight
from facefactor.cli.weights import doctor, export, models_app
from facefactor.errors import FaceFactorError
from facefactor.memory import keep_freed_memory

VERBS: tuple[Callable[..., None], ...] = (  # in the order of the help
    demo,
    encode,
    express,
    verify,
    neutral,
    frontalize,
    normalize,
    transfer,
    interpolate,
    relight,
    pose,
    reconstruct,
    train,
    augment,
    evaluate,
    reproduce,
    compare,
    export,
    doctor,
    serve,
)

app = typer.Typer(
    name="facefactor",
    help="Take a face photo apart into factors, change any of them, put the face back.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help comes up twice as fast
    context_settings={"help_option_names": ["-h", "--help"]},
)
for verb in VERBS:
    app.command()(verb)
app.add_typer(models_app, name="models")
app.add_typer(data_app, name="data")


@app.callback()
def _options(
    debug: Annotated[
        bool, typer.Option("--debug", help="Show where an error came from; works after the verb.")
    ] = False,
) -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line; errors a person can act on are one line, the rest are tracebacks."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    # Taken out here so that it works after the verb too.
    words = [word for word in given if word != "--debug"]
    keep_freed_memory()
    try:
        app(args=words, prog_name="facefactor")
    except FaceFactorError as error:
        if len(words) < len(given):
            raise
        print(f"facefactor: {error}", file=sys.stderr)
        sys.exit(1)
    sys.exit(0)
