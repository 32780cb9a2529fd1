"""What faces show: codes, expressions, head poses, whether two are one person's."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal

from facefactor.api.weights import load, made_by
from facefactor.batch import encode_files, express_files
from facefactor.checkpoints import weights_file
from facefactor.errors import FaceFactorError
from facefactor.export import OnnxClassifier, OnnxEncoder
from facefactor.face_expressions import Expressions, cut_squares, expression_model, read_expressions
from facefactor.face_verification import Verification, verify_faces
from facefactor.factors import FaceModel
from facefactor.images import PhotoSource
from facefactor.outcomes import Outcome, Progress
from facefactor.perception.landmarks import LandmarkNetwork
from facefactor.perception.packaged import packaged_landmarks
from facefactor.perception.state_dicts import InstrumentError
from facefactor.photo_edits import PhotoFace, read_faces
from facefactor.streams import Row, list_inputs

Backend = Literal["torch", "onnx"]

logger = logging.getLogger(__name__)


def read_face(source: Any, which: str = "largest") -> PhotoFace:
    """The one face asked for of a photo; see `read_faces`."""
    return read_faces(source, which)[0]


def encode(
    inputs: Sequence[str],
    output: Path,
    model: str = "facecycle",
    face: str = "all",
    csv: bool = False,
    progress: Progress | None = None,
    backend: Backend = "torch",
    workers: int | None = 1,
    engine: str = "local",
    restart: bool = False,
) -> Outcome:
    """Codes of every face of photos, folders and videos as a table; see `batch.encode_files`.

    Args:
        backend: what encodes. For "onnx" the graph is made and compared with torch first, which
            takes a second or two; nothing of it is kept.

    Raises:
        ExportError: onnx or onnxruntime is not installed, or the graph is not what the model is.
    """
    file = weights_file(model)
    network = load(file)
    encoder = OnnxEncoder(network) if backend == "onnx" else network
    files, about = list_inputs(inputs), {**made_by(file), "backend": backend}
    return encode_files(
        encoder, files, output, face, about, csv, progress, workers, engine, restart
    )


def express(
    inputs: Sequence[str],
    output: Path | None = None,
    model: str = "ipdfer",
    face: str = "all",
    show: Callable[[Row], None] | None = None,
    progress: Progress | None = None,
    backend: Backend = "torch",
    workers: int | None = 1,
    engine: str = "local",
    restart: bool = False,
) -> Outcome:
    """Expression and head pose of every face of photos, folders and videos, as a table.

    Without `output` nothing is written; `show` is called with each row as it comes. See
    `batch.express_files`.

    Args:
        backend: what names expressions, as for `encode`; head poses are always torch's.

    Raises:
        FaceFactorError: the model does not tell expressions apart.
        ExportError: see `encode`.
    """
    file = weights_file(model)
    network = expression_model(load(file))
    if backend == "onnx":
        network = OnnxClassifier(network)
    return express_files(
        network,
        list_inputs(inputs),
        output,
        face,
        {**made_by(file), "backend": backend},
        _landmarks_if_there(),
        show,
        progress,
        workers,
        engine,
        restart,
    )


def expressions(model: FaceModel, face: PhotoFace) -> Expressions:
    """What one face shows, and where the head points.

    Raises:
        FaceFactorError: the model does not tell expressions apart.
    """
    told = expression_model(model)
    return read_expressions(told, [cut_squares(face, model.spec)], _landmarks_if_there())[0]


def _landmarks_if_there() -> LandmarkNetwork | None:
    try:
        return packaged_landmarks()
    except InstrumentError as error:
        _warn_once(f"head poses are left out: {error}")
        return None


@cache
def _warn_once(message: str) -> None:
    logger.warning(message)


def verify(first: PhotoSource, second: PhotoSource, face: str = "largest") -> Verification:
    """Do two photos show one person? See `Verification`.

    Args:
        face: which face of each: "largest", or a number in order of size.

    Raises:
        ImageError, NoFaceError: a photo cannot be read, or has no such face.
        InstrumentError: the packaged recogniser is not there.
    """
    if face == "all":
        raise FaceFactorError("one face of each photo is compared; say largest, or a number")
    return verify_faces(read_face(first, face), read_face(second, face))
