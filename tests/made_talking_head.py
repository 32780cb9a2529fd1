"""A morphable head with ICT-FaceKit's expression names that needs no file."""

from dataclasses import replace

import torch

from facefactor.data.scenes import BLENDS
from facefactor.geometry.morphable import MorphableModel
from tests.made_heads import egg_model


def talking_egg() -> MorphableModel:
    """The egg of `made_heads`; every shape that an expression asks for is a small wave of its own,
    and there are two that no face shows alone."""
    egg = egg_model()
    names = sorted({name for blend in BLENDS.values() for name in blend})
    names += ["eyeLookUp_L", "mouthClose"]
    random = torch.Generator().manual_seed(2)
    waves = torch.randn(len(names), 3, 3, generator=random)
    shapes = torch.stack([0.02 * torch.sin(3 * egg.neutral @ wave) for wave in waves])
    return replace(egg, expression=shapes, expression_names=tuple(names))
