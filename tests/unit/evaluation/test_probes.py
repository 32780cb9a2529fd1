"""The probes are calibrated: ideal codes, random codes, and codes that only scale could spoil."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from facefactor.evaluation import probes
from facefactor.evaluation.probes import expression_probe

CLASSES = ("neutral", "happiness", "fear")
RECIPES = ("published", "standardised")


@pytest.fixture(autouse=True)
def few_epochs(monkeypatch):
    """30 epochs with a drop each 8: the same shape, fast enough for a test."""
    monkeypatch.setattr(probes, "_EPOCHS", 30)
    monkeypatch.setattr(probes, "_DROP_EVERY", 8)


def blobs(count, spread, seed, size=8):
    """Labels in turn, and codes around one corner each of a simplex."""
    random = np.random.default_rng(seed)
    labels = [CLASSES[i % 3] for i in range(count)]
    corners = np.eye(3, size)[[CLASSES.index(label) for label in labels]]
    return corners + spread * random.standard_normal((count, size)), labels


@pytest.mark.parametrize("recipe", RECIPES)
def test_ideal_codes_score_100(recipe):
    result = expression_probe(*blobs(300, 0.02, 0), *blobs(90, 0.02, 1), "toy", recipe)
    assert result["accuracy"] == result["class mean"] == 100
    assert result.n == 90
    assert result.confusion.classes == CLASSES
    assert result.confusion.counts == ((30, 0, 0), (0, 30, 0), (0, 0, 30))


@pytest.mark.parametrize("recipe", RECIPES)
def test_random_codes_are_at_chance(recipe):
    """1,500 answers that are right by chance: 33.3 +- 1.2 %; four deviations."""
    train, test = np.random.default_rng(0).standard_normal((2, 1500, 8)) * 0.3
    labels = [CLASSES[i % 3] for i in range(1500)]
    result = expression_probe(train, labels, test, labels, "toy", recipe)
    assert 28.5 < result["accuracy"] < 38.2


@pytest.mark.parametrize("recipe", RECIPES)
def test_training_codes_do_not_leak_into_the_score(recipe):
    """Codes that know each training label by heart, and nothing of the test labels."""
    random = np.random.default_rng(0)
    train, test = random.standard_normal((60, 100)), random.standard_normal((300, 100))
    labels = [CLASSES[i % 3] for i in range(300)]
    seen = expression_probe(train, labels[:60], train, labels[:60], "toy", recipe)
    unseen = expression_probe(train, labels[:60], test, labels, "toy", recipe)
    assert seen["accuracy"] > 90 or recipe == "standardised"
    assert unseen["accuracy"] < 45


def test_the_penalty_is_chosen_without_the_test_part():
    """Test labels turned round change the score only, never the answers."""
    train, labels = blobs(120, 1.0, 0)
    test, truth = blobs(90, 1.0, 1)
    turned = truth[1:] + truth[:1]
    first = expression_probe(train, labels, test, truth, "toy", "standardised")
    second = expression_probe(train, labels, test, turned, "toy", "standardised")
    said = [np.sum(result.confusion.counts, axis=0).tolist() for result in (first, second)]
    assert said[0] == said[1]
    assert first["accuracy"] > second["accuracy"]


def test_standardised_does_not_depend_on_scale_and_published_does():
    train, labels = blobs(300, 0.7, 0)
    test, truth = blobs(300, 0.7, 1)
    scale = np.array([1e-3, 50, 1, 1, 1, 1, 1, 1e3])
    plain = expression_probe(train, labels, test, truth, "toy", "standardised")
    scaled = expression_probe(
        train * scale + 5, labels, test * scale + 5, truth, "toy", "standardised"
    )
    assert scaled["accuracy"] == pytest.approx(plain["accuracy"], abs=1)
    small = expression_probe(train * 1e-4, labels, test * 1e-4, truth, "toy", "published")
    usual = expression_probe(train, labels, test, truth, "toy", "published")
    assert small["accuracy"] != usual["accuracy"]


def test_a_penalty_is_chosen_where_it_helps():
    """A little of the answer in each of 250 values, and as many photos: without one it overfits."""
    random = np.random.default_rng(0)

    def make(count):
        labels = random.integers(0, 2, count)
        codes = random.standard_normal((count, 250)) + 0.2 * labels[:, None]
        return codes, [CLASSES[label] for label in labels]

    train, labels = make(300)
    test, truth = make(1000)
    ours = expression_probe(train, labels, test, truth, "toy", "standardised")["accuracy"]
    mean, deviation = train.mean(axis=0), train.std(axis=0)
    train, test = (train - mean) / deviation, (test - mean) / deviation
    weak, right, strong = (
        LogisticRegression(C=strength).fit(train, labels).score(test, truth) * 100
        for strength in (10, 0.03, 3e-4)
    )
    assert right > weak + 1.5 and right > strong + 1.5
    assert ours > right - 1


def test_class_mean_weighs_classes_not_photos():
    """Always "happiness": right for 8 of 10, but one class of two."""
    codes, test = np.zeros((40, 2)), np.zeros((10, 2))
    labels = ["happiness"] * 30 + ["fear"] * 10
    truth = ["happiness"] * 8 + ["fear"] * 2
    result = expression_probe(codes, labels, test, truth, "toy", "standardised")
    assert (result["accuracy"], result["class mean"]) == (80, 50)
    assert result.confusion.counts == ((8, 0), (2, 0))


@pytest.mark.parametrize("recipe", RECIPES)
def test_same_seed_same_result_and_no_trace_on_the_global_random_state(recipe):
    data = (*blobs(90, 1.0, 0), *blobs(90, 1.0, 1), "toy", recipe)
    torch.manual_seed(5)
    state = torch.random.get_rng_state()
    first = expression_probe(*data, seed=3)
    torch.random.set_rng_state(state)
    torch.rand(7)
    assert expression_probe(*data, seed=3) == first
    assert first.seed == 3


def test_it_works_where_the_caller_records_no_gradients():
    with torch.inference_mode():
        codes, labels = blobs(60, 0.02, 0)
        result = expression_probe(torch.tensor(codes), labels, torch.tensor(codes), labels, "toy")
    assert result["accuracy"] == 100


def test_the_published_number_stands_by_the_published_recipe_alone():
    data = (*blobs(60, 0.1, 0), *blobs(60, 0.1, 1), "rafdb")
    assert expression_probe(*data, model="facecycle").scores[0].published == 71.01
    assert expression_probe(*data, model="leed").scores[0].published is None
    ours = expression_probe(*data, recipe="standardised", model="facecycle")
    assert ours.scores[0].published is None


def test_wrong_input_is_named():
    codes, labels = blobs(30, 0.1, 0)
    with pytest.raises(ValueError, match="29 codes, but 30 labels"):
        expression_probe(codes[1:], labels, codes, labels, "toy")
    with pytest.raises(ValueError, match="'anger' is not among the training labels"):
        expression_probe(codes, labels, codes, ["anger", *labels[1:]], "toy")
    with pytest.raises(ValueError, match="test_codes holds NaN"):
        expression_probe(codes, labels, codes * np.nan, labels, "toy")
    with pytest.raises(ValueError, match="8 values, test codes 7"):
        expression_probe(codes, labels, codes[:, 1:], labels, "toy")
    with pytest.raises(ValueError, match="diverged on codes of rms"):
        expression_probe(codes * 1e30, labels, codes, labels, "toy")
