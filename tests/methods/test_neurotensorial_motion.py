"""Neuro-Tensorial's edits of photos: pixels go with the mesh, and only light is drawn anew."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from facefactor.factors import Factors
from facefactor.geometry.flow import warp
from facefactor.geometry.rasteriser import vertex_normals
from facefactor.geometry.rotations import rotation_matrix
from facefactor.geometry.uv_grid import resample
from facefactor.methods.neurotensorial.motion import FINER, five_points, in_square, mesh_flow
from facefactor.methods.neurotensorial.recipe import PRESETS, build
from facefactor.perception.align import crop_points
from tests.made_heads import egg_model

SIZE = 32
RECIPE = replace(
    PRESETS["small"],
    channels=(4, 4, 4),
    face_rank=4,
    shape_rank=2,
    identity_modes=5,
    expression_modes=3,
    image_size=SIZE,
)


@pytest.fixture(scope="module")
def head():
    return resample(egg_model())


@pytest.fixture(scope="module")
def model(head):
    torch.manual_seed(0)
    built = build(RECIPE).eval()
    built.set_mean_face(head.neutral, head.landmarks68)
    with torch.no_grad():  # untrained, shapes are noise: next to none of it
        for parameter in built.shape_core.parameters():
            parameter.mul_(0.01)
    return built


@pytest.fixture(scope="module")
def codes(model):
    with torch.inference_mode():
        found = model.encode(torch.rand(1, 3, SIZE, SIZE, generator=torch.manual_seed(1)))
    return found.replace({"pose": torch.eye(3).view(1, 9)})


def turned(codes: Factors, *angles: float) -> Factors:
    return codes.replace({"pose": rotation_matrix(torch.tensor([angles])).flatten(1)})


def test_the_five_points_lie_where_the_crop_has_them(head):
    """Their mean exactly, each as near as scale and shift can bring a face on an egg."""
    rotation = torch.eye(3)[None]
    like = five_points(head.neutral[None], rotation, head.landmarks68)
    points = in_square(head.neutral[None], rotation, head.landmarks68, like, "facecycle", 64)
    marks = points[0, head.landmarks68]
    found = torch.stack(
        [marks[36:42].mean(0), marks[42:48].mean(0), marks[30], marks[48], marks[54]]
    )[:, :2]
    wanted = torch.as_tensor(crop_points("facecycle", 64)).float()
    torch.testing.assert_close(found.mean(dim=0), wanted.mean(dim=0))
    spread, goal = found - found.mean(dim=0), wanted - wanted.mean(dim=0)
    torch.testing.assert_close((spread * goal).sum(), spread.square().sum())  # least squares
    assert (found - wanted).norm(dim=1).max() < 6


def test_two_heads_have_one_scale(head):
    upright, side = torch.eye(3)[None], rotation_matrix(torch.tensor([[40.0, 0.0, 0.0]]))
    like = five_points(head.neutral[None], upright, head.landmarks68)
    heights = []
    for rotation in (upright, side):
        points = in_square(head.neutral[None], rotation, head.landmarks68, like, "facecycle", 64)
        heights.append(points[0, :, 1].max() - points[0, :, 1].min())
    torch.testing.assert_close(heights[0], heights[1])  # turning about y leaves heights alone


def test_what_a_vertex_showed_is_seen_where_it_goes(head):
    rotations = rotation_matrix(torch.tensor([[0.0, 0.0, 0.0], [20.0, 5.0, 0.0]]))
    like = five_points(head.neutral[None], rotations[:1], head.landmarks68)
    before, after = (
        in_square(head.neutral[None], each[None], head.landmarks68, like, "facecycle", 128)
        for each in rotations
    )
    flow = mesh_flow(before, after, 128)
    # each pixel's own column and row, taken along: what is seen at `after` tells of `before`
    row, column = torch.meshgrid(torch.arange(128.0), torch.arange(128.0), indexing="ij")
    places = warp(torch.stack([column, row])[None], flow, padding="border")
    turned_normals = vertex_normals(head.neutral, head.triangles) @ rotations[1].T
    shown = turned_normals[:, 2] > 0.6
    at = (2 * after[:, shown, :2] / 127 - 1)[:, None]
    found = F.grid_sample(places, at, align_corners=True)[0, :, 0].T
    inside = ((after[0, shown, :2] - 63.5).abs() < 60).all(dim=1)
    assert inside.sum() > 1000
    off = (found - before[0, shown, :2])[inside].norm(dim=1)
    assert off.quantile(0.999) < 0.7 and off.max() < 2  # the largest at the outline
    assert (after - before)[0, shown, :2].norm(dim=1).max() > 5
    assert flow[..., 0].abs().max() < 0.2  # fades towards the edge


def test_no_edit_of_the_mesh_moves_nothing(model, codes):
    with torch.inference_mode():
        same = model.edit_flow(codes, codes)
        lit = model.edit_flow(codes, codes.replace({"illumination": codes["illumination"] + 1}))
    assert same.abs().max() == 0 and lit.abs().max() == 0


def test_pose_and_expression_move_the_mesh(model, codes):
    with torch.inference_mode():
        flow = model.edit_flow(codes, turned(codes, 30.0, 0.0, 0.0))
        longer = model.edit_flow(
            codes, codes.replace({"pose": 2 * turned(codes, 30.0, 0.0, 0.0)["pose"]})
        )
        other = model.edit_flow(codes, codes.replace({"expression": 3 * codes["expression"]}))
    assert flow.shape == (1, 2, FINER * SIZE, FINER * SIZE)
    assert flow.abs().max() > 0.2
    torch.testing.assert_close(longer, flow, atol=1e-4, rtol=0)  # of the nearest rotation
    assert 0 < other.abs().max() < 0.1


def test_weights_without_a_mean_face_move_nothing(codes):
    torch.manual_seed(0)
    drawing, after = build(RECIPE).eval(), turned(codes, 30.0, 0.0, 0.0)
    with torch.inference_mode():
        assert drawing.edit_flow(codes, after).abs().max() == 0
        assert drawing.edit_gain(codes, after) is None  # so that all is drawn


def test_the_gain_is_the_ratio_of_shadings(model, codes):
    after = turned(codes, 25.0, 0.0, 0.0)
    brighter = after.replace({"illumination": 2 * codes["illumination"]})
    with torch.inference_mode():
        drawn = model.render(codes)
        plain, lit = (model.edit_gain(codes, edited) for edited in (after, brighter))
    assert torch.equal(plain, torch.ones_like(plain))  # a pose is not lit: the photo only moves
    old = drawn.shading
    assert old.min() > 0
    expected = 1 + drawn.mask * old / (old + 0.1)  # (2 old + 0.1) / (old + 0.1), as light is linear
    torch.testing.assert_close(lit, expected)
    assert (lit - 1).max() > 0.3
