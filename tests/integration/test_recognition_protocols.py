"""Recognition, leakage and pictures from folders of photos, with a small untrained IPD-FER."""

import dataclasses
import json
import typing

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from typer.models import OptionInfo

from facefactor import checkpoints, cli
from facefactor.checkpoints import CheckpointHeader
from facefactor.data.held_out import hold_out_people
from facefactor.data.readers import read_celeba, read_rafdb
from facefactor.data.records import FaceRecord
from facefactor.errors import FaceFactorError
from facefactor.evaluation import leakage
from facefactor.factors import EXPRESSIONS
from facefactor.geometry.rotations import rotation_matrix
from facefactor.images import read_photo
from facefactor.methods.ipdfer.recipe import PRESETS, build
from facefactor.perception.head_pose import MEAN_FACE
from facefactor.protocols import PICTURES, PROTOCOLS, Subject, evaluate, yaw
from facefactor.protocols.subject import model_title
from tests.made_folders import write_rafdb

PATTERNS = np.random.default_rng(7).integers(80, 176, (60, 4, 4, 3), dtype=np.uint8)


def tiny(**changes):
    """The small recipe with an eighth of its channels."""
    sizes = {"width": 1 / 16, "decoder_channels": (8, 8, 8, 8, 8), "code_size": 16}
    return dataclasses.replace(PRESETS["small"], **{**sizes, **changes})


def save(folder, recipe, preset="small", trained_on=()):
    torch.manual_seed(0)
    model = build(recipe)
    settings = json.loads(json.dumps(dataclasses.asdict(recipe)))
    folder.mkdir(parents=True, exist_ok=True)
    header = CheckpointHeader("ipdfer", preset, settings, model.spec)
    checkpoints.save(folder / "model.safetensors", model.state_dict(), header)
    if trained_on:
        data = {name: "0" * 12 for name in trained_on}
        (folder / "settings.json").write_text(json.dumps({"data": data}))
    return folder / "model.safetensors"


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return save(tmp_path_factory.mktemp("weights"), tiny())


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def rafdb(tmp_path_factory):
    """RAF-DB's layout; a class is a brightness, 40 + 25 k for class k, and a faint pattern. In the
    training part "sadness" is the most frequent, in the test part all are equal."""
    random = np.random.default_rng(0)

    def face(label):
        noise = random.integers(0, 31, (100, 100, 3)) + 25 * label
        return noise + np.kron(PATTERNS[label - 1] // 4 % 2 * 24.0 - 12, np.ones((25, 25, 1)))

    even = [1, 2, 3, 4, 5, 6, 7]
    return write_rafdb(
        tmp_path_factory.mktemp("rafdb"), face, train=even * 10 + [5] * 5, test=even * 3
    )


@pytest.fixture(scope="module")
def ck48(tmp_path_factory):
    """CK+48's layout: two subjects, a face of each class."""
    folder = tmp_path_factory.mktemp("ck48")
    random = np.random.default_rng(1)
    for name in ("anger", "contempt", "happy"):
        (folder / name).mkdir()
        for subject in range(1, 21):
            face = random.integers(0, 255, (48, 48), dtype=np.uint8)
            Image.fromarray(face).save(folder / name / f"S{subject:03d}_001_00000011.png")
    return folder


@pytest.fixture(scope="module")
def celeba(tmp_path_factory):
    """CelebA's layout, four people held out and twelve not; a person is a pattern of 4x4 colours,
    and every second photo is darker."""
    folder = tmp_path_factory.mktemp("celeba")
    (folder / "images").mkdir()
    numbered = [FaceRecord(folder / str(n), subject=str(n)) for n in range(60)]
    others, held_out = hold_out_people(numbered)
    people, lines = [*held_out[:4], *others[:12]], []
    random = np.random.default_rng(2)
    for row, person in enumerate(people):
        for photo in range(4):
            pattern = np.kron(PATTERNS[row], np.ones((32, 32, 1))) - 40 * (photo % 2)
            face = pattern + random.integers(-8, 9, pattern.shape)
            name = f"{4 * row + photo + 1:06d}.png"
            Image.fromarray(face.clip(0, 255).astype(np.uint8)).save(folder / "images" / name)
            lines.append(f"{name} {person.subject}")
    (folder / "identity.txt").write_text("\n".join(lines) + "\n")
    return folder


class TurnedByBrightness(nn.Module):
    """Landmarks of the mean face, turned by 5, 15, 25 ... degrees for the classes of `rafdb`, and
    to the other side for every second face."""

    crop, image_size = "arcface", 112

    def forward(self, faces):
        brightness = faces.mean(dim=(1, 2, 3)) * 255
        turn = (brightness - 40) / 25 * 10 + 5
        turn = turn * torch.tensor([1.0, -1.0]).repeat(len(faces))[: len(faces)]
        pose = torch.stack([turn, torch.zeros_like(turn), torch.zeros_like(turn)], dim=1)
        seen = MEAN_FACE @ rotation_matrix(pose).mT[:, :, :2].to(MEAN_FACE.dtype)
        return 0.5 + 0.2 * seen * torch.tensor([1.0, -1.0])


@pytest.fixture
def turned(monkeypatch):
    monkeypatch.setattr(yaw, "packaged_landmarks", lambda: TurnedByBrightness().eval())


def test_recognition_with_its_floors_and_picture(rafdb, weights, cache, tmp_path):
    tables = evaluate(weights, ["recognition"], [f"rafdb={rafdb}"], tmp_path, cache=cache)
    floor = "pixel PCA, 37, fitted on 75 faces of rafdb"
    assert [table.model for table in tables] == ["ipdfer", "always sadness", floor]
    own, constant, pixels = tables
    assert {table.protocol for table in tables} == {"expression recognition"}
    assert {table.n for table in tables} == {21} and len({t.split_hash for t in tables}) == 1
    assert own.scores[0].published == 88.89
    # the training part's most frequent class, a seventh of the test part
    assert constant["accuracy"] == pytest.approx(100 / 7)
    assert constant["class mean"] == pytest.approx(100 / 7)
    assert pixels["accuracy"] > 90 and pixels.scores[0].published is None
    picture = read_photo(tmp_path / "confusion-rafdb-ipdfer.png")
    assert picture.shape[0] > 500
    assert "always sadness" in (tmp_path / "results.md").read_text()


def test_the_models_answers_are_what_is_counted(rafdb, weights, cache):
    (own, *_) = evaluate(weights, ["recognition"], [f"rafdb={rafdb}"], cache=cache)
    subject = Subject(weights, cache)
    right = 0
    for record in read_rafdb(rafdb, "test"):
        face = torch.from_numpy(np.array(subject.cut([record]).faces)).permute(0, 3, 1, 2) / 255
        with torch.inference_mode():
            said = subject.model.expression_probabilities(face).argmax().item()
        right += subject.model.classes[said] == record.expression
    assert own["accuracy"] == pytest.approx(100 * right / 21)


def test_a_data_set_without_a_test_part_is_tested_whole_and_called_cross_database(
    ck48, weights, cache
):
    own, constant = evaluate(weights, ["recognition"], [f"ckplus48={ck48}"], cache=cache)
    setting = "expression recognition, cross-database, without photos of contempt"
    assert own.protocol == constant.protocol == setting
    assert own.model == "ipdfer, trained elsewhere" and own.n == 40
    assert constant.model == "always happiness" and constant["accuracy"] == 50
    assert own.scores[0].published is None


def test_a_run_says_what_it_was_trained_on(rafdb, ck48, cache, tmp_path):
    """By the settings beside its weights; then published figures are shown only for the setting
    they were measured in, and people of a data set without parts are held out."""
    data = [f"rafdb={rafdb}", f"ckplus48={ck48}"]
    on_ck = save(tmp_path / "ck", tiny(classes=EXPRESSIONS), trained_on=["ckplus"])
    tables = evaluate(on_ck, ["recognition"], data, cache=cache)
    own = {table.dataset: table for table in tables if table.model.startswith("ipdfer")}
    assert own["rafdb"].model == own["ckplus48"].model == "ipdfer, trained on ckplus"
    assert own["rafdb"].protocol == "expression recognition, cross-database"
    assert own["ckplus48"].protocol == "expression recognition, held-out people"
    assert 0 < own["ckplus48"].n < 60 and own["ckplus48"].n % 3 == 0

    both = save(tmp_path / "both", tiny(), trained_on=["rafdb", "ferplus"])
    table = evaluate(both, ["recognition"], data[:1], cache=cache)[0]
    assert table.model == "ipdfer, trained on rafdb and ferplus"
    assert table.protocol == "expression recognition" and table.scores[0].published is None


@pytest.mark.parametrize(
    ("preset", "changes", "title"),
    [
        ("small", {}, "ipdfer"),
        ("paper", {}, "ipdfer"),
        ("small-id", {}, "id-fer"),
        ("paper-baseline", {}, "baseline"),
        ("small", {"confusion": 0.0}, "ipdfer without confusion"),
        (
            "small",
            {"identity": 0.0, "fake_neutral": 0.0},
            "ipdfer without fake_neutral and identity",
        ),
        ("small", {"confusion": 0.5}, "ipdfer"),
        ("of tomorrow", {}, "ipdfer"),
    ],
)
def test_names_of_variants(preset, changes, title):
    recipe = dataclasses.asdict(PRESETS.get(preset, PRESETS["small"]))
    recipe["weights"] |= changes
    header = CheckpointHeader("ipdfer", preset, recipe, build(tiny()).spec)
    assert model_title(header) == title


def test_recognition_by_yaw(rafdb, weights, cache, turned):
    """Three test faces of each class, turned by 5, 15, ... 65 degrees to either side."""
    own, constant = evaluate(weights, ["recognition-by-yaw"], [f"rafdb={rafdb}"], cache=cache)
    assert own.model == "ipdfer" and own.instruments == constant.instruments == ("landmarks",)
    assert [score.n for score in own.scores] == [21, 18, 15, 12, 9]
    assert own.scores[0].published == 88.89 and own.scores[4].published == 87.66
    # sadness is turned by 45 degrees, so it is a third of the last row
    assert constant.model == "always sadness"
    assert [round(score.value, 2) for score in constant.scores] == [14.29, 16.67, 20, 25, 33.33]


def test_without_the_landmark_network_the_error_says_how_to_get_it(
    rafdb, weights, cache, monkeypatch, tmp_path
):
    from facefactor.perception import packaged

    monkeypatch.setattr(packaged, "FOLDER", tmp_path)
    with pytest.raises(FaceFactorError, match="facefactor train landmarks"):
        evaluate(weights, ["recognition-by-yaw"], [f"rafdb={rafdb}"], cache=cache)


def test_leakage(rafdb, celeba, weights, cache, turned, monkeypatch):
    """Pixels of these drawn faces hold all that is asked for."""
    monkeypatch.setattr(leakage, "_STEPS", 60)
    data = [f"celeba={celeba}", f"rafdb={rafdb}"]
    people, expressions = evaluate(weights, ["leakage"], data, cache=cache)
    for table, attribute in ((people, "identity"), (expressions, "expression")):
        assert [score.metric for score in table.scores] == rows(attribute)
        assert table.instruments == ("landmarks",) and table.model == "ipdfer"
    assert people.dataset == "celeba, held-out people, identity of 4"
    assert people["identity, chance"] == 25
    assert people["identity from pixels, linear"] > 70
    assert {s.n for s in people.scores if s.metric.startswith("identity")} == {8}
    assert expressions["expression, chance"] == pytest.approx(100 / 7)
    assert expressions["pose, chance"] == 20
    assert expressions["expression from pixels, linear"] > 60
    assert expressions["pose from pixels, MLP"] > 60


def rows(attribute):
    rows = []
    for what in (attribute, "pose"):
        for code in ("identity", "expression", "pose", "pixels"):
            rows += [f"{what} from {code}, linear", f"{what} from {code}, MLP"]
        rows.append(f"{what}, chance")
    return rows


def test_too_few_people_to_tell_apart(celeba, weights, cache, tmp_path, turned):
    few = tmp_path / "few"
    (few / "images").mkdir(parents=True)
    _, held_out = hold_out_people(read_celeba(celeba))
    others = [record for record in read_celeba(celeba) if record not in set(held_out)]
    for record in [*held_out[:6], *others]:
        (few / "images" / record.path.name).write_bytes(record.path.read_bytes())
    lines = [f"{record.path.name} {record.subject}" for record in [*held_out[:6], *others]]
    (few / "identity.txt").write_text("\n".join(lines) + "\n")
    message = "two held-out people with 4 photos or more, found 1 among 2"
    with pytest.raises(FaceFactorError, match=message):
        evaluate(weights, ["leakage"], [f"celeba={few}"], cache=cache)


def test_pictures(rafdb, celeba, weights, cache, tmp_path, turned):
    data = [f"rafdb={rafdb}", f"celeba={celeba}"]
    assert evaluate(weights, list(PICTURES), data, tmp_path / "out", cache=cache) == []
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "codes-celeba-identity.png",
        "codes-celeba-pose.png",
        "codes-rafdb-expression.png",
        "synthesis-celeba.png",
        "synthesis-rafdb.png",
    ]
    people, faces = (
        read_photo(tmp_path / "out" / f"synthesis-{name}.png") for name in ("celeba", "rafdb")
    )
    assert people.shape[0] == faces.shape[0]  # four rows: photo, and three drawings
    assert people.shape[1] < faces.shape[1]  # four people are held out; of RAF-DB eight photos


def test_pictures_need_a_folder_and_a_decoder(rafdb, weights, cache, tmp_path):
    for protocol in PICTURES:
        with pytest.raises(FaceFactorError, match=f"{protocol} writes pictures; .*--output"):
            evaluate(weights, [protocol], [f"rafdb={rafdb}"], cache=cache)
    baseline = tiny(weights=PRESETS["small-baseline"].weights)
    undrawn = save(tmp_path / "baseline", baseline, "small-baseline")
    with pytest.raises(FaceFactorError, match="baseline draws nothing"):
        evaluate(undrawn, ["synthesis"], [f"rafdb={rafdb}"], tmp_path / "out", cache=cache)


def test_motion_needs_a_flow(rafdb, weights, cache):
    with pytest.raises(FaceFactorError, match="ipdfer moves no pixels"):
        evaluate(weights, ["motion"], [f"rafdb={rafdb}"], cache=cache)


def test_from_the_command_line(rafdb, weights, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)  # crops are kept in the current folder
    words = ["evaluate", str(weights), "-p", "recognition", "-d", f"rafdb={rafdb}", "-o", "out"]
    with pytest.raises(SystemExit) as stop:
        cli.main(words)
    assert stop.value.code == 0
    shown = capsys.readouterr().out
    assert "**expression recognition** on **rafdb**; model ipdfer; n = 21" in shown
    assert "always sadness" in shown and "88.89 %" in shown
    assert len(json.loads((tmp_path / "out" / "results.json").read_text())) == 3
    assert (tmp_path / "out" / "confusion-rafdb-ipdfer.png").is_file()
    with pytest.raises(SystemExit) as stop:
        cli.main([*words[:2], "-p", "synthesis", *words[4:6]])
    assert stop.value.code == 1
    assert "synthesis writes pictures; name a folder (--output FOLDER)" in capsys.readouterr().err


def test_the_help_names_every_protocol():
    hints = typing.get_type_hints(cli.evaluate, include_extras=True)
    (option,) = [m for m in hints["protocol"].__metadata__ if isinstance(m, OptionInfo)]
    named = option.help.partition(".")[0].split(", ")
    assert named == list(PROTOCOLS)
