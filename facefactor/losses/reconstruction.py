"""How far a redrawn image is from the image."""

from __future__ import annotations

from kornia.metrics import ssim
from torch import Tensor


def ssim_loss(images: Tensor, targets: Tensor) -> Tensor:
    """1 - structural similarity, both (N, C, H, W); scalar, 0 for equal images.

    11x11 Gaussian window, sigma 1.5, windows that leave the image left out. C1 = 0.01^2 and
    C2 = 0.03^2 stand for a data range of 1, whatever range the images have.
    """
    return 1 - ssim(images.float(), targets.float(), window_size=11, padding="valid").mean()
