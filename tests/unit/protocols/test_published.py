"""The papers' rows: each has an answer that exists or a reason, and figures agree everywhere."""

import importlib
from collections import Counter

import pytest

from facefactor.data.readers import READERS
from facefactor.evaluation import predictability, probes, recognition, verification
from facefactor.methods import METHODS
from facefactor.protocols import PROTOCOLS, recognition_folds
from facefactor.protocols.published import PAPERS
from facefactor.protocols.published.data_sets import DATA

ROWS = [(method, row) for method, paper in PAPERS.items() for row in paper.rows]
ANSWERS = [answer for _, row in ROWS for answer in row.answers]
EXTRAS = [extra for paper in PAPERS.values() for extra in paper.extras]


def test_the_papers_are_those_of_the_five_methods() -> None:
    assert set(PAPERS) == set(METHODS) - {"stargan"}
    assert all(paper.rows for paper in PAPERS.values())


def test_each_row_has_an_answer_or_a_reason() -> None:
    for method, row in ROWS:
        assert bool(row.answers) != bool(row.reason), (method, row)
        assert bool(row.answers) == bool(row.of), (method, row)
        assert row.of.startswith((method, "id-fer", "baseline", "moco")) or not row.of


def test_no_row_stands_there_twice() -> None:
    twice = Counter((method, row.table, row.name) for method, row in ROWS)
    assert [key for key, count in twice.items() if count > 1] == []


def test_answers_name_protocols_and_data_sets_that_there_are() -> None:
    assert {one.protocol for one in (*ANSWERS, *EXTRAS)} <= PROTOCOLS.keys()
    readers = {answer.reader for answer in ANSWERS if answer.reader}
    readers |= {name for answer in ANSWERS for name in answer.beside}
    readers |= {name for extra in EXTRAS for name in extra.readers}
    assert readers <= DATA.keys() <= {"poses", *READERS}


@pytest.mark.parametrize("reader", DATA)
def test_where_a_layout_is_described(reader: str) -> None:
    module, _, name = DATA[reader].layout.strip("`").rpartition(".")
    function = getattr(importlib.import_module(module), name)
    assert function.__doc__
    assert reader == "poses" or READERS[reader] is function
    assert f"-d {reader}=FOLDER" in DATA[reader].to_get(reader)


def figures(method: str) -> set[float]:
    return {row.value for row in PAPERS[method].rows}


def test_figures_are_those_that_the_protocols_show() -> None:
    """Protocols know the papers' figures too; two copies may not drift apart."""
    own = {
        "facecycle": [
            *probes.PUBLISHED_EXPRESSION.values(),
            *verification.PUBLISHED.values(),
            *probes.PUBLISHED_HEAD_POSE["facecycle", "aflw2000"].values(),
        ],
        "neurotensorial": list(predictability.PUBLISHED.values()),
        "nfgan": list(recognition_folds.PUBLISHED.values()),
        "ipdfer": [
            *recognition.PUBLISHED_RECOGNITION.values(),
            *(mean for mean, _ in recognition.PUBLISHED_OVER_SEEDS.values()),
            *recognition.PUBLISHED_OVER_TEN_FOLDS.values(),
            *(v for rows in recognition.PUBLISHED_BY_YAW.values() for v in rows.values()),
        ],
    }
    for method, values in own.items():
        assert set(values) <= figures(method), method


def test_what_the_papers_count_adds_up() -> None:
    """RAF-DB's training part has 12,271 photos; a mean is below the best of its seeds."""
    rows = PAPERS["ipdfer"].rows
    photos = [r.value for r in rows if r.unit == "photos" and r.name.startswith("RAF-DB")]
    assert sum(photos) == 12_271
    best = {
        row.table + row.of: row.value for row in rows if row.name.endswith("best of four seeds")
    }
    mean = {
        row.table + row.of: row.value for row in rows if row.name.endswith("mean of four seeds")
    }
    assert best.keys() == mean.keys() and len(best) == 8
    assert all(mean[key] < best[key] for key in best)
