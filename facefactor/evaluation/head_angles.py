"""How far two ways of measuring head pose agree, and how well a fitted face meets its landmarks."""

from __future__ import annotations

import torch
from torch import Tensor

from facefactor.evaluation.tables import Score
from facefactor.perception.landmarks import interocular_error

_ANGLES = ("yaw", "pitch", "roll")
_INNER = slice(17, 68)  # the jaw's landmarks slide along the outline


def agreement_scores(measured: Tensor, reference: Tensor) -> tuple[Score, ...]:
    """Of angles (N, 3) yaw, pitch, roll in degrees, two of each face and two faces or more.

    The offset is the mean of measured minus reference: two instruments may call different poses
    straight ahead. Beside the mean absolute difference stands the one that is left without offset.
    The correlation is left out where one of the two never changes.

    Raises:
        ValueError: other shapes, fewer than two faces, NaN.
    """
    if measured.shape != reference.shape or measured.shape[1:] != (3,) or len(measured) < 2:
        raise ValueError(
            f"angles must be (N, 3) twice with N of 2 or more, got {tuple(measured.shape)} and "
            f"{tuple(reference.shape)}"
        )
    difference = measured.double() - reference.double()
    if not difference.isfinite().all():
        raise ValueError("angles hold NaN or infinity")
    offset = difference.mean(dim=0)
    left = (difference - offset).abs()
    scores = []
    for place, name in enumerate(_ANGLES):
        pair = torch.stack([measured[:, place], reference[:, place]]).double()
        apart = difference[:, place].abs()
        scores.append(Score(f"{name}: difference", apart.mean().item(), "°"))
        scores.append(Score(f"{name}: offset", offset[place].item(), "°"))
        after = left[:, place]
        spread = after.std(correction=0).item()
        scores.append(
            Score(f"{name}: difference without offset", after.mean().item(), "°", spread=spread)
        )
        if (pair.std(dim=1) > 1e-9).all():
            together = torch.corrcoef(pair)[0, 1].item()
            scores.append(Score(f"{name}: correlation", together, ""))
    return tuple(scores)


def reprojection_scores(projected: Tensor, landmarks: Tensor, pixels: int) -> tuple[Score, ...]:
    """How far a fitted face's landmarks are seen from those it was fitted to.

    Args:
        projected, landmarks: (N, 68, 2) in shares of the side of a square.
        pixels: the side of that square, for the error in pixels.

    Returns:
        Of all 68, and of those not on the jaw: % of the distance of the outer eye corners, pixels.

    Raises:
        ValueError: other shapes, no face, NaN.
    """
    if projected.shape != landmarks.shape or landmarks.shape[1:] != (68, 2) or not len(landmarks):
        raise ValueError(
            f"landmarks must be (N, 68, 2) twice, got {tuple(projected.shape)} and "
            f"{tuple(landmarks.shape)}"
        )
    seen, marks = projected.double(), landmarks.double()
    away = torch.linalg.vector_norm(seen - marks, dim=2)  # (N, 68)
    if not away.isfinite().all():
        raise ValueError("landmarks hold NaN or infinity")
    eyes = torch.linalg.vector_norm(marks[:, 45] - marks[:, 36], dim=1)[:, None]
    whole = interocular_error(seen, marks)
    inner = 100 * (away / eyes)[:, _INNER].mean(dim=1)
    in_pixels = pixels * away.mean(dim=1)
    inner_pixels = pixels * away[:, _INNER].mean(dim=1)
    unit = f"px of {pixels}"
    return (
        Score("landmarks", whole.mean().item(), "%", spread=whole.std(correction=0).item()),
        Score("landmarks, without jaw", inner.mean().item(), "%"),
        Score("landmarks, in pixels", in_pixels.mean().item(), unit),
        Score("landmarks, without jaw, in pixels", inner_pixels.mean().item(), unit),
    )
