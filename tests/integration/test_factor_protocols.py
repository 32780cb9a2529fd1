"""Predictability, relighting and maps of codes, from folders of made photos to tables."""

import shutil
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from facefactor.data.crops import CroppedFaces
from facefactor.data.held_out import hold_out_people
from facefactor.data.lights import light_of
from facefactor.data.records import DataError, FaceRecord
from facefactor.editing import FactorError
from facefactor.errors import FaceFactorError
from facefactor.evaluation.autoencoder import kept_autoencoder
from facefactor.factors import Factors, FactorSpec, ModelSpec
from facefactor.geometry.rotations import rotation_matrix
from facefactor.images import read_photo
from facefactor.perception.head_pose import MEAN_FACE
from facefactor.protocols import evaluate, labelled, predictability, relighting, yaw
from facefactor.protocols.subject import cut_faces
from tests.small_networks import save_ipdfer, save_neurotensorial

LIGHTS = {  # as in file names -> how bright the photos are
    "A+000E+00": 1.0,
    "A+035E+15": 0.8,
    "A-070E+00": 0.6,
    "A+000E+90": 0.5,
    "A+110E+15": 0.3,
}
PEOPLE = 12


def block(random, low, high, shape=(3, 3, 3)):
    """A pattern of a few large squares."""
    return np.kron(random.uniform(low, high, shape), np.ones((48, 42, 1)))


@pytest.fixture(scope="module")
def yale(tmp_path_factory):
    """A person is a pattern, a light a brightness: photo = brightness times pattern."""
    folder, random = tmp_path_factory.mktemp("CroppedYale"), np.random.default_rng(0)
    for number in range(1, PEOPLE + 1):
        person = f"yaleB{number:02d}"
        (folder / person).mkdir()
        pattern = block(random, 0.2, 0.9)
        pattern[:48, :42] = 1  # the brightest square is as bright in all of them
        for light, brightness in LIGHTS.items():
            photo = Image.fromarray(np.rint(240 * brightness * pattern).astype(np.uint8))
            photo.save(folder / person / f"{person}_P00{light}.png")
    return folder


@pytest.fixture(scope="module")
def celeba(tmp_path_factory):
    """Five people held out, four photos each, and twelve not; a person is a pattern."""
    folder, random = tmp_path_factory.mktemp("celeba"), np.random.default_rng(1)
    (folder / "images").mkdir()
    numbered = [FaceRecord(folder / str(n), subject=str(n)) for n in range(80)]
    others, held_out = hold_out_people(numbered)
    lines = []
    for person in [*held_out[:5], *others[:12]]:
        pattern = random.uniform(60, 200, (4, 4, 3))
        for _ in range(4):
            pixels = np.kron(pattern + random.uniform(-9, 9, pattern.shape), np.ones((32, 32, 1)))
            name = f"{len(lines) + 1:06d}.png"
            Image.fromarray(pixels.astype(np.uint8)).save(folder / "images" / name)
            lines.append(f"{name} {person.subject}")
    (folder / "identity.txt").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return save_neurotensorial(tmp_path_factory.mktemp("weights") / "model.safetensors")


class EverySecondTurned(nn.Module):
    """Landmarks of the mean face, turned by 0 and 30 degrees in turn."""

    crop, image_size = "arcface", 112

    def forward(self, faces):
        yaw = torch.tensor([0.0, 30.0]).repeat(len(faces))[: len(faces)]
        pose = torch.stack([yaw, torch.zeros_like(yaw), torch.zeros_like(yaw)], dim=1)
        seen = MEAN_FACE @ rotation_matrix(pose).mT[:, :, :2].to(MEAN_FACE.dtype)
        return 0.5 + 0.2 * seen * torch.tensor([1.0, -1.0])


@pytest.fixture
def turned(monkeypatch):
    monkeypatch.setattr(yaw, "packaged_landmarks", lambda: EverySecondTurned().eval())


# predictability


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(predictability, "kept_autoencoder", partial(kept_autoencoder, images=64))


def test_predictability(yale, celeba, weights, tmp_path, turned, quick):
    data = [f"celeba={celeba}", f"cropped-yale={yale}"]
    out = tmp_path / "out"
    tables = evaluate(weights, ["predictability"], data, out, cache=tmp_path / "cache")
    assert [(table.protocol.split(" of ")[1], table.dataset, table.n) for table in tables] == [
        (f"{attribute}, linear SVM, 10 folds, {split}", dataset, n)
        for attribute, split, dataset, n in (
            ("identity", "random split", "celeba, held-out people, 5 classes", 20),
            # five people do not make ten folds
            ("pose", "random split", "celeba, held-out people, 2 classes", 20),
            ("identity", "random split", "cropped-yale, 12 classes", 60),
            ("illumination", "random split", "cropped-yale, 5 classes", 60),
            ("illumination", "split by subject", "cropped-yale, 5 classes", 60),
        )
    ]
    names = ["identity", "expression", "pose", "illumination", "all codes"]
    rows = [*names, *(f"{name}, untrained" for name in names)]
    rows += ["autoencoder, 113", "pixel PCA, 24"]
    for table in tables:
        assert [s.metric for s in table.scores[::2]] == [*rows, "the most frequent label"]
        assert table.model == "neurotensorial" and len(table.split_hash) == 12
    assert tables[0].instruments == ("landmarks",) and tables[2].instruments == ()
    of_people, of_lights, of_strangers = tables[2:]
    assert of_people["pixel PCA, 24"] > 80  # the person is all but the brightness
    assert of_lights["the most frequent label"] == 20
    assert of_strangers["pixel PCA, 24, above chance"] > 50
    # the weights of the file, and another draw
    assert any(t[name] != t[f"{name}, untrained"] for t in tables for name in names)
    picture = read_photo(out / "predictability.png")
    assert picture.shape[1] > 5 * 100 and "all codes, untrained" in (out / "results.md").read_text()


def test_without_celeba_there_are_no_baselines_that_learn(
    yale, weights, tmp_path, caplog, monkeypatch
):
    two_folds = partial(predictability.predictability, folds=2)
    monkeypatch.setattr(predictability, "predictability", two_folds)
    tables = evaluate(weights, ["predictability"], [f"cropped-yale={yale}"], cache=tmp_path)
    assert not [s for s in tables[0].scores if "PCA" in s.metric or "autoencoder" in s.metric]
    assert "they learn from celeba" in caplog.text


def test_nothing_varied_is_an_error(yale, weights, tmp_path):
    shutil.copytree(yale / "yaleB01", tmp_path / "one" / "yaleB01")
    with pytest.raises(DataError, match="too few photos of two classes"):
        evaluate(weights, ["predictability"], [f"cropped-yale={tmp_path / 'one'}"], cache=tmp_path)


def test_predictability_needs_labels(yale, weights, tmp_path):
    with pytest.raises(FaceFactorError, match="predictability needs one of the data sets celeba"):
        evaluate(weights, ["predictability"], [f"rafdb={yale}"], cache=tmp_path)


# labels


def test_rare_classes_are_not_asked_for():
    assert predictability.frequent(["a", "b", "a", None, "a"], 2) == ["a", None, "a", None, "a"]


@pytest.mark.parametrize(
    ("angle", "name"),
    [(0.0, "yaw 0"), (-7.0, "yaw 0"), (8.0, "yaw +15"), (-38.0, "yaw -45"), (80.0, "yaw +45")],
)
def test_the_seven_poses(angle, name):
    assert labelled._yaw_name(angle) == name


def test_an_unknown_yaw_has_no_bin():
    assert labelled._yaw_name(float("nan")) is None


def test_views_of_kdef_are_its_poses(tmp_path):
    def found(views):
        records = [
            FaceRecord(tmp_path / f"AF{number:02d}{code}{view}.JPG", f"F{number:02d}", expression)
            for number in range(10)
            for view in views
            for code, expression in (("AN", "anger"), ("NE", "neutral"))
        ]
        faces = np.zeros((len(records), 8, 8, 3), np.uint8)
        return labelled._of_views(None, CroppedFaces(faces, records, []), 0)[0]

    assert set(found(["S"])) == {"expression"}
    several = found(["HL", "S"])
    assert several["pose"][:4] == ["HL", "HL", "S", "S"]
    assert several["expression"][:2] == ["anger", "neutral"]


def test_multipie_is_two_sets(tmp_path):
    def record(camera, flash):
        return FaceRecord(tmp_path / f"001_01_01_{camera}_{flash:02d}.png", "001")

    frontal, dark, turned = record("051", 7), record("051", 0), record("190", 7)
    profile, above = record("240", 7), record("191", 7)
    assert labelled._cameras([frontal, dark, turned, profile, above]) == {
        "multipie": [frontal, dark, turned],
        "multipie-frontal": [frontal],
    }


def test_whole_people_are_chosen():
    records = [FaceRecord(f"{n}.jpg", subject=str(n // 5)) for n in range(100)]
    chosen = labelled._some_people(records, 23, 0)
    assert len(chosen) == 20 and len({record.subject for record in chosen}) == 4
    assert labelled._some_people(records, 200, 0) == records
    many = [FaceRecord(f"{n}.jpg", subject=str(n % 2)) for n in range(100)]
    assert len({record.subject for record in labelled._some_people(many, 23, 0)}) == 2


def test_labels_of_multipie(tmp_path):
    def found(cameras):
        records = [
            FaceRecord(tmp_path / f"{person:03d}_02_0{recording}_{camera}_{light:02d}.png", person)
            for person in range(5)
            for recording in (1, 2, 3)
            for camera in cameras
            for light in (1, 7)
        ]
        faces = np.zeros((len(records), 8, 8, 3), np.uint8)
        return labelled._of_multipie(None, CroppedFaces(faces, records, []), 0)[0]

    frontal, turned = found(["051"]), found(["051", "080"])
    assert set(frontal) == {"identity", "expression", "illumination"}
    assert set(turned) == {"identity", "expression", "pose"}
    assert frontal["illumination"][:2] == ["flash 1", "flash 7"]
    assert turned["pose"][1:3] == ["camera 05_1", "camera 08_0"]
    assert turned["expression"][::4][:3] == ["neutral", "surprise", "squint"]


def test_crops_of_yale_have_no_second_pair_of_eyes(yale, tmp_path):
    """The photos are all that is seen in the middle; beside it every row is of one colour."""
    spec = Brightness().spec
    subject = SimpleNamespace(
        header=SimpleNamespace(spec=spec),
        cut=lambda records: cut_faces(records, spec.crop, spec.image_size, tmp_path),
    )
    records = relighting.READERS["cropped-yale"](yale)[:3]
    cut, area = labelled.cut_yale(subject, records)
    columns, rows = area.any(axis=0), area.any(axis=1)
    # 126 of 201 and 144 of 201 pixels
    assert 39 <= columns.sum() <= 41 and 45 <= rows.sum() <= 47
    assert (cut.faces[:, area] == subject.cut(records).faces[:, area]).all()
    beside = cut.faces[:, :, : columns.argmax()]
    assert (beside == beside[:, :, :1]).all() and cut.records == records


# relighting


class Brightness:
    """A face is a pattern whose brightest value is 1, times a brightness: in `yale` exactly so."""

    def __init__(self, useless=False):
        shapes = {"identity": (3, 64, 64), "illumination": (1,)}
        factors = {name: FactorSpec(shape, "") for name, shape in shapes.items()}
        self.spec = ModelSpec("ideal", "facecycle", 64, 3, factors)
        self.useless = useless

    def encode(self, faces):
        brightest = faces.amax(dim=(1, 2, 3))[:, None]
        return Factors({"identity": faces / brightest[..., None, None], "illumination": brightest})

    def decode(self, factors):
        light = factors["illumination"]
        if self.useless:
            light = torch.ones_like(light)
        return factors["identity"] * light[..., None, None]


class Coarse(nn.Module):
    """In place of a recogniser: what a face looks like from far, and how bright it is."""

    crop, image_size = "arcface", 112

    def forward(self, faces):
        coarse = nn.functional.adaptive_avg_pool2d(faces, 6).flatten(1)
        return torch.cat([coarse, torch.ones(len(faces), 1)], dim=1)


@pytest.fixture
def recogniser(monkeypatch):
    monkeypatch.setattr(relighting, "packaged_recogniser", Coarse)


def measure(model, folder, cache):
    spec = model.spec

    def cut(records):
        return cut_faces(records, spec.crop, spec.image_size, cache)

    subject = SimpleNamespace(
        model=model, name=spec.name, header=SimpleNamespace(spec=spec), cut=cut
    )
    found = relighting.relighting_of_pairs(subject, {"cropped-yale": folder}, seed=0)
    return {table.model: table for table in found.tables}, found.pictures


def test_an_ideal_relighting_is_nearer_and_a_useless_one_is_not(yale, tmp_path, recogniser):
    tables, pictures = measure(Brightness(), yale, tmp_path)
    ideal, unrelit = tables["ideal, light of another's photo"], tables["unrelit photo"]
    assert ideal.n == PEOPLE * (len(LIGHTS) - 1) and ideal.dataset == "cropped-yale, 12 people"
    assert ideal["nearer in PSNR"] == 100 and ideal["PSNR"] > 40  # but for rounding
    assert ideal["nearer in both"] > 95
    assert unrelit["nearer in PSNR"] == 0 and unrelit["PSNR"] < 20
    assert ideal["light at 25 to 52°: nearer in PSNR"] == 100
    groups = [score.n for score in ideal.scores if score.metric.endswith("°: PSNR")]
    assert groups == [PEOPLE, PEOPLE, 2 * PEOPLE]
    kept = tables["ideal, own light kept"]
    assert kept["PSNR"] == pytest.approx(unrelit["PSNR"], abs=0.01)
    stranger = tables["the light's photo itself"]
    assert stranger["PSNR"] < ideal["PSNR"]
    assert not any("direction" in name for name in tables)  # it has no code for one
    assert pictures["relighting-cropped-yale.png"].shape[1] > 4 * 140
    useless, _ = measure(Brightness(useless=True), yale, tmp_path)
    assert useless["ideal, light of another's photo"]["nearer in PSNR"] < 5


def test_relighting_with_a_model_that_knows_directions(yale, weights, tmp_path, recogniser):
    out = tmp_path / "out"
    tables = evaluate(weights, ["relighting"], [f"cropped-yale={yale}"], out, cache=tmp_path)
    assert [table.model for table in tables] == [
        "unrelit photo",
        "unrelit photo, brightness and contrast of the light's",
        "the light's photo itself",
        "neurotensorial, light of another's photo",
        "neurotensorial, light of another's photo, put back as a change",
        "neurotensorial, light from its direction",
        "neurotensorial, light from its direction, put back as a change",
        "neurotensorial, own light kept",
    ]
    assert {table.n for table in tables} == {PEOPLE * (len(LIGHTS) - 1)}
    assert {table.instruments for table in tables} == {("recogniser",)}
    assert len({table["PSNR"] for table in tables}) == len(tables)
    assert (out / "relighting-cropped-yale.png").is_file()


def test_pairs_take_the_light_of_somebody_else(yale):
    records = relighting.READERS["cropped-yale"](yale)
    pairs = relighting.pair_lights(records, seed=0)
    for own, source, true, light in zip(
        pairs.frontal, pairs.source, pairs.true, pairs.light, strict=True
    ):
        assert light_of(records[own]) == (0.0, 0.0)
        assert records[own].subject == records[true].subject
        assert light_of(records[source]) == light_of(records[true]) == light != (0.0, 0.0)
        assert records[source].subject != records[true].subject
    assert relighting.pair_lights(records, seed=1).source != pairs.source
    alone = [record for record in records if record.subject == "yaleB01"]
    with pytest.raises(DataError, match="no person has a photo lit frontally"):
        relighting.pair_lights(alone, seed=0)


def test_relighting_needs_a_light_to_change(yale, tmp_path):
    other = save_ipdfer(tmp_path / "model.safetensors")
    with pytest.raises(FactorError, match="ipdfer does not separate illumination"):
        evaluate(other, ["relighting"], [f"cropped-yale={yale}"], cache=tmp_path)


# maps


def test_a_map_of_every_code_by_every_label(yale, weights, tmp_path):
    out = tmp_path / "out"
    assert not evaluate(weights, ["codes-picture"], [f"cropped-yale={yale}"], out, cache=tmp_path)
    assert sorted(path.name for path in out.iterdir()) == [
        "codes-cropped-yale-identity.png",
        "codes-cropped-yale-illumination.png",
    ]
    by_light = read_photo(out / "codes-cropped-yale-illumination.png")
    assert by_light.shape[1] == 4 * (720 + 190)  # four codes beside one another
    assert not (by_light[:, :900] == by_light[:, 910:1810]).all()
