"""What normalised faces keep and what is left in them: identity, expression, pose, asymmetry.

NFGAN (Liu et al., ISBA 2018) shows the first, as distances between embeddings of input and output
(Fig. 4): all below 1.242, about 98 % without the identity loss. That is another recogniser, on
photos of their own that nobody has, so no figure here stands beside theirs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from facefactor.evaluation.tables import ResultTable, Score
from facefactor.evaluation.verification import cosine

YAW_EDGES = (15.0, 45.0)  # degrees, of the photos: nearly frontal, turned, nearly in profile
_LUMINANCE = (0.299, 0.587, 0.114)
_LEVELS = 255  # asymmetry is told in these, as differences of pixels in [0, 1] are small numbers


@dataclass(frozen=True, eq=False)
class Observations:
    """What frozen networks see of N faces."""

    embeddings: Mapping[str, Tensor]  # recogniser -> (N, D)
    neutral: Tensor  # (N,) probability of no expression, in [0, 1]
    called_neutral: Tensor  # (N,) bool: no other expression is more probable
    yaw: Tensor  # (N,) degrees, of the head in its crop; NaN: unknown
    pitch: Tensor  # (N,) degrees

    def of(self, rows: Tensor) -> Observations:
        """Those of some of the faces, (M,) numbers."""
        return Observations(
            {name: codes[rows] for name, codes in self.embeddings.items()},
            self.neutral[rows],
            self.called_neutral[rows],
            self.yaw[rows],
            self.pitch[rows],
        )


@dataclass(frozen=True, eq=False)
class Truth:
    """True frontal neutral photos of the people on M of N photos."""

    rows: Tensor  # (M,) int64, which of the N
    faces: Tensor  # (M, 3, S, S) in [0, 1], crops like the normalised faces
    embeddings: Mapping[str, Tensor]  # recogniser -> (M, D)


def normalization(
    faces: Tensor,
    found: Observations,
    photos: Observations,
    thresholds: Mapping[str, float],
    dataset: str,
    model: str = "",
    truth: Truth | None = None,
) -> ResultTable:
    """How good N normalised faces are, by what networks see of them and of their photos.

    "Before" is the table of a model that copies its input.

    Args:
        faces: (N, 3, S, S) in [0, 1], normalised.
        found, photos: of these faces, and of the photos they were made from.
        thresholds: recogniser -> the cosine at and above which two faces count as one person's.

    Returns:
        Shares in %; squared distances of embeddings, in [0, 4], with their deviation over faces,
        and the thresholds as such distances; asymmetry (Eq. 3 of the paper) of 255 levels; means of
        absolute angles in degrees. With `truth` also how far the true face is: by recognisers, and
        in pixels.

    Raises:
        ValueError: the counts differ, or an embedding holds NaN.
    """
    counts = {len(faces), len(found.yaw), len(photos.yaw)}
    if len(counts) > 1 or not len(faces):
        raise ValueError(f"as many faces as photos are needed, got {sorted(counts)}")
    scores = [
        *(Score(f"threshold, {name}", 2 - 2 * level, "") for name, level in thresholds.items()),
        *_identity_scores(found.embeddings, photos.embeddings, thresholds, "the photo"),
        Score("called neutral", _percent(found.called_neutral), "%"),
        Score("probability of neutral", _percent(found.neutral), "%"),
        *_symmetry_scores(faces),
        *_pose_scores(found, photos.yaw),
    ]
    if truth is not None and len(truth.rows):
        scores += _identity_scores(
            found.of(truth.rows).embeddings,
            truth.embeddings,
            thresholds,
            "the true face",
            len(truth.rows),
        )
        difference = pixel_difference(faces[truth.rows], truth.faces)
        scores.append(
            Score(
                "difference from the true face, pixels",
                float(difference.mean()),
                "deviations",
                n=len(truth.rows),
            )
        )
    return ResultTable("normalization", dataset, tuple(scores), model=model, n=len(faces))


def squared_distance(left: Tensor, right: Tensor) -> Tensor:
    """Of embeddings (N, D) at unit length: 2 - 2 cosine, (N,) float64 in [0, 4] (Fig. 4)."""
    return 2 - 2 * cosine(left, right).clamp(-1, 1)


def pixel_difference(faces: Tensor, others: Tensor) -> Tensor:
    """Mean absolute difference of luminance, (N, 3, S, S) twice -> (N,), in standard deviations.

    Each face's mean and deviation are made equal first, so that light and the contrast of a camera
    do not decide. Colours do not count: grey models are not worse for being grey.
    """
    weights = faces.new_tensor(_LUMINANCE).view(3, 1, 1)
    left, right = (_standardised((weights * each).sum(dim=1)) for each in (faces, others))
    return (left - right).abs().mean(dim=1)


def pair_cosines(embeddings: Tensor, people: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Of every two of N faces (N, D): cosines (P,), and whether it is one person (P,).

    Raises:
        ValueError: fewer than two people.
    """
    if len(set(people)) < 2:
        raise ValueError(f"faces of two people are needed, got {len(set(people))}")
    names = np.array(people)
    first, second = torch.triu_indices(len(names), len(names), offset=1)
    same = torch.from_numpy(names[first.numpy()] == names[second.numpy()])
    unit = torch.nn.functional.normalize(embeddings.double())
    return (unit @ unit.T)[first, second], same


def _identity_scores(
    codes: Mapping[str, Tensor],
    others: Mapping[str, Tensor],
    thresholds: Mapping[str, float],
    goal: str,
    n: int | None = None,
) -> list[Score]:
    scores = []
    for name, threshold in thresholds.items():
        similarity = cosine(codes[name], others[name])
        distance = 2 - 2 * similarity
        spread = float(distance.std()) if len(distance) > 1 else None
        scores += [
            Score(f"same person as {goal}, {name}", _percent(similarity >= threshold), "%", n=n),
            Score(f"distance to {goal}, {name}", float(distance.mean()), "", None, spread, n),
        ]
    return scores


def _symmetry_scores(faces: Tensor) -> list[Score]:
    from facefactor.losses.symmetry import laplacian, symmetry_loss  # brings kornia: slow

    return [
        Score(f"asymmetry, {name}", _LEVELS * float(symmetry_loss(images)), "of 255")
        for name, images in (("pixels", faces), ("Laplacian", laplacian(faces)))
    ]


def _pose_scores(found: Observations, photos_yaw: Tensor) -> list[Score]:
    """Means over all faces, and of yaw over those whose photos are turned so far; NaN left out."""
    near, far = YAW_EDGES
    turned = photos_yaw.abs()
    parts = {
        "": torch.ones_like(turned, dtype=torch.bool),
        f", of photos below {near:g}°": turned < near,
        f", of photos {near:g}° to {far:g}°": (turned >= near) & (turned <= far),
        f", of photos above {far:g}°": turned > far,
    }
    scores = [_mean_angle(f"absolute yaw{label}", found.yaw[rows]) for label, rows in parts.items()]
    return [*scores, _mean_angle("absolute pitch", found.pitch)]


def _mean_angle(metric: str, angles: Tensor) -> Score:
    known = angles[~angles.isnan()].abs().double()
    return Score(metric, float(known.mean()) if len(known) else None, "°", n=len(known))


def _percent(values: Tensor) -> float:
    return 100 * float(values.double().mean())


def _standardised(images: Tensor) -> Tensor:
    """(N, S, S) -> (N, S * S) of mean 0 and deviation 1; an even image stays 0."""
    flat = images.flatten(1)
    flat = flat - flat.mean(dim=1, keepdim=True)
    return flat / flat.std(dim=1, keepdim=True).clamp(min=1e-6)
