"""A linear morphable face: neutral shape, identity and expression modes; its `.npz` files.

Vertices are in centimetres, x to the subject's left, y up and z out of the face. The package
carries no model: `ict_facekit` makes a file of a folder of ICT-FaceKit (MIT licence).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from facefactor.errors import FaceFactorError
from facefactor.files import atomic_path, read_arrays

# The arrays of a file: numpy's letters of their types and their axes; V, I, E, T are counted.
_ARRAYS: dict[str, tuple[str, tuple[int | str, ...]]] = {
    "neutral": ("f", ("V", 3)),
    "identity": ("f", ("I", "V", 3)),
    "expression": ("f", ("E", "V", 3)),
    "expression_names": ("U", ("E",)),
    "triangles": ("iu", ("T", 3)),
    "uv": ("f", ("V", 2)),
    "landmarks68": ("iu", (68,)),
}


class MorphableModelError(FaceFactorError, ValueError):
    """A file or folder is no morphable model, or not a whole one."""


@dataclass(frozen=True, eq=False)
class MorphableModel:
    """A face of V vertices with I identity modes and E expressions."""

    neutral: Tensor  # (V, 3) the mean person without an expression
    identity: Tensor  # (I, V, 3) displacement per unit; coefficients are about standard normal
    expression: Tensor  # (E, V, 3) displacement at weight 1; weights are in [0, 1]
    expression_names: tuple[str, ...]  # E of them, as mouthSmile_L
    triangles: Tensor  # (T, 3) int64 vertices, counter-clockwise seen from outside
    uv: Tensor  # (V, 2) texture coordinates in [0, 1], v up
    landmarks68: Tensor  # (68,) int64 vertex of each landmark, of `landmarks`; jaw: of frontal view

    def vertices(self, identity: Tensor, expression: Tensor) -> Tensor:
        """Shapes of N faces: coefficients (N, I) and weights (N, E) -> (N, V, 3) centimetres."""
        return (
            self.neutral
            + torch.einsum("ni,ivc->nvc", identity, self.identity)
            + torch.einsum("ne,evc->nvc", expression, self.expression)
        )

    def to(self, device: torch.device | str) -> MorphableModel:
        """The same model with its tensors on another device."""
        moved: dict[str, Any] = {
            name: value.to(device)
            for name, value in vars(self).items()
            if isinstance(value, Tensor)
        }
        return replace(self, **moved)

    def expression_weights(self, weights: Mapping[str, float]) -> Tensor:
        """(1, E) weights of expressions by name, all others 0.

        Raises:
            ValueError: a name that the model does not have.
        """
        if unknown := sorted(weights.keys() - set(self.expression_names)):
            raise ValueError(
                f"no expression {unknown[0]!r}; this model has {', '.join(self.expression_names)}"
            )
        named = [weights.get(name, 0.0) for name in self.expression_names]
        return torch.tensor([named]).to(self.neutral)


def read_morphable(path: str | Path) -> MorphableModel:
    """A model from its `.npz`; modes may be stored as float16, and come as float32.

    Raises:
        MorphableModelError: no such file, none of this kind, arrays that do not belong together,
            NaN or infinity, vertices that are not there.
    """
    path = Path(path)
    arrays = _read_arrays(path)
    counts: dict[str, int] = {}
    for name, (kinds, axes) in _ARRAYS.items():
        array = arrays[name]
        if array.dtype.kind not in kinds:
            raise MorphableModelError(f"{path}: {name} has the unexpected type {array.dtype}")
        _check_shape(path, name, array.shape, axes, counts)
        if "f" in kinds and not np.isfinite(array).all():
            raise MorphableModelError(f"{path}: {name} has NaN or infinity in it")
    for name in ("triangles", "landmarks68"):
        if arrays[name].size and not 0 <= arrays[name].min() <= arrays[name].max() < counts["V"]:
            raise MorphableModelError(
                f"{path}: {name} names vertices {arrays[name].min()} to {arrays[name].max()}, but "
                f"there are {counts['V']} of them"
            )
    return MorphableModel(
        neutral=_floats(arrays["neutral"]),
        identity=_floats(arrays["identity"]),
        expression=_floats(arrays["expression"]),
        expression_names=tuple(arrays["expression_names"].tolist()),
        triangles=torch.from_numpy(arrays["triangles"].astype(np.int64)),
        uv=_floats(arrays["uv"]),
        landmarks68=torch.from_numpy(arrays["landmarks68"].astype(np.int64)),
    )


@contextmanager
def naming(file: str | Path | None) -> Iterator[None]:
    """Errors of the block, which does not know where a model is from, begin with its file."""
    try:
        yield
    except MorphableModelError as error:
        raise MorphableModelError(f"{file}: {error}") from error


def write_morphable(path: str | Path, model: MorphableModel) -> None:
    """The file that `read_morphable` reads; modes as float16, some 1/2000 of their size off."""
    arrays: dict[str, Any] = {
        "neutral": model.neutral.float().cpu().numpy(),
        "identity": model.identity.half().cpu().numpy(),
        "expression": model.expression.half().cpu().numpy(),
        "expression_names": np.array(model.expression_names, dtype=np.str_),
        "triangles": model.triangles.int().cpu().numpy(),
        "uv": model.uv.float().cpu().numpy(),
        "landmarks68": model.landmarks68.int().cpu().numpy(),
    }
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **arrays)


def _read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    if not path.is_file():
        raise MorphableModelError(
            f"{path} does not exist; it should be a morphable model, as converted from a folder of "
            "ICT-FaceKit"
        )
    arrays = read_arrays(path, _ARRAYS, MorphableModelError)
    if missing := [name for name in _ARRAYS if name not in arrays]:
        raise MorphableModelError(
            f"{path}: no array {missing[0]!r}; a morphable model needs {', '.join(_ARRAYS)}"
        )
    return arrays


def _check_shape(
    path: Path,
    name: str,
    shape: tuple[int, ...],
    axes: tuple[int | str, ...],
    counts: dict[str, int],
) -> None:
    """Lettered axes have the length that the first array with this letter gave them."""
    expected = tuple(
        counts.setdefault(axis, length) if isinstance(axis, str) else axis
        for axis, length in zip(axes, shape, strict=False)
    )
    if len(shape) != len(axes) or shape != expected:
        wanted = ", ".join(str(each) for each in (*expected, *axes[len(expected) :]))
        raise MorphableModelError(f"{path}: {name} must be ({wanted}), it is {shape}")


def _floats(array: NDArray[Any]) -> Tensor:
    return torch.from_numpy(array.astype(np.float32))
