"""`facefactor reproduce` from a made folder and small untrained weights to JSON, Markdown, HTML."""

import dataclasses
import json

import numpy as np
import pytest
import torch

from facefactor import api, checkpoints
from facefactor.checkpoints import CheckpointHeader
from facefactor.errors import FaceFactorError
from facefactor.evaluation.tables import ResultTable, Score
from facefactor.methods.ipdfer.recipe import PRESETS, build
from facefactor.protocols import kept
from facefactor.protocols.kept import Kept, Run
from facefactor.protocols.published import PAPERS, Answer, Row
from facefactor.protocols.reproduce import Weights, _find, _line, measure_all, plan_papers
from tests.made_folders import write_rafdb


def save(folder, preset="small", seed=0):
    torch.manual_seed(seed)
    recipe = dataclasses.replace(
        PRESETS[preset], width=1 / 16, decoder_channels=(8,) * 5, code_size=16
    )
    model = build(recipe)
    settings = json.loads(json.dumps(dataclasses.asdict(recipe)))
    header = CheckpointHeader("ipdfer", preset, settings, model.spec)
    folder.mkdir(parents=True)
    checkpoints.save(folder / "model.safetensors", model.state_dict(), header)
    return str(folder / "model.safetensors")


@pytest.fixture(scope="module")
def rafdb(tmp_path_factory):
    random = np.random.default_rng(0)
    return write_rafdb(
        tmp_path_factory.mktemp("rafdb"),
        lambda label: random.integers(0, 60, (100, 100, 3)) + 25 * label,
        train=[1, 2, 3, 4, 5, 6, 7] * 4,
        test=[1, 2, 3, 4, 5, 6, 7] * 2,
    )


@pytest.fixture(scope="module")
def found(rafdb, tmp_path_factory):
    """Two runs of IPD-FER and one of its baseline, on RAF-DB alone; and where they were written."""
    home = tmp_path_factory.mktemp("reproduced")
    models = [save(home / "one"), save(home / "two", seed=1), save(home / "b", "small-baseline")]
    steps = []
    report = api.reproduce(
        "ipdfer",
        [f"rafdb={rafdb}"],
        models,
        output=home / "out",
        page=home / "page.md",
        cache=home / "cache",
        progress=lambda done, total: steps.append((done, total)),
    )
    return report, home, models, steps


def rows(report, table):
    (paper,) = report.data["papers"]
    return {row["row"]: row for row in paper["rows"] if row["table"] == table}


def test_rows_of_the_data_set_named_are_answered(found):
    report, home, models, steps = found
    assert (
        report.exit_code == 0 and steps[0] == (0, len(steps) - 1) and steps[-1][0] == steps[-1][1]
    )
    table = rows(report, "Table 3, RAF-DB")
    best, mean = (table[f"IPD-FER, {which} of four seeds"] for which in ("best", "mean"))
    assert best["paper"] == 88.89 and mean["paper"] == 88.67
    assert best["n"] == 14 and best["difference"] is None  # 14 photos are not the paper's 3,068
    assert "the paper has 3,068 photos here; 2 seeds of training" in best["note"]
    hashes = [checkpoints.read_header(path).sha256[:12] for path in models]
    assert best["weights"] == hashes[:2] and len(best["split_hash"]) == 12 and best["spread"] >= 0
    assert table["ResNet-18, best of four seeds"]["weights"] == hashes[2:]
    assert best["ours"] >= mean["ours"] > 0


def test_the_figures_are_those_of_the_protocol(found, rafdb):
    report, home, models, _ = found
    tables = [
        api.evaluate(model, ["recognition"], [f"rafdb={rafdb}"], cache=home / "cache")[0]
        for model in models
    ]
    row = rows(report, "Table 3, RAF-DB")["IPD-FER, mean of four seeds"]
    assert row["ours"] == pytest.approx((tables[0]["accuracy"] + tables[1]["accuracy"]) / 2)
    assert row["split_hash"] == tables[0].split_hash


def test_all_else_says_what_it_needs(found):
    report, *_ = found
    assert (
        "-d ferplus=FOLDER"
        in rows(report, "Table 4, FERPlus")["IPD-FER, best of four seeds"]["note"]
    )
    by_yaw = rows(report, "Table 8, RAF-DB by head yaw")
    assert by_yaw["ID-FER, all"]["note"] == "needs weights of id-fer; name them with --model FILE"
    assert by_yaw["IPD-FER, all"]["ours"] is not None
    assert by_yaw["IPD-FER, all"]["instruments"] == ["landmarks"]
    assert "which facefactor does not have" in rows(report, "Table 3, RAF-DB")["SCN"]["note"]


def test_what_is_written(found):
    report, home, *_ = found
    told = json.loads((home / "out" / "results.json").read_text())
    assert told == json.loads(json.dumps(report.to_dict()))
    page = (home / "page.md").read_text()
    assert page == (home / "out" / "results.md").read_text()
    assert json.loads((home / "page.json").read_text()) == told
    assert page.startswith("# ipdfer: the paper's figures and ours\n")
    assert "Written by `facefactor reproduce ipdfer -d rafdb=FOLDER --model FILE" in page
    assert "expression recognition on rafdb: always" in page  # the floor stands beside
    assert "### codes-picture" not in page  # gives pictures only
    html = (home / "out" / "results.html").read_text()
    # confusions of three weights; synthesis and map of codes of the two that are the method's own
    assert html.count("data:image/png;base64,") == 3 + 2 + 2 * 1
    assert "<link" not in html and "http" not in html


def test_a_second_call_measures_nothing_and_says_the_same(found, rafdb, monkeypatch):
    report, home, models, _ = found

    def never(*given, **named):
        raise AssertionError("measured again")

    monkeypatch.setattr(kept, "evaluate", never)
    again = api.reproduce("ipdfer", [f"rafdb={rafdb}"], models, cache=home / "cache")
    assert again.to_dict() == report.to_dict() and again.to_markdown() == report.to_markdown()


def test_a_broken_data_set_is_told_and_does_not_end_the_rest(found, rafdb, tmp_path):
    _, home, models, _ = found
    (tmp_path / "empty").mkdir()
    data = [f"rafdb={rafdb}", f"ferplus={tmp_path / 'empty'}"]
    report = api.reproduce("ipdfer", data, models[:1], cache=home / "cache")
    assert report.exit_code == 3
    assert [str(tmp_path / "empty") in reason for reason in report.failed.values()] == [True]
    note = rows(report, "Table 4, FERPlus")["IPD-FER, best of four seeds"]["note"]
    assert note.startswith("not measured: ") and str(tmp_path / "empty") in note


def test_methods_without_weights_and_without_data_say_so(tmp_path, monkeypatch):
    monkeypatch.setattr("facefactor.protocols.reproduce.packaged_weights", lambda: [])
    report = api.reproduce("leed", cache=tmp_path)
    assert report.exit_code == 1
    assert "facefactor train leed" in report.to_markdown()
    assert "No code here answers" in report.to_markdown()


@pytest.mark.parametrize(
    ("method", "data", "models", "message"),
    [
        ("stargan", [], [], "no paper of 'stargan'; there are facecycle"),
        ("ipdfer", ["rafbd=x"], [], "no reader 'rafbd'"),
        ("facecycle", [], ["ipdfer"], "ipdfer: weights of ipdfer, not of facecycle"),
        (None, [], ["ipdfer"], "weights are of one method"),
    ],
)
def test_what_is_refused(method, data, models, message, tmp_path):
    with pytest.raises(FaceFactorError, match=message):
        api.reproduce(method, data, models, cache=tmp_path)


# Which score answers, and what is subtracted


def table(value, n=100, model="ipdfer", protocol="recognition", spread=None):
    return ResultTable(
        protocol, "rafdb", (Score("accuracy", value, "%", None, spread),), model, n, 0
    )


WEIGHTS = Weights("ipdfer", "ipdfer", "0123456789abcdef")
ANSWER = Answer("recognition", "accuracy", "rafdb")


def test_the_first_table_that_fits_answers():
    tables = (table(1.0, model="always happiness"), table(None), table(2.0), table(3.0))
    assert _find(ANSWER, WEIGHTS, Kept(tables, (), 0.0))[2].value == 2.0
    elsewhere = dataclasses.replace(ANSWER, model="{model}, trained *")
    tables = (table(1.0), table(4.0, model="ipdfer, trained elsewhere"))
    assert _find(elsewhere, WEIGHTS, Kept(tables, (), 0.0))[2].value == 4.0
    assert _find(elsewhere, WEIGHTS, Kept(tables[:1], (), 0.0)) is None
    assert _find(dataclasses.replace(ANSWER, table="x*"), WEIGHTS, Kept(tables, (), 0.0)) is None


@pytest.mark.parametrize(
    ("n", "differs", "difference"), [(3000, "", -8.5), (2900, "", None), (3000, "others", None)]
)
def test_a_difference_is_of_the_same_thing(n, differs, difference):
    row = Row("Table 3", "IPD-FER", 88.5, of="ipdfer", answers=(ANSWER,), n=3068)
    answer = dataclasses.replace(ANSWER, differs=differs)
    own = table(80.0, n)
    line = _line(row, [(WEIGHTS, answer, own, own.scores[0])], 0)
    assert line.difference == difference and line.ours == 80.0
    assert differs in line.note


def test_several_seeds():
    row = Row("Table 3", "IPD-FER, best of four seeds", 88.89, of="ipdfer", answers=(ANSWER,))
    found = [(WEIGHTS, ANSWER, one, one.scores[0]) for one in (table(80.0), table(83.0))]
    mean, best = (_line(dataclasses.replace(row, over=over), found, 5) for over in ("mean", "best"))
    assert (mean.ours, best.ours) == (81.5, 83.0)
    assert mean.spread == pytest.approx(3 / 2**0.5) and mean.note == "2 seeds of training"
    assert mean.seed == 5
    alone = _line(row, found[:1], 0)
    assert alone.note == "1 seed of training" and alone.spread is None


def test_the_first_data_set_at_hand_answers(tmp_path, monkeypatch):
    """Neuro-Tensorial's identity is told on Multi-PIE; without it on CelebA, and not subtracted."""
    asked = []

    def measure(run, seed, cache, fresh):
        asked.append((run.protocol, [name for name, _ in run.folders]))
        protocol = "predictability of identity, linear SVM, 10 folds, random split"
        tables = [
            ResultTable(protocol, title, (Score("identity", value, "%"),), "neurotensorial", 9, 0)
            for title, value in (("kdef, 5 classes", 10.0), ("celeba, held-out people", 50.0))
        ]
        return Kept(tuple(tables), (), 0.0)

    monkeypatch.setattr("facefactor.protocols.reproduce.measure", measure)
    folders = {"kdef": tmp_path, "celeba": tmp_path}
    (plan,) = plan_papers(["neurotensorial"], folders)
    found = plan.reproduction(*measure_all(plan.runs(), 0, tmp_path))
    line = next(line for line in found.lines if line.row.value == 83.85)
    assert asked == [("predictability", ["kdef", "celeba"]), ("codes-picture", ["kdef"])]
    assert line.ours == 50.0 and line.difference is None and "Multi-PIE" in line.note


def test_processes_give_the_same_and_speed_is_measured_last_and_here(rafdb, tmp_path):
    model = save(tmp_path / "one")
    folders = (("rafdb", rafdb),)
    runs = [
        Run(model, "speed"),
        Run(model, "leakage", folders),
        Run(model, "verification", folders),  # fails: it wants pairs
        Run(model, "recognition", folders),
    ]
    steps = []
    kept, failed = measure_all(
        runs, 0, tmp_path / "two", progress=lambda *at: steps.append(at), workers=2
    )
    assert [run.protocol for run in kept] == ["speed", "leakage", "recognition"]
    assert [run.protocol for run in failed] == ["verification"]
    assert steps == [(done, 4) for done in range(5)]
    alone, _ = measure_all(runs, 0, tmp_path / "one", workers=1)
    for run in runs[1:]:
        if run in kept:
            assert kept[run].tables == alone[run].tables
    threads = f"{torch.get_num_threads()} threads"
    assert all(threads in found[runs[0]].tables[0].dataset for found in (kept, alone))


def test_all_methods_on_one_page(tmp_path):
    """Without data every paper says what it needs; with none of its weights, that too."""
    report = api.reproduce(cache=tmp_path)
    assert report.exit_code == 1 and "comparison" not in report.data
    assert [paper["method"] for paper in report.data["papers"]] == list(PAPERS)
    text = report.to_markdown()
    assert "Written by `facefactor reproduce --all`" in text
    assert "-d rafdb=FOLDER" in text and "--morphable ict.npz" in text
    assert text.count("\n## ") == len(PAPERS)
