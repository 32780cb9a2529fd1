from collections import Counter
from pathlib import Path

import pytest

from facefactor.data.ckplus import read_ckplus48
from facefactor.data.folds import subject_folds, validation_split
from facefactor.data.records import DataError, FaceRecord, check_disjoint


def people(count, photos=2):
    return [
        FaceRecord(Path(f"/d/S{person:03d}_{photo}.png"), f"S{person:03d}", "fear")
        for person in range(count)
        for photo in range(photos)
    ]


def loose(root="/d", **counts):
    return [
        FaceRecord(Path(f"{root}/{name}/{number}.png"), expression=name)
        for name, count in counts.items()
        for number in range(count)
    ]


def subjects(records):
    return sorted({record.subject for record in records})


def test_people_are_dealt_in_turn():
    folds = subject_folds(people(7), 3)
    assert [subjects(test) for _, test in folds] == [
        ["S000", "S003", "S006"],
        ["S001", "S004"],
        ["S002", "S005"],
    ]
    assert [len(train) for train, _ in folds] == [8, 10, 10]


def test_every_record_is_tested_once_and_nobody_is_on_both_sides():
    records = people(23, photos=3)
    folds = subject_folds(records, 10)
    assert Counter(record for _, test in folds for record in test) == Counter(records)
    for train, test in folds:
        check_disjoint(train, test)
        assert len(train) + len(test) == len(records)


def test_folds_do_not_depend_on_the_order():
    records = people(9)
    assert subject_folds(records[::-1], 4) == subject_folds(records, 4)


@pytest.mark.parametrize("folds", [-1, 0, 1, 6])
def test_no_folds_without_people(folds):
    with pytest.raises(ValueError, match="folds must be 2 to 5, the number of people"):
        subject_folds(people(5), folds)


def test_folds_need_subjects():
    with pytest.raises(DataError, match="fear/0.png has no subject"):
        subject_folds([*people(3), *loose(fear=1)], 2)


def test_each_expression_gives_its_share():
    train, validation = validation_split(loose(fear=40, anger=10, contempt=3), 0.2, seed=0)
    assert Counter(r.expression for r in validation) == {"fear": 8, "anger": 2, "contempt": 1}
    assert Counter(r.expression for r in train) == {"fear": 32, "anger": 8, "contempt": 2}


def test_all_photos_of_a_person_go_to_one_side():
    records = [*people(40, photos=3), *loose(anger=20)]
    train, validation = validation_split(records, 0.25, seed=0)
    check_disjoint(train, validation)
    assert sorted([*train, *validation], key=str) == sorted(records, key=str)
    counts = Counter(record.expression for record in validation)
    assert counts["fear"] == 30 and counts["anger"] == 5  # thirty are ten people


def test_the_split_follows_from_names_and_seed():
    records = loose(fear=40, anger=40)
    train, validation = validation_split(records, 0.2, seed=3)
    assert validation_split(records[::-1], 0.2, seed=3) == (train, validation)
    assert validation_split(records, 0.2, seed=4)[1] != validation
    elsewhere = validation_split(loose("/other/disk", fear=40, anger=40), 0.2, seed=3)[1]
    assert [(r.path.parent.name, r.path.name) for r in elsewhere] == [
        (r.path.parent.name, r.path.name) for r in validation
    ]


def test_nothing_is_chosen_by_test_photos():
    records = [*loose(fear=20), FaceRecord(Path("/d/t.png"), None, "fear", split="test")]
    with pytest.raises(DataError, match="t.png is for testing"):
        validation_split(records, 0.2, seed=0)


@pytest.mark.parametrize("share", [-0.1, 0, 1, 1.5])
def test_share_of_a_split(share):
    with pytest.raises(ValueError, match="share must be inside"):
        validation_split(loose(fear=20), share, seed=0)


def test_too_few_photos_to_choose_by():
    with pytest.raises(ValueError, match="4 photos of 4 are too few for a share 0.1"):
        validation_split(loose(fear=4), 0.1, seed=0)
    with pytest.raises(ValueError, match="no records"):
        validation_split([], 0.1, seed=0)


def test_real_folds_and_split(shared):
    records = read_ckplus48(shared / "data/CK+48")
    folds = subject_folds(records, 10)
    assert [len(subjects(test)) for _, test in folds] == [12] * 8 + [11] * 2
    train, validation = validation_split(folds[0][0], 0.1, seed=0)
    check_disjoint(train, validation)
    known = Counter(record.expression for record in folds[0][0])
    chosen = Counter(record.expression for record in validation)
    # A person gives three photos of each expression shown; two people too many or too few.
    assert all(abs(chosen[name] - 0.1 * count) <= 6 for name, count in known.items())
