"""Measures of normalised faces: values by hand, and what a perfect, a copying and a useless model
get."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from facefactor.evaluation.normalization import (
    Observations,
    Truth,
    normalization,
    pair_cosines,
    pixel_difference,
    squared_distance,
)

NAN = math.nan


def seen(codes, neutral=1.0, yaw=0.0, pitch=0.0, name="judge"):
    count = len(codes)

    def column(value):
        return torch.as_tensor(value, dtype=torch.float32).expand(count)

    return Observations(
        {name: torch.as_tensor(codes, dtype=torch.float32)},
        column(neutral),
        column(neutral) > 0.5,
        column(yaw),
        column(pitch),
    )


def symmetric(count, seed=0):
    half = torch.rand(count, 3, 4, 3, generator=torch.Generator().manual_seed(seed))
    return torch.cat([half, half.flip(3)], dim=3)


def test_identity_of_hand_worked_embeddings():
    """Cosines 1, 1/2, 0 and -1; at a threshold of 1/2 the second still counts."""
    photos = seen([[1, 0], [1, 0], [1, 0], [1, 0]])
    found = seen([[3, 0], [1, math.sqrt(3)], [0, 2], [-1, 0]])
    table = normalization(symmetric(4), found, photos, {"judge": 0.5 - 1e-6}, "made", "hand")
    assert table["same person as the photo, judge"] == 50
    assert table["distance to the photo, judge"] == pytest.approx((0 + 1 + 2 + 4) / 4)
    assert table["threshold, judge"] == pytest.approx(1, abs=1e-5)
    assert (table.n, table.model, table.dataset) == (4, "hand", "made")
    left = torch.tensor([[2.0, 0.0], [0.0, 1.0]])
    assert squared_distance(left, -left).tolist() == [4, 4]


def test_every_recogniser_with_a_threshold_has_its_say():
    both = {"kind": torch.tensor([[1.0, 0.1]]), "strict": torch.tensor([[1.0, 1.0]])}
    photo = {name: torch.tensor([[1.0, 0.0]]) for name in both}
    sight = [
        Observations(codes, torch.ones(1), torch.ones(1) > 0, torch.zeros(1), torch.zeros(1))
        for codes in (both, photo)
    ]
    table = normalization(symmetric(1), *sight, {"kind": 0.9, "strict": 0.9}, "made")
    assert table["same person as the photo, kind"] == 100
    assert table["same person as the photo, strict"] == 0


def test_expression_left():
    found = seen(np.eye(4), neutral=[0.9, 0.6, 0.1, 0.4])
    table = normalization(symmetric(4), found, seen(np.eye(4)), {}, "made")
    assert table["called neutral"] == 50
    assert table["probability of neutral"] == pytest.approx(50)


def test_asymmetry_of_a_hand_worked_row():
    """|0 - 1| and |0.2 - 0.9| of one row; the Laplacian of all rows alike sees along rows only."""
    row = torch.tensor([0.0, 0.2, 0.9, 1.0])
    faces = row.expand(1, 3, 4, 4)
    one = seen([[1.0, 0.0]])
    table = normalization(faces, one, one, {}, "made")
    assert table["asymmetry, pixels"] == pytest.approx(255 * 0.85)
    mirrored = normalization(symmetric(3), *[seen(np.eye(3))] * 2, {}, "made")
    assert mirrored["asymmetry, pixels"] == 0
    assert mirrored["asymmetry, Laplacian"] == pytest.approx(0, abs=1e-4)  # sums in another order
    ramp = torch.linspace(0, 1, 9).expand(1, 3, 9, 9)  # light that grows evenly is no face's fault
    lit = normalization(ramp, one, one, {}, "made")
    assert lit["asymmetry, Laplacian"] < 0.1 * lit["asymmetry, pixels"]


def test_yaw_left_by_the_yaw_of_the_photos():
    """15 and 45 belong to the middle; a photo of unknown yaw is in none of the three."""
    photos = seen(np.eye(6), yaw=[0, -14.9, 15, -45, 45.1, NAN])
    found = seen(np.eye(6), yaw=[1, -3, 4, -8, 30, 14], pitch=[-2, 2, 2, -2, NAN, 2])
    table = normalization(symmetric(6), found, photos, {}, "made")
    assert table["absolute yaw"] == 10
    assert table["absolute yaw, of photos below 15°"] == 2
    assert table["absolute yaw, of photos 15° to 45°"] == 6
    assert table["absolute yaw, of photos above 45°"] == 30
    assert table["absolute pitch"] == 2
    counts = {score.metric: score.n for score in table.scores}
    assert counts["absolute yaw, of photos 15° to 45°"] == 2 and counts["absolute pitch"] == 5
    frontal = normalization(symmetric(6), found, seen(np.eye(6)), {}, "made")
    with pytest.raises(ValueError, match="no samples"):
        frontal["absolute yaw, of photos above 45°"]


def test_pixel_difference_by_hand():
    """Two pixels: black and white are -1 and 1 over sqrt 2 once standardised."""
    one = torch.tensor([[0.0, 1.0]]).expand(1, 3, 1, 2)
    torch.testing.assert_close(pixel_difference(one, one.flip(3)), torch.tensor([math.sqrt(2)]))
    faces = torch.rand(3, 3, 6, 6, generator=torch.Generator().manual_seed(1))
    others = torch.rand(3, 3, 6, 6, generator=torch.Generator().manual_seed(2))
    once = pixel_difference(faces, others)
    torch.testing.assert_close(pixel_difference(0.3 * faces + 0.2, others), once)  # a dim camera
    grey = (faces * torch.tensor([0.299, 0.587, 0.114])[:, None, None]).sum(1, keepdim=True)
    torch.testing.assert_close(pixel_difference(grey.expand_as(faces), others), once)
    even = torch.full_like(faces, 0.5)
    assert (pixel_difference(even, even) == 0).all()


def test_pairs_as_two_loops_find_them():
    codes = torch.randn(5, 3, generator=torch.Generator().manual_seed(3))
    people = ["a", "b", "a", "c", "b"]
    cosines, same = pair_cosines(codes, people)
    slow = [
        (F.cosine_similarity(codes[i], codes[j], dim=0), people[i] == people[j])
        for i in range(5)
        for j in range(i + 1, 5)
    ]
    torch.testing.assert_close(cosines.float(), torch.stack([value for value, _ in slow]))
    assert same.tolist() == [one for _, one in slow] and same.sum() == 2
    with pytest.raises(ValueError, match="two people"):
        pair_cosines(codes, ["a"] * 5)


def people(count, seed=0):
    """Codes of so many people, and of a turned photo of each: person and view in equal parts."""
    draw = torch.Generator().manual_seed(seed)
    own = torch.randn(count, 64, generator=draw)
    return own, own + torch.randn(count, 64, generator=draw)


def test_a_perfect_a_copying_and_a_useless_model():
    count = 200
    own, views = people(count)
    draw = torch.Generator().manual_seed(9)
    yaw = torch.linspace(-60, 60, count)
    photos = seen(views, neutral=0.2, yaw=yaw)
    goals, inputs = symmetric(count), torch.rand(count, 3, 4, 6, generator=draw)
    truth = Truth(torch.arange(count), goals, {"judge": own})
    different, same = pair_cosines(torch.cat([own, views]), [*range(count), *range(count)])
    threshold = different[~same].sort().values[int(0.99 * (~same).sum())].item()  # 1 % pass

    def measure(faces, found):
        return normalization(faces, found, photos, {"judge": threshold}, "made", truth=truth)

    perfect = measure(goals, seen(own))
    copy = measure(inputs, photos)
    mean = measure(goals.mean(0).expand_as(goals), seen(own.mean(0).expand_as(own)))
    assert copy["same person as the photo, judge"] == 100
    assert copy["distance to the photo, judge"] == pytest.approx(0, abs=1e-6)
    assert perfect["same person as the photo, judge"] > 95  # 0.7 on average; strangers: 0.3
    assert mean["same person as the photo, judge"] < 15
    assert perfect["same person as the true face, judge"] == 100
    assert perfect["difference from the true face, pixels"] == 0
    assert 0.5 < mean["difference from the true face, pixels"]
    assert copy["difference from the true face, pixels"] > 1
    assert perfect["called neutral"] == 100 and copy["called neutral"] == 0
    assert perfect["absolute yaw"] == 0 and copy["absolute yaw"] == pytest.approx(30, abs=0.5)
    assert copy["absolute yaw, of photos 15° to 45°"] == pytest.approx(30, abs=0.5)
    assert perfect["asymmetry, pixels"] == 0 < copy["asymmetry, pixels"]


def test_the_truth_is_compared_with_the_faces_it_belongs_to():
    own, views = people(4)
    faces = symmetric(4)
    rows = torch.tensor([3, 1])
    truth = Truth(rows, faces[rows], {"judge": own[rows]})
    table = normalization(faces, seen(own), seen(views), {"judge": 0.99}, "made", truth=truth)
    assert table["same person as the true face, judge"] == 100
    assert table["difference from the true face, pixels"] == 0
    assert {score.n for score in table.scores if "true face" in score.metric} == {2}


def test_what_does_not_fit_is_refused():
    photos = seen(np.eye(3))
    with pytest.raises(ValueError, match="as many faces as photos"):
        normalization(symmetric(3), seen(np.eye(2)), photos, {}, "made")
    with pytest.raises(ValueError, match="NaN"):
        normalization(symmetric(3), seen(np.full((3, 3), NAN)), photos, {"judge": 0.2}, "made")
