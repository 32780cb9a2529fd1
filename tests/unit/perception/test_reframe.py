"""A network made for another crop sees the face where its own crop has it."""

import torch
from torch import nn

from facefactor.geometry.similarity import apply_affine, similarity_transform
from facefactor.perception.align import CROPS
from facefactor.perception.reframe import Reframed


def test_a_face_lies_where_the_networks_crop_has_it():
    """A ramp keeps its values wherever it is sampled: they tell from where."""
    size, own = 64, 32
    at = (torch.arange(own) + 0.5) / own
    x, y = at.expand(own, own), at[:, None].expand(own, own)
    faces = torch.stack([x, y, 0 * x])[None]
    seen = Reframed(nn.Identity(), "arcface", size, "facecycle")(faces)
    assert seen.shape == (1, 3, size, size)
    move = similarity_transform(CROPS["arcface"].points, CROPS["facecycle"].points)
    for column, row in ((10, 20), (32, 40), (50, 30)):
        expected = apply_affine(move, [(column + 0.5) / size, (row + 0.5) / size])
        torch.testing.assert_close(
            seen[0, :2, row, column], torch.as_tensor(expected).float(), atol=1e-5, rtol=0
        )
    nose = [round(share * size - 0.5) for share in CROPS["arcface"].points[2]]
    assert (
        torch.dist(seen[0, :2, nose[1], nose[0]], torch.tensor(CROPS["facecycle"].points[2])) < 0.05
    )
