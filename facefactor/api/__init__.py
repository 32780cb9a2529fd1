"""What the command line and the web page call, and what `import facefactor` offers."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from facefactor.api.edits import (
    frontalize_face,
    neutral_face,
    normalize_face,
    pose_face,
    relight_face,
    scale_face,
    transfer_clip,
    transfer_face,
)
from facefactor.api.faces import encode, express, expressions, read_face, verify
from facefactor.api.learning import (
    augment,
    check_data,
    convert_morphable,
    find_frontal_neutral,
    prepare,
    render_people,
    train,
)
from facefactor.api.meshes import reconstruct
from facefactor.api.photos import demo, edit_photos, interpolate, normalize
from facefactor.api.sweeps import pose, relight
from facefactor.api.transfers import transfer
from facefactor.api.weights import (
    ModelEntry,
    abilities,
    doctor,
    export,
    export_int8,
    load,
    model_card,
    models,
    removable_factors,
    verify_models,
)
from facefactor.data.check import DataReport
from facefactor.demo import portrait_paths
from facefactor.doctor import Check
from facefactor.export import Agreement, Parity
from facefactor.face_expressions import Expressions
from facefactor.face_lighting import Light, light_from
from facefactor.face_turning import Angles
from facefactor.face_verification import MeasuredThreshold, Verification, verify_faces
from facefactor.factors import FaceModel, FactorName
from facefactor.films import write_with_times_of
from facefactor.images import Photo
from facefactor.photo_edits import PhotoFace, encode_face, read_faces
from facefactor.pose_axes import pose_axes
from facefactor.reconstruction import Reconstruction, reconstruct_face
from facefactor.sheets import around

if TYPE_CHECKING:
    from facefactor.api.measuring import compare, reproduce
    from facefactor.protocols import evaluate
    from facefactor.protocols.report import Report

# Measuring needs scikit-learn, a third of the time that all the rest takes to import.
_WHEN_ASKED = {
    "Report": "facefactor.protocols.report",
    "compare": "facefactor.api.measuring",
    "evaluate": "facefactor.protocols",
    "reproduce": "facefactor.api.measuring",
}

__all__ = [
    "Agreement",
    "Angles",
    "Check",
    "DataReport",
    "Expressions",
    "FaceModel",
    "FactorName",
    "Light",
    "MeasuredThreshold",
    "ModelEntry",
    "Parity",
    "Photo",
    "PhotoFace",
    "Reconstruction",
    "Report",
    "Verification",
    "abilities",
    "around",
    "augment",
    "check_data",
    "compare",
    "convert_morphable",
    "demo",
    "doctor",
    "edit_photos",
    "encode",
    "encode_face",
    "evaluate",
    "express",
    "expressions",
    "export",
    "export_int8",
    "find_frontal_neutral",
    "frontalize_face",
    "interpolate",
    "light_from",
    "load",
    "model_card",
    "models",
    "neutral_face",
    "normalize",
    "normalize_face",
    "portrait_paths",
    "pose",
    "pose_axes",
    "pose_face",
    "prepare",
    "read_face",
    "read_faces",
    "reconstruct",
    "reconstruct_face",
    "relight",
    "relight_face",
    "removable_factors",
    "render_people",
    "reproduce",
    "scale_face",
    "train",
    "transfer",
    "transfer_clip",
    "transfer_face",
    "verify",
    "verify_faces",
    "verify_models",
    "write_with_times_of",
]


def __getattr__(name: str) -> Any:
    if name not in _WHEN_ASKED:
        raise AttributeError(f"module 'facefactor.api' has no attribute {name!r}")
    return getattr(import_module(_WHEN_ASKED[name]), name)
