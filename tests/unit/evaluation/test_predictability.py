"""The ruler before the measuring: codes that hold all, nothing, or what they should not."""

import numpy as np
import pytest
import torch
from sklearn.svm import SVC

from facefactor.evaluation.predictability import FOLDS, deal_folds, predictability

PEOPLE, EACH = 20, 12
SUBJECTS = [f"person {n // EACH}" for n in range(PEOPLE * EACH)]
MOODS = [("sad", "glad", "mad")[n % 3] for n in range(PEOPLE * EACH)]


def one_hot(labels):
    names = sorted(set(labels))
    return torch.eye(len(names))[[names.index(label) for label in labels]]


def noise(size=4, seed=0):
    return torch.randn(len(SUBJECTS), size, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("subjects", [None, SUBJECTS])
def test_an_ideal_code_is_read_without_error(subjects):
    found = predictability(one_hot(MOODS) + 0.01 * noise(3), MOODS, subjects)
    assert (found.accuracy, found.spread, found.above_chance) == (1, 0, 1)


@pytest.mark.parametrize("subjects", [None, SUBJECTS])
def test_a_useless_code_is_at_chance(subjects):
    found = [predictability(noise(seed=seed), MOODS, subjects, seed=seed) for seed in range(4)]
    assert np.mean([f.accuracy for f in found]) == pytest.approx(1 / 3, abs=0.06)
    assert np.mean([f.above_chance for f in found]) == pytest.approx(0, abs=0.09)


def test_a_constant_code_tells_nothing_of_labels_of_unequal_frequency():
    """The most frequent label is right nine times in ten, and that is no merit."""
    rare = ["seldom" if n % 10 == 0 else "often" for n in range(len(SUBJECTS))]
    found = predictability(torch.ones(len(SUBJECTS), 2), rare)
    assert found.accuracy == pytest.approx(0.9, abs=1e-9) and found.above_chance == 0


def test_a_leaking_code_is_found_out():
    """An "expression" code that holds the person beside the mood."""
    code = torch.cat([one_hot(MOODS), one_hot(SUBJECTS)], dim=1) + 0.01 * noise(23)
    assert predictability(code, SUBJECTS).above_chance == 1
    assert predictability(code, MOODS, SUBJECTS).above_chance > 0.9
    assert predictability(one_hot(MOODS) + 0.01 * noise(3), SUBJECTS).above_chance < 0.1


def test_a_code_of_the_person_passes_for_the_mood_only_at_random_splits():
    """Each person has one mood: who knows the person knows the mood, until the person is new."""
    mood = [("sad", "glad")[n // EACH % 2] for n in range(len(SUBJECTS))]
    code = one_hot(SUBJECTS)
    assert predictability(code, mood).accuracy == 1
    assert predictability(code, mood, SUBJECTS).accuracy < 0.7


def test_what_is_tested_was_not_learnt():
    """Every photo its own code: learnt by heart, and of no use on any other."""
    alone = torch.eye(len(SUBJECTS))
    assert SVC(kernel="linear").fit(alone, MOODS).score(alone, MOODS) == 1
    assert predictability(alone, MOODS).accuracy < 0.5


@pytest.mark.parametrize("change", [lambda c: 1000 * c, lambda c: c / 1000 + 5])
def test_scale_and_shift_of_code_values_do_not_matter(change):
    code = (one_hot(MOODS) + 0.8 * noise(3)).double()
    found, moved = predictability(code, MOODS), predictability(change(code), MOODS)
    assert 0.5 < found.accuracy < 0.95
    assert moved.accuracy == pytest.approx(found.accuracy, abs=0.01)


def test_it_is_the_accuracy_in_ten_folds_written_out():
    code, hits = one_hot(MOODS) + 0.8 * noise(3), []
    fold = deal_folds(MOODS, None, FOLDS, seed=3)
    values, names = code.double().numpy(), np.array(MOODS)
    for number in range(FOLDS):
        train, test = values[fold != number], values[fold == number]
        mean, deviation = train.mean(0), train.std(0)
        machine = SVC(kernel="linear").fit((train - mean) / deviation, names[fold != number])
        hits.append(machine.score((test - mean) / deviation, names[fold == number]))
    found = predictability(code, MOODS, seed=3)
    assert found.accuracy == pytest.approx(np.mean(hits))
    assert found.spread == pytest.approx(np.std(hits, ddof=1))


def test_folds_of_photos_are_even_even_where_a_label_has_few():
    labels = ["a"] * 5 + ["b"] * 5 + ["c"] * 30
    fold = deal_folds(labels, None, 10, seed=0)
    assert np.bincount(fold).tolist() == [4] * 10
    assert np.bincount(fold[10:]).tolist() == [3] * 10  # three of "c" in each
    assert len(set(fold[:10])) == 10  # "a" in five of them, "b" in the others
    again, other = deal_folds(labels, None, 10, seed=0), deal_folds(labels, None, 10, seed=1)
    assert (fold == again).all() and (fold != other).any()


def test_folds_of_people_part_no_one():
    fold = deal_folds(MOODS, SUBJECTS, 10, seed=0)
    of_person = {person: set(fold[np.array(SUBJECTS) == person]) for person in set(SUBJECTS)}
    assert all(len(folds) == 1 for folds in of_person.values())
    assert np.bincount(fold).tolist() == [2 * EACH] * 10


@pytest.mark.parametrize(
    ("codes", "labels", "subjects", "message"),
    [
        (torch.zeros(4), ["a"] * 4, None, r"codes must be \(N, D\)"),
        (torch.zeros(4, 2), ["a"] * 3, None, "4 codes, but 3 labels"),
        (torch.full((4, 2), torch.nan), ["a", "b"] * 2, None, "NaN"),
        (torch.zeros(20, 2), ["a"] * 20, None, "two classes or more"),
        (torch.zeros(4, 2), ["a", "b"] * 2, None, "4 photos do not make 10 folds"),
        (torch.zeros(20, 2), ["a", "b"] * 10, ["x", "y"] * 10, "2 people do not make 10 folds"),
    ],
)
def test_what_cannot_be_measured_is_refused(codes, labels, subjects, message):
    with pytest.raises(ValueError, match=message):
        predictability(codes, labels, subjects)


def test_a_label_of_one_person_alone_leaves_nothing_to_learn():
    labels, subjects = ["a"] * 2 + ["b"] * 2, ["x", "x", "y", "y"]
    with pytest.raises(ValueError, match="leaves only '[ab]' to learn from"):
        predictability(torch.zeros(4, 2), labels, subjects, folds=2)
