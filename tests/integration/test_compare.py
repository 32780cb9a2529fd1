"""`facefactor compare` on made faces: the matrix, what is drawn, floors, and the page of it all."""

import importlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from facefactor import api, checkpoints
from facefactor.data.held_out import hold_out_people
from facefactor.data.records import DataError, FaceRecord
from facefactor.errors import FaceFactorError
from facefactor.evaluation.tables import ResultTable, Score
from facefactor.factors import EXPRESSIONS
from facefactor.geometry.lighting import directional_lighting
from facefactor.geometry.morphable import write_morphable
from facefactor.protocols import Subject, probed
from facefactor.protocols.compare import side_by_side
from facefactor.protocols.disentanglement import holders
from facefactor.protocols.probed import (
    ProbedFaces,
    _deal_within,
    light_sides,
    photographed_faces,
    rendered_faces,
)
from tests.made_folders import write
from tests.made_talking_head import talking_egg
from tests.small_networks import save_ipdfer, save_neurotensorial


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("compared")


@pytest.fixture(scope="module")
def models(home):
    names = len(talking_egg().expression_names)
    return [
        str(save_ipdfer(home / "ipdfer.safetensors")),
        str(save_neurotensorial(home / "ant.safetensors", expression_modes=names)),
    ]


@pytest.fixture(scope="module")
def yale(home):
    """CroppedYale's layout: 6 people, each a pattern of colours, lit from 8 sides."""
    random = np.random.default_rng(0)
    lights = [(0, 0), (-10, 0), (70, 0), (-70, 0), (0, 60), (60, -20), (-60, -20), (0, -35)]
    across = np.linspace(-1, 1, 126)[None, :]
    for person in range(1, 7):
        pattern = np.kron(random.uniform(60, 180, (4, 4)), np.ones((36, 32)))[:, :126]
        for azimuth, elevation in lights:
            lit = pattern * (1 - 0.5 * across * np.sign(azimuth)) + elevation / 2
            name = f"yaleB{person:02d}_P00A{azimuth:+04d}E{elevation:+03d}.jpg"
            file = home / "yale" / f"yaleB{person:02d}" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(lit.clip(0, 255).astype(np.uint8)).save(file)
    return home / "yale"


@pytest.fixture(scope="module")
def report(home, models, yale):
    steps = []
    with pytest.MonkeyPatch.context() as patched:
        module = importlib.import_module("facefactor.protocols.redrawing")
        patched.setattr(module, "_FACES", 12)
        patched.setattr(module, "_TIMES", 1)
        found = api.compare(
            models,
            [f"cropped-yale={yale}"],
            output=home / "out",
            cache=home / "cache",
            progress=lambda done, total: steps.append((done, total)),
        )
    assert steps[0] == (0, 6) and steps[-1] == (6, 6)
    return found


def tables(report, protocol):
    return {
        table["model"]: {score["metric"]: score["value"] for score in table["scores"]}
        for table in report.data["comparison"]["tables"]
        if table["protocol"] == protocol
    }


def test_every_cell_of_the_matrix(report):
    assert report.exit_code == 0 and not report.failed
    found = tables(report, "disentanglement")
    assert set(found) == {"ipdfer", "neurotensorial"}
    codes = {
        "ipdfer": ["identity", "pose", "expression"],
        "neurotensorial": ["identity", "expression", "pose", "illumination"],
    }
    for model, scores in found.items():
        for attribute in ("identity", "illumination"):
            chance = scores[f"{attribute}, chance"]
            for code in (*codes[model], "all codes", "untrained codes", "pixels"):
                for probe in ("linear", "MLP"):
                    name = f"{attribute} from {code}, {probe}"
                    scaled = 100 * (scores[name] - chance) / (100 - chance)
                    assert scores[f"{name}, above chance"] == pytest.approx(scaled)
        # a person is a pattern of colours here
        assert scores["identity from pixels, MLP, above chance"] > 90


def test_what_is_to_hold_a_factor_and_what_leaks(report):
    found = tables(report, "disentanglement")
    ant = found["neurotensorial"]
    name = "{} from {}, MLP, above chance"
    own = [ant[name.format(both, both)] for both in ("identity", "illumination")]
    codes = ("identity", "expression", "pose", "illumination")
    foreign = [
        ant[name.format(attribute, code)]
        for attribute in ("identity", "illumination")
        for code in codes
        if code != attribute
    ]
    assert ant["informativeness"] == pytest.approx(np.mean(own))
    assert ant["leakage"] == pytest.approx(np.mean(foreign))
    # light is of no code of IPD-FER: told or not, it is nobody's
    alone = found["ipdfer"]
    assert alone["informativeness"] == alone[name.format("identity", "identity")]


def test_what_drawings_keep(report):
    found = tables(report, "redrawing")
    assert set(found) == {
        "ipdfer",
        "ipdfer, untrained",
        "neurotensorial",
        "neurotensorial, untrained",
        "copy of the input",
    }
    copy, own = found["copy of the input"], found["ipdfer"]
    assert copy["PSNR, redrawn"] == 100 and copy["SSIM, redrawn"] == pytest.approx(1, abs=1e-3)
    assert own["PSNR, redrawn"] < 30
    for factor in ("identity", "pose", "expression"):
        assert f"PSNR, {factor} exchanged and back" in own
        assert 0 <= own[f"path of {factor}, monotony"] <= 100
    assert -1 <= own["likeness by recogniser, another's expression"] <= 1
    assert copy["likeness by recogniser, redrawn"] > copy["likeness by recogniser, the next"]


def test_speed_and_size(report, models):
    found = tables(report, "speed and size")
    header, state = checkpoints.load(models[0])
    assert header.method == "ipdfer"
    assert found["ipdfer"]["draw a face, 32 at once"] > 0
    numbers = sum(tensor.numel() for tensor in state.values())
    assert found["ipdfer"]["weights as float16"] == pytest.approx(2 * numbers / 1e6)
    assert 0 < found["ipdfer"]["parameters"] <= numbers / 1e6


def test_the_page(report, home):
    page = (home / "out" / "results.md").read_text()
    head = next(line for line in page.splitlines() if line.startswith("| attribute"))
    assert head.split(" | ")[2:] == [
        "identity",
        "expression",
        "pose",
        "illumination",
        "all codes",
        "untrained codes",
        "pixels",
        "chance |",
    ]
    rows = [line for line in page.splitlines() if line.startswith("| illumination |")]
    assert "*" not in rows[0] and rows[1].count("*") == 1  # IPD-FER has no code for it
    assert "NOT the same faces" not in page
    html = (home / "out" / "results.html").read_text()
    assert html.count("data:image/png;base64,") == 2  # a matrix each
    told = json.loads((home / "out" / "results.json").read_text())
    assert [each["title"] for each in told["comparison"]["weights"]] == ["ipdfer", "neurotensorial"]


def test_two_calls_say_the_same(report, home, models, yale):
    again = api.compare(models, [f"cropped-yale={yale}"], cache=home / "cache")
    assert again.to_markdown() == report.to_markdown()


def test_a_measurement_does_not_depend_on_what_was_kept(report, home, models, yale, tmp_path):
    anew = api.evaluate(
        models[0], ["disentanglement"], [f"cropped-yale={yale}"], cache=home / "cache"
    )
    kept = tables(report, "disentanglement")["ipdfer"]
    assert {score.metric: score.value for score in anew[0].scores} == kept


def test_what_is_refused(models, yale, tmp_path):
    for given, data, message in [
        ([], [f"cropped-yale={yale}"], "name the models"),
        ([models[0]] * 2, [f"cropped-yale={yale}"], "each once"),
        (models, [], "--morphable FILE"),
        (models, [f"rafdb={yale}"], "faces to compare on are needed"),
        (models, ["yale=x"], "no reader 'yale'"),
        (["nonsense"], [f"cropped-yale={yale}"], "nonsense"),
    ]:
        with pytest.raises(FaceFactorError, match=message):
            api.compare(given, data, cache=tmp_path)


# The faces to probe with


def test_rendered_faces_are_the_same_for_every_crop(models, tmp_path, monkeypatch):
    monkeypatch.setattr(probed, "RENDERED_PEOPLE", 2)
    monkeypatch.setattr(probed, "_TIMES", 1)
    write_morphable(tmp_path / "egg.npz", talking_egg())
    first, second = (
        rendered_faces(Subject(Path(model), tmp_path, tmp_path / "egg.npz"), 0) for model in models
    )
    assert first.split_hash == second.split_hash
    assert first.faces.shape == (16, 112, 112, 3) and second.faces.shape == (16, 64, 64, 3)
    for attribute in ("identity", "expression", "illumination"):
        assert first.labels[attribute] == second.labels[attribute]
    assert first.labels["expression"] == list(EXPRESSIONS) * 2
    assert set(first.labels["illumination"]) <= {"front", "left", "right"}
    assert first.labels["identity"] == ["10000"] * 8 + ["10001"] * 8


def test_rendered_faces_are_drawn_once_for_a_crop(models, tmp_path, monkeypatch):
    monkeypatch.setattr(probed, "RENDERED_PEOPLE", 2)
    monkeypatch.setattr(probed, "_TIMES", 1)
    write_morphable(tmp_path / "egg.npz", talking_egg())
    subject = Subject(Path(models[0]), tmp_path, tmp_path / "egg.npz")
    drawn = rendered_faces(subject, 0)
    other = rendered_faces(subject, 1)
    assert (other.faces != drawn.faces).any()
    monkeypatch.setattr("facefactor.data.synthetic.synthetic_faces", None)
    again = rendered_faces(subject, 0)
    assert (again.faces == drawn.faces).all()
    assert (again.labels, again.split_hash) == (drawn.labels, drawn.split_hash)
    for kept in (tmp_path / "rendered").iterdir():
        kept.write_bytes(kept.read_bytes()[:1000])
    with pytest.raises(DataError, match="not an .npz"):
        rendered_faces(subject, 0)


def test_sides_of_light():
    azimuth = torch.tensor([0.0, 25.0, 40.0, -40.0, -90.0])
    lights = directional_lighting(azimuth, torch.tensor([50.0, 0.0, 20.0, 0.0, 10.0]), 0.5)
    assert light_sides(lights) == ["front", "front", "left", "right", "right"]


def test_people_are_told_by_other_clips():
    labels = ["a"] * 6 + ["b"] * 3 + [None] * 2
    clips = ["1", "1", "2", "2", "3", "3", "4", "5", "6", "7", "8"]
    for seed in range(5):
        test = _deal_within(labels, clips, np.random.default_rng(seed))
        assert test.sum() == 3 and not test[9:].any()  # a clip of two photos, and one of one
        assert not {clips[row] for row in np.flatnonzero(test)} & {
            clips[row] for row in np.flatnonzero(~test)
        }


def test_all_else_is_told_of_other_people():
    people = [f"p{n // 5}" for n in range(60)]
    known = ProbedFaces("", np.zeros((60, 1)), {"pose": ["x"] * 60}, people, people, "")
    test = known.split("pose", 0)
    told = {person for person, asked in zip(people, test, strict=True) if asked}
    learnt = {person for person, asked in zip(people, test, strict=True) if not asked}
    assert test.sum() == 20 and len(told) == 4 and not told & learnt


def test_of_celeba_only_held_out_people_are_shown(models, tmp_path):
    random = np.random.default_rng(0)
    lines, people = [], 40
    (tmp_path / "celeba" / "images").mkdir(parents=True)
    for number in range(people * 4):
        photo = random.integers(0, 255, (128, 128, 3), dtype=np.uint8)
        name = f"{number:06d}.png"
        Image.fromarray(photo).save(tmp_path / "celeba" / "images" / name)
        lines.append(f"{name} {number // 4}")
    write(tmp_path / "celeba" / "identity.txt", "\n".join(lines) + "\n")
    known = photographed_faces(Subject(Path(models[0]), tmp_path), "celeba", tmp_path / "celeba", 0)
    _, held_out = hold_out_people([FaceRecord(tmp_path, str(n)) for n in range(people)])
    assert set(known.people) == {record.subject for record in held_out}
    assert set(known.labels["identity"]) == set(known.people)
    assert known.split("identity", 0).sum() == len(set(known.people))  # one of four photos


def test_who_is_to_hold_what(models, tmp_path):
    alone, ant = (Subject(Path(model), tmp_path) for model in models)
    assert holders(alone, "pose") == ["pose"] and holders(alone, "illumination") == []
    assert holders(ant, "illumination") == ["illumination"]
    cycle = Subject(checkpoints.weights_file("facecycle"), tmp_path)
    assert holders(cycle, "pose") == ["expression"]


def test_columns_side_by_side():
    def table(value, unit="%"):
        return ResultTable("p", "d", (Score("accuracy", value, unit),))

    extra = ResultTable("p", "d", (Score("accuracy", 2.0, "%"), Score("other", None, "dB")))
    grid = side_by_side(
        [
            ("a", table(1.0)),
            ("a: chance", table(0.5)),
            ("b", extra),
            ("b: chance", table(0.5)),
            ("c: chance", table(0.7)),
        ]
    )
    assert grid.rows == [
        ["", "a", "chance", "b", "c: chance"],
        ["accuracy", "1.00 %", "0.50 %", "2.00 %", "0.70 %"],
        ["other", "", "", "–", ""],
    ]
