"""Textures from pictures: where a pixel comes from, and what counts as not seen."""

import math

import numpy as np
import pytest
import torch

from facefactor.geometry.texturing import bake_texture

SQUARE = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])  # uv, v up
HALVES = torch.tensor([[0, 1, 2], [2, 1, 3]])


def picture(side: int = 16) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (side, side, 3)).astype(np.uint8)


def facing(side: float = 16, depth: float = 0.0) -> torch.Tensor:
    """The square over a whole picture: its edges are the pixels' outer ones."""
    x, y = side * SQUARE[:, 0] - 0.5, side * (1 - SQUARE[:, 1]) - 0.5
    return torch.stack([x, y, torch.full_like(x, depth)], dim=1)


def test_a_square_that_fills_the_picture_is_the_picture():
    texture, seen = bake_texture(picture(), facing(), HALVES, SQUARE, 16)
    assert np.array_equal(texture, picture())
    assert texture.dtype == np.uint8 and (seen == 1).all()


def test_a_mirrored_chart_mirrors_the_texture():
    uv = SQUARE * torch.tensor([-1.0, 1.0]) + torch.tensor([1.0, 0.0])
    texture, seen = bake_texture(picture(), facing(), HALVES, uv, 16)
    assert np.array_equal(texture, picture()[:, ::-1]) and (seen == 1).all()


def test_between_pixels_colours_are_interpolated():
    ramp = np.repeat(np.arange(0, 160, 10, dtype=np.uint8)[None, :, None], 16, 0).repeat(3, 2)
    texture, _ = bake_texture(ramp, facing(), HALVES, SQUARE, 32)
    assert texture[0, 1:-1, 0].tolist() == [round((k / 2 - 0.25) * 10) for k in range(1, 31)]


@pytest.mark.parametrize(
    ("turn", "share"), [(0, 1.0), (60, 1.0), (75, 0.4353), (83, 0.0), (180, 0.0)]
)
def test_skin_that_turns_away_fades_out(turn, share):
    """cos 75 = 0.2588 lies 0.4353 of the way from 0.15 to 0.4."""
    points = facing() - torch.tensor([7.5, 7.5, 0.0])
    angle = math.radians(turn)
    x = points[:, 0] * math.cos(angle)
    z = points[:, 0] * math.sin(angle)
    points = torch.stack([x + 7.5, points[:, 1] + 7.5, z], dim=1)
    _, seen = bake_texture(picture(), points, HALVES, SQUARE, 8)
    np.testing.assert_allclose(seen, share, atol=1e-3)


def two_squares(gap: float) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """One right behind the other; the one in front has the left half of the chart."""
    half = torch.tensor([0.5, 1.0])
    points = torch.cat([facing(depth=gap), facing()])
    uv = torch.cat([SQUARE * half, SQUARE * half + torch.tensor([0.5, 0.0])])
    return points, torch.cat([HALVES, HALVES + 4]), uv


def test_what_another_part_hides_is_not_seen():
    """And has one colour, the median of what is."""
    photo = picture()
    texture, seen = bake_texture(photo, *two_squares(8.0), 16)
    assert (seen[:, :8] == 1).all() and (seen[:, 8:] == 0).all()
    expected = np.rint(np.median(texture[:, :8].reshape(-1, 3), axis=0))
    assert np.abs(texture[:, 8:] - expected).max() <= 1
    assert np.ptp(texture[:, 8:], axis=(0, 1)).tolist() == [0, 0, 0]
    near = bake_texture(photo, *two_squares(0.05), 16)[1]  # skin upon skin
    assert (near == 1).all()


def test_beyond_the_picture_nothing_is_seen():
    points = facing() - torch.tensor([8.0, 0.0, 0.0])
    texture, seen = bake_texture(picture(), points, HALVES, SQUARE, 16)
    assert (seen[:, :8] == 0).all() and (seen[:, 8:] == 1).all()
    assert np.array_equal(texture[:, 8:], picture()[:, :8])


def test_where_the_chart_is_empty_and_where_nothing_is_seen():
    texture, seen = bake_texture(picture(), facing(), HALVES[:1], SQUARE, 16)
    assert seen[15, 0] == 1 and seen[0, 15] == 0
    away = facing() * torch.tensor([-1.0, 1.0, 1.0]) + torch.tensor([15.0, 0.0, 0.0])
    texture, seen = bake_texture(picture(), away, HALVES, SQUARE, 16)
    assert (seen == 0).all() and (texture == 128).all()
