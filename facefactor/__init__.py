"""The public names, nothing else; each is imported when it is first used, because torch is slow."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from facefactor.api import (
        Angles,
        Expressions,
        Light,
        PhotoFace,
        Reconstruction,
        Verification,
        augment,
        encode_face,
        evaluate,
        express,
        expressions,
        frontalize_face,
        light_from,
        load,
        neutral_face,
        normalize_face,
        pose_face,
        read_face,
        read_faces,
        reconstruct_face,
        relight_face,
        train,
        transfer_face,
        verify,
        verify_faces,
    )
    from facefactor.errors import FaceFactorError
    from facefactor.factors import FaceModel, Factors, FactorSpec, ModelSpec
    from facefactor.images import read_photo, write_image

__version__ = "0.1.0"

__all__ = [
    "Angles",
    "Expressions",
    "FaceFactorError",
    "FaceModel",
    "FactorSpec",
    "Factors",
    "Light",
    "ModelSpec",
    "PhotoFace",
    "Reconstruction",
    "Verification",
    "__version__",
    "augment",
    "encode_face",
    "evaluate",
    "express",
    "expressions",
    "frontalize_face",
    "light_from",
    "load",
    "neutral_face",
    "normalize_face",
    "pose_face",
    "read_face",
    "read_faces",
    "read_photo",
    "reconstruct_face",
    "relight_face",
    "train",
    "transfer_face",
    "verify",
    "verify_faces",
    "write_image",
]

_HOMES = {
    "Angles": "facefactor.api",
    "Expressions": "facefactor.api",
    "Light": "facefactor.api",
    "PhotoFace": "facefactor.api",
    "Reconstruction": "facefactor.api",
    "Verification": "facefactor.api",
    "augment": "facefactor.api",
    "encode_face": "facefactor.api",
    "evaluate": "facefactor.api",
    "express": "facefactor.api",
    "expressions": "facefactor.api",
    "frontalize_face": "facefactor.api",
    "light_from": "facefactor.api",
    "load": "facefactor.api",
    "neutral_face": "facefactor.api",
    "normalize_face": "facefactor.api",
    "pose_face": "facefactor.api",
    "read_face": "facefactor.api",
    "read_faces": "facefactor.api",
    "reconstruct_face": "facefactor.api",
    "relight_face": "facefactor.api",
    "train": "facefactor.api",
    "transfer_face": "facefactor.api",
    "verify": "facefactor.api",
    "verify_faces": "facefactor.api",
    "FaceFactorError": "facefactor.errors",
    "FaceModel": "facefactor.factors",
    "FactorSpec": "facefactor.factors",
    "Factors": "facefactor.factors",
    "ModelSpec": "facefactor.factors",
    "read_photo": "facefactor.images",
    "write_image": "facefactor.images",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'facefactor' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return list(__all__)
