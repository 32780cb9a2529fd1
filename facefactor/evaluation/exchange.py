"""What putting one factor of another face in does: to the picture, and to the other factors."""

from __future__ import annotations

import torch
from torch import Tensor

from facefactor.editing import has_rotation, transfer
from facefactor.evaluation.tables import ResultTable, Score
from facefactor.factors import FaceModel, FactorName, Factors
from facefactor.geometry.rotations import geodesic_distance, nearest_rotation

_BEST_PSNR = 100.0  # dB: pictures of bytes that differ at all are below 97


def masked_psnr(image: Tensor, truth: Tensor, mask: Tensor) -> Tensor:
    """Peak signal to noise in a mask, (N,) dB, at most 100.

    Args:
        image, truth: (N, C, H, W) in [0, 1]; mask: (N, 1, H, W) bool, some pixels of each.
    """
    counted = mask.expand_as(truth).double()
    squared = ((image.double() - truth.double()).square() * counted).flatten(1).sum(dim=1)
    error = squared / counted.flatten(1).sum(dim=1)
    return -10 * error.clamp(min=10 ** (-_BEST_PSNR / 10)).log10()


@torch.inference_mode()
def exchange_table(
    model: FaceModel,
    faces: Tensor,
    others: Tensor,
    truth: Tensor,
    mask: Tensor,
    factor: FactorName,
    dataset: str,
    name: str = "",
) -> ResultTable:
    """One factor of `faces` exchanged for that of `others`.

    Pictures are compared with the rendered truth of the exchange. Four are: the photo as it is (no
    edit at all), the photo redrawn from its own codes, the exchange, and the truth itself redrawn
    from its codes, which is as near as this decoder comes. A model that edits well has its third
    number above the second and near the fourth; a blurred model may stay below the first.

    How far codes moved: the exchanged picture is encoded again, and each code's distance from that
    of the photo is given in % of the mean distance between codes of the two faces. 100 is as far as
    another face: the exchanged factor should be there, all others at 0. Redrawing moves codes by
    itself: that floor stands beside.

    Args:
        faces, others, truth: (N, C, S, S) in [0, 1]; mask: (N, 1, S, S) bool, pixels that count.

    Raises:
        FactorError: the model has no such factor.
    """
    own, source = model.encode(faces), model.encode(others)
    pictures = {
        "photo as it is": faces,
        "redrawn": model.decode(own),
        "exchanged": model.decode(transfer(own, source, [factor], model.spec)),
        "truth redrawn": model.decode(model.encode(truth)),
    }
    decibels = {label: masked_psnr(image, truth, mask) for label, image in pictures.items()}
    scores = [
        Score(f"PSNR, {label}", value.mean().item(), "dB", spread=_deviation(value))
        for label, value in decibels.items()
    ]
    nearer = (decibels["exchanged"] > decibels["redrawn"]).double().mean()
    scores.append(Score("nearer the truth than redrawn", 100 * nearer.item(), "%"))
    again = {label: model.encode(pictures[label]) for label in ("exchanged", "redrawn")}
    for code in model.spec.factors:
        apart = _distance(own, source, code).mean()
        for label, codes in again.items():
            moved = _distance(own, codes, code).mean() / apart
            scores.append(Score(f"{code} moved, {label}", 100 * moved.item(), "%"))
    left = _distance(again["exchanged"], source, factor).mean()
    to_go = 100 * (left / _distance(own, source, factor).mean()).item()
    scores.append(Score(f"{factor} left to that of the other face", to_go, "%"))
    if has_rotation(model.spec):
        for label, codes in {**again, "the other face": source}.items():
            turned = geodesic_distance(_rotation(own), _rotation(codes)).mean().item()
            scores.append(Score(f"head turned, {label}", turned, "°"))
    protocol = f"{factor} exchanged between rendered faces"
    return ResultTable(protocol, dataset, tuple(scores), name, n=len(faces))


def _distance(first: Factors, second: Factors, name: FactorName) -> Tensor:
    """(N,) Euclidean, of flattened codes."""
    return torch.linalg.vector_norm((first[name] - second[name]).flatten(1).double(), dim=1)


def _rotation(codes: Factors) -> Tensor:
    return nearest_rotation(codes["pose"].reshape(-1, 3, 3))


def _deviation(values: Tensor) -> float:
    return values.std(correction=0).item()
