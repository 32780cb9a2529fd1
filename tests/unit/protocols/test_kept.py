"""A protocol run is measured once, and again where anything that decides it changed."""

import dataclasses
import json

import numpy as np
import pytest

from facefactor.errors import FaceFactorError
from facefactor.evaluation.tables import ResultTable, Score, count_confusion, write_json
from facefactor.images import write_image
from facefactor.protocols import kept
from facefactor.protocols.kept import Run, measure, table_from_dict
from tests.made_folders import draw
from tests.small_networks import save_ipdfer

CONFUSION = count_confusion(("a", "b"), np.array([0, 1, 1]), np.array([0, 0, 1]))
TABLE = ResultTable(
    "expression recognition",
    "folder",
    (Score("accuracy", 66.67, "%", 88.89, 1.5, 3), Score("none", None, "%")),
    "ipdfer",
    3,
    0,
    "abc",
    ("landmarks",),
    "facefactor evaluate",
    CONFUSION,
)


@pytest.fixture
def run(tmp_path):
    draw(tmp_path / "photos" / "a.png")
    weights = save_ipdfer(tmp_path / "weights" / "model.safetensors")
    return Run(str(weights), "recognition", (("folder", tmp_path / "photos"),))


@pytest.fixture
def asked(monkeypatch):
    """What `evaluate` was asked; it answers with one table and one picture."""
    calls = []

    def evaluate(model, protocols, datasets, output, seed, cache, morphable=None):
        calls.append((model, protocols, datasets, seed, morphable))
        write_image(output / "map.png", np.zeros((8, 8, 3), np.uint8))
        write_json(output / "results.json", [TABLE])
        return [TABLE]

    monkeypatch.setattr(kept, "evaluate", evaluate)
    return calls


def test_a_table_comes_back_from_json_as_it_was():
    assert table_from_dict(json.loads(json.dumps(TABLE.to_dict()))) == TABLE


def test_what_is_not_a_number_has_no_value():
    odd = dataclasses.replace(TABLE, scores=(Score("angle", float("nan"), "°"),))
    back = table_from_dict(json.loads(json.dumps(odd.to_dict())))
    assert back.scores == (Score("angle", None, "°"),)


def test_measured_once(run, asked, tmp_path):
    first, second = (measure(run, 0, tmp_path) for _ in range(2))
    assert len(asked) == 1
    assert first == second and first.tables == (TABLE,)
    assert [path.name for path in first.pictures] == ["map.png"]
    assert asked[0][2] == [f"folder={tmp_path / 'photos'}"]


def test_it_does_not_matter_where_the_photos_lie(run, asked, tmp_path):
    measure(run, 0, tmp_path)
    (tmp_path / "photos").rename(tmp_path / "moved")
    measure(Run(run.model, run.protocol, (("folder", tmp_path / "moved"),)), 0, tmp_path)
    assert len(asked) == 1


@pytest.mark.parametrize("what", ["seed", "photo", "size", "protocol", "trained on", "fresh"])
def test_measured_again(run, asked, tmp_path, what):
    measure(run, 0, tmp_path)
    if what == "photo":
        draw(tmp_path / "photos" / "b.png")
    elif what == "size":
        draw(tmp_path / "photos" / "a.png", width=50)
    elif what == "trained on":
        (tmp_path / "weights" / "settings.json").write_text("{}")
    other = Run(run.model, "synthesis", run.folders) if what == "protocol" else run
    measure(other, int(what == "seed"), tmp_path, fresh=what == "fresh")
    assert len(asked) == 2


def test_other_instruments_see_other_things(run, asked, tmp_path, monkeypatch):
    measure(run, 0, tmp_path)
    now = kept._instruments_now()
    monkeypatch.setattr(kept, "_instruments_now", lambda: now | {"recogniser": "another"})
    measure(run, 0, tmp_path)
    assert len(asked) == 1  # the recogniser took no part
    monkeypatch.setattr(kept, "_instruments_now", lambda: now | {"landmarks": "another"})
    measure(run, 0, tmp_path)
    assert len(asked) == 2


@pytest.mark.parametrize("error", [FaceFactorError("no such thing"), KeyboardInterrupt()])
def test_a_run_that_breaks_off_leaves_nothing(run, tmp_path, monkeypatch, error):
    def evaluate(*given, **named):
        write_image(given[3] / "map.png", np.zeros((8, 8, 3), np.uint8))
        raise error

    monkeypatch.setattr(kept, "evaluate", evaluate)
    with pytest.raises(type(error)):
        measure(run, 0, tmp_path)
    assert list((tmp_path / "results").iterdir()) == []


def test_an_unknown_reader_is_named(run, tmp_path):
    with pytest.raises(FaceFactorError, match="no reader is called 'rafbd'"):
        measure(Run(run.model, "recognition", (("rafbd", tmp_path),)), 0, tmp_path)
