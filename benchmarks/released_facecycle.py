"""Training steps of FaceCycle's released code, put together from a checkout of it.

Its networks and losses are imported as they are; the two steps follow the order of its scripts
train_expression.py and train_id.py, which cannot be imported without their data.
"""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Literal
from unittest import mock

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from facefactor.methods.facecycle.losses import swap_halves
from facefactor.perception.vgg import VGG19


def import_released(folder: Path, device: str) -> SimpleNamespace:
    """Its modules `networks`, `losses` and `vgg`, made to run where they do not.

    - torchvision is asked for pretrained VGG19 features: a stand-in gives random ones of the same
      layers, so that nothing is fetched. What else is imported (image saving, plots, the data
      loader) is not used by a step; empty modules take its place.
    - pytorch_ssim is a package of its own: without a copy in `folder`, `Ssim` does the same work.
    - warps put their grids on the GPU with `.cuda()`: on the CPU that call does nothing.
    """
    members: dict[str, dict[str, object]] = {
        "torchvision": {"models": SimpleNamespace(vgg19=_random_vgg19), "transforms": None},
        "torchvision.utils": {"save_image": None},
        "dataloader": {"Voxall": None},
        "matplotlib.pyplot": {},
    }
    if not (folder / "pytorch_ssim" / "__init__.py").is_file():
        print(f"{folder} has no pytorch_ssim: a stand-in does the same work")
        members["pytorch_ssim"] = {"SSIM": Ssim}
    stubs = {name: ModuleType(name) for name in members}
    for name, stub in stubs.items():
        vars(stub).update(members[name])
    if device == "cpu":
        torch.Tensor.cuda = lambda self, *args, **kwargs: self  # type: ignore[method-assign]
    warnings.filterwarnings("ignore", message=".*(deprecated|upsample).*")  # at every warp
    # afterwards names as common as `models` are free again
    with mock.patch.dict(sys.modules, stubs), mock.patch("sys.path", [str(folder), *sys.path]):
        networks, losses, vgg = map(importlib.import_module, ("models", "Loss", "vgg19"))
    return SimpleNamespace(networks=networks, losses=losses, vgg=vgg)


def _random_vgg19(pretrained: bool) -> SimpleNamespace:
    """VGG19 in torchvision's numbering, up to conv5_1."""
    last = (nn.MaxPool2d(2), nn.Conv2d(512, 512, 3, padding=1), nn.ReLU())
    return SimpleNamespace(features=nn.Sequential(*VGG19(("conv4_4",)).features, *last))


class Ssim:
    """Mean structural similarity, 11x11 Gaussian window (sigma 1.5), zeros outside the image."""

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        taps = torch.exp(-(torch.arange(-5.0, 6.0, device=x.device) ** 2) / (2 * 1.5**2))
        window = (torch.outer(taps, taps) / taps.sum() ** 2).expand(x.shape[1], 1, 11, 11)
        blur = partial(F.conv2d, weight=window, padding=5, groups=x.shape[1])
        mx, my = blur(x), blur(y)
        vx, vy, vxy = blur(x * x) - mx * mx, blur(y * y) - my * my, blur(x * y) - mx * my
        alike = (2 * mx * my + 0.01**2) * (2 * vxy + 0.03**2)
        return (alike / ((mx * mx + my * my + 0.01**2) * (vx + vy + 0.03**2))).mean()


class ReleasedStep:
    """One step in float32 with cuDNN's search on, as the released code trains.

    Args:
        images: (2P, 3, 64, 64), ImageNet-normalised, partners P apart.
    """

    def __init__(
        self, code: SimpleNamespace, stage: Literal["expression", "identity"], images: Tensor
    ) -> None:
        names = ("codegeneration", "exptoflow", "generator", "codegeneration", "normalizer")
        made = [getattr(code.networks, name)().to(images.device) for name in names]
        self.encode, self.move, self.draw, self.identify, self.normalise = made
        self.vgg = code.vgg.Vgg19(requires_grad=False).to(images.device).eval()
        self.losses = code.losses
        self.images = images
        self.objective: Callable[[], Tensor]
        if stage == "expression":
            self.objective, trained, second = self.expression, made[:3], 0.999
        else:
            self.objective, trained, second = self.identity, made[3:], 0.9
        # stage 2 only leaves stage 1 out of the optimiser: gradients of its decoder are computed
        weights = nn.ModuleList(trained).parameters()
        self.optimizer = torch.optim.Adam(weights, lr=5e-5, betas=(0.5, second))

    def __call__(self) -> Tensor:
        torch.backends.cudnn.benchmark = True
        self.optimizer.zero_grad()
        loss = self.objective()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        torch.backends.cudnn.benchmark = False  # as ours trains
        return loss.detach()

    def expression(self) -> Tensor:
        images, ssim, symmetry = self.images, self.losses.ssim_loss, self.losses.symetricloss
        forward, backward = self.move(self.encode(images))
        neutral = self.draw(images, forward)
        partner = swap_halves(neutral)
        moved = self.draw.warp(images, forward)
        cycled = self.draw.warp(swap_halves(moved), backward)
        warped = self.draw.warp(partner, backward)
        redrawn = self.draw(partner, backward)
        copied = self.draw(images, None)
        pixels = F.l1_loss(redrawn, images) + F.l1_loss(copied, images)
        pixels = pixels + F.l1_loss(warped, images) + 1.5 * F.l1_loss(cycled, images)
        style = self.style([neutral, warped, cycled, redrawn])
        structure = ssim(images, redrawn) + ssim(images, copied) + 1.5 * ssim(images, cycled)
        even = symmetry(neutral) + 0.5 * symmetry(moved)
        return 0.01 * style + pixels + 1.5 * even + 5 * structure

    def identity(self) -> Tensor:
        images, ssim, symmetry = self.images, self.losses.ssim_loss, self.losses.symetricloss
        with torch.no_grad():
            forward, backward = self.move(self.encode(images))
            neutral = self.draw(images, forward)
        code = self.identify(images)
        mean_face = self.normalise(neutral, True, code).mean(dim=0).repeat(len(images), 1, 1, 1)
        rebuilt = self.normalise(mean_face, False, code)
        warped = self.draw.warp(rebuilt, backward)
        redrawn = self.draw(rebuilt, backward)
        pixels = F.l1_loss(redrawn, images) + 0.8 * F.l1_loss(warped, images)
        pixels = pixels + F.l1_loss(rebuilt, neutral)
        style = self.style([warped, redrawn])
        structure = ssim(images, redrawn) + 0.8 * ssim(images, warped)
        apart = self.losses.margin_loss(mean_face, neutral)
        return 0.01 * style + pixels + 1.5 * symmetry(rebuilt) + 5 * structure + apart

    def style(self, faces: list[Tensor]) -> Tensor:
        """Gram distances to the input images, whose maps are computed anew for each of `faces`."""
        layers = ["r21", "r31", "r41"]
        targets = self.vgg(self.images.repeat(len(faces), 1, 1, 1), layers)
        seen = self.vgg(torch.cat(faces), layers)
        return torch.stack(list(map(self.losses.perceptual_loss, seen, targets))).sum()
