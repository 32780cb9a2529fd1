"""One self-describing file: the weights of a model, and all that is needed to build it again.

A safetensors file whose metadata holds, under the key "facefactor", a JSON header. It is opened
without running anything it contains, and can be read without this project.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, is_dataclass
from pathlib import Path
from typing import Any, Literal, get_type_hints

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from facefactor.errors import FaceFactorError
from facefactor.factors import FactorSpec, ModelSpec
from facefactor.files import atomic_path
from facefactor.methods import METHODS

FORMAT = 1  # of the header; a newer one is refused rather than guessed at
_KEY = "facefactor"
_DTYPES = {"float16": torch.float16, "float32": torch.float32}


class CheckpointError(FaceFactorError):
    """These weights are missing, damaged, or not those of this model."""


@dataclass(frozen=True)
class CheckpointHeader:
    """What the weights are of. `sha256` is filled in by `save` and checked by `load`."""

    method: str  # a key of `facefactor.methods.METHODS`
    preset: str  # name of the published or small settings it started from
    recipe: Mapping[str, Any]  # every setting as used, JSON values only
    spec: ModelSpec
    seen: Mapping[str, int] = field(default_factory=dict)  # stage -> training images it saw
    sha256: str = ""


def save(
    path: str | Path,
    state: Mapping[str, Tensor],
    header: CheckpointHeader,
    dtype: Literal["float16", "float32"] = "float32",
) -> CheckpointHeader:
    """Write the weights, floating ones as `dtype`; returns the header with its hash.

    Raises:
        CheckpointError: a weight is not finite, or too large for float16.
        WriteError: when the file system refuses; an older file then stays as it was.
    """
    tensors = {name: _stored(name, tensor, dtype, path) for name, tensor in state.items()}
    described = asdict(header) | {"sha256": hash_tensors(tensors), "format": FORMAT}
    metadata = {_KEY: json.dumps(described, allow_nan=False)}
    with atomic_path(path) as temporary:
        try:
            save_file(tensors, str(temporary), metadata)
        except SafetensorError as error:  # how safetensors tells of a full disk
            raise OSError(str(error)) from error
    return _header(described, path)


def read_header(path: str | Path) -> CheckpointHeader:
    """What a file says of itself; the weights are neither read nor checked."""
    return _header(_metadata(path), path)


def load(path: str | Path) -> tuple[CheckpointHeader, dict[str, Tensor]]:
    """The header and the weights, floating ones as float32.

    Raises:
        CheckpointError: the file is missing, damaged, not ours, or its hash is another.
    """
    header = read_header(path)
    try:
        with safe_open(str(path), framework="pt") as file:
            stored = {name: file.get_tensor(name) for name in file.keys()}
    except (SafetensorError, OSError) as error:
        raise _damaged(path, error) from error
    found = hash_tensors(stored)
    if found != header.sha256:
        raise CheckpointError(
            f"{path}: its weights have the hash {found[:12]}…, its header says "
            f"{header.sha256[:12]}…; it was changed or damaged, get it again"
        )
    return header, {
        name: tensor.float() if tensor.is_floating_point() else tensor
        for name, tensor in stored.items()
    }


def packaged_weights() -> list[Path]:
    """The weight files that come with the package."""
    return sorted((Path(__file__).parent / "weights").glob("*.safetensors"))


def weights_file(model: str | Path) -> Path:
    """Where the weights named `model` are: a name of packaged ones, a file, or a run's folder.

    Raises:
        CheckpointError: nothing is called so.
    """
    path = Path(model)
    if path.is_dir():
        return path / "model.safetensors"
    if path.suffix == ".safetensors":
        return path
    packaged = {file.stem: file for file in packaged_weights()}
    if str(model) not in packaged:
        raise CheckpointError(
            f"{model}: no weights of this name come with facefactor (there are: "
            f"{', '.join(packaged) or 'none'}); name one of them or a .safetensors file"
        )
    return packaged[str(model)]


def build_model(path: str | Path) -> nn.Module:
    """The model a file holds the weights of, in eval mode.

    Raises:
        CheckpointError: see `load`; or its method or settings are unknown to this version.
    """
    header, tensors = load(path)
    if header.method not in METHODS:
        raise CheckpointError(
            f"{path}: is of the method {header.method!r}; this version has {', '.join(METHODS)}"
        )
    try:
        recipe = build_recipe(header)
    except (KeyError, TypeError) as error:
        raise CheckpointError(f"{path}: its recipe lacks or misstates {error}") from error
    model: nn.Module = METHODS[header.method].build(recipe)
    fill(model, tensors, path)
    return model.eval()


def build_recipe(header: CheckpointHeader) -> Any:
    """The settings a file was trained with, as the `Recipe` of its method."""
    return _from_json(METHODS[header.method].Recipe, header.recipe)


def _from_json(kind: Any, values: Mapping[str, Any]) -> Any:
    """A dataclass, nested ones included, from what `asdict` and JSON made of it."""
    types = get_type_hints(kind)
    if unknown := values.keys() - types.keys():
        raise TypeError(f"the unknown setting {sorted(unknown)[0]}")
    read = {}
    for name, value in values.items():
        if is_dataclass(types[name]):
            value = _from_json(types[name], value)
        read[name] = tuple(value) if isinstance(value, list) else value
    return kind(**read)


def fill(model: nn.Module, tensors: Mapping[str, Tensor], path: str | Path) -> None:
    """Put loaded weights into a model built for them; both must have the same names and shapes.

    Raises:
        CheckpointError: names the first weights that lack, are too many, or have another shape.
    """
    own = model.state_dict()
    wrong = {
        "lacks": sorted(own.keys() - tensors.keys()),
        "has unknown": sorted(tensors.keys() - own.keys()),
        "has of another shape": [
            f"{name} {tuple(tensors[name].shape)} for {tuple(own[name].shape)}"
            for name in own.keys() & tensors.keys()
            if tensors[name].shape != own[name].shape
        ],
    }
    found = [f"{what} {_some(names)}" for what, names in wrong.items() if names]
    if found:
        raise CheckpointError(
            f"{path}: is not of this model: {'; '.join(found)}; "
            "build the model with the recipe in the file's header"
        )
    model.load_state_dict(dict(tensors))


def hash_tensors(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over the names, types, shapes and bytes of tensors, in the order of their names."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _stored(name: str, tensor: Tensor, dtype: str, path: str | Path) -> Tensor:
    kept = tensor.detach().cpu()
    if not kept.is_floating_point():
        return kept.clone().contiguous()
    if not kept.isfinite().all():
        raise CheckpointError(f"{path}: not written: weight {name} holds NaN or infinite values")
    cast = kept.to(_DTYPES[dtype])
    if not cast.isfinite().all():
        raise CheckpointError(
            f"{path}: not written: weight {name} reaches {kept.abs().max():.3g}, too large for "
            f"{dtype}; store float32"
        )
    # A copy of its own: safetensors refuses weights that share memory.
    return cast.clone(memory_format=torch.contiguous_format)


def _metadata(path: str | Path) -> dict[str, Any]:
    file = Path(path)
    if not file.is_file():
        what = "is a folder" if file.is_dir() else "no such file"
        raise CheckpointError(f"{path}: {what}; name a weight file (.safetensors)")
    try:
        with safe_open(str(file), framework="pt") as opened:
            metadata = opened.metadata() or {}
    except (SafetensorError, OSError, ValueError) as error:
        raise _damaged(path, error) from error
    if _KEY not in metadata:
        raise CheckpointError(
            f"{path}: holds weights but no facefactor header; it was written by another program"
        )
    try:
        described = json.loads(metadata[_KEY])
    except ValueError as error:
        raise _damaged(path, error) from error
    if not isinstance(described, dict):
        raise CheckpointError(f"{path}: its header is no table of settings; get the file again")
    return described


def _header(described: Mapping[str, Any], path: str | Path) -> CheckpointHeader:
    if described.get("format") != FORMAT:
        raise CheckpointError(
            f"{path}: has header format {described.get('format')}, this version reads {FORMAT}; "
            "update facefactor"
        )
    try:
        spec = described["spec"]
        factors = {
            name: FactorSpec(
                tuple(factor["shape"]),
                factor["meaning"],
                tuple(factor["covers"]),
                tuple(factor["owns"]),
            )
            for name, factor in spec["factors"].items()
        }
        return CheckpointHeader(
            method=described["method"],
            preset=described["preset"],
            recipe=described["recipe"],
            spec=ModelSpec(**{**spec, "factors": factors}),
            seen=described["seen"],
            sha256=described["sha256"],
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{path}: its header lacks or misstates {error}") from error


def _damaged(path: str | Path, error: Exception) -> CheckpointError:
    return CheckpointError(
        f"{path}: is no safetensors file or is cut off ({error}); copy or download it again"
    )


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"
