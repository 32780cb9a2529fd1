"""Probes of codes whose content is known: all of a label, none of it, and what only an MLP sees."""

import numpy as np
import pytest
import torch

from facefactor.evaluation import leakage
from facefactor.evaluation.leakage import PROBES, leakage_scores, probe_codes

NAMES = ("a", "b", "c", "d")


@pytest.fixture(autouse=True)
def fewer_steps(monkeypatch):
    """Enough for codes of a few values, and quicker."""
    monkeypatch.setattr(leakage, "_STEPS", 300)


def parts(seed, train=400, test=200, classes=4):
    """Labels of both parts, and a generator for codes."""
    random = np.random.default_rng(seed)
    labels = [[NAMES[k] for k in random.integers(0, classes, n)] for n in (train, test)]
    return labels[0], labels[1], torch.Generator().manual_seed(seed)


def holding(labels, random, noise=0.1):
    """Codes in which a label is one of the first four values, of another scale each."""
    codes = torch.zeros(len(labels), 8)
    codes[range(len(labels)), [NAMES.index(name) for name in labels]] = 1
    codes = codes + noise * torch.randn(codes.shape, generator=random)
    return codes * torch.tensor([1, 100, 0.01, 1, 1, 1, 1, 1]) + 5


@pytest.mark.parametrize("probe", PROBES)
def test_codes_that_hold_the_label_give_it_all_away(probe):
    train, test, random = parts(0)
    confusion = probe_codes(holding(train, random), train, holding(test, random), test, probe)
    assert confusion.classes == NAMES
    assert confusion.accuracy == confusion.class_mean == 1
    assert [sum(row) for row in confusion.counts] == [test.count(name) for name in NAMES]


@pytest.mark.parametrize("probe", PROBES)
def test_random_codes_give_chance(probe):
    """Of 2,000 guesses at 25 % the deviation is 1 %."""
    train, test, random = parts(1, test=2000)
    codes = torch.randn(400, 8, generator=random), torch.randn(2000, 8, generator=random)
    found = probe_codes(codes[0], train, codes[1], test, probe)
    assert found.class_mean == pytest.approx(0.25, abs=0.04)


def test_what_is_folded_away_only_the_mlp_reads():
    """Exclusive or: no line separates it, and the best of lines is right in half the cases."""
    random = torch.Generator().manual_seed(2)
    corner = torch.randint(0, 2, (1000, 2), generator=random)
    labels = [NAMES[k] for k in (corner.sum(dim=1) % 2).tolist()]
    codes = corner + 0.1 * torch.randn(1000, 2, generator=random)
    given = codes[:600], labels[:600], codes[600:], labels[600:]
    assert probe_codes(*given, "linear").class_mean == pytest.approx(0.5, abs=0.12)
    assert probe_codes(*given, "MLP").class_mean > 0.98


@pytest.mark.parametrize("probe", PROBES)
def test_a_rare_class_counts_as_much_as_a_frequent_one(probe):
    """One value, unit noise, means 0 and 2, thirty to one: even classes are cut near 1, where 84 %
    of both are right. A probe that followed the numbers would answer "a" up to 2.7, and find a
    quarter of "b"."""
    random = torch.Generator().manual_seed(3)
    labels = ["a"] * 3000 + ["b"] * 100
    mean = torch.tensor([0.0] * 3000 + [2.0] * 100)[:, None]
    draws = [mean + torch.randn(3100, 1, generator=random) for _ in range(2)]
    counts = np.array(probe_codes(draws[0], labels, draws[1], labels, probe).counts)
    recall = counts.diagonal() / counts.sum(axis=1)
    assert recall.min() > 0.7 and recall.mean() == pytest.approx(0.84, abs=0.05)


def test_the_answer_follows_from_the_seed_and_leaves_the_caller_alone():
    train, test, random = parts(4, train=60, test=60)
    codes = torch.randn(60, 8, generator=random), torch.randn(60, 8, generator=random)
    torch.manual_seed(9)
    state = torch.random.get_rng_state()
    first = probe_codes(codes[0], train, codes[1], test, "MLP", seed=0)
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.rand(5)
    assert probe_codes(codes[0], train, codes[1], test, "MLP", seed=0) == first
    assert probe_codes(codes[0], train, codes[1], test, "MLP", seed=1) != first
    with torch.inference_mode():
        inside = codes[0] * 1, codes[1] * 1
        assert probe_codes(inside[0], train, inside[1], test, "MLP", seed=0) == first


def test_test_photos_do_not_move_the_probe():
    train, test, random = parts(5)
    codes, other = holding(train, random, 0.5), holding(test, random, 0.5)
    whole = probe_codes(codes, train, other, test, "linear")
    alone = [
        probe_codes(codes, train, other[part], test[part], "linear")
        for part in (slice(0, 100), slice(100, 200))
    ]
    np.testing.assert_array_equal(whole.counts, np.add(alone[0].counts, alone[1].counts))


def test_scores_by_code_and_probe_with_chance():
    train, test, random = parts(6)
    codes = {
        "identity": (holding(train, random), holding(test, random)),
        "pixels": (torch.zeros(400, 3), torch.zeros(200, 3)),  # nothing at all in them
    }
    scores = {score.metric: score for score in leakage_scores("pose", codes, train, test)}
    assert list(scores) == [
        "pose from identity, linear",
        "pose from identity, MLP",
        "pose from pixels, linear",
        "pose from pixels, MLP",
        "pose, chance",
    ]
    assert scores["pose from identity, MLP"].value == 100
    assert scores["pose from pixels, linear"].value == scores["pose, chance"].value == 25
    assert {score.n for score in scores.values()} == {200} and score_units(scores) == {"%"}


def score_units(scores):
    return {score.unit for score in scores.values()}


def test_labels_nothing_was_learnt_of_are_left_out(monkeypatch):
    monkeypatch.setattr(leakage, "_STEPS", 50)
    train, test, random = parts(7, classes=2)
    codes, other = holding(train, random), holding(test, random)
    scores = leakage_scores("pose", {"x": (codes, other)}, train, [*test[:-1], "d"])
    assert [score.n for score in scores] == [199] * 3
    assert scores[-1].value == 50


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train_codes": torch.zeros(3)}, r"training codes must be \(N, D\)"),
        ({"test_codes": torch.full((2, 2), torch.nan)}, "test codes hold NaN"),
        ({"test_codes": torch.zeros(2, 5)}, "training codes have 2 values, test codes 5"),
        ({"train_labels": ["a", "b"]}, "3 training codes, but 2 labels"),
        ({"train_labels": ["a", "a", "a"]}, "a probe needs two classes"),
        ({"test_labels": ["a", "c"]}, "'c' is not among the training labels a, b"),
    ],
)
def test_bad_input(change, message):
    given = {
        "train_codes": torch.zeros(3, 2),
        "train_labels": ["a", "b", "a"],
        "test_codes": torch.zeros(2, 2),
        "test_labels": ["a", "b"],
    }
    with pytest.raises(ValueError, match=message):
        probe_codes(**{**given, **change}, probe="linear")
