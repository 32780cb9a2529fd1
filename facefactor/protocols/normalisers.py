"""Frontal neutral faces by any model that can make them, and by what has learnt nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from facefactor import editing
from facefactor.errors import FaceFactorError
from facefactor.factors import FactorName
from facefactor.protocols.pictures import check_draws
from facefactor.protocols.subject import Subject

Normalise = Callable[[Tensor], Tensor]  # (N, 3, S, S) in [0, 1] -> the same of normalised faces

_REMOVED: tuple[FactorName, ...] = ("expression", "pose")
_BATCH = 32


def normaliser(model: Any) -> Normalise:
    """A model's own normalised faces, or its edits: no expression, the pose of a frontal head.

    A factor the model folds into another (FaceCycle's pose) goes with that one.
    """
    if hasattr(model, "normalise"):
        own: Normalise = model.normalise
        return own
    names = [name for name in _REMOVED if name in model.spec.factors]

    def edit(faces: Tensor) -> Tensor:
        codes = model.encode(faces)
        for name in names:
            codes = editing.set_strength(codes, model, name, 0.0)
        drawn: Tensor = model.decode(codes)
        return drawn

    return edit


def check_normalises(subject: Subject, protocol: str) -> None:
    """FaceFactorError unless the model can make frontal neutral faces, and was taught to draw."""
    factors = subject.header.spec.factors
    if not hasattr(subject.model, "normalise") and not set(_REMOVED) & factors.keys():
        raise FaceFactorError(
            f"{subject.name} takes neither expression nor pose off a face (it separates "
            f"{', '.join(factors)}); {protocol} needs a model that does"
        )
    check_draws(subject)


@torch.inference_mode()
def normalise_all(normalise: Normalise, faces: Tensor) -> Tensor:
    """(N, 3, S, S), a batch at a time; in [0, 1]."""
    return torch.cat([normalise(part).float().clamp(0, 1) for part in torch.split(faces, _BATCH)])
