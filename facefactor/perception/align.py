"""Cut the canonical face out of a photo, and put an edited one back without losing detail.

Pixel centres lie at integers, in photos and in crops. A crop's template is given as fractions of
its square measured from the outer pixel edge, so fraction f is pixel f * size - 0.5.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from facefactor.geometry.flow import resize_flow, warp
from facefactor.geometry.similarity import (
    Affine,
    affine_transform,
    apply_affine,
    compose_affine,
    invert_affine,
    similarity_transform,
)

# Uneven changes, of 255, up to which a photo's detail stays, and from which on none does.
_KEPT, _GONE = 15.0, 45.0

# A frontal face in the crop `facecycle`: half its width, where its middle is, half its height, in
# shares of the square; and on which share of the way from the outline to the middle it fades.
_OVAL, _FADING = (0.38, 0.52, 0.47), 0.3

_DOUBT = 1.0  # of 255: colours that vary by less are left as they are

Photo = NDArray[np.uint8]  # (H, W, 3) RGB
Image = NDArray[np.float32]  # (H, W) or (H, W, C), values in [0, 255] unless said


@dataclass(frozen=True)
class Crop:
    """Where five points lie in the square: the subject's right eye (image left), left eye, nose
    tip, right (image left) and left mouth corner, as (x, y) fractions."""

    name: str
    points: tuple[tuple[float, float], ...]


_ARCFACE_112_PX = (
    (38.2946, 51.6963),
    (73.5318, 51.5014),
    (56.0252, 71.7366),
    (41.5493, 92.3655),
    (70.7299, 92.2041),
)
CROPS: dict[str, Crop] = {
    "arcface": Crop(
        "arcface", tuple(((x + 0.5) / 112, (y + 0.5) / 112) for x, y in _ARCFACE_112_PX)
    ),
    "facecycle": Crop(
        "facecycle", ((0.32, 0.37), (0.68, 0.37), (0.5, 0.579), (0.348, 0.748), (0.652, 0.748))
    ),
}


@dataclass(frozen=True, eq=False)
class Placement:
    """Where a crop lies in its photo."""

    to_crop: Affine  # (2, 3): photo pixels -> crop pixels
    size: int  # side of the crop, pixels


def crop_points(crop: str, size: int) -> NDArray[np.float64]:
    """The template of a named crop in its pixels, (5, 2); ValueError for an unknown name."""
    if crop not in CROPS:
        raise ValueError(f"no crop is called {crop!r}; there are {', '.join(CROPS)}")
    return np.array(CROPS[crop].points) * size - 0.5


def place(points: ArrayLike, crop: str, size: int, stretch: bool = False) -> Placement:
    """The placement that brings five photo points (5, 2) nearest to the crop's template.

    `stretch`: by an affine map instead of a similarity, for data sets whose own alignment
    stretched the faces.
    """
    fit = affine_transform if stretch else similarity_transform
    return Placement(fit(points, crop_points(crop, size)), size)


def cut(photo: Photo, placement: Placement) -> Tensor:
    """The face a placement frames, (1, 3, S, S) in [0, 1]; outside the photo it is mirrored."""
    size = placement.size
    face = _resample(photo, invert_affine(placement.to_crop), (size, size), cv2.BORDER_REFLECT_101)
    return torch.from_numpy(face).permute(2, 0, 1)[None].float().div_(255)


def align(
    photo: Photo, points: ArrayLike, crop: str, size: int, stretch: bool = False
) -> tuple[Tensor, Placement]:
    """`cut` where five points (5, 2) `place` the crop: the face (1, 3, size, size), and where."""
    placement = place(points, crop, size, stretch)
    return cut(photo, placement), placement


def paste_back(
    photo: Photo,
    placement: Placement,
    edited: Tensor,
    reconstruction: Tensor | None = None,
    flow: Tensor | None = None,
    raw: bool = False,
    oval: bool = False,
) -> Photo:
    """The photo with its face edited, at the photo's own sharpness: the edit goes in as a change.

    With a flow the photo itself is warped at full resolution. What the flow leaves over, `edited`
    minus the warped `reconstruction`, is enlarged and added; where that is something else, and not
    only light, the photo's own detail goes (`redrawn_share`). All of it fades to nothing at the
    mask's border; outside of the crop, and for an edit that changes nothing, pixels stay as they
    are.

    Args:
        edited: (1, 3 or 1, S, S) in [0, 1], the network's edited face.
        reconstruction: same shape, the network's redraw of the *unedited* face. None: `edited`
            replaces the face, its colours matched to the photo's.
        flow: (1, 2, h, w) backward, out(x) = in(x + flow(x)); x then y, 1.0 = half the image, on an
            `align_corners=True` grid, which may be finer than the crop. Used with a reconstruction
            only.
        raw: stamp `edited` as it is, with the feathered mask and nothing else.
        oval: `edited` is a frontal face, of which only what lies within the face is put in: what is
            drawn behind it is not what the photo has there.
    """
    found = _window(photo, placement)
    if found is None:
        return photo.copy()
    under, to_crop = found.pixels, found.to_crop
    mask = oval_mask(placement.size) if oval else feathered_mask(placement.size)

    if raw or reconstruction is None:
        face = to_image(edited)
        if not raw:
            face = _match_colour(face, to_image(cut(photo, placement)), mask)
        weight = _enlarge(mask, to_crop, under.shape)[..., None]
        # The weight is applied to the enlarged face: premultiplied, fading ends would darken.
        result = under + weight * (_enlarge(face, to_crop, under.shape) - under)
    else:
        recolour = palette(to_image(reconstruction), to_image(cut(photo, placement)), mask)
        moved = under
        if flow is not None:
            moved = _warp_window(under, *_shift_px(flow, mask), to_crop)
            reconstruction = warp(reconstruction, flow)
        before, after = recolour(to_image(reconstruction)), recolour(to_image(edited))
        change = after - before
        result = moved + _enlarge(change * mask[..., None], to_crop, under.shape)
        replaced = redrawn_share(change) * mask
        if replaced.any():
            weight = _enlarge(replaced, to_crop, under.shape)[..., None].clip(0, 1)
            result = result - weight * (moved - _enlarge(before, to_crop, under.shape))

    return _with_window(photo, found, result)


def light_and_move(photo: Photo, placement: Placement, gain: Tensor, flow: Tensor) -> Photo:
    """The photo's own pixels of a face under another light, then moved; nothing drawn is added.

    Both fade to nothing at the mask's border.

    Args:
        gain: (1, 1 or 3, S, S) what each pixel is multiplied by: its new shading over its own; see
            `brighten`.
        flow: as of `paste_back`.
    """
    found = _window(photo, placement)
    if found is None:
        return photo.copy()
    under, to_crop = found.pixels, found.to_crop
    mask = feathered_mask(placement.size)
    change = np.float32(1 / 255) * to_image(gain) - 1
    lit = brighten(under, 1 + _enlarge(change * mask[..., None], to_crop, under.shape))
    return _with_window(photo, found, _warp_window(lit, *_shift_px(flow, mask), to_crop))


def brighten(values: Image, gain: Image) -> Image:
    """Values 255 v, v in [0, 1], under a gain g: g v where it darkens, 1 - (1 - v)^g where it
    brightens.

    The second is g v for small v, too, and comes near 1 without passing it: cut off at 1, a bright
    cheek would be a white spot.
    """
    brighter = 255 * (1 - (1 - values / 255) ** np.maximum(gain, 1))
    return np.where(gain > 1, brighter, np.minimum(gain, 1) * values).astype(np.float32)


@lru_cache(maxsize=16)
def feathered_mask(size: int) -> Image:
    """(size, size) weights: 1 over the face, falling smoothly to 0 on a rounded square.

    The outermost two rings of pixels are 0, so that cubic interpolation stays inside the crop.
    """
    axis = np.abs((np.arange(size) + 0.5) / size * 2 - 1)
    radius = (axis[:, None] ** 4 + axis[None] ** 4) ** 0.25  # superellipse: keeps chin and mouth
    edge, full = 1 - 3 / size, 0.68  # mouth corners of the arcface crop lie at 0.65
    mask = _smooth_step((edge - radius) / max(edge - full, 1e-6))
    mask.setflags(write=False)  # it is cached
    return mask


@lru_cache(maxsize=16)
def oval_mask(size: int) -> Image:
    """(size, size) weights: 1 over eyes, nose and mouth of a frontal face, 0 at its outline."""
    axis = (np.arange(size) + 0.5) / size
    x, y = (axis[None] - 0.5) / _OVAL[0], (axis[:, None] - _OVAL[1]) / _OVAL[2]
    mask = _smooth_step((1 - np.hypot(x, y)) / _FADING)
    mask.setflags(write=False)
    return mask


def _resample(
    image: NDArray[Any], to_image: Affine, shape: tuple[int, int], border: int, cubic: bool = False
) -> NDArray[Any]:
    """`image` seen through `to_image` (output pixels -> image pixels), antialiased by area.

    Where one output pixel covers several of the image's it is sampled that densely, then averaged.
    """
    step = np.linalg.norm(to_image[:, :2], axis=0).max()  # image pixels per output pixel
    dense = max(1, int(np.ceil(step - 0.25)))
    # Output pixel u holds dense pixels dense * u ... dense * u + dense - 1.
    spread = [[1 / dense, 0, (1 / dense - 1) / 2], [0, 1 / dense, (1 / dense - 1) / 2]]
    height, width = shape
    sampled = cv2.warpAffine(
        image,
        compose_affine(spread, to_image),
        (width * dense, height * dense),
        flags=(cv2.INTER_CUBIC if cubic else cv2.INTER_LINEAR) | cv2.WARP_INVERSE_MAP,
        borderMode=border,
    )
    if dense == 1:
        return sampled
    return cv2.resize(sampled, (width, height), interpolation=cv2.INTER_AREA)


def _enlarge(image: Image, to_crop: Affine, shape: tuple[int, ...]) -> Image:
    """A crop-sized image in the pixels of the photo's window; 0 beyond the crop."""
    return _resample(image, to_crop, (shape[0], shape[1]), cv2.BORDER_CONSTANT, cubic=True)


@dataclass(frozen=True, eq=False)
class _Window:
    """What of a photo the crop touches."""

    place: tuple[slice, slice]  # rows and columns
    pixels: Image
    to_crop: Affine  # pixels of the window -> crop pixels


def _window(photo: Photo, placement: Placement) -> _Window | None:
    """None where the crop lies outside of the photo."""
    low, high = -0.5, placement.size - 0.5
    corners = [[low, low], [high, low], [high, high], [low, high]]
    x, y = apply_affine(invert_affine(placement.to_crop), corners).T
    left, top = max(0, int(np.floor(x.min()))), max(0, int(np.floor(y.min())))
    right, bottom = (
        min(photo.shape[1], int(np.ceil(x.max())) + 1),
        min(photo.shape[0], int(np.ceil(y.max())) + 1),
    )
    if top >= bottom or left >= right:
        return None
    place = slice(top, bottom), slice(left, right)
    to_crop = compose_affine([[1, 0, left], [0, 1, top]], placement.to_crop)
    return _Window(place, photo[place].astype(np.float32), to_crop)


def _with_window(photo: Photo, window: _Window, result: Image) -> Photo:
    """A copy of the photo with other pixels in its window, rounded and cut to bytes."""
    changed = photo.copy()
    changed[window.place] = np.clip(np.rint(result), 0, 255).astype(np.uint8)
    return changed


def redrawn_share(change: Image) -> Image:
    """How much of a photo's detail is to go, (S, S) in [0, 1], by what an edit changes, (S, S, 3).

    Detail that the network never draws, the edges of teeth, belongs to what was there: it stays
    where an edit changes little, or evenly as light does, and goes where something else is drawn.
    """
    size = len(change)
    uneven = change - cv2.GaussianBlur(change, (0, 0), 0.1 * size)
    strength = cv2.GaussianBlur(np.abs(uneven).max(axis=2), (0, 0), 0.02 * size)
    return _smooth_step((strength - _KEPT) / (_GONE - _KEPT))


def _smooth_step(t: NDArray[Any]) -> Image:
    """0 up to 0, 1 from 1 on, and between them a cubic that leaves and arrives level."""
    t = np.clip(t, 0, 1)
    smooth: Image = (t * t * (3 - 2 * t)).astype(np.float32)
    return smooth


def to_image(face: Tensor) -> Image:
    """(1, 3 or 1, S, S) in [0, 1] -> (S, S, 3) in [0, 255]."""
    image: Image = (
        face.detach()[0].expand(3, -1, -1).permute(1, 2, 0).float().mul(255).cpu().numpy()
    )
    return image


def _match_colour(face: Image, like: Image, mask: Image) -> Image:
    """`face` with the mean colour and the spread of lightness that `like` has under the mask, and
    with colours that vary no more: in a black and white photo it is black and white."""
    weight = mask[..., None] / mask.sum()

    def parts(image: Image) -> tuple[Image, Image, Image]:
        """Mean, and what lightness and colours depart from it by."""
        mean = (weight * image).sum((0, 1))
        departures = image - mean
        light = departures.mean(axis=2, keepdims=True)
        return mean, light, departures - light

    def spread(departures: Image) -> float:
        return max(float(np.sqrt((weight * departures**2).sum())), 1e-3)

    _, light, colours = parts(face)
    mean, wanted_light, wanted_colours = parts(like)
    gain = np.clip(spread(wanted_light) / spread(light), 0.5, 2)  # do not amplify flat faces
    share = min(1, spread(wanted_colours) / spread(colours))  # nor any colours
    matched: Image = (mean + gain * light + share * colours).astype(np.float32)
    return matched


def palette(face: Image, like: Image, mask: Image) -> Callable[[Image], Image]:
    """What gives an image like `face` the colours of `like`, its lightness untouched.

    The linear map that brings the colours of `face`, less their mean over RGB, nearest to those of
    `like` under the mask. What a network draws paler than the photo, lips above all, gets the
    photo's colours; of a black and white photo all stays grey.
    """
    weight = (mask / mask.sum()).reshape(-1, 1)
    flat = [image.reshape(-1, 3) for image in (face, like)]
    means = [weight.T @ pixels for pixels in flat]
    own, wanted = (pixels - mean for pixels, mean in zip(flat, means, strict=True))
    lightness = np.full((3, 3), 1 / 3, np.float32)  # pixels @ lightness: of each its mean over RGB
    rest = np.eye(3, dtype=np.float32) - lightness
    doubt = _DOUBT**2 * np.eye(3, dtype=np.float32)  # also: colours have two dimensions, not three
    weighted = weight * own
    alike = rest @ (weighted.T @ own) @ rest + doubt
    matrix = np.linalg.solve(alike, rest @ (weighted.T @ wanted) @ rest + doubt)
    whole = lightness + rest @ matrix
    shift = means[1] @ rest - means[0] @ rest @ matrix
    return lambda image: (image.reshape(-1, 3) @ whole + shift).reshape(image.shape)


def _shift_px(flow: Tensor, mask: Image) -> tuple[Image, Affine]:
    """A flow in crop pixels (h, w, 2) that fades as the crop's mask (S, S) does, h and w at least
    S; and the map from crop pixels to places in it."""
    size = len(mask)
    height, width = (max(size, side) for side in flow.shape[-2:])
    whole = resize_flow(flow.detach().float().cpu(), (height, width))
    fade = resize_flow(torch.from_numpy(mask.copy())[None, None], (height, width))
    shift_px: Image = (whole * fade)[0].permute(1, 2, 0).mul((size - 1) / 2).numpy()
    x, y = ((side - 1) / (size - 1) for side in (width, height))
    return shift_px, np.array([[x, 0, 0], [0, y, 0]])


def _warp_window(window: Image, shift_px: Image, to_shift: Affine, to_crop: Affine) -> Image:
    """The photo's window moved by a displacement field given in crop pixels (h, w, 2)."""
    height, width = window.shape[:2]
    back = invert_affine(to_crop)[:, :2].T.astype(np.float32)
    shift = _enlarge(shift_px @ back, compose_affine(to_crop, to_shift), window.shape)
    x = shift[..., 0] + np.arange(width, dtype=np.float32)
    y = shift[..., 1] + np.arange(height, dtype=np.float32)[:, None]
    warped = cv2.remap(window, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    return warped.astype(np.float32, copy=False)
