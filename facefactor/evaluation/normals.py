"""Angular error of surface normals, in degrees: Neuro-Tensorial's Table 1.

The paper prints mean and deviation with the shares of errors below 35 and 40 degrees and does not
say what they are taken over. Deviations of 3 to 6 degrees around means of 30 are those of faces,
not of pixels, so mean, deviation and shares here are of the mean errors of faces; shares of pixels
stand beside them.
"""

from __future__ import annotations

import torch
from torch import Tensor

from facefactor.evaluation.tables import Score

BELOW = (20, 25, 30, 35, 40)  # degrees


def angular_error(predicted: Tensor, truth: Tensor) -> Tensor:
    """Angles between vectors (N, 3, ...) of any lengths but 0: (N, ...) degrees, 0 to 180.

    From sine and cosine both: the arc cosine alone loses half of the digits near 0.
    """
    sine = torch.linalg.vector_norm(torch.linalg.cross(predicted, truth, dim=1), dim=1)
    return torch.rad2deg(torch.atan2(sine, (predicted * truth).sum(dim=1)))


def normals_scores(predicted: Tensor, truth: Tensor, mask: Tensor) -> tuple[Score, ...]:
    """Table 1's numbers, and shares of pixels.

    Args:
        predicted: (N, 3, H, W), of any lengths; a vector of length 0 counts as facing the camera.
        truth: (N, 3, H, W) unit vectors in the mask.
        mask: (N, 1, H, W) bool, the pixels that count; some of every face.

    Raises:
        ValueError: other shapes, a face without a pixel, NaN in `predicted` where it counts.
    """
    if predicted.shape != truth.shape or mask.shape != (len(truth), 1, *truth.shape[2:]):
        raise ValueError(
            f"normals must be (N, 3, H, W) twice and a mask (N, 1, H, W), got "
            f"{tuple(predicted.shape)}, {tuple(truth.shape)}, {tuple(mask.shape)}"
        )
    counted = mask[:, 0]
    pixels = counted.flatten(1).sum(dim=1)
    if not len(truth) or not (pixels > 0).all():
        raise ValueError("every face needs a pixel in its mask")
    unknown = (predicted == 0).all(dim=1, keepdim=True)
    ahead = predicted.new_tensor([0.0, 0.0, 1.0]).view(1, 3, 1, 1)
    error = angular_error(torch.where(unknown, ahead, predicted), truth)  # (N, H, W)
    if not error[counted].isfinite().all():
        raise ValueError("predicted normals hold NaN or infinity")
    error = error.double()
    of_face = torch.where(counted, error, 0.0).flatten(1).sum(dim=1) / pixels  # (N,)
    scores = [Score("normals", of_face.mean().item(), "°", spread=of_face.std(correction=0).item())]
    for name, errors in (("faces", of_face), ("pixels", error[counted])):
        for degrees in BELOW:
            share = 100 * (errors < degrees).double().mean().item()
            scores.append(Score(f"normals, {name} below {degrees}°", share, "%"))
    return tuple(scores)
