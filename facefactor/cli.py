"""The commands: each a plain function with typed arguments that calls `facefactor.api`.

`api` is imported inside the functions, because it brings torch and `--help` must not wait for it.
Exit codes: 0 done, 1 nothing done, 2 usage, 3 some inputs failed.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NoReturn

import typer

from facefactor.errors import FaceFactorError
from facefactor.outcomes import Outcome

if TYPE_CHECKING:
    from facefactor.api import Report, Verification

DEFAULT_MODEL = "facecycle"

app = typer.Typer(
    name="facefactor",
    help="Take a face photo apart into factors, change any of them, put the face back.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help comes up twice as fast
    context_settings={"help_option_names": ["-h", "--help"]},
)
models_app = typer.Typer(no_args_is_help=True, help="The weights at hand.")
data_app = typer.Typer(no_args_is_help=True, help="Folders of faces.")
app.add_typer(models_app, name="models")
app.add_typer(data_app, name="data")


def _named(values: list[str] | None) -> list[str] | None:
    for value in values or ():
        name, equals, rest = value.partition("=")
        if not (name and equals and rest):
            raise typer.BadParameter(f"{value!r} is not of the form name=value")
    return values


def _factors(value: str) -> str:
    if not all(name.strip() for name in value.split(",")):
        raise typer.BadParameter(f"{value!r} is not a list of factors such as expression,pose")
    return value


Inputs = Annotated[
    list[str], typer.Argument(metavar="INPUT", help="Photos, folders, patterns or videos.")
]
Model = Annotated[
    str, typer.Option("--model", "-m", help="A method's packaged weights, or a weight file.")
]
Face = Annotated[
    str, typer.Option("--face", help="Which face: largest, all, a number, or like:photo.jpg.")
]
Raw = Annotated[bool, typer.Option("--raw", help="The network's own square, not put back.")]
Output = Annotated[Path, typer.Option("--output", "-o", help="Where to write.")]
Factor = Annotated[
    str,
    typer.Option("--factor", "-f", callback=_factors, help="Factors to take, comma-separated."),
]
Sweep = Annotated[
    Path, typer.Option("--output", "-o", help="Where to write; with --steps also .gif or .mp4.")
]
Steps = Annotated[
    int | None, typer.Option("--steps", min=2, help="Pictures of the way: a sheet or a film.")
]
Direction = Literal["front", "left", "right", "above", "below"]
Data = Annotated[
    list[str] | None,
    typer.Option(
        "--data", "-d", metavar="NAME=FOLDER", callback=_named, help="A data set; repeatable."
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


@app.callback()
def _options(
    debug: Annotated[
        bool, typer.Option("--debug", help="Show where an error came from; works after the verb.")
    ] = False,
) -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)


@app.command()
def demo(
    output: Annotated[Path, typer.Option("--output", "-o", help="A folder.")] = Path("demo"),
) -> None:
    """Edit two portraits that come with the install: sheets, and a mesh of each."""
    from facefactor import api

    for path in api.demo(output):
        typer.echo(path)


@app.command()
def encode(
    inputs: Inputs,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The table: .parquet, .csv or .npz.")
    ] = Path("codes.parquet"),
    model: Model = DEFAULT_MODEL,
    face: Face = "all",
    csv: Annotated[bool, typer.Option("--csv", help="Also a CSV beside the table.")] = False,
) -> None:
    """Codes of every factor of every face, as a table."""
    from facefactor import api

    with _progress("encode") as progress:
        outcome = api.encode(inputs, output, model=model, face=face, csv=csv, progress=progress)
    _finish(outcome)


@app.command()
def express(
    inputs: Inputs,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="A table: .json, .csv or .parquet; lines on the screen if none."
        ),
    ] = None,
    model: Model = "ipdfer",
    face: Face = "all",
) -> None:
    """Expression, head pose and box of every face, with probabilities."""
    from facefactor import api

    if output is None:
        outcome = api.express(inputs, None, model=model, face=face, show=_print_face)
    else:
        with _progress("express") as progress:
            outcome = api.express(inputs, output, model=model, face=face, progress=progress)
    _finish(outcome, listed=output is not None)


@app.command()
def verify(
    first: Annotated[str, typer.Argument(metavar="A", help="A photo.")],
    second: Annotated[str, typer.Argument(metavar="B", help="Another photo.")],
    face: Annotated[
        str, typer.Option("--face", help="Which face of each: largest, or a number.")
    ] = "largest",
    as_json: Annotated[
        bool, typer.Option("--json", help="A JSON object, rates as shares.")
    ] = False,
) -> None:
    """Do two photos show one person? Exit code 0 whatever the answer."""
    from facefactor import api

    found = api.verify(first, second, face=face)
    typer.echo(json.dumps(found.to_dict()) if as_json else _answer(found))


@app.command()
def neutral(
    inputs: Inputs,
    output: Output,
    model: Model = DEFAULT_MODEL,
    face: Face = "largest",
    raw: Raw = False,
) -> None:
    """The same face without its expression."""
    _edit_photos("neutral", inputs, output, model, face, raw)


@app.command()
def frontalize(
    inputs: Inputs,
    output: Output,
    model: Model = DEFAULT_MODEL,
    face: Face = "largest",
    raw: Raw = False,
) -> None:
    """The same face seen from the front."""
    _edit_photos("frontalize", inputs, output, model, face, raw)


@app.command()
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
) -> None:
    """The normalised face, frontal and neutral, in photos or in each frame of a video.

    The whole face is drawn anew, 64 pixels wide, its colours matched to the photo's. Weights of a
    grey preset draw it grey (see --raw); in the photo it has the tint of the skin.
    """
    from facefactor import api

    with _progress("normalize") as progress:
        outcome = api.normalize(
            inputs, output, steps=steps, model=model, face=face, raw=raw, progress=progress
        )
    _finish(outcome)


@app.command()
def transfer(
    target: Annotated[str, typer.Argument(help="The photo that is changed.")],
    source: Annotated[
        str, typer.Option("--from", metavar="SOURCE", help="The photo or video to take from.")
    ],
    output: Output,
    factor: Factor = "expression",
    strength: Annotated[
        float, typer.Option("--strength", "-s", help="0 keeps, 1 takes, above 1 exaggerates.")
    ] = 1.0,
    model: Model = DEFAULT_MODEL,
    face: Face = "largest",
    raw: Raw = False,
) -> None:
    """One face with another's expression, or any other factor; a video's make a film."""
    from facefactor import api

    with _progress("transfer") as progress:
        outcome = api.transfer(
            target,
            source,
            output,
            factors=_split(factor),
            strength=strength,
            model=model,
            face=face,
            raw=raw,
            progress=progress,
        )
    _finish(outcome)


@app.command()
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
    model: Model = DEFAULT_MODEL,
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
    _finish(outcome)


@app.command()
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
    with _progress("relight") as progress:
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
            progress=progress,
        )
    _finish(outcome)


@app.command()
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
) -> None:
    """The head turned to angles (one not given stays), or as in another photo."""
    angles = not (yaw is None and pitch is None and roll is None)
    if angles == (source is not None):
        raise typer.BadParameter("say how to turn: --from PHOTO, or --yaw, --pitch, --roll")
    from facefactor import api

    goal: Any = api.Angles(yaw, pitch, roll) if angles else source
    with _progress("pose") as progress:
        outcome = api.pose(
            inputs, output, goal, steps=steps, model=model, face=face, raw=raw, progress=progress
        )
    _finish(outcome)


@app.command()
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

    with _progress("reconstruct") as progress:
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
    _finish(outcome)


@app.command()
def train(
    method: Annotated[str, typer.Argument(help="One of the methods, such as facecycle.")],
    data: Annotated[
        list[str] | None,
        typer.Option(
            "--data",
            "-d",
            metavar="NAME=FOLDER",
            callback=_named,
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
        typer.Option("--set", metavar="NAME=VALUE", callback=_named, help="Change a setting."),
    ] = None,
    seed: Annotated[int, typer.Option("--seed")] = 0,
    fresh: Annotated[bool, typer.Option("--fresh", help="Start over, do not resume.")] = False,
    start_from: Annotated[
        str | None,
        typer.Option("--from", metavar="MODEL", help="Begin with these weights, not random ones."),
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


@app.command()
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

    with _progress("augment") as progress:
        outcome = api.augment(
            folder, output, reader=reader, label=label, model=model, progress=progress
        )
    _finish(outcome)


@app.command()
def evaluate(
    model: Annotated[str, typer.Argument(help="A method's packaged weights, or a weight file.")],
    protocol: Annotated[
        list[str],
        typer.Option(
            "--protocol",
            "-p",
            help="expression-probe, expression-map-probe, head-pose, verification, "
            "neutral-consistency, motion, normalization, normalized-verification, recognition, "
            "recognition-by-yaw, expression-folds, leakage, synthetic-truth, synthetic-exchange, "
            "predictability, relighting, disentanglement, redrawing, speed, codes-picture, "
            "synthesis. Of the landmark network: landmark-error, fitting. Repeatable; "
            "codes-picture and synthesis need --output.",
        ),
    ],
    dataset: Annotated[
        list[str] | None,
        typer.Option(
            "--dataset",
            "-d",
            metavar="NAME=FOLDER",
            callback=_named,
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


@app.command()
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
) -> None:
    """A paper's tables, row by row: its figures, ours, and what the rest needs."""
    from facefactor import api

    if (method is None) != every:
        raise typer.BadParameter("name one method, or say --all")
    with _progress("reproduce") as progress:
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
        )
    _finish_report(report, output, page)


@app.command()
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
) -> None:
    """Models side by side: what each code tells of each factor, what drawings keep, speed."""
    from facefactor import api

    with _progress("compare") as progress:
        report = api.compare(
            models,
            data or [],
            morphable=morphable,
            output=output,
            page=page,
            seed=seed,
            fresh=fresh,
            progress=progress,
        )
    _finish_report(report, output, page)


@app.command()
def export(
    model: Annotated[str, typer.Argument(help="A method's packaged weights, or a weight file.")],
    onnx: Annotated[
        Path, typer.Option("--onnx", metavar="FILE", help="Where to write the graph; .onnx.")
    ],
) -> None:
    """A model's expression branch as an ONNX graph, checked against torch."""
    from facefactor import api

    typer.echo(api.export(model, onnx).path)


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

    with _progress("look") as progress:
        found = api.find_frontal_neutral(
            folder, output, reader=reader, max_angle=angle, progress=progress
        )
    people = f", of {found.people} people" if found.people else ""
    typer.echo(f"{found.found} of {found.photos} photos are frontal and neutral{people}")
    _finish(Outcome((found.table,), found.failed))


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

    with _progress("render") as progress:
        table = api.render_people(
            output, morphable, people=people, seed=seed, size=size, crop=crop, progress=progress
        )
    typer.echo(table)


@app.command()
def doctor() -> None:
    """Is everything here that is needed, and does it work?"""
    from facefactor import api

    _print_checks(api.doctor())


@app.command()
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
        from facefactor import server
    except ModuleNotFoundError as error:
        raise FaceFactorError(
            f"serving needs {error.name}; run: pip install 'facefactor[web]'"
        ) from error

    server.serve(host, port, models or [], token)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line; errors a person can act on are one line, the rest are tracebacks."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    # Taken out here so that it works after the verb too.
    words = [word for word in given if word != "--debug"]
    try:
        app(args=words, prog_name="facefactor")
    except FaceFactorError as error:
        if len(words) < len(given):
            raise
        print(f"facefactor: {error}", file=sys.stderr)
        sys.exit(1)
    sys.exit(0)


def _edit_photos(
    edit: Literal["neutral", "frontalize"],
    inputs: list[str],
    output: Path,
    model: str,
    face: str,
    raw: bool,
) -> None:
    from facefactor import api

    with _progress(edit) as progress:
        outcome = api.edit_photos(
            inputs, output, edit, model=model, face=face, raw=raw, progress=progress
        )
    _finish(outcome)


def _split(factors: str) -> list[Any]:
    return [name.strip() for name in factors.split(",")]


def _print_face(row: Mapping[str, Any]) -> None:
    """A line for a face; a frame's error too, while those of whole files are told at the end."""
    if row["error"] is not None:
        if row["frame"] is not None:
            typer.echo(f"facefactor: {row['error']}", err=True)
        return
    place = row["file"] if row["frame"] is None else f"{row['file']}  frame {row['frame']}"
    line = f"{place}  face {row['face']}  {row['expression']} {row['probability']:.3f}"
    if row["yaw_deg"] is not None:
        line += "  yaw {yaw_deg:+.1f}  pitch {pitch_deg:+.1f}  roll {roll_deg:+.1f}".format(**row)
    typer.echo(line + "  box {left:.0f} {top:.0f} {right:.0f} {bottom:.0f}".format(**row))


def _answer(found: Verification) -> str:
    if found.measured is None:
        return f"similarity {found.similarity:.3f}; no threshold was measured for this recogniser"
    measured = found.measured
    answer = "the same person" if found.same_person else "not found to be the same person"
    return (
        f"{answer}: similarity {found.similarity:.3f}, threshold {measured.threshold:.3f}\n"
        f"measured on {measured.pairs:,} pairs of {measured.measured_on}: "
        f"{measured.false_match_rate:.2%} of different people are taken for one, "
        f"{measured.false_non_match_rate:.2%} of the same person for two"
    )


def _finish(outcome: Outcome, listed: bool = True) -> None:
    """Tell what was written, unless not `listed`, and what failed; exit."""
    for path in outcome.done if listed else ():
        typer.echo(path)
    for message in outcome.failed.values():
        typer.echo(f"facefactor: {message}", err=True)
    raise typer.Exit(outcome.exit_code)


def _finish_report(report: Report, output: Path | None, page: Path | None) -> None:
    """Print the page, and where it was written; exit."""
    typer.echo(report.to_markdown())
    for path in (output and output / "results.html", page):
        if path is not None:
            typer.echo(path, err=True)
    for run, reason in report.failed.items():
        typer.echo(f"facefactor: {run}: {reason}", err=True)
    raise typer.Exit(report.exit_code)


@contextmanager
def _progress(title: str) -> Iterator[Callable[[int, int | None], None]]:
    """A bar on a terminal; calling it with (done, total) moves it, total None is not known."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


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


if __name__ == "__main__":
    main()
