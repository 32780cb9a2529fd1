"""Tables of expression recognition, pinned by hand."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from facefactor.evaluation.recognition import (
    PUBLISHED_BY_YAW,
    accuracy_by_yaw,
    expression_recognition,
    over_folds,
    over_seeds,
)

PAIR = ("fear", "anger")
SEVEN = ("neutral", "happiness", "sadness", "surprise", "fear", "disgust", "anger")


def answers(said, classes=PAIR):
    """Probabilities 0.9 for the class said, the rest shared."""
    rest = 0.1 / (len(classes) - 1)
    return np.where(np.eye(len(classes))[[classes.index(name) for name in said]] > 0, 0.9, rest)


def table(right, wrong, classes=PAIR, **setting):
    """`right` right and `wrong` wrong answers on photos of fear."""
    said = ["fear"] * right + ["anger"] * wrong
    labels = ["fear"] * len(said)
    setting = {"dataset": "toy", **setting}
    return expression_recognition(answers(said, classes), labels, classes, **setting)


def test_two_classes_by_hand():
    """Fear 3 of 4 right, anger 1 of 2: accuracy 4/6, class mean (3/4 + 1/2) / 2."""
    truth = ["fear"] * 4 + ["anger"] * 2
    said = ["fear"] * 3 + ["anger"] + ["anger", "fear"]
    result = expression_recognition(answers(said), truth, PAIR, "toy", "ours", 3)
    assert result["accuracy"] == pytest.approx(400 / 6)
    assert result["class mean"] == pytest.approx(62.5)
    assert result.confusion.classes == PAIR
    assert result.confusion.counts == ((3, 1), (1, 1))  # rows are true
    assert (result.n, result.model, result.seed) == (6, "ours", 3)


def test_a_class_without_photos_is_left_out_of_the_class_mean():
    result = expression_recognition(answers(["fear", "fear"]), ["fear"] * 2, PAIR, "toy")
    assert result["class mean"] == 100
    assert result.confusion.counts == ((2, 0), (0, 0))


def test_the_order_of_the_columns_is_that_of_the_classes():
    logits = torch.tensor([[-3.0, 2.0], [5.0, -1.0]], dtype=torch.bfloat16)
    assert expression_recognition(logits, ["anger", "fear"], PAIR, "toy")["accuracy"] == 100
    assert expression_recognition(logits, ["anger", "fear"], PAIR[::-1], "toy")["accuracy"] == 0


@pytest.mark.parametrize(
    ("probabilities", "labels", "message"),
    [
        ([[0.5, 0.5, 0]], ["fear"], r"must be \(N, 2\), got shape \(1, 3\)"),
        (np.zeros((0, 2)), [], r"must be \(N, 2\)"),
        ([[0.5, 0.5]], ["fear", "fear"], "1 probabilities, but 2 labels"),
        ([[np.nan, 0.5]], ["fear"], "NaN"),
        ([[0.5, 0.5]], ["joy"], "'joy' is not among the classes fear, anger"),
    ],
)
def test_what_does_not_fit(probabilities, labels, message):
    with pytest.raises(ValueError, match=message):
        expression_recognition(probabilities, labels, PAIR, "toy")


def test_published_figures_go_by_model_data_set_and_number_of_classes():
    result = table(3, 1, SEVEN, model="ipdfer", dataset="rafdb")
    assert [score.published for score in result.scores] == [88.89, None]
    assert table(3, 1, model="ipdfer", dataset="rafdb").scores[0].published is None
    assert table(3, 1, SEVEN, model="ipdfer", dataset="ferplus").scores[0].published is None


def test_folds_are_averaged():
    """Folds of 4 and 2 photos, 75 and 50 %: mean 62.5, deviation 25 / sqrt(2)."""
    result = over_folds([table(3, 1), table(1, 1)])
    assert result["accuracy"] == pytest.approx(62.5)
    assert result.scores[0].spread == pytest.approx(25 / 2**0.5)
    assert result["class mean"] == pytest.approx(400 / 6)  # of all six answers
    assert result.confusion.counts == ((4, 2), (0, 0))
    assert (result.n, result.protocol) == (6, "expression recognition, 2 folds")


def test_published_folds_are_ten():
    fold = table(3, 1, SEVEN, model="id-fer", dataset="ckplus")
    assert fold.scores[0].published is None
    assert over_folds([fold] * 9).scores[0].published is None
    assert over_folds([fold] * 10).scores[0].published == 98.65


def test_seeds_are_averaged_and_the_best_stands_beside():
    runs = [
        table(right, 4 - right, SEVEN, model="ipdfer", dataset="rafdb", seed=seed)
        for seed, right in enumerate((3, 2, 4))
    ]
    result = over_seeds(runs)
    assert (result["accuracy"], result["accuracy, best seed"]) == (75, 100)
    assert result.scores[0].spread == pytest.approx(25)
    assert [score.published for score in result.scores] == [88.67, 88.89, None]
    assert (result.n, result.seed) == (4, None)


def test_only_tables_of_one_kind_are_averaged():
    for other in (
        table(3, 1, dataset="other"),
        table(3, 1, SEVEN),
        replace(table(3, 1), confusion=None),
    ):
        with pytest.raises(ValueError, match="must agree in protocol"):
            over_folds([table(3, 1), other])
    with pytest.raises(ValueError, match="two tables or more"):
        over_seeds([table(3, 1)])
    with pytest.raises(ValueError, match="same photos"):
        over_seeds([table(3, 1), table(1, 1)])


def test_rows_by_yaw_are_absolute_and_hold_their_threshold():
    yaw = [0, -9.99, 10, -10, 25, -20, 35, np.nan]
    said = ["fear", "anger", "fear", "anger", "fear", "fear", "anger", "fear"]
    result = accuracy_by_yaw(answers(said), ["fear"] * 8, PAIR, yaw, dataset="toy")
    rows = {score.metric: (score.value, score.n) for score in result.scores}
    assert rows == {
        "all": (100 * 5 / 8, 8),
        "yaw ≥ 10°": (60, 5),  # 10, -10, 25, -20, 35; not -9.99, not the unknown one
        "yaw ≥ 20°": (pytest.approx(200 / 3), 3),
        "yaw ≥ 30°": (0, 1),
        "yaw ≥ 40°": (None, 0),
    }


def test_a_row_without_photos_says_so_and_gives_no_number():
    result = accuracy_by_yaw(answers(["fear"]), ["fear"], PAIR, [12], (10, 40), "rafdb", "ipdfer")
    assert result.to_markdown().split("\n")[2:] == [
        "| metric | paper | ours | difference | n |",
        "| --- | ---: | ---: | ---: | ---: |",
        "| all | 88.89 % | 100.00 % | +11.11 | 1 |",
        "| yaw ≥ 10° | 88.67 % | 100.00 % | +11.33 | 1 |",
        "| yaw ≥ 40° | 87.66 % | no samples | – | 0 |",
    ]
    with pytest.raises(ValueError, match="has no value: there were no samples"):
        result["yaw ≥ 40°"]
    assert json.loads(json.dumps(result.to_dict()))["scores"][2]["value"] is None


@pytest.mark.parametrize(
    ("yaw", "thresholds", "message"),
    [
        ([1, 2, 3], (10,), r"yaw must be \(2,\) finite degrees, got shape \(3,\)"),
        ([1, np.inf], (10,), "finite"),
        ([1, 2], (20, 10), "must rise"),
        ([1, 2], (0, 10), "must rise from above 0"),
    ],
)
def test_yaw_that_does_not_fit(yaw, thresholds, message):
    with pytest.raises(ValueError, match=message):
        accuracy_by_yaw(answers(["fear"] * 2), ["fear"] * 2, PAIR, yaw, thresholds)


def test_published_rows_are_those_of_the_default_thresholds():
    for rows in PUBLISHED_BY_YAW.values():
        assert list(rows) == [0, 10, 20, 30, 40]
