import numpy as np
import pytest
import torch

from facefactor.evaluation.verification import (
    best_threshold,
    cosine,
    equal_error_rate,
    error_rates,
    threshold_at,
    verification,
)


def pairs_at(cosines):
    """Codes in the plane whose pairs have the given cosines."""
    cosines = torch.tensor(cosines, dtype=torch.float64)
    left = torch.tensor([1.0, 0.0], dtype=torch.float64).expand(len(cosines), 2)
    return left, torch.stack([cosines, (1 - cosines**2).sqrt()], -1)


def people(count, seed=0):
    """One code each for `count` people, and pairs: half the same person, half the next one."""
    codes = np.random.default_rng(seed).standard_normal((count, 16))
    same = np.arange(count) % 2 == 0
    return codes, np.where(same[:, None], codes, np.roll(codes, 1, axis=0)), same


def test_ideal_codes_score_100():
    result = verification(*people(200), "toy")
    assert (result["accuracy"], result["equal error rate"], result["AUC"]) == (100, 0, 100)
    assert result.n == 200
    assert result.scores[0].spread == 0


def test_random_codes_are_at_chance():
    """4,000 answers right by chance: 50 +- 0.8 %; four deviations."""
    left, right = np.random.default_rng(0).standard_normal((2, 4000, 16))
    result = verification(left, right, np.arange(4000) // 200 % 2 == 0, "toy")
    for metric in ("accuracy", "equal error rate", "AUC"):
        assert 46.8 < result[metric] < 53.2


def test_codes_that_lie_are_all_wrong():
    left, right, same = people(200)
    result = verification(left, right, ~same, "toy")
    assert result["AUC"] == 0
    assert result["equal error rate"] == 100
    assert result["accuracy"] <= 50  # the best threshold can always say "nobody"


def test_threshold_comes_from_the_other_folds():
    """Each half is separable, by thresholds that are useless on the other half."""
    left, right = pairs_at([0.9, 0.5, 0.4, 0.1])
    assert verification(left, right, [True, False, True, False], "toy", folds=2)["accuracy"] == 50


def test_folds_are_consecutive():
    """Against a slow version: fold k of three is pairs 2k and 2k + 1."""
    cosines, same = np.array([0.9, 0.6, 0.8, 0.5, 0.3, 0.1]), np.array([True, False] * 3)
    slow = []
    for fold in range(3):
        held_out = np.arange(6) // 2 == fold
        hits = {t: ((cosines >= t) == same)[~held_out].sum() for t in cosines[~held_out]}
        threshold = max(hits, key=hits.__getitem__)
        slow.append(((cosines >= threshold) == same)[held_out].mean() * 100)
    assert slow == [100, 50, 50]

    result = verification(*pairs_at(cosines.tolist()), same, "toy", folds=3)
    assert result["accuracy"] == pytest.approx(np.mean(slow))
    assert result.scores[0].spread == pytest.approx(np.std(slow, ddof=1))


def test_best_threshold():
    similarity = torch.tensor([0.9, 0.7, 0.5, 0.1])
    assert best_threshold(similarity, torch.tensor([True, True, False, False])) == 0.7
    assert best_threshold(similarity, torch.tensor([True, False, True, False])) == 0.9
    assert best_threshold(similarity, torch.zeros(4, dtype=torch.bool)) == torch.inf
    assert best_threshold(similarity, torch.ones(4, dtype=torch.bool)) == 0.1


@pytest.mark.parametrize(
    ("similarity", "same", "rate"),
    [
        ([0.9, 0.8, 0.2, 0.1], [1, 1, 0, 0], 0.0),
        ([0.9, 0.8, 0.2, 0.1], [1, 0, 1, 0], 0.5),
        ([0.9, 0.8, 0.7, 0.6, 0.5, 0.4], [1, 1, 0, 1, 0, 0], 1 / 3),
        ([0.5, 0.5, 0.5, 0.5], [1, 0, 1, 0], 0.5),  # one threshold for all: a straight line
        ([0.9, 0.5, 0.5, 0.1], [1, 1, 0, 0], 0.25),  # half-way along the tie
    ],
)
def test_equal_error_rate_by_hand(similarity, same, rate):
    answer = equal_error_rate(torch.tensor(similarity), torch.tensor(same, dtype=torch.bool))
    assert answer == pytest.approx(rate)


def test_cosine_forgets_length_and_survives_zero():
    left, right = (
        np.array([[1.0, 2.0], [3.0, 0.0], [0.0, 0.0]]),
        np.array([[5, 10], [0, 9], [1, 1]]),
    )
    np.testing.assert_allclose(cosine(left, right).numpy(), [1, 0, 0], atol=1e-12)


def test_published_number():
    left, right, same = people(200)
    assert verification(left, right, same, "lfw", model="facecycle").scores[0].published == 73.72
    assert verification(left, right, same, "lfw").scores[0].published is None


def test_wrong_input_is_named():
    left, right, same = people(200)
    with pytest.raises(ValueError, match="200 pairs do not split into 7 equal folds"):
        verification(left, right, same, "toy", folds=7)
    with pytest.raises(ValueError, match="200 pairs of codes, but"):
        verification(left, right, same[1:], "toy")
    with pytest.raises(ValueError, match="both same and different"):
        verification(left, right, np.ones(200, bool), "toy")
    left[3, 0] = np.nan
    with pytest.raises(ValueError, match="pair 3 hold NaN"):
        verification(left, right, same, "toy")
    with pytest.raises(ValueError, match=r"\(P, D\) twice"):
        verification(left, right[:, 1:], same, "toy")


def test_a_threshold_for_a_rate_of_false_matches_by_hand():
    """Four different pairs: a quarter of them is one, so the threshold is just above the second."""
    similarity = torch.tensor([0.1, 0.4, 0.3, 0.2, 0.35, 0.9], dtype=torch.float64)
    same = torch.tensor([False, False, False, False, True, True])
    threshold = threshold_at(similarity, same, 0.25)
    assert 0.3 < threshold < 0.3 + 1e-9
    assert error_rates(similarity, same, threshold) == (0.25, 0.0)
    none = threshold_at(similarity, same, 0.0)
    assert error_rates(similarity, same, none) == (0.0, 0.5)
    assert error_rates(similarity, same, -1.0) == (1.0, 0.0)


def test_a_threshold_needs_different_people_and_a_rate():
    with pytest.raises(ValueError, match="got 0 pairs"):
        threshold_at(torch.ones(2), torch.tensor([True, True]), 0.1)
    with pytest.raises(ValueError, match=r"a rate in \[0, 1\), got 2 pairs and 1.0"):
        threshold_at(torch.ones(2), torch.tensor([False, False]), 1.0)
