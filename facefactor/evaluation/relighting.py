"""Is a relit face nearer than the unrelit one to the person's true photo under that light?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from facefactor.evaluation.tables import ResultTable, Score
from facefactor.geometry.lighting import directional_lighting
from facefactor.geometry.similarity import apply_affine, invert_affine
from facefactor.perception.align import (
    Placement,
    align,
    brighten,
    crop_points,
    feathered_mask,
    palette,
    redrawn_share,
    to_image,
)

Faces = NDArray[np.uint8]  # (N, S, S, 3) RGB
Embed = Callable[[Tensor], Tensor]  # faces (N, 3, T, T) in [0, 1] -> unit vectors (N, D)

_BATCH = 64


@dataclass(frozen=True, eq=False)
class Closeness:
    """How near N faces are to the true photos."""

    psnr: Tensor  # (N,) dB; infinite for an exact copy
    distance: Tensor  # (N,) 1 less the cosine of the recogniser's embeddings, 0 to 2


def closeness(faces: Faces, truth: Faces, seen: NDArray[np.bool_], embeddings: Tensor) -> Closeness:
    """PSNR against `truth` over pixels (S, S) that are `seen`, and the distance of embeddings.

    Args:
        embeddings: (2, N, D) unit vectors of the faces and of the true photos.
    """
    if not seen.any():
        raise ValueError("no pixel is seen; nothing can be compared")
    error = (faces.astype(np.float32) - truth.astype(np.float32))[:, seen] / 255  # (N, pixels, 3)
    mean = torch.from_numpy((error**2).mean(axis=(1, 2)))
    cosine = (embeddings[0] * embeddings[1]).sum(dim=1)
    return Closeness(-10 * mean.log10(), 1 - cosine)


@torch.inference_mode()
def embeddings_of(faces: Faces, crop: str, embed: Embed, to_crop: str, size: int) -> Tensor:
    """Embeddings (N, D) of faces cut in one crop, by a recogniser that takes another."""
    points = crop_points(crop, faces.shape[1])
    found = []
    for start in range(0, len(faces), _BATCH):
        part = [align(face, points, to_crop, size)[0] for face in faces[start : start + _BATCH]]
        found.append(embed(torch.cat(part)))
    return torch.cat(found)


def photo_area(placement: Placement, height: int, width: int) -> NDArray[np.bool_]:
    """(S, S) which pixels of a crop lie in its photo; beyond, the photo's edges are mirrored."""
    axis = np.arange(placement.size)
    pixels = np.stack(np.meshgrid(axis, axis), axis=-1)  # x, y
    x, y = np.moveaxis(apply_affine(invert_affine(placement.to_crop), pixels), -1, 0)
    area: NDArray[np.bool_] = (x >= -0.5) & (x <= width - 0.5) & (y >= -0.5) & (y <= height - 0.5)
    return area


def spread_edges(faces: Faces, area: NDArray[np.bool_]) -> Faces:
    """Crops with the outermost pixels of their photo repeated where there is no photo.

    Mirrored, as `perception.align.cut` leaves them, crops far wider than their photos have four
    eyes, and light from both sides.

    Args:
        area: (S, S) of `photo_area`; taken as the rectangle around it.
    """
    if not area.any():
        raise ValueError("no pixel of the crop lies in its photo")
    rows, columns = np.flatnonzero(area.any(axis=1)), np.flatnonzero(area.any(axis=0))
    top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    height, width = area.shape
    beyond = ((0, 0), (top, height - bottom), (left, width - right), (0, 0))
    return np.pad(faces[:, top:bottom, left:right], beyond, mode="edge")


def lit_by(photos: Tensor, gain: Tensor) -> Tensor:
    """Photos (N, 3, S, S) under a gain (N, 1 or 3, S, S) that fades to 1 at the border, as
    `perception.align.light_and_move` does with a photo that nothing moves in."""
    mask = torch.from_numpy(feathered_mask(photos.shape[-1]).copy())
    faded = (1 + (gain - 1) * mask).expand_as(photos)
    return torch.from_numpy(brighten(255 * photos.numpy(), faded.numpy())) / 255


def put_back(photos: Tensor, edited: Tensor, reconstruction: Tensor) -> Tensor:
    """The edit as a change of the photo, as `perception.align.paste_back` does: what edited and
    reconstructed face differ by, in the photo's colours and fading to nothing at the border, is
    added, and the photo's detail goes where something else is drawn; all (N, 3, S, S)."""
    mask = feathered_mask(photos.shape[-1])
    found = []
    batches = (torch.split(batch, 1) for batch in (photos, edited, reconstruction))
    for faces in zip(*batches, strict=True):
        photo, after, before = (to_image(face) for face in faces)
        recolour = palette(before, photo, mask)
        after, before = recolour(after), recolour(before)
        change = after - before
        share = (redrawn_share(change) * mask)[..., None]
        found.append(photo + change * mask[..., None] - share * (photo - before))
    return (torch.from_numpy(np.stack(found)).permute(0, 3, 1, 2) / 255).clamp(0, 1)


def direction_lighting(lights: Sequence[tuple[float, float]]) -> Tensor:
    """Coefficients (N, 9) of single lights in a dark room; azimuth and elevation in degrees."""
    angles = torch.tensor(lights, dtype=torch.float32)
    return directional_lighting(angles[:, 0], angles[:, 1])


def relighting_table(
    own: Closeness,
    unrelit: Closeness,
    groups: Sequence[str],
    dataset: str,
    model: str,
) -> ResultTable:
    """How near the faces are, and how often nearer than the unrelit ones; ties are not nearer.

    Args:
        groups: N names of groups of light, for shares of their own.
    """
    if not len(own.psnr) == len(unrelit.psnr) == len(groups):
        raise ValueError(
            f"{len(own.psnr)} faces, {len(unrelit.psnr)} unrelit ones and {len(groups)} groups"
        )
    nearer = {
        "PSNR": own.psnr > unrelit.psnr,
        "recogniser distance": own.distance < unrelit.distance,
    }
    nearer["both"] = nearer["PSNR"] & nearer["recogniser distance"]
    scores = [
        Score("PSNR", _finite_mean(own.psnr), "dB"),
        Score("recogniser distance", float(own.distance.mean()), ""),
        *(Score(f"nearer in {what}", _percent(hits), "%") for what, hits in nearer.items()),
    ]
    for group in dict.fromkeys(groups):
        rows = torch.tensor([name == group for name in groups])
        n = int(rows.sum())
        scores.append(Score(f"{group}: PSNR", _finite_mean(own.psnr[rows]), "dB", n=n))
        for what, hits in nearer.items():
            scores.append(Score(f"{group}: nearer in {what}", _percent(hits[rows]), "%", n=n))
    return ResultTable("relighting", dataset, tuple(scores), model=model, n=len(groups))


def _percent(hits: Tensor) -> float:
    return 100 * float(hits.float().mean())


def _finite_mean(psnr: Tensor) -> float | None:
    """Exact copies have no finite PSNR and are left out; None where there is nothing else."""
    finite = psnr[psnr.isfinite()]
    return float(finite.mean()) if len(finite) else None
