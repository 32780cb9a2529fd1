"""The public names, spelt out: adding or losing one is a decision."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import facefactor

PUBLIC = [
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


def test_the_public_names_are_these() -> None:
    assert sorted(facefactor.__all__) == sorted(PUBLIC)
    assert dir(facefactor) == sorted(PUBLIC)


@pytest.mark.parametrize("name", PUBLIC)
def test_each_name_is_there_and_is_what_its_home_has(name: str) -> None:
    value = getattr(facefactor, name)
    assert getattr(value, "__name__", name) == name


def test_type_checkers_see_what_python_sees() -> None:
    """The names imported for type checkers, and where from, are those imported when used."""
    tree = ast.parse(Path(facefactor.__file__).read_text(encoding="utf-8"))
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    seen = {
        alias.asname or alias.name: node.module
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert seen == facefactor._HOMES
    assert {*seen, "__version__"} == set(facefactor.__all__)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        facefactor.nonsense  # noqa: B018


def test_modules_can_still_be_imported_from_the_package() -> None:
    from facefactor import editing

    assert editing.__name__ == "facefactor.editing"
