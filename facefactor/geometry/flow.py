"""Flow fields: warp images by them, resize them, invert them.

A flow is (N, 2, H, W), channel 0 = x, 1 = y, in normalised image coordinates: 1.0 is half the
image (31.5 px at 64), so resizing a flow does not rescale it. Warping is backward:
`warp(image, flow)(x) = image(x + flow(x))`, bilinear, pixel centres of the border at -1 and 1.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

FlowInverse = Literal["paper", "first_order", "fixed_point"]
Padding = Literal["zeros", "border"]

_ROUNDS = 8  # of `extend_flow`, at each resolution


@lru_cache(maxsize=32)
def identity_grid(height: int, width: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Sampling positions that leave an image as it is: (1, 2, H, W), x then y, in [-1, 1]."""
    with torch.inference_mode(False):  # the grid is cached and must be usable under autograd
        y, x = torch.meshgrid(
            torch.linspace(-1, 1, height, device=device, dtype=dtype),
            torch.linspace(-1, 1, width, device=device, dtype=dtype),
            indexing="ij",
        )
        return torch.stack([x, y])[None]


def warp(image: Tensor, flow: Tensor, padding: Padding = "zeros") -> Tensor:
    """`image` (N, C, H, W) sampled at x + flow(x); the flow is resized to the image if need be.

    Coordinates are kept in float32 at least: bf16 has 8 bits, a quarter of a pixel at 64.
    """
    dtype = torch.promote_types(image.dtype, torch.float32)
    flow = resize_flow(flow.to(dtype), image.shape[-2:])
    grid = identity_grid(*image.shape[-2:], image.device, dtype) + flow
    with torch.autocast(image.device.type, enabled=False):
        return F.grid_sample(
            image.to(dtype),
            grid.permute(0, 2, 3, 1),
            mode="bilinear",
            padding_mode=padding,
            align_corners=True,
        )


def shift(images: Tensor, by: Tensor) -> Tensor:
    """Images (N, C, S, S) moved by `by`, (N, 2) pixels to the right and down; bilinear, what comes
    in at an edge is the edge."""
    size = images.shape[-1]
    flow = -2 / (size - 1) * by  # where each pixel comes from; from first to last they are 2 apart
    return warp(images, flow[..., None, None].expand(-1, -1, size, size), padding="border")


def random_shifts(images: Tensor, most: float) -> Tensor:
    """For `shift`: (N, 2), uniform, up to `most` pixels either way."""
    return most * (2 * torch.rand(len(images), 2, device=images.device) - 1)


def resize_flow(flow: Tensor, size: tuple[int, int] | torch.Size) -> Tensor:
    """The same motion at another resolution: (N, 2, *size). Units are normalised: no rescaling."""
    if tuple(flow.shape[-2:]) == tuple(size):
        return flow
    return F.interpolate(flow, tuple(size), mode="bilinear", align_corners=True)


def compose_flows(first: Tensor, second: Tensor) -> Tensor:
    """One flow for two warps: warp(warp(image, first), second) = warp(image, composed)."""
    return second + warp(first, second, padding="border")


def invert_flow(flow: Tensor, method: FlowInverse = "first_order", steps: int = 8) -> Tensor:
    """The flow that undoes `flow`: b with b(x) = -f(x + b(x)); both (N, 2, H, W), in [-1, 1].

    paper: b = -W(f, f), as printed (Eq. 3 of FaceCycle); its sample point is on the wrong side.
    first_order: b = -W(f, -f), the first iterate of the fixed point; same cost, less than half
        the error on fields of 1 px.
    fixed_point: `steps` iterates of b = -W(f, b); does not converge where the flow folds.
    """
    if method == "paper":
        backward = -warp(flow, flow)
    elif method == "first_order":
        backward = -warp(flow, -flow)
    else:
        backward = -flow
        for _ in range(steps):
            backward = -warp(flow, backward, padding="border")
    return backward.clamp(-1, 1)


def mirror_flow(flow: Tensor) -> Tensor:
    """The flow that does to a mirror image what `flow` does to the image: (N, 2, H, W)."""
    return flow.flip(3) * flow.new_tensor([-1.0, 1.0])[:, None, None]


def extend_flow(flow: Tensor, known: Tensor) -> Tensor:
    """A flow (N, 2, H, W) where it is known (N, 1, H, W), smooth elsewhere, 0 beyond the image.

    Elsewhere each pixel comes to have nearly the mean of its four neighbours: by rounds of taking
    that mean, which begin with what half the resolution gives.
    """
    height, width = flow.shape[-2:]
    fixed = torch.where(known, flow, 0.0)
    extended = fixed
    if min(height, width) > 2:
        half = (height + 1) // 2, (width + 1) // 2
        share = F.adaptive_avg_pool2d(known.to(flow), half)
        mean = F.adaptive_avg_pool2d(fixed, half) / share.clamp(min=1e-6)
        coarse = F.interpolate(extend_flow(mean, share > 0), (height, width), mode="bilinear")
        extended = torch.where(known, fixed, coarse)
    kernel = flow.new_tensor([[0, 1, 0], [1, 0, 1], [0, 1, 0]]).expand(2, 1, 3, 3) / 4
    for _ in range(_ROUNDS):
        extended = torch.where(known, fixed, F.conv2d(extended, kernel, padding=1, groups=2))
    return extended


def random_flow(
    count: int, size: int, deviation: float, nodes: int, device: torch.device | None = None
) -> Tensor:
    """Smooth random motions (count, 2, size, size): a grid of `nodes` x `nodes` displacements.

    Two nodes a side give shifts, rotations, changes of scale and shears; more give local motions.

    Args:
        deviation: standard deviation of a node's displacement, normalised units.
    """
    displacements = torch.randn(count, 2, nodes, nodes, device=device) * deviation
    return F.interpolate(displacements, (size, size), mode="bicubic", align_corners=True)


def flow_magnitude_px(flow: Tensor, image_size: int) -> Tensor:
    """Mean length of each displacement field, (N,), in pixels of an image of `image_size`."""
    return flow.float().norm(dim=1).mean(dim=(1, 2)) * (image_size - 1) / 2


def folded_share(flow: Tensor) -> Tensor:
    """Share of cells where x + flow(x) folds over, (N,): Jacobian determinant below 0."""
    flow = flow.float()
    position = identity_grid(*flow.shape[-2:], flow.device, flow.dtype) + flow
    along_x = position[..., :-1, 1:] - position[..., :-1, :-1]
    along_y = position[..., 1:, :-1] - position[..., :-1, :-1]
    determinant = along_x[:, 0] * along_y[:, 1] - along_x[:, 1] * along_y[:, 0]
    return (determinant < 0).float().mean(dim=(1, 2))
