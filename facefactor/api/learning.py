"""Training, and the folders of faces that it learns from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from facefactor.abilities import normalising_model
from facefactor.api.named_values import named_values
from facefactor.api.weights import load, made_by
from facefactor.augmentation import augment_folder, labelled_photos
from facefactor.checkpoints import weights_file
from facefactor.data.check import DataReport, check_folder, guess_reader
from facefactor.data.frontal_neutral import FrontalNeutralList, Judges, list_frontal_neutral
from facefactor.data.listing import existing_folder
from facefactor.data.readers import READERS
from facefactor.errors import FaceFactorError
from facefactor.geometry.ict_facekit import convert_ict_facekit
from facefactor.geometry.morphable import naming, read_morphable, write_morphable
from facefactor.outcomes import Outcome, Progress
from facefactor.perception.align import CROPS
from facefactor.perception.packaged import packaged_landmarks
from facefactor.photo_edits import face_detector
from facefactor.preparing import Cutting, prepare_clips


def train(
    method: str,
    data: Sequence[str] = (),
    preset: str = "small",
    output: Path | None = None,
    changes: Sequence[str] = (),
    seed: int = 0,
    resume: bool = True,
    start_from: str | None = None,
    landmarks: str | Path | None = None,
    recogniser: str | Path | None = None,
    validation: float = 0.0,
    morphable: str | Path | None = None,
) -> Path:
    """Train a method or instrument; `data` as "reader=folder", `changes` as "setting=value",
    `start_from` as `load` takes it, `landmarks` a folder of `<data set>.npz`,
    `recogniser` a weights file for methods that begin with one, `validation` the share of
    labelled photos that is scored instead of trained on, `morphable` the file of a morphable
    model for methods that learn from one fitted to their faces, or from its rendered faces, which
    take no `data`."""
    from facefactor.training.train import train as run

    return run(
        method,
        {name: Path(folder) for name, folder in named_values(data).items()},
        output or Path("runs") / method,
        preset,
        named_values(changes),
        seed,
        fresh=not resume,
        start_from=weights_file(start_from) if start_from else None,
        landmarks=Path(landmarks) if landmarks else None,
        recogniser=Path(recogniser) if recogniser else None,
        validation=validation,
        morphable=Path(morphable) if morphable else None,
    )


def convert_morphable(folder: str | Path, output: str | Path) -> Path:
    """The face of a folder of ICT-FaceKit as a file for `train(..., morphable=...)`.

    Raises:
        MorphableModelError: the folder is not ICT-FaceKit's.
        FaceFactorError: the file is not to be an .npz.
    """
    if Path(output).suffix != ".npz":
        raise FaceFactorError(f"{output}: a morphable model is an .npz file")
    write_morphable(output, convert_ict_facekit(folder))
    return Path(output)


def render_people(
    output: Path,
    morphable: str | Path,
    people: int = 10,
    seed: int = 0,
    size: int = 64,
    crop: str = "facecycle",
    progress: Progress | None = None,
) -> Path:
    """A folder of rendered faces of people who do not exist, with all that decided them; its table.

    See `data.synthetic.write_faces`.

    Raises:
        MorphableModelError: `morphable` is no such file, or lacks ICT-FaceKit's expressions.
        FaceFactorError: no people, pictures too small, or an unknown crop.
    """
    from facefactor.data.synthetic import FaceRenderer, write_faces  # brings kornia: slow

    if people < 1 or size < 16:
        raise FaceFactorError(
            f"{people} people of {size} pixels; at least 1 and 16 are needed to see a face"
        )
    if crop not in CROPS:
        raise FaceFactorError(f"no crop is called {crop!r}; there are {', '.join(CROPS)}")
    model = read_morphable(morphable)
    with naming(morphable):
        renderer = FaceRenderer(model, crop, size)
    return write_faces(output, renderer, people, seed, progress)


def augment(
    folder: str | Path,
    output: str | Path,
    reader: str = "auto",
    label: str | None = None,
    model: str = "nfgan",
    progress: Progress | None = None,
) -> Outcome:
    """A folder of the normalised faces of a labelled folder, with an index `index.csv`, to train on
    beside it (`train(..., data=["augmented=OUTPUT"])`). Called again it goes on.

    Photos that their data set puts into its test part are left out. See
    `augmentation.labelled_photos` for how the faces are labelled.

    Args:
        reader: how `folder` is laid out: a key of `data.readers.READERS`, "classes" for a
            sub-folder for each class, or "auto".
        label: of all normalised faces, instead.

    Raises:
        DataError: the folder is not what the reader expects.
        FaceFactorError: the model draws no normalised faces, or `output` holds something else.
    """
    file = weights_file(model)
    network = load(file)
    normalising_model(network)
    photos = labelled_photos(folder, reader, label)
    about = {**made_by(file), "reader": reader, "label": label}
    return augment_folder(network, photos, Path(folder), Path(output), about, progress)


def prepare(
    folder: str | Path,
    output: str | Path,
    reader: str = "voxceleb",
    rate: float = 6.0,
    crop: str = "facecycle",
    size: int = 128,
    margin: float = 0.25,
    progress: Progress | None = None,
    workers: int | None = 1,
    engine: str = "local",
) -> Outcome:
    """Cropped frames of every clip of a folder, and an index of them, to train on
    (`train(..., data=["frame-sets=OUTPUT"])`). Called again it goes on.

    See `preparing.prepare_clips`; rate is in frames a second, size in pixels, the margin a share
    of it that is added on each side.
    """
    cutting = Cutting(rate, crop, size, margin)
    return prepare_clips(folder, Path(output), reader, cutting, progress, workers, engine)


def check_data(folder: Path, reader: str = "auto") -> DataReport:
    """What is in a data set folder, and what is wrong with it."""
    return check_folder(folder, reader)


def find_frontal_neutral(
    folder: str | Path,
    output: str | Path,
    reader: str = "auto",
    max_angle: float = 5.0,
    progress: Progress | None = None,
    cache: Path = Path(".cache") / "faces",
) -> FrontalNeutralList:
    """Which photos of a data set are frontal, neutral, sharp and, where that is known, without
    glasses; a table of all of them. See `data.frontal_neutral`.

    Args:
        reader: how the folder is laid out (`data.readers.READERS`); "auto" tells by its files.
        max_angle: degrees of yaw and of pitch, either way.
        cache: where cut faces are kept; asked again, the answer comes from there.

    Raises:
        DataError: no such folder or reader, or no face in it.
        FaceFactorError: the table is not to be a .csv.
    """
    if Path(output).suffix != ".csv":
        raise FaceFactorError(f"{output}: the list is a .csv file")
    top = existing_folder(folder)
    name = guess_reader(top) if reader == "auto" else reader
    if name not in READERS:
        raise FaceFactorError(f"no reader is called {name!r}; there are auto, {', '.join(READERS)}")
    records = READERS[name](top)
    aligned = all(record.points is not None for record in records)
    expressions: Any = load("ipdfer")
    return list_frontal_neutral(
        records,
        top,
        Path(output),
        Judges(packaged_landmarks(), expressions),
        cache,
        None if aligned else face_detector().detect,
        max_angle,
        progress,
    )
