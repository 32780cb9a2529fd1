"""The command line: what it asks of `api`, what it prints, how it exits."""

from __future__ import annotations

import inspect
import sys
import types
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import facefactor
from facefactor import api as REAL
from facefactor import cli
from facefactor.doctor import Check
from facefactor.errors import FaceFactorError
from facefactor.images import ImageError
from facefactor.outcomes import Outcome

Run = Callable[..., int]


@dataclass
class Row:
    values: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        return self.values

    def to_markdown(self) -> str:
        return f"| {self.values} |"


class Api(types.ModuleType):
    """Stands in for `facefactor.api`: takes what it takes, answers as told, keeps the question."""

    def __init__(self) -> None:
        super().__init__("facefactor.api")
        self.answers: dict[str, Any] = {}
        self.asked: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("__"):
            raise AttributeError(name)

        def answer(*given: Any, **named: Any) -> Any:
            inspect.signature(getattr(REAL, name)).bind(*given, **named)
            if "progress" in named:
                named.pop("progress")(1, 2)
            self.asked.append((name, given, named))
            result = self.answers.get(name, Outcome((Path("out.png"),)))
            if isinstance(result, BaseException):
                raise result
            return result

        return answer


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Api:
    fake = Api()
    monkeypatch.setitem(sys.modules, "facefactor.api", fake)
    monkeypatch.setattr(facefactor, "api", fake, raising=False)
    return fake


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as stopped:
        cli.main(arguments)
    return int(stopped.value.code or 0)


EDIT = {"model": "leed", "face": "largest", "raw": False, "smooth": 0.0}


@pytest.mark.parametrize(
    ("line", "name", "given", "named"),
    [
        (
            "neutral a.jpg b.jpg -o o",
            "edit_photos",
            (["a.jpg", "b.jpg"], Path("o"), "neutral"),
            EDIT,
        ),
        (
            "frontalize a.jpg -o o.png --model m.safetensors --face 1 --raw",
            "edit_photos",
            (["a.jpg"], Path("o.png"), "frontalize"),
            {"model": "m.safetensors", "face": "1", "raw": True, "smooth": 0.0},
        ),
        (
            "frontalize a.jpg -o o.png",
            "edit_photos",
            (["a.jpg"], Path("o.png"), "frontalize"),
            {**EDIT, "model": "facecycle"},
        ),
        (
            "normalize a.jpg b.mp4 -o o --smooth 1.5",
            "normalize",
            (["a.jpg", "b.mp4"], Path("o")),
            {**EDIT, "model": "nfgan", "smooth": 1.5, "steps": None},
        ),
        (
            "normalize a.jpg -o o.gif --steps 9 --face all -m m.safetensors --raw",
            "normalize",
            (["a.jpg"], Path("o.gif")),
            {**EDIT, "model": "m.safetensors", "face": "all", "raw": True, "steps": 9},
        ),
        (
            "augment faces -o o",
            "augment",
            (Path("faces"), Path("o")),
            {"reader": "auto", "label": None, "model": "nfgan"},
        ),
        (
            "augment faces -o o -r classes --label 6 -m m.safetensors",
            "augment",
            (Path("faces"), Path("o")),
            {"reader": "classes", "label": "6", "model": "m.safetensors"},
        ),
        (
            "encode faces/ -o c.parquet --csv --workers 3",
            "encode",
            (["faces/"], Path("c.parquet")),
            {
                "model": "facecycle",
                "face": "all",
                "csv": True,
                "backend": "torch",
                "workers": 3,
                "engine": "local",
                "restart": False,
            },
        ),
        (
            "express faces/ -o c.csv --backend onnx",
            "express",
            (["faces/"], Path("c.csv")),
            {
                "model": "ipdfer",
                "face": "all",
                "backend": "onnx",
                "workers": None,
                "engine": "local",
                "restart": False,
            },
        ),
        (
            "transfer a.jpg --from b.mp4 --factor identity,expression --strength -0.5 -o o.mp4",
            "transfer",
            ("a.jpg", "b.mp4", Path("o.mp4")),
            {"factors": ["identity", "expression"], "strength": -0.5, **EDIT},
        ),
        (
            "interpolate a.jpg b.jpg --factor expression --steps 5 --stop 1.5 -o p.gif",
            "interpolate",
            ("a.jpg", "b.jpg", Path("p.gif")),
            {
                "factors": ["expression"],
                "steps": 5,
                "span": (0.0, 1.5),
                "model": "leed",
                "face": "largest",
            },
        ),
    ],
)
def test_what_is_asked_of_the_api(
    api: Api, line: str, name: str, given: tuple[Any, ...], named: dict[str, Any]
) -> None:
    assert run(*line.split()) == 0
    assert api.asked == [(name, given, named)]


def test_training(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    api.answers["train"] = Path("runs/facecycle/model.safetensors")
    line = "train facecycle --data celeba=/faces --data own=/mine --set learning_rate=5e-5"
    assert run(*line.split(), "--seed", "3") == 0
    ((name, given, named),) = api.asked
    assert (name, given) == ("train", ("facecycle", ["celeba=/faces", "own=/mine"]))
    assert named == {
        "preset": "small",
        "output": Path("runs/facecycle"),
        "changes": ["learning_rate=5e-5"],
        "seed": 3,
        "resume": True,
        "start_from": None,
        "landmarks": None,
        "recogniser": None,
        "validation": 0.0,
        "morphable": None,
    }
    assert capsys.readouterr().out == "runs/facecycle/model.safetensors\n"
    assert run("train", "facecycle", "--data", "a=b", "--fresh") == 0
    assert api.asked[-1][2]["resume"] is False
    assert api.asked[-1][2]["changes"] == []


def test_training_without_photos(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    """Which presets do without, the method knows; the command only passes on what it says."""
    assert run("train", "neurotensorial", "--preset", "small-proof", "--morphable", "i.npz") == 0
    assert api.asked[-1][1] == ("neurotensorial", [])
    api.answers["train"] = FaceFactorError("facecycle learns from photos; name a folder of them")
    capsys.readouterr()
    assert run("train", "facecycle") == 1
    assert capsys.readouterr().err == (
        "facefactor: facecycle learns from photos; name a folder of them\n"
    )


def test_rendering_people(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    api.answers["render_people"] = Path("made/poses.csv")
    line = "data synthetic -o made --morphable ict.npz --people 3 --seed 1 --crop arcface"
    assert run(*line.split(), "--size", "112") == 0
    ((name, given, named),) = api.asked
    assert (name, given) == ("render_people", (Path("made"), Path("ict.npz")))
    assert named == {"people": 3, "seed": 1, "size": 112, "crop": "arcface"}
    assert capsys.readouterr().out == "made/poses.csv\n"


def test_what_is_printed(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    row = Row({"name": "facecycle", "factors": "identity, expression"})
    api.answers = {"models": [row], "evaluate": [row], "check_data": row, "model_card": "# A card"}
    api.answers["demo"] = [Path("demo/sheet.png"), Path("demo/face.glb")]
    for line, expected in [
        ("models list", "facecycle"),
        ("models card facecycle", "# A card"),
        ("evaluate facecycle --protocol verification --dataset lfw=/lfw", "| {'name'"),
        ("data check /faces --reader celeba", "factors: identity, expression"),
        ("demo", "demo/sheet.png\ndemo/face.glb\n"),
    ]:
        assert run(*line.split()) == 0
        assert expected in capsys.readouterr().out


@pytest.mark.parametrize("line", ["doctor", "models verify"])
def test_checks_and_their_exit_code(
    api: Api, capsys: pytest.CaptureFixture[str], line: str
) -> None:
    checks = [Check("python", "ok", "3.11"), Check("disk", "warn", "1 GB", "free some space")]
    api.answers = {"doctor": checks, "verify_models": checks}
    assert run(*line.split()) == 0
    out = capsys.readouterr().out
    assert "ok    python: 3.11\n" in out
    assert "warn  disk: 1 GB\n      -> free some space\n" in out
    checks.append(Check("detector", "fail", "gone", "install it"))
    assert run(*line.split()) == 1


@pytest.mark.parametrize(
    ("outcome", "code"),
    [
        (Outcome((Path("a.png"), Path("b.png"))), 0),
        (Outcome((Path("a.png"),), {"b.jpg": "b.jpg: is empty"}), 3),
        (Outcome((), {"b.jpg": "b.jpg: is empty"}), 1),
    ],
)
def test_exit_codes_of_several_inputs(
    api: Api, capsys: pytest.CaptureFixture[str], outcome: Outcome, code: int
) -> None:
    api.answers["edit_photos"] = outcome
    assert run("neutral", "a.jpg", "b.jpg", "-o", "out") == code
    printed = capsys.readouterr()
    assert printed.out == "".join(f"{path}\n" for path in outcome.done)
    assert ("facefactor: b.jpg: is empty\n" in printed.err) == bool(outcome.failed)


def test_an_error_is_one_line_without_traceback(
    api: Api, capsys: pytest.CaptureFixture[str]
) -> None:
    api.answers["transfer"] = ImageError("me.jpg: is empty (0 bytes); copy or download it again")
    line = ("transfer", "me.jpg", "--from", "b.jpg", "-o", "o.png")
    assert run(*line) == 1
    assert capsys.readouterr().err == (
        "facefactor: me.jpg: is empty (0 bytes); copy or download it again\n"
    )
    for words in ((*line, "--debug"), ("--debug", *line)):
        with pytest.raises(ImageError, match=r"me\.jpg"):
            cli.main(words)


def test_a_bug_is_not_hidden(api: Api) -> None:
    api.answers["demo"] = ZeroDivisionError("a bug")
    with pytest.raises(ZeroDivisionError):
        cli.main(["demo"])


@pytest.mark.parametrize(
    "line",
    [
        "",
        "nonsense",
        "neutral -o out",
        "neutral a.jpg",
        "neutral a.jpg -o out --unknown",
        "transfer a.jpg -o out",
        "transfer a.jpg --from b.jpg -o out --factor expression,",
        "transfer a.jpg --from b.jpg -o out --strength much",
        "interpolate a.jpg b.jpg -o out.png --steps 1",
        "normalize a.jpg -o out.gif --steps 1",
        "normalize a.jpg",
        "augment faces",
        "train facecycle --data justafolder",
        "data synthetic -o out",
        "data synthetic -o out --morphable ict.npz --people 0",
        "train facecycle --data a=b --set learning_rate",
        "evaluate facecycle --protocol verification --dataset lfw",
        "models",
    ],
)
def test_usage_errors_exit_with_2_and_ask_nothing(
    api: Api, capsys: pytest.CaptureFixture[str], line: str
) -> None:
    assert run(*line.split()) == 2
    assert not api.asked
    printed = capsys.readouterr()
    assert "Traceback" not in printed.err + printed.out


def test_help_lists_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--help") == 0
    printed = capsys.readouterr().out
    for verb in (
        "demo",
        "encode",
        "normalize",
        "transfer",
        "augment",
        "train",
        "evaluate",
        "doctor",
    ):
        assert f"\n  {verb} " in printed
