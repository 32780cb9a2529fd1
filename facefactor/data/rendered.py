"""Endless batches of rendered faces, a `FaceRenderer`'s, to learn from.

A batch follows from its number and the seed alone.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from torch import Tensor
from torch.utils.data import Dataset

from facefactor.data.samples import RenderedBatch
from facefactor.data.scenes import YAW_SPREAD, Scenes, draw_scenes
from facefactor.data.synthetic import FaceRenderer
from facefactor.images import photos_to_faces


class _Anybody:
    """Who is in batch number `step`, and the generator that all else of the batch is drawn from."""

    def __init__(self, people: int, batch_size: int, seed: int) -> None:
        if people < 1:
            raise ValueError(f"{people} people; there must be somebody to draw")
        self.people = people
        self.batch_size = batch_size
        self.seed = seed

    def __getitem__(self, step: int) -> tuple[list[int], np.random.Generator]:
        draw = np.random.default_rng((self.seed, 0, step))
        return draw.integers(self.people, size=self.batch_size).tolist(), draw


class RenderedFaces(Dataset[RenderedBatch]):
    """Batch number `step` of rendered faces, each of anybody among `people`.

    Args:
        people: how many there are; numbers from there on are people who are never seen.
        turned, lit: as for `draw_scenes`; grounds are plain.
    """

    def __init__(
        self,
        renderer: FaceRenderer,
        people: int,
        batch_size: int,
        seed: int,
        turned: bool = True,
        lit: bool = True,
    ) -> None:
        self.renderer = renderer
        self.anybody = _Anybody(people, batch_size, seed)
        self.seed = seed
        self.turned = turned
        self.lit = lit

    def __getitem__(self, step: int) -> RenderedBatch:
        subjects, draw = self.anybody[step]
        scenes = draw_scenes(
            subjects, draw, self.renderer.model, self.seed, turned=self.turned, lit=self.lit
        )
        made = self.renderer.render(scenes)
        return RenderedBatch(
            faces=photos_to_faces(made.faces),
            rotation=made.rotation,
            identity=made.identity,
            expression=made.expression,
            texture=made.texture,
        )


class RenderedPairs(Dataset[tuple[Tensor, Tensor]]):
    """Batch number `step` of rendered faces beside the same people in another scene: two of
    (B, 3, S, S) in [0, 1].

    Faces are turned by up to 52.5 degrees of yaw, under any light, before any ground.

    Args:
        people: how many there are; numbers from there on are people who are never seen.
        beside: the scenes of a batch -> those that are rendered beside them.

    Raises:
        ValueError: nobody.
    """

    def __init__(
        self,
        renderer: FaceRenderer,
        people: int,
        batch_size: int,
        seed: int,
        beside: Callable[[Scenes], Scenes],
    ) -> None:
        self.renderer = renderer
        self.anybody = _Anybody(people, batch_size, seed)
        self.seed = seed
        self.beside = beside

    def __getitem__(self, step: int) -> tuple[Tensor, Tensor]:
        subjects, draw = self.anybody[step]
        scenes = draw_scenes(
            subjects, draw, self.renderer.model, self.seed, yaw_spread=YAW_SPREAD, plain=False
        )
        faces, others = (
            photos_to_faces(self.renderer.render(shown).faces)
            for shown in (scenes, self.beside(scenes))
        )
        return faces, others
