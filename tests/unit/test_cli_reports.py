"""`reproduce` and `compare` on the command line: what they ask of `api`, print, and exit with."""

import inspect
from pathlib import Path

import pytest

from facefactor import api, cli
from facefactor.errors import FaceFactorError
from facefactor.protocols.pages import Text
from facefactor.protocols.report import Report


@pytest.fixture
def asked(monkeypatch):
    """What was asked; three runs gave something."""
    calls = []

    def stand_in(name):
        signature = inspect.signature(getattr(api, name))

        def answer(*given, **named):
            signature.bind(*given, **named)
            named.pop("progress")(1, 2)
            calls.append((name, given, named))
            if isinstance(answer.report, Exception):
                raise answer.report
            return answer.report

        answer.report = Report("Results", [Text("the page")], [], {}, 3, {})
        return answer

    for name in ("reproduce", "compare"):
        monkeypatch.setattr(api, name, stand_in(name))
    return calls


def run(*arguments):
    with pytest.raises(SystemExit) as stopped:
        cli.main(arguments)
    return int(stopped.value.code or 0)


def test_reproducing_one_paper(asked, capsys):
    line = "reproduce ipdfer -d rafdb=R -d ferplus=F -m a.safetensors -m b.safetensors --seed 2"
    assert run(*line.split(), "--morphable", "i.npz", "-o", "out", "--fresh", "--workers", "3") == 0
    ((name, given, named),) = asked
    assert (name, given) == ("reproduce", ("ipdfer", ["rafdb=R", "ferplus=F"]))
    assert named == {
        "models": ["a.safetensors", "b.safetensors"],
        "morphable": Path("i.npz"),
        "output": Path("out"),
        "page": None,
        "seed": 2,
        "fresh": True,
        "workers": 3,
    }
    printed = capsys.readouterr()
    assert printed.out == "the page\n\n"
    assert printed.err.splitlines()[-1] == str(Path("out") / "results.html")


def test_reproducing_all(asked, capsys):
    assert run("reproduce", "--all", "-d", "rafdb=R", "--page", "docs/results.md") == 0
    assert asked[0][1] == (None, ["rafdb=R"])
    assert asked[0][2]["page"] == Path("docs/results.md") and asked[0][2]["output"] is None
    assert capsys.readouterr().err.splitlines()[-1] == str(Path("docs/results.md"))


def test_comparing(asked):
    assert run("compare", "facecycle", "my/model.safetensors", "-d", "celeba=C") == 0
    name, given, named = asked[0]
    assert (name, given) == ("compare", (["facecycle", "my/model.safetensors"], ["celeba=C"]))
    assert named["morphable"] is None and named["fresh"] is False and named["workers"] is None


@pytest.mark.parametrize(
    "line",
    [
        "reproduce",
        "reproduce ipdfer --all",
        "compare",
        "reproduce ipdfer -d rafdb",
        "compare a -d x",
    ],
)
def test_usage_errors(asked, capsys, line):
    assert run(*line.split()) == 2
    assert not asked and "Traceback" not in capsys.readouterr().err


def test_exit_codes(asked, capsys):
    def report(measured, failed):
        return Report("Results", [], [], {}, measured, failed)

    for measured, failed, code in [(3, {}, 0), (0, {}, 1), (3, {"a run": "no face"}, 3)]:
        api.reproduce.report = report(measured, failed)
        assert run("reproduce", "leed") == code
    assert "facefactor: a run: no face" in capsys.readouterr().err
    api.reproduce.report = FaceFactorError("no paper of 'x'")
    assert run("reproduce", "x") == 1
    assert capsys.readouterr().err.splitlines()[-1] == "facefactor: no paper of 'x'"
