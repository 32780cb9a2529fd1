import json
import os

import pytest

from facefactor.evaluation.tables import Confusion, ResultTable, Score, write_json

TABLE = ResultTable(
    protocol="verification",
    dataset="lfw",
    scores=(Score("accuracy", 70.5, "%", published=73.72, spread=1.25), Score("yaw", 3.0, "°")),
    model="facecycle",
    n=6000,
    seed=0,
    split_hash="0123456789ab",
    instruments=("mobilefacenet",),
    command="facefactor evaluate x",
    confusion=Confusion(("fear", "anger"), ((3, 1), (0, 2))),
)


def test_markdown_puts_paper_ours_and_difference_beside_the_setting():
    setting, empty, *rows = TABLE.to_markdown().split("\n")
    assert setting == (
        "**verification** on **lfw**; model facecycle; n = 6,000; seed 0; split 0123456789ab; "
        "instruments: mobilefacenet; `facefactor evaluate x`"
    )
    assert empty == ""
    assert rows == [
        "| metric | paper | ours | difference |",
        "| --- | ---: | ---: | ---: |",
        "| accuracy | 73.72 % | 70.50 ± 1.25 % | -3.22 |",
        "| yaw | – | 3.00° | – |",
    ]
    assert TABLE.confusion.to_markdown().split("\n")[2] == "| fear | 3 | 1 |"


def test_a_short_table_says_only_what_it_knows():
    assert ResultTable("p", "d", ()).to_markdown().startswith("**p** on **d**\n")


def test_scores_by_name():
    assert TABLE["accuracy"] == 70.5
    with pytest.raises(KeyError, match="no 'recall' in this table; it has accuracy, yaw"):
        TABLE["recall"]


def test_json_holds_everything(tmp_path):
    write_json(tmp_path / "new" / "results.json", [TABLE])
    [read] = json.loads((tmp_path / "new" / "results.json").read_text())
    assert read == json.loads(json.dumps(TABLE.to_dict()))
    assert read["scores"][0] == {
        "metric": "accuracy",
        "value": 70.5,
        "unit": "%",
        "published": 73.72,
        "spread": 1.25,
        "n": None,
    }
    assert read["confusion"]["counts"] == [[3, 1], [0, 2]]


def test_a_failed_write_leaves_the_old_results(tmp_path, monkeypatch):
    write_json(tmp_path / "results.json", [TABLE])
    before = (tmp_path / "results.json").read_bytes()

    def refuse(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(OSError, match="results.json: .*No space left"):
        write_json(tmp_path / "results.json", [])
    assert (tmp_path / "results.json").read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1
