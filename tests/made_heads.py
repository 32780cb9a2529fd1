"""A morphable head that needs no file."""

import torch

from facefactor.geometry.morphable import MorphableModel
from facefactor.geometry.uv_grid import grid_triangles, grid_uv
from facefactor.perception.head_pose import MEAN_FACE


def egg_model() -> MorphableModel:
    """An egg with eyes apart by 1, whose landmark vertices lie where the mean face has them."""
    rows, columns = 41, 31
    uv = grid_uv(torch.tensor([[0.0, 0.0], [1.0, 1.0]]), rows, columns)
    angle, height = 2.6 * (uv[:, 0] - 0.5), 2.4 * (uv[:, 1] - 0.55)
    width = (1.44 - height.square()).clamp(min=0.02).sqrt() * 0.75
    neutral = torch.stack([width * angle.sin(), height, width * angle.cos() - 0.75], dim=1)
    # the landmarks are nearest in the picture, then moved there: a face on the egg
    mean = MEAN_FACE.float()
    places = torch.cdist(neutral[:, :2], mean[:, :2]).argmin(dim=0)
    random = torch.Generator().manual_seed(0)
    waves = torch.randn(8, 3, 3, generator=random)
    modes = torch.stack([0.04 * torch.sin(3 * neutral @ wave) for wave in waves])
    return MorphableModel(
        neutral=neutral,
        identity=modes[:5],
        expression=2 * modes[5:],
        expression_names=("a", "b", "c"),
        triangles=grid_triangles(rows, columns),
        uv=uv,
        landmarks68=places,
    )
