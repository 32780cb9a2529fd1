import random
from pathlib import Path

import pytest

from facefactor.data.records import (
    EXPRESSION_ORDER,
    DataError,
    FaceRecord,
    check_disjoint,
    labelled,
    of_split,
    split_by_subject,
    split_hash,
)
from facefactor.factors import EXPRESSIONS


def people(count, photos=3):
    return [
        FaceRecord(Path(f"/faces/{person}/{photo}.jpg"), f"person{person}")
        for person in range(count)
        for photo in range(photos)
    ]


def test_every_data_set_orders_known_expressions_without_repeating_one():
    for dataset, order in EXPRESSION_ORDER.items():
        assert set(order) <= set(EXPRESSIONS), dataset
        assert len(set(order)) == len(order), dataset


def test_nobody_is_in_two_parts_and_nobody_is_lost():
    records = people(200)
    parts = split_by_subject(records, [0.7, 0.2, 0.1], seed=0)
    subjects = [{record.subject for record in part} for part in parts]
    assert not (subjects[0] & subjects[1] or subjects[0] & subjects[2] or subjects[1] & subjects[2])
    assert sorted(sum(parts, []), key=str) == sorted(records, key=str)


def test_parts_are_near_the_fractions():
    first, second = split_by_subject(people(2000, photos=1), [0.9, 0.1], seed=3)
    assert 1740 < len(first) < 1860  # 1800 +- 4.5 standard deviations of 13.4


def test_a_split_does_not_depend_on_order_or_on_other_people():
    records = people(50)
    whole = split_by_subject(records, [0.5, 0.5], seed=1)
    shuffled = random.Random(0).sample(records, len(records))
    again = split_by_subject(shuffled, [0.5, 0.5], seed=1)
    fewer = split_by_subject(records[:60], [0.5, 0.5], seed=1)
    for part in range(2):
        assert set(again[part]) == set(whole[part])
        assert set(fewer[part]) <= set(whole[part])


def test_another_seed_is_another_split():
    records = people(50)
    first = split_by_subject(records, [0.5, 0.5], seed=1)
    second = split_by_subject(records, [0.5, 0.5], seed=2)
    assert set(first[0]) != set(second[0])


def test_splitting_refuses_unknown_people_and_uneven_fractions():
    with pytest.raises(DataError, match="a.jpg has no subject"):
        split_by_subject([FaceRecord(Path("a.jpg"))], [0.5, 0.5], seed=0)
    with pytest.raises(ValueError, match="sum to 1"):
        split_by_subject(people(2), [0.5, 0.4], seed=0)


def test_a_person_on_both_sides_is_named():
    records = people(4)
    check_disjoint(records[:6], records[6:])
    with pytest.raises(DataError, match="subject person1 is on both sides"):
        check_disjoint(records[:5], records[5:])


def test_a_photo_of_nobody_on_both_sides_is_named():
    photo = FaceRecord(Path("x.jpg"))
    with pytest.raises(DataError, match="x.jpg is on both sides"):
        check_disjoint([photo], [FaceRecord(Path("x.jpg"))])
    check_disjoint([photo], [FaceRecord(Path("y.jpg"))])  # no subject is not one subject


def test_split_hash_forgets_order_and_place_but_not_labels():
    records = [
        FaceRecord(Path("/here/a/1.png"), "a", "anger"),
        FaceRecord(Path("/here/b/1.png"), "b", None),
    ]
    moved = [
        FaceRecord(Path("/there/data/b/1.png"), "b", None),
        FaceRecord(Path("/there/data/a/1.png"), "a", "anger"),
    ]
    relabelled = [records[0], FaceRecord(Path("/here/b/1.png"), "b", "fear")]
    assert split_hash(records) == split_hash(moved)
    assert len(split_hash(records)) == 12
    assert split_hash(records) != split_hash(relabelled)
    assert split_hash(records) != split_hash(records[:1])


def test_filters():
    train = FaceRecord(Path("a"), expression="fear", split="train")
    test = FaceRecord(Path("b"), split="test")
    assert of_split([train, test], "test") == [test]
    assert labelled([train, test]) == [train]
