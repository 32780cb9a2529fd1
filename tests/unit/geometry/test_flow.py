"""Warps, resizing, inverses: by hand, by identity, against a literal version, by gradient."""

import math

import pytest
import torch
from torch.nn import functional as F

from facefactor.geometry.flow import (
    compose_flows,
    extend_flow,
    flow_magnitude_px,
    folded_share,
    identity_grid,
    invert_flow,
    mirror_flow,
    random_flow,
    random_shifts,
    resize_flow,
    shift,
    warp,
)


def constant_flow(dx_px: float, dy_px: float, size: int) -> torch.Tensor:
    """A displacement of whole pixels everywhere, (1, 2, size, size)."""
    flow = torch.zeros(1, 2, size, size, dtype=torch.float64)
    flow[:, 0], flow[:, 1] = dx_px * 2 / (size - 1), dy_px * 2 / (size - 1)
    return flow


def smooth_flows(count: int, rms_px: float, seed: int = 0) -> torch.Tensor:
    """Random smooth fields on the 16x16 grid of FaceCycle, `rms_px` of a 64-pixel image an axis."""
    random = torch.Generator().manual_seed(seed)
    coarse = torch.randn(count, 2, 4, 4, generator=random, dtype=torch.float64)
    field = F.interpolate(coarse, (16, 16), mode="bicubic", align_corners=True)
    window = torch.sin(torch.linspace(0, math.pi, 16, dtype=torch.float64))
    field = field * window[:, None] * window  # rest at the border
    rms = field.square().mean(dim=(1, 2, 3), keepdim=True).sqrt()
    return field / rms * rms_px / 31.5


def residual_px(forward: torch.Tensor, backward: torch.Tensor) -> float:
    """Root mean square of what is left after forward, then backward, in pixels at 64."""
    left = compose_flows(forward, backward)[..., 2:-2, 2:-2]
    return float(left.square().sum(1).mean().sqrt() * 31.5)


def test_zero_flow_changes_nothing():
    image = torch.rand(2, 3, 9, 7, dtype=torch.float64)
    torch.testing.assert_close(
        warp(image, torch.zeros(2, 2, 9, 7, dtype=torch.float64)), image, rtol=0, atol=1e-13
    )


@pytest.mark.parametrize(("dx", "dy"), [(2, 0), (0, 3), (-1, 2)])
def test_constant_flow_shifts_by_whole_pixels(dx, dy):
    image = torch.rand(1, 1, 8, 8, dtype=torch.float64)
    moved = warp(image, constant_flow(dx, dy, 8))
    expected = torch.zeros_like(image)
    for y in range(8):
        for x in range(8):
            if 0 <= y + dy < 8 and 0 <= x + dx < 8:  # what comes from outside is zero
                expected[..., y, x] = image[..., y + dy, x + dx]
    torch.testing.assert_close(moved, expected, rtol=0, atol=1e-12)


def test_border_padding_repeats_the_edge():
    image = torch.arange(4.0).expand(1, 1, 4, 4)
    moved = warp(image, constant_flow(2, 0, 4), padding="border")
    torch.testing.assert_close(moved[0, 0, 0], torch.tensor([2.0, 3.0, 3.0, 3.0]).to(moved))


def test_channel_zero_is_x():
    flow = torch.zeros(1, 2, 4, 4)
    flow[:, 0] = 2 / 3  # one pixel of four
    image = torch.arange(4.0).expand(1, 1, 4, 4)
    torch.testing.assert_close(warp(image, flow)[0, 0, 2, :3], torch.tensor([1.0, 2.0, 3.0]))


def test_a_resized_flow_is_the_same_motion():
    flow = constant_flow(2, -1, 5)
    torch.testing.assert_close(resize_flow(flow, (9, 9)), flow[..., :1, :1].expand(1, 2, 9, 9))


def test_warp_keeps_float32_coordinates_for_bf16_images():
    flow = constant_flow(0.25, 0, 64).float()
    image = torch.linspace(0, 1, 64).expand(1, 1, 64, 64)
    coarse = warp(image.bfloat16(), flow)
    assert coarse.dtype == torch.float32
    torch.testing.assert_close(coarse[..., :62], warp(image, flow)[..., :62], rtol=0, atol=4e-3)


def test_composition_equals_two_warps():
    first, second = smooth_flows(2, 1.0), smooth_flows(2, 1.0, seed=1)
    ramp = identity_grid(16, 16, torch.device("cpu"), torch.float64).expand(2, -1, -1, -1)
    twice = warp(warp(ramp, first, "border"), second, "border")
    once = warp(ramp, compose_flows(first, second), "border")
    inner = (..., slice(2, -2), slice(2, -2))
    torch.testing.assert_close(once[inner], twice[inner], rtol=0, atol=0.01)


def test_inverse_is_better_the_nearer_its_sample_point():
    """The order of the fact: Eq. 3 is worse than plain negation, -W(f, -f) much better."""
    flow = smooth_flows(50, 1.0)
    paper = residual_px(flow, invert_flow(flow, "paper"))
    negated = residual_px(flow, -flow)
    first_order = residual_px(flow, invert_flow(flow, "first_order"))
    fixed_point = residual_px(flow, invert_flow(flow, "fixed_point"))
    assert fixed_point < first_order < negated / 2 < negated < paper


def test_paper_inverse_is_eq_3_to_the_letter():
    flow = smooth_flows(3, 1.0)
    torch.testing.assert_close(invert_flow(flow, "paper"), -warp(flow, flow))


def test_fixed_point_undoes_a_warp():
    flow = smooth_flows(4, 0.8)
    backward = invert_flow(flow, "fixed_point", steps=30)
    image = F.interpolate(torch.rand(4, 1, 4, 4, dtype=torch.float64), 64, mode="bicubic")
    back = warp(warp(image, flow, "border"), backward, "border")
    inner = (..., slice(8, -8), slice(8, -8))
    assert (back - image)[inner].abs().mean() < 0.02 * (image.max() - image.min())


def test_inverse_stays_within_half_an_image():
    assert invert_flow(torch.full((1, 2, 4, 4), -3.0), "fixed_point").max() == 1


def test_a_mirrored_flow_does_to_the_mirror_image_what_the_flow_does_to_the_image():
    image, flow = torch.rand(2, 3, 16, 16, dtype=torch.float64), smooth_flows(2, rms_px=2.0)
    mirrored = warp(image.flip(3), mirror_flow(flow))
    torch.testing.assert_close(mirrored, warp(image, flow).flip(3))
    assert torch.equal(mirror_flow(mirror_flow(flow)), flow)


def test_an_extended_flow_keeps_what_is_known_and_fades():
    known = torch.zeros(1, 1, 33, 40, dtype=torch.bool)
    known[..., 12:22, 10:30] = True
    flow = torch.where(known, torch.tensor([0.5, -0.25]).view(1, 2, 1, 1), torch.nan)
    found = extend_flow(flow, known)
    assert torch.equal(found[:, :, 12:22, 10:30], flow[:, :, 12:22, 10:30])
    along = found[0, 0, 16, 29:]  # from the edge of what is known to that of the image
    assert (along.diff() < 0).all() and 0 < along[-1] < 0.1
    torch.testing.assert_close(found[:, 1], -0.5 * found[:, 0])
    # nearly harmonic: the mean of its four neighbours
    inner = found[..., 1:-1, 1:-1]
    around = (
        found[..., 2:, 1:-1] + found[..., :-2, 1:-1] + found[..., 1:-1, 2:] + found[..., 1:-1, :-2]
    ) / 4
    assert ((around - inner) * ~known[..., 1:-1, 1:-1]).abs().max() < 0.02
    assert extend_flow(flow.nan_to_num(), torch.zeros_like(known)).abs().max() == 0


def test_random_motions_are_smooth_and_of_the_size_asked_for():
    torch.manual_seed(0)
    flow = random_flow(2000, 16, 0.07, nodes=6)
    assert flow.shape == (2000, 2, 16, 16)
    corners = flow[:, :, [0, 0, -1, -1], [0, -1, 0, -1]]  # nodes: no interpolation there
    assert abs(float(corners.std()) - 0.07) < 0.002
    assert flow.diff(dim=3).std() < 0.6 * flow.std()
    assert random_flow(1, 16, 0.07, nodes=2).diff(dim=3).diff(dim=3).abs().max() < 0.02


def test_magnitude_of_a_three_four_five_flow():
    torch.testing.assert_close(flow_magnitude_px(constant_flow(3, 4, 64), 64), torch.tensor([5.0]))


def test_folding_is_seen():
    assert folded_share(torch.zeros(1, 2, 8, 8)).item() == 0
    grid = identity_grid(8, 8, torch.device("cpu"), torch.float32)
    mirrored = torch.cat([-2 * grid[:, :1], torch.zeros_like(grid[:, 1:])], dim=1)
    assert folded_share(mirrored).item() == 1


def test_warp_gradient():
    image = torch.rand(1, 2, 5, 5, dtype=torch.float64, requires_grad=True)
    flow = (torch.rand(1, 2, 5, 5, dtype=torch.float64) * 0.13 + 0.07).requires_grad_()
    assert torch.autograd.gradcheck(warp, (image, flow))


def test_faces_move_by_shares_of_pixels():
    images = torch.arange(16.0).view(1, 1, 4, 4).repeat(2, 3, 1, 1)
    right, up = shift(images, torch.tensor([[1.0, 0.0], [0.0, -0.5]]))
    rows = torch.tensor([[0.0, 0, 1, 2], [4, 4, 5, 6], [8, 8, 9, 10], [12, 12, 13, 14]])
    torch.testing.assert_close(right, rows.expand(3, 4, 4))
    between = torch.tensor([2.0, 6, 10, 12])[:, None] + torch.arange(4.0)
    torch.testing.assert_close(up, between.expand(3, 4, 4))
    faces, by = torch.rand(2, 3, 64, 64), torch.tensor([[0.3, -0.7], [0.9, 0.2]])
    with torch.autocast("cpu", torch.bfloat16):  # as trained: positions are not rounded to 8 bits
        torch.testing.assert_close(shift(faces, by), shift(faces.double(), by.double()).float())


def test_random_shifts_reach_as_far_as_they_may_either_way():
    torch.manual_seed(0)
    by = random_shifts(torch.zeros(4000, 1, 2, 2), most=1.5)
    assert by.shape == (4000, 2) and by.abs().max() <= 1.5
    assert by.min() < -1.49 and by.max() > 1.49 and by.mean().abs() < 0.05
