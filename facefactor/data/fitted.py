"""Training batches of faces with what a fitted morphable model says of them."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from facefactor.data.pseudolabels import PseudoLabels, unpack_normals
from facefactor.data.samples import FittedBatch, rows_of_step
from facefactor.geometry.morphable import MorphableModel
from facefactor.geometry.rotations import yaw_pitch_roll
from facefactor.images import photos_to_faces

NEAR_FRONTAL = 15.0  # degrees of yaw, either way; the paper does not say how near is near


class FittedFaces(Dataset[FittedBatch]):
    """Batch number `step` of fitted faces; every face once an epoch, in random order.

    Photos are not moved or recoloured: their labels hold for them as they are.

    Args:
        faces: (N, S, S, 3) uint8.
        labels: of these faces.
        shapes: the morphable model on the grid (`geometry.uv_grid`) that shapes are given on.
    """

    def __init__(
        self,
        faces: NDArray[np.uint8],
        labels: PseudoLabels,
        shapes: MorphableModel,
        batch_size: int,
        seed: int,
    ) -> None:
        if len(faces) < batch_size:
            raise ValueError(f"{len(faces)} faces are fewer than a batch of {batch_size}")
        self.faces = faces
        self.labels = labels
        self.shapes = shapes
        self.batch_size = batch_size
        self.seed = seed

    def __getitem__(self, step: int) -> FittedBatch:
        rows = rows_of_step(step, len(self.faces), self.batch_size, self.seed)
        labels = self.labels
        rotation = torch.from_numpy(labels.rotation[rows])
        identity = torch.from_numpy(labels.identity[rows])
        expression = torch.from_numpy(labels.expression[rows])
        normals, mask = unpack_normals(labels.packed_normals[rows])
        unknown = rotation.isnan().flatten(1).any(dim=1)
        normals[unknown], mask[unknown] = torch.nan, torch.nan
        shape = self.shapes.vertices(identity, expression) - self.shapes.neutral
        yaw = yaw_pitch_roll(rotation)[:, 0]  # NaN is near nothing
        return FittedBatch(
            faces=photos_to_faces(self.faces[rows]),
            rotation=rotation,
            identity=identity,
            expression=expression,
            shape=shape.mT.contiguous(),
            normals=normals,
            lighting=torch.from_numpy(labels.light[rows]),
            mask=mask,
            frontal=yaw.abs() < NEAR_FRONTAL,
        )
