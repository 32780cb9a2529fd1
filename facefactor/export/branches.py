"""What of a model can be a graph: functions from named tensors to named tensors."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from facefactor.abilities import normalising_model
from facefactor.export.runtime import ExportError
from facefactor.face_expressions import tells_expressions
from facefactor.factors import FaceModel, FactorName, Factors, encode_code, encode_codes
from facefactor.neutralising import neutral_faces

Graph = Literal["expression", "encode", "codes", "decode", "neutral", "normalize"]
GRAPHS: tuple[Graph, ...] = get_args(Graph)


class Branch(nn.Module):
    """A part of a model as a function of tensors, float32 (N, ...) all of them.

    Args:
        compute: tensors named `inputs`, in this order -> tensors named `outputs`.
        given: faces (N, C, S, S) in [0, 1] -> the inputs; None: the faces are the only input.
    """

    def __init__(
        self,
        model: FaceModel,
        outputs: Iterable[str],
        compute: Callable[..., tuple[Tensor, ...]],
        inputs: Iterable[str] = ("faces",),
        given: Callable[[Tensor], tuple[Tensor, ...]] | None = None,
    ) -> None:
        super().__init__()
        self.model: Any = model  # a part of it, so that its weights are the graph's
        self.inputs, self.outputs = tuple(inputs), tuple(outputs)
        self.compute = compute
        self.given = given or (lambda faces: (faces,))
        self.eval()

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        return self.compute(*tensors)


def branch_of(model: FaceModel, graph: Graph) -> Branch:
    """The named part of a model.

    Raises:
        FaceFactorError: the model has no such part.
    """
    if graph not in _BRANCHES:
        raise ExportError(f"no graph is called {graph!r}; there are {', '.join(GRAPHS)}")
    return _BRANCHES[graph](model)


def _expression(model: Any) -> Branch:
    if tells_expressions(model):
        return Branch(
            model, ["probabilities"], lambda faces: (model.expression_probabilities(faces),)
        )
    if "expression" in model.spec.factors:
        return Branch(model, ["codes"], lambda faces: (encode_code(model, faces, "expression"),))
    raise ExportError(
        f"{model.spec.name} has no expression branch; what can be exported are the expression "
        "probabilities of ipdfer and the expression codes of models that have some"
    )


def _encode(model: FaceModel) -> Branch:
    return Branch(model, _entries(model), lambda faces: _tensors(model.encode(faces)))


def _codes(model: FaceModel) -> Branch:
    """Without the residual, which may take as long as drawing a face."""
    names: tuple[FactorName, ...] = tuple(model.spec.factors)

    def compute(faces: Tensor) -> tuple[Tensor, ...]:
        factors = encode_codes(model, faces)
        return tuple(factors[name] for name in names)

    return Branch(model, names, compute)


def _decode(model: FaceModel) -> Branch:
    names = _entries(model)
    count = len(model.spec.factors)

    def compute(*tensors: Tensor) -> tuple[Tensor, ...]:
        codes: Any = dict(zip(names[:count], tensors[:count], strict=True))
        residual = dict(zip(names[count:], tensors[count:], strict=True))
        return (model.decode(Factors(codes, residual)),)

    return Branch(model, ["faces"], compute, names, lambda faces: _tensors(model.encode(faces)))


def _neutral(model: FaceModel) -> Branch:
    return Branch(model, ["neutral"], lambda faces: (neutral_faces(model, faces),))


def _normalize(model: FaceModel) -> Branch:
    able = normalising_model(model)
    return Branch(model, ["normalized"], lambda faces: (able.normalise(faces),))


_BRANCHES: dict[Graph, Callable[[FaceModel], Branch]] = {
    "expression": _expression,
    "encode": _encode,
    "codes": _codes,
    "decode": _decode,
    "neutral": _neutral,
    "normalize": _normalize,
}


@torch.inference_mode()
def _entries(model: FaceModel) -> list[str]:
    """Names of all that encoding gives: the factors, then the residual."""
    spec = model.spec
    factors = model.encode(torch.zeros(1, spec.channels, spec.image_size, spec.image_size))
    return [*factors.codes, *factors.residual]


def _tensors(factors: Factors) -> tuple[Tensor, ...]:
    return (*factors.codes.values(), *factors.residual.values())
