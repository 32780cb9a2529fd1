"""Probes, DCI and MIG on codes whose answer is known: ideal, useless, duplicated and leaking."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import mutual_info_score, recall_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from facefactor.evaluation.disentanglement import (
    PROBES,
    _in_span,
    dci,
    importances,
    mig,
    turned,
)
from facefactor.evaluation.disentanglement import tell as tell_by_probes

FACES = 480
RANDOM = np.random.default_rng(0)
FACTORS = {
    "identity": [f"person {n}" for n in RANDOM.integers(6, size=FACES)],
    "expression": [f"face {n}" for n in RANDOM.integers(4, size=FACES)],
}
TEST = RANDOM.random(FACES) < 1 / 3


def one_number(name):
    """Which class it is, as a number with a little noise, (N, 1)."""
    numbers = [float(label.split()[1]) for label in FACTORS[name]]
    return np.array(numbers)[:, None] + 0.01 * noise(1, seed=2)


def one_hot(name, columns=8):
    numbers = [int(label.split()[1]) for label in FACTORS[name]]
    return np.eye(columns)[numbers] + 0.05 * noise(columns, seed=3)


def noise(columns, seed=1):
    return np.random.default_rng(seed).standard_normal((FACES, columns))


def tell(codes, labels, test, probe, seed=0):
    (told,) = tell_by_probes(codes, labels, test, (probe,), seed).values()
    return told


IDEAL = np.hstack([one_number("identity"), one_number("expression")])
USELESS = noise(2)
DUPLICATED = np.hstack([IDEAL, IDEAL])
LEAKING = IDEAL @ np.array([[1.0, 0.7], [0.7, 1.0]])  # either number holds both factors


@pytest.mark.parametrize("probe", PROBES)
def test_ideal_codes_tell_all_and_useless_ones_nothing(probe):
    ideal = tell(one_hot("identity"), FACTORS["identity"], TEST, probe)
    useless = tell(noise(8), FACTORS["identity"], TEST, probe)
    assert ideal.accuracy > 0.99 and ideal.above_chance > 0.99
    assert ideal.chance == pytest.approx(1 / 6) and ideal.n == TEST.sum()
    assert abs(useless.above_chance) < 0.12


@pytest.mark.parametrize("probe", PROBES)
def test_what_leaks_is_seen(probe):
    """A code of the expression that holds the person too, and one that does not."""
    clean, leaking = one_hot("expression"), one_hot("expression") + one_hot("identity")
    assert abs(tell(clean, FACTORS["identity"], TEST, probe).above_chance) < 0.12
    assert tell(leaking, FACTORS["identity"], TEST, probe).above_chance > 0.5


def test_what_is_there_in_another_form_only_the_mlp_reads():
    """A class by the sign of a product: no line parts it."""
    codes = np.random.default_rng(1).standard_normal((1200, 2))
    labels = ["yes" if x * y > 0 else "no" for x, y in codes]
    test = np.arange(1200) % 3 == 0
    assert abs(tell(codes, labels, test, "linear").above_chance) < 0.15
    assert tell(codes, labels, test, "MLP").above_chance > 0.8


def test_the_mlp_finds_people_under_what_varies_more():
    """Thirty people, told by numbers that light moves five times as much, in three ways."""
    random = np.random.default_rng(2)
    people = np.repeat(np.arange(30), 15)
    who = 1.2 * random.standard_normal((30, 12))[people] + 0.5 * random.standard_normal((450, 12))
    light = 4 * random.standard_normal((450, 3)) @ random.standard_normal((3, 12))
    test, labels = np.arange(450) % 3 == 0, [f"person {number}" for number in people]
    linear, mlp = (tell(who + light, labels, test, probe) for probe in PROBES)
    assert mlp.above_chance > 0.7 > linear.above_chance


def test_rare_classes_count_as_much_as_frequent_ones():
    """Always the frequent answer is right nine times of ten, and no better than chance."""
    labels = ["often"] * 90 + ["rare"] * 10
    test = np.arange(100) % 2 == 0
    told = tell(np.zeros((100, 3)), labels, test, "MLP")
    assert told.accuracy == 0.5 and told.above_chance == 0


@pytest.mark.parametrize("probe", PROBES)
def test_nothing_is_learnt_from_the_test_part(probe):
    """There everybody is called by the next one's name: who did not look is never right."""
    labels = np.array(FACTORS["identity"])
    labels[TEST] = [f"person {(int(label[-1]) + 1) % 6}" for label in labels[TEST]]
    assert tell(one_hot("identity"), list(labels), TEST, probe).accuracy < 0.02


def test_labels_that_nobody_learnt_are_left_out():
    labels = ["a", "b"] * 10 + ["c"] * 4
    test = np.array(([False] * 2 + [True] * 2) * 5 + [True] * 4)
    told = tell(np.arange(24.0)[:, None] % 2, labels, test, "linear")
    assert (told.n, told.chance, told.accuracy) == (10, 0.5, 1.0)


def test_names_may_be_numbers():
    """People of CelebA are called "1027"; what they are called changes no figure."""
    codes, called = one_hot("identity"), [name.split()[1] for name in FACTORS["identity"]]
    for probe in PROBES:
        assert tell(codes, called, TEST, probe) == tell(codes, FACTORS["identity"], TEST, probe)
    numbered = importances(codes, {"identity": called})
    assert (numbered == importances(codes, {"identity": FACTORS["identity"]})).all()


def test_the_seed_decides():
    first, second = (
        tell(noise_of, FACTORS["expression"], TEST, "MLP", 5) for noise_of in [USELESS] * 2
    )
    assert first == second


@pytest.mark.parametrize(
    ("codes", "labels", "test", "message"),
    [
        (np.zeros((4, 2)), ["a", "b"], np.ones(2, bool), "4 codes, but 2 labels"),
        (np.zeros(4), list("abab"), np.ones(4, bool), r"\(N, D\)"),
        (np.full((4, 1), np.nan), list("abab"), np.ones(4, bool), "NaN"),
        (np.zeros((4, 1)), list("abab"), np.ones(3, bool), "a split of"),
        (np.zeros((4, 1)), list("aaaa"), np.array([1, 0, 1, 0], bool), "two classes"),
        (np.zeros((4, 1)), list("abab"), np.ones(4, bool), "two classes"),
    ],
)
def test_what_is_refused(codes, labels, test, message):
    with pytest.raises(ValueError, match=message):
        tell(codes, labels, test, "linear")


def test_dci_by_hand():
    assert dci(np.eye(3)) == (1.0, 1.0)
    assert dci(np.ones((2, 2))) == (0.0, 0.0)
    # rows: (1, 0) and (1/2, 1/2), of sums 1 and 2; columns (2/3, 1/3... ) as computed
    disentangled, complete = dci([[1.0, 0.0], [1.0, 1.0]])
    assert disentangled == pytest.approx(1 / 3)  # rows are 1 and 0, counted by their sums 1 and 2
    assert complete == pytest.approx(1 / 3)  # by symmetry
    third = -(2 / 3 * np.log2(2 / 3) + 1 / 3 * np.log2(1 / 3))
    assert dci([[2.0, 1.0]])[0] == pytest.approx(1 - third)


def test_dci_where_it_is_not_defined():
    assert dci([[1.0, 2.0]])[1] is None  # one code cannot be incomplete
    assert dci([[1.0], [2.0]])[0] is None  # one factor cannot be entangled
    assert dci(np.zeros((2, 2))) == (None, None)
    for wrong in (np.zeros(3), [[-1.0, 0.0]], [[np.nan, 1.0]]):
        with pytest.raises(ValueError, match="not negative"):
            dci(wrong)


def test_dci_of_the_four_kinds_of_codes():
    ideal, useless, duplicated, leaking = (
        dci(importances(codes, FACTORS)) for codes in (IDEAL, USELESS, DUPLICATED, LEAKING)
    )
    assert min(ideal) > 0.9
    assert max(useless) < 0.1  # even importance
    assert duplicated[0] > 0.9 and duplicated[1] < 0.6  # still one factor each; two codes for one
    assert max(leaking) < 0.5 < min(ideal)


def test_many_numbers_look_disentangled_by_themselves_and_the_floor_says_so():
    """Two factors in every one of 48 numbers, beside two factors in two numbers and 46 of noise."""
    mixed = np.hstack([one_hot("identity"), one_hot("expression")]) @ noise(48)[:16]
    apart = np.hstack([IDEAL, noise(46)])
    mixed_score, mixed_floor = (
        dci(importances(codes, FACTORS))[0] for codes in (mixed, turned(mixed))
    )
    apart_score, apart_floor = (
        dci(importances(codes, FACTORS))[0] for codes in (apart, turned(apart))
    )
    assert abs(mixed_score - mixed_floor) < 0.12
    assert apart_score > apart_floor + 0.3


def test_turning_keeps_what_is_told_and_all_distances():
    codes = one_hot("identity")
    again = turned(codes, 1)
    scaled = (codes - codes.mean(axis=0)) / codes.std(axis=0)
    assert np.linalg.norm(again, axis=1) == pytest.approx(np.linalg.norm(scaled, axis=1))
    assert not np.allclose(again, scaled)
    assert tell(again, FACTORS["identity"], TEST, "linear").above_chance > 0.99
    assert (turned(codes, 1) == again).all() and not np.allclose(turned(codes, 2), again)


def test_importances_are_shares_and_of_the_right_code():
    found = importances(IDEAL, FACTORS)
    assert found.shape == (2, 2) and found.sum(axis=0) == pytest.approx([1, 1])
    assert found[0, 0] > 0.9 and found[1, 1] > 0.9
    assert importances(IDEAL, {"alike": ["a"] * FACES}).tolist() == [[0.0], [0.0]]


def test_mig_of_the_four_kinds_of_codes():
    ideal, useless, duplicated, leaking = (
        np.mean(list(mig(codes, FACTORS).values()))
        for codes in (IDEAL, USELESS, DUPLICATED, LEAKING)
    )
    assert ideal > 0.85
    assert duplicated < 1e-3  # the second number tells as much
    assert useless < 0.1 and leaking < 0.3


def test_mig_is_the_literal_one():
    """Bins and the gap written out, for one factor."""
    codes, labels = LEAKING, FACTORS["identity"]
    told = []
    for column in codes.T:
        edges = np.linspace(column.min(), column.max(), 21)
        told.append(mutual_info_score(labels, np.clip(np.digitize(column, edges) - 1, 0, 19)))
    share = np.unique(labels, return_counts=True)[1] / len(labels)
    entropy = -(share * np.log(share)).sum()
    expected = abs(told[0] - told[1]) / entropy
    assert mig(codes, {"identity": labels})["identity"] == pytest.approx(expected, abs=1e-6)


def test_mig_needs_two_numbers_and_two_classes():
    assert mig(np.column_stack([IDEAL[:, 0], np.ones(FACES)]), FACTORS)["identity"] > 0.9
    with pytest.raises(ValueError, match="two numbers"):
        mig(IDEAL[:, :1], FACTORS)
    with pytest.raises(ValueError, match="two classes"):
        mig(IDEAL, {"one": ["a"] * FACES})


def test_codes_of_more_numbers_than_faces_are_told_as_if_all_were_seen():
    """Six people in 2,000 numbers, with noise."""
    long = one_hot("identity") @ noise(2000, seed=4)[:8] + 15 * noise(2000)
    whole = make_pipeline(
        StandardScaler(), LogisticRegression(C=0.1, class_weight="balanced", max_iter=300)
    )
    names = np.array(FACTORS["identity"])
    said = whole.fit(long[~TEST], names[~TEST]).predict(long[TEST])
    told = tell(long, FACTORS["identity"], TEST, "linear")
    recall = recall_score(names[TEST], said, average="macro")
    assert told.accuracy == pytest.approx(recall, abs=0.02)  # solved to a tolerance
    assert 0.3 < told.above_chance < 0.8
    assert tell(long, FACTORS["identity"], TEST, "MLP").above_chance > 0.2


def test_the_span_keeps_all_distances_of_what_is_learnt_from():
    random = np.random.default_rng(0)
    known, shown = random.normal(size=(20, 300)), random.normal(size=(7, 300))
    few, asked = _in_span(known, shown)
    assert few.shape == (20, 20) and asked.shape == (7, 20)
    np.testing.assert_allclose(few @ few.T, known @ known.T)
    np.testing.assert_allclose(asked @ few.T, shown @ known.T)


def test_the_span_of_codes_that_say_the_same_is_smaller():
    known = np.repeat(np.random.default_rng(0).normal(size=(5, 300)), 4, axis=0)
    few, asked = _in_span(known.astype(np.float32), known[:3].astype(np.float32))
    assert few.shape == (20, 5) and asked.shape == (3, 5) and few.dtype == np.float32
    np.testing.assert_allclose(asked, few[:3], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("probe", PROBES)
def test_long_codes_that_never_vary_tell_nothing(probe):
    told = tell(np.ones((FACES, 2 * FACES)), FACTORS["identity"], TEST, probe)
    assert told.accuracy == pytest.approx(told.chance)


def test_probes_asked_together_say_what_they_say_alone():
    together = tell_by_probes(LEAKING, FACTORS["identity"], TEST)
    assert together == {probe: tell(LEAKING, FACTORS["identity"], TEST, probe) for probe in PROBES}
