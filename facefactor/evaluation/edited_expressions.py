"""How good faces are that were given the expression of somebody else.

LEED (Wu and Lu, ECCV 2020), Tables 1 and 2: likeness to the true photo of that person with that
expression, distance of drawn faces from real ones, and whether classifiers of real expressions know
drawn ones. Beside these who it still is, and whether more strength is more expression.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from facefactor.evaluation.redrawing import likeness_scores, monotony
from facefactor.evaluation.tables import Score
from facefactor.evaluation.verification import cosine


@dataclass(frozen=True, eq=False)
class Seen:
    """What frozen networks see of N faces."""

    embeddings: Mapping[str, Tensor]  # recogniser -> (N, D)
    probabilities: Tensor  # (N, K) of the classifier's expressions

    def of(self, rows: Tensor) -> Seen:
        """Those of some of the faces, (M,) numbers."""
        codes = {name: found[rows] for name, found in self.embeddings.items()}
        return Seen(codes, self.probabilities[rows])


def frechet_distance(codes: Tensor, others: Tensor) -> float:
    """Of two sets of embeddings (N, D) and (M, D), N and M > 1: the measure of FID.

    It depends on the network, and is too large for few faces: only figures of as many faces, seen
    by the same network, can be compared.
    """
    from torchmetrics.image.fid import FrechetInceptionDistance  # slow

    as_they_are = nn.Identity()
    as_they_are.num_features = codes.shape[1]  # type: ignore[assignment]
    metric = FrechetInceptionDistance(feature=as_they_are).set_dtype(torch.float64)
    metric.update(codes.double(), real=False)
    metric.update(others.double(), real=True)
    return float(metric.compute())


def edit_scores(
    edited: Tensor,
    truth: Tensor,
    found: Seen,
    photos: Seen,
    true_photos: Seen,
    wanted: Tensor,
    real: Mapping[str, Tensor],
) -> tuple[Score, ...]:
    """What N edited faces are worth.

    Args:
        edited, truth: (N, C, S, S) in [0, 1], drawn, and photos of the same people with the wanted
            expressions.
        found, photos, true_photos: what is seen of the edited faces, the photos that were edited,
            and the true ones.
        wanted: (N,) int64, columns of the probabilities.
        real: recogniser -> embeddings (M, D) of all real faces.

    Returns:
        PSNR and SSIM; Frechet distances from real faces; in % how often the classifier names the
        wanted expression, and its probability; cosines of embeddings of the edited face and its
        photo, of the photo and the true one, and the former's share of the latter in %.
    """
    likely = found.probabilities.gather(1, wanted[:, None])
    said = found.probabilities.argmax(dim=1) == wanted
    scores = [
        *likeness_scores(edited, truth, "the true photo"),
        *(
            Score(
                f"Frechet distance from real faces, {name}", frechet_distance(codes, real[name]), ""
            )
            for name, codes in found.embeddings.items()
        ),
        Score("called the wanted expression, ipdfer", _percent(said), "%"),
        Score("probability of the wanted expression, ipdfer", _percent(likely), "%"),
    ]
    for name, codes in found.embeddings.items():
        kept = cosine(codes, photos.embeddings[name]).mean().item()
        two = cosine(true_photos.embeddings[name], photos.embeddings[name]).mean().item()
        scores += [
            Score(f"similarity to the photo, {name}", kept, ""),
            Score(f"similarity of photo and true photo, {name}", two, ""),
            Score(f"share of that kept, {name}", 100 * kept / two if two > 0 else None, "%"),
        ]
    return tuple(scores)


def strength_scores(probabilities: Tensor, strengths: Sequence[float]) -> tuple[Score, ...]:
    """Whether more strength is more expression.

    Args:
        probabilities: (N, K) of the wanted expression, of N faces edited with K rising strengths.

    Returns:
        Mean probability at each strength, and how often it is higher at the higher of two
        strengths; in %.
    """
    return (
        *(
            Score(f"probability at strength {strength:g}, ipdfer", _percent(column), "%")
            for strength, column in zip(strengths, probabilities.T, strict=True)
        ),
        Score("higher at the higher strength", _percent(monotony(probabilities)), "%"),
    )


def _percent(values: Tensor) -> float:
    return 100 * float(values.double().mean())
