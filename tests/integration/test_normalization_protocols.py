"""`normalization` and `normalized-verification`: from made folders to tables and pictures."""

import dataclasses
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch

from facefactor.data.held_out import hold_out_people
from facefactor.data.readers import read_celeba, read_kdef
from facefactor.data.records import FaceRecord
from facefactor.errors import FaceFactorError
from facefactor.evaluation.verification import verification
from facefactor.factors import FactorSpec, ModelSpec
from facefactor.geometry.morphable import write_morphable
from facefactor.images import photos_to_faces, read_photo, write_image
from facefactor.perception.align import align, crop_points
from facefactor.perception.packaged import packaged_recogniser
from facefactor.perception.recognition import embed
from facefactor.protocols import Subject, evaluate, strangers
from facefactor.protocols.normalisers import check_normalises, normaliser
from facefactor.protocols.normalization import _observe, normalized_faces, one_after_another
from facefactor.protocols.observation import load_instruments, recut
from facefactor.protocols.strangers import target_rows
from tests.made_folders import write
from tests.made_talking_head import talking_egg
from tests.small_networks import save_ipdfer, save_nfgan, save_recogniser


def face_of(person, photo, side):
    """Soft blotches of a person's own, and a little noise of the photo's."""
    own = np.random.default_rng((1, person)).integers(30, 225, (6, 6, 3)).astype(np.uint8)
    soft = cv2.resize(own, (side, side), interpolation=cv2.INTER_CUBIC).astype(int)
    noise = np.random.default_rng((2, person, photo)).integers(-12, 13, (side, side, 3))
    return np.clip(soft + noise, 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def celeba(tmp_path_factory):
    """CelebA's layout: two photos each of 40 people."""
    top = tmp_path_factory.mktemp("celeba")
    for number in range(80):
        path = top / "images" / f"{number:06d}.png"
        write_image(path, face_of(number // 2, number % 2, 128))
    lines = [f"{number:06d}.png {number // 2}\n" for number in range(80)]
    write(top / "identity.txt", "".join(lines))
    return top


@pytest.fixture(scope="module")
def kdef(tmp_path_factory):
    """KDEF's layout: three people held out and three not; each comes twice, neutral and happy from
    the front and happy from half left."""
    top = tmp_path_factory.mktemp("kdef")
    names = [f"{letter}{number:02d}" for letter in "FM" for number in range(1, 36)]
    kept, out = hold_out_people([FaceRecord(top / name, name) for name in names])
    for person, record in enumerate([*kept[:3], *out[:3]]):
        for session in "AB":
            for number, view in enumerate(("NES", "HAS", "HAHL")):
                path = top / f"{session}{record.subject}{view}.png"
                write_image(path, face_of(person, 10 * number + ord(session), 100))
    return top


@pytest.fixture(scope="module")
def lfw(tmp_path_factory):
    """LFW's layout: ten folds of a pair of one person and a pair of two."""
    top = tmp_path_factory.mktemp("lfw")
    for person in range(10):
        for photo in (1, 2):
            path = top / "aligned112" / f"P{person}" / f"P{person}_{photo:04d}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_image(path.with_suffix(".png"), face_of(person, photo, 112))
            path.with_suffix(".png").rename(path)
    pairs = [f"P{p}\t1\t2\nP{p}\t1\tP{(p + 1) % 10}\t2\n" for p in range(10)]
    write(top / "pairs.txt", "10\t1\n" + "".join(pairs))
    return top


@pytest.fixture(scope="module")
def nfgan(tmp_path_factory):
    return save_nfgan(tmp_path_factory.mktemp("nfgan") / "model.safetensors")


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def no_other_recogniser(monkeypatch):
    monkeypatch.delenv("FACEFACTOR_WEIGHTS", raising=False)


class _Detector:
    """Sees a face where made photos have it: as large as the photo."""

    def detect(self, photo):
        points = crop_points("arcface", photo.shape[0])
        return [SimpleNamespace(points=points)]


def test_held_out_people_beside_three_floors(nfgan, celeba, cache, tmp_path, monkeypatch):
    save_recogniser(tmp_path / "mobilefacenet_ms1m.safetensors", measured=None)
    monkeypatch.setenv("FACEFACTOR_WEIGHTS", str(tmp_path))
    out = tmp_path / "out"
    tables = evaluate(nfgan, ["normalization"], [f"celeba={celeba}"], out, cache=cache)
    train, held_out = hold_out_people(read_celeba(celeba))
    assert [table.model for table in tables] == [
        "nfgan",
        "copy of the input",
        f"mean of {len(train)} training faces",
        "nfgan, untrained",
    ]
    assert {table.n for table in tables} == {len(held_out)} and len(held_out) >= 4
    assert {table.split_hash for table in tables} == {tables[0].split_hash}
    assert tables[0].instruments == ("recogniser", "mobilefacenet", "ipdfer", "landmarks")
    own, copy, mean, untrained = tables
    for name in ("recogniser", "mobilefacenet"):
        assert copy[f"same person as the photo, {name}"] == 100
        distance = f"distance to the photo, {name}"
        assert 0 < copy[distance] < mean[distance]  # a copy has fewer pixels than the photo
    assert not any("true face" in score.metric for table in tables for score in table.scores)
    assert own["absolute yaw"] != copy["absolute yaw"] and own.to_dict() != untrained.to_dict()
    for file in (
        "normalized-celeba-nfgan.png",
        "identity-recogniser-celeba-nfgan.png",
        "identity-mobilefacenet-celeba-nfgan.png",
    ):
        assert read_photo(out / file).shape[0] > 400
    assert "normalization" in (out / "results.md").read_text()


def test_true_faces_are_known_and_a_perfect_model_is_perfect(
    nfgan, kdef, cache, monkeypatch, no_other_recogniser
):
    monkeypatch.setattr("facefactor.perception.mtcnn.FaceDetector", _Detector)
    subject = Subject(nfgan, cache)
    cut = subject.cut(hold_out_people(read_kdef(kdef))[1])
    faces, goals = photos_to_faces(cut.faces), target_rows(cut.records)

    def answer(asked):
        rows = [int((faces - face).abs().flatten(1).sum(1).argmin()) for face in asked]
        return faces[goals[rows]]

    subject.model.normalise = answer
    perfect, copy, mean, _, ceiling = normalized_faces(subject, {"kdef": kdef}, 0).tables
    counts = {score.n for score in perfect.scores if "true face" in score.metric}
    assert counts == {len(cut.records)} == {18}
    assert perfect["difference from the true face, pixels"] == 0
    assert 0 < copy["difference from the true face, pixels"]
    assert (
        copy["difference from the true face, pixels"]
        < mean["difference from the true face, pixels"]
    )
    assert perfect["same person as the true face, recogniser"] == 100
    # the best there is: what this model gives, whoever measures it
    assert ceiling.model == "the true face" and ceiling.n == 18
    for score in ceiling.scores:
        if score.value is not None:
            assert score.value == pytest.approx(perfect[score.metric], abs=1e-3), score.metric
    name = "distance to the true face, recogniser"
    assert perfect[name] <= copy[name] < mean[name]


def test_a_photo_is_not_its_own_target(kdef):
    records = read_kdef(kdef)
    targets = target_rows(records)
    for row, record in enumerate(records):
        goal = records[targets[row]]
        assert goal.subject == record.subject and goal is not record
        assert goal.path.stem.endswith("NES")
    alone = [record for record in records if record.path.stem.startswith("A")]
    unknown = target_rows(alone) < 0  # a second neutral photo is missing
    assert [record.expression == "neutral" for record in alone] == unknown.tolist()
    turned = [record for record in records if record.path.stem.endswith("HL")]
    neutral = [dataclasses.replace(record, expression="neutral") for record in turned]
    assert (target_rows(neutral) == -1).all()  # neutral, but from the side
    untold = [dataclasses.replace(record, frontal=None) for record in records]
    assert (target_rows(untold) == -1).all()


def test_a_model_without_normalised_faces_is_measured_by_its_edits(
    celeba, cache, tmp_path, no_other_recogniser
):
    weights = save_ipdfer(tmp_path / "ipdfer.safetensors")
    own, copy, *_ = evaluate(weights, ["normalization"], [f"celeba={celeba}"], cache=cache)
    assert own.instruments == ("recogniser", "ipdfer", "landmarks")
    # the crop is the instruments' own: nothing is lost between photo and copy
    assert copy["distance to the photo, recogniser"] == pytest.approx(0, abs=1e-5)
    model = Subject(weights, cache).model
    faces = torch.rand(2, 3, 112, 112, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        codes = model.encode(faces)
        bare = model.decoder(codes["identity"])  # codes add up: zero is no pose, no expression
        torch.testing.assert_close(normaliser(model)(faces), bare)


def test_rendered_strangers_have_exact_true_faces(
    cache, tmp_path, monkeypatch, no_other_recogniser
):
    monkeypatch.setattr(strangers, "RENDERED", 6)
    monkeypatch.setattr(strangers, "_RENDERED_MEAN", 4)
    write_morphable(tmp_path / "egg.npz", talking_egg())
    weights = save_ipdfer(tmp_path / "ipdfer.safetensors")
    given = {"output": tmp_path / "out", "cache": cache, "morphable": tmp_path / "egg.npz"}
    tables = evaluate(weights, ["normalization"], **given)
    _, copy, mean, _, ceiling = tables
    assert mean.model == "mean of 4 training faces"
    assert {table.dataset for table in tables} == {"rendered faces"}
    assert {table.n for table in tables} == {6}
    # the instruments are shown the same scenes
    assert copy["distance to the photo, recogniser"] == pytest.approx(0, abs=1e-5)
    assert ceiling["distance to the true face, recogniser"] == pytest.approx(0, abs=1e-5)
    assert ceiling["difference from the true face, pixels"] == 0
    assert copy["difference from the true face, pixels"] > 0.1
    assert ceiling["asymmetry, pixels"] < copy["asymmetry, pixels"]  # turned, lit from aside
    assert (tmp_path / "out" / "normalized-rendered-faces-ipdfer.png").is_file()
    assert "--morphable FILE" in tables[0].command


def test_pairs_before_and_after(nfgan, lfw, cache, no_other_recogniser):
    tables = evaluate(nfgan, ["normalized-verification"], [f"lfw={lfw}"], cache=cache)
    assert [table.model for table in tables] == [
        "photos, arcface crop of 112 px",
        "photos, facecycle crop of 64 px",
        "normalised by nfgan",
        "normalised by nfgan, untrained",
    ]
    assert {table.n for table in tables} == {20}
    assert {table.instruments for table in tables} == {("recogniser",)}
    left, right = [
        torch.cat(
            [
                align(read_photo(lfw / "aligned112" / name / f"{name}_{number:04d}.jpg"),
                      crop_points("arcface", 112), "arcface", 112)[0]
                for name, number in side
            ]
        )
        for side in (
            [(f"P{p}", 1) for p in range(10) for _ in "sd"],
            [pair for p in range(10) for pair in ((f"P{p}", 2), (f"P{(p + 1) % 10}", 2))],
        )
    ]  # fmt: skip
    with torch.inference_mode():
        codes = [embed(packaged_recogniser(), faces) for faces in (left, right)]
    slow = verification(*codes, [True, False] * 10, "lfw")
    assert tables[0]["AUC"] == pytest.approx(slow["AUC"])
    assert tables[0]["accuracy"] == pytest.approx(slow["accuracy"])


def test_recut_shows_what_the_other_crop_would_have_shown():
    """A soft photo, cut in one crop and recut to the other: the same, where both crops reach."""
    photo = face_of(0, 0, 200) // 8 * 8
    photo = cv2.GaussianBlur(photo, (0, 0), 6)
    points = crop_points("arcface", 160) + 20
    tight, wide = (align(photo, points, crop, 96)[0] for crop in ("facecycle", "arcface"))
    found = recut(wide, "arcface", "facecycle", 96)
    assert (found - tight)[..., :84, 4:92].abs().max() < 0.02  # the tight one goes further down
    again = recut(tight, "facecycle", "arcface", 96)
    assert (again - wide)[..., 16:, 10:86].abs().max() < 0.02  # and less far up and aside
    assert recut(wide, "arcface", "arcface", 96) is wide
    assert recut(wide, "arcface", "arcface", 48).shape == (1, 3, 48, 48)


def test_a_picture_that_all_share_is_looked_at_once(monkeypatch):
    instruments = load_instruments()
    one = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    all_alike = instruments.observe(one.repeat(3, 1, 1, 1), "facecycle")
    asked = []
    look = type(instruments).observe
    monkeypatch.setattr(
        type(instruments),
        "observe",
        lambda self, faces, crop: asked.append(len(faces)) or look(self, faces, crop),
    )
    found = _observe(instruments, one.expand(3, -1, -1, -1), "facecycle")
    _observe(instruments, torch.cat([one, 1 - one]), "facecycle")
    assert asked == [1, 2]
    torch.testing.assert_close(found.yaw, all_alike.yaw, rtol=1e-4, atol=1e-3, equal_nan=True)
    assert found.neutral.shape == (3,)
    for name, codes in all_alike.embeddings.items():
        torch.testing.assert_close(found.embeddings[name], codes, rtol=1e-3, atol=1e-4)


def test_everybody_is_shown_before_anybody_is_shown_twice():
    names = ["a"] * 5 + ["b"] * 3 + ["c"]
    for seed in range(5):
        three = one_after_another(names, 3, seed)
        assert sorted(names[row] for row in three) == ["a", "b", "c"]
        assert three == sorted(three) == one_after_another(names, 3, seed)
        assert sorted(names[row] for row in one_after_another(names, 5, seed)) == list("aabbc")
    assert one_after_another(names, 40, 0) == list(range(9))


def test_what_cannot_be_measured_is_said(nfgan, lfw, tmp_path, cache):
    with pytest.raises(FaceFactorError, match="normalization needs one of the data sets celeba"):
        evaluate(nfgan, ["normalization"], [f"lfw={lfw}"], cache=cache)
    with pytest.raises(FaceFactorError, match="normalized-verification needs one of .* lfw"):
        evaluate(nfgan, ["normalized-verification"], [f"celeba={lfw}"], cache=cache)
    (tmp_path / "images").mkdir()
    write_image(tmp_path / "images/1.png", face_of(0, 0, 128))
    write(tmp_path / "identity.txt", "1.png 7\n")
    with pytest.raises(FaceFactorError, match="fewer than two held-out people"):
        evaluate(nfgan, ["normalization"], [f"celeba={tmp_path}"], cache=cache)
    spec = ModelSpec("code", "arcface", 112, 3, {"identity": FactorSpec((4,), "who it is")})
    header = SimpleNamespace(spec=spec)
    only = SimpleNamespace(name="code", header=header, model=object())
    with pytest.raises(FaceFactorError, match="code takes neither expression nor pose off"):
        check_normalises(only, "normalization")
