"""From folders of photos to a weights file, for a network that is an instrument."""

import json
import re

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open

from facefactor import checkpoints
from facefactor.data.held_out import hold_out_photos
from facefactor.data.rendered import RenderedFaces
from facefactor.data.samples import number_subjects
from facefactor.geometry.morphable import MorphableModelError, read_morphable, write_morphable
from facefactor.geometry.uv_grid import resample
from facefactor.perception.head_pose import MEAN_FACE
from facefactor.perception.recognition import IResNet18, load_recogniser
from facefactor.perception.state_dicts import InstrumentError
from facefactor.training.run import TrainingError
from facefactor.training.train import train, training_faces
from tests.made_folders import write_celeba, write_rafdb
from tests.made_heads import egg_model
from tests.made_talking_head import talking_egg
from tests.small_networks import save_recogniser


@pytest.fixture(scope="module")
def celeba(tmp_path_factory):
    """Forty people with two photos each, in CelebA's layout, and landmarks for half of them."""
    folder = tmp_path_factory.mktemp("data") / "CelebA"
    names = write_celeba(folder, 80, of_each=2)
    marks = np.full((80, 68, 3), 64.0, np.float16)
    marks[:, 36:42, :2], marks[:, 42:48, :2] = (45, 66), (83, 66)
    (folder.parent / "marks").mkdir()
    np.savez(
        folder.parent / "marks" / "CelebA.npz",
        names=np.array(names),
        landmarks68=marks,
        found=np.arange(80) % 2 == 0,
    )
    return folder


@pytest.fixture(scope="module")
def rafdb(tmp_path_factory):
    """Thirty faces of random colours in RAF-DB's layout, of all seven classes."""
    random = np.random.default_rng(1)
    return write_rafdb(
        tmp_path_factory.mktemp("rafdb"),
        lambda label: random.integers(0, 255, (100, 100, 3)),
        [number % 7 + 1 for number in range(30)],
    )


def test_an_instrument_is_trained_by_the_same_command(celeba, tmp_path):
    changes = {"batch_size": "2", "images": "4", "people": "40"}
    path = train(
        "recogniser", {"celeba": celeba}, tmp_path / "run", "paper", changes, cache=tmp_path
    )
    assert isinstance(load_recogniser(path), IResNet18)
    with safe_open(path, "pt") as file:
        described = json.loads(file.metadata()["facefactor"])
    assert described["network"] == "recogniser" and described["seen"] == {"recognition": 4}


def test_landmarks_of_a_data_set_are_found_by_its_folder_and_follow_its_faces(celeba, tmp_path):
    known = training_faces(
        {"celeba": celeba}, "arcface", 112, tmp_path, landmarks=celeba.parent / "marks"
    )
    assert len(known.faces) == len(known.records) == len(known.landmarks)
    assert 0 < len(known.held_out) and len(known.held_out) + len(known.faces) == 80
    for record, points in zip(known.records, known.landmarks, strict=True):
        assert np.isnan(points).all() == (int(record.path.stem) % 2 == 1)
    found = known.landmarks[~np.isnan(known.landmarks[:, 0, 0])]
    assert np.all((found > 0.2) & (found < 0.8))  # the middle of the photo is inside the crop


def test_what_a_method_begins_with_is_asked_for(celeba, tmp_path, monkeypatch):
    """Random weights in place of a frozen part would train for hours towards nothing."""
    monkeypatch.setenv("FACEFACTOR_WEIGHTS", str(tmp_path))
    with pytest.raises(InstrumentError, match="ipdfer begins with a trained face recogniser"):
        train("ipdfer", {"celeba": celeba}, tmp_path / "ipdfer", "small")
    with pytest.raises(InstrumentError, match="vgg19"):
        train("facecycle", {"celeba": celeba}, tmp_path / "facecycle", "paper")


def test_what_cannot_be_trained_is_named(celeba, tmp_path):
    with pytest.raises(TrainingError, match="no method 'portrait'; there are facecycle, .*recog"):
        train("portrait", {"celeba": celeba}, tmp_path)


def test_a_training_that_lives_on_landmarks_asks_for_them(celeba, tmp_path):
    """Without any it would run for hours and learn nothing."""
    data, small = {"celeba": celeba}, {"batch_size": "2", "images": "2"}
    with pytest.raises(TrainingError, match="landmarks learns from 68 landmarks a photo and none"):
        train("landmarks", data, tmp_path / "a", changes=small, cache=tmp_path)
    with pytest.raises(TrainingError, match=r"nowhere has landmarks of none .*DATASET\.npz"):
        train(
            "landmarks", data, tmp_path / "b", changes=small, cache=tmp_path,
            landmarks=tmp_path / "nowhere",
        )  # fmt: skip
    assert not (tmp_path / "a").exists() and not (tmp_path / "b").exists()


def test_photos_to_validate_by_are_not_trained_on(rafdb, tmp_path):
    recogniser = save_recogniser(tmp_path / "recogniser.safetensors")
    changes = {"images": "8", "batch_size": "2", "width": "0.125", "code_size": "24"}
    where = tmp_path / "run"
    train(
        "ipdfer",
        {"rafdb": rafdb},
        where,
        "small-baseline",
        changes,
        recogniser=recogniser,
        validation=0.4,
        cache=tmp_path,
    )
    rows = json.loads((where / "validation.json").read_text())
    assert rows[-1]["step"] == 4 and 0 < rows[-1]["photos"] < 30
    known = training_faces({"rafdb": rafdb}, "arcface", 112, tmp_path)
    assert hold_out_photos(known.records, 0.4).sum() == rows[-1]["photos"]
    told = (where / "settings.json").read_text()
    with pytest.raises(TrainingError, match="other settings .*validation"):
        train(
            "ipdfer",
            {"rafdb": rafdb},
            where,
            "small-baseline",
            changes,
            recogniser=recogniser,
            cache=tmp_path,
        )
    assert (where / "settings.json").read_text() == told  # those of the run that is there


@pytest.mark.parametrize(
    ("method", "share", "message"),
    [
        ("ipdfer", 1.0, "share of 1.0; it must be at least 0 and below 1"),
        ("recogniser", 0.1, "recogniser recognises no expressions"),
        ("ipdfer", 0.1, "no photo to validate by"),  # CelebA has no expressions
    ],
)
def test_what_cannot_be_validated_is_said(celeba, tmp_path, method, share, message):
    preset = "paper" if method == "recogniser" else "small-baseline"
    recogniser = None
    if method == "ipdfer":
        recogniser = save_recogniser(tmp_path / "recogniser.safetensors")
    changes = {"width": "0.125", "code_size": "24"} if method == "ipdfer" else {}
    with pytest.raises(TrainingError, match=message):
        train(
            method,
            {"celeba": celeba},
            tmp_path / "run",
            preset,
            changes,
            recogniser=recogniser,
            validation=share,
            cache=tmp_path,
        )


@pytest.fixture(scope="module")
def heads(tmp_path_factory):
    """Twenty photos of noise in CelebA's layout, in each of them the mean face's landmarks, and the
    file of a morphable model."""
    folder = tmp_path_factory.mktemp("heads") / "CelebA"
    names = write_celeba(folder, 20, of_each=1)
    mean = MEAN_FACE.numpy() * (38, -38, 38) + (64, 66, 0)
    (folder.parent / "marks").mkdir()
    np.savez(
        folder.parent / "marks" / "CelebA.npz",
        names=np.array(names),
        landmarks68=np.stack([mean] * 20).astype(np.float16),
        found=np.arange(20) != 3,
    )
    write_morphable(folder.parent / "egg.npz", egg_model())
    return folder


TINY_TENSORIAL = {
    "images": "8",
    "batch_size": "4",
    "channels": "[4, 4, 4]",
    "unjudged_images": "0",
    "face_rank": "2",
    "shape_rank": "2",
    "identity_modes": "5",
    "expression_modes": "3",
    "weights.verification": "0",
    "weights.adversarial": "0",
}


def test_a_morphable_model_is_fitted_to_what_is_trained_on(heads, tmp_path):
    run = {"landmarks": heads.parent / "marks", "morphable": heads.parent / "egg.npz"}
    path = train(
        "neurotensorial",
        {"celeba": heads},
        tmp_path / "run",
        changes=TINY_TENSORIAL,
        cache=tmp_path,
        **run,
    )
    model = checkpoints.build_model(path)
    assert set(model.spec.factors) == {"identity", "expression", "pose", "illumination"}
    assert list((tmp_path / "labels").glob("*.npz"))
    grid = resample(read_morphable(run["morphable"]))
    assert torch.equal(model.mean_face()[0], grid.neutral)  # meshes of these weights need no file
    assert torch.equal(model.mean_face()[1], grid.landmarks68)
    for missing, message in (
        ("morphable", "learns from a morphable model fitted to its faces"),
        ("landmarks", "learns from 68 landmarks a photo and none are given"),
    ):
        with pytest.raises(TrainingError, match=message):
            train(
                "neurotensorial",
                {"celeba": heads},
                tmp_path / missing,
                changes=TINY_TENSORIAL,
                cache=tmp_path,
                **{**run, missing: None},
            )
    wrong = {**TINY_TENSORIAL, "identity_modes": "7"}
    with pytest.raises(TrainingError, match="egg.npz has 5 identity modes and the recipe 7; --set"):
        train("neurotensorial", {"celeba": heads}, tmp_path, changes=wrong, cache=tmp_path, **run)


@pytest.fixture(scope="module")
def talker(tmp_path_factory):
    """The file of a morphable model that can make faces."""
    path = tmp_path_factory.mktemp("talker") / "talker.npz"
    write_morphable(path, talking_egg())
    return path


def tiny_proof(talker):
    return TINY_TENSORIAL | {"expression_modes": str(len(read_morphable(talker).expression))}


@pytest.mark.parametrize(
    ("preset", "factors"),
    [
        ("small-proof", {"identity", "expression"}),
        ("small-proof-turned", {"identity", "expression", "pose"}),
    ],
)
def test_the_proof_of_concept_needs_no_photos(talker, tmp_path, preset, factors, monkeypatch):
    seen = []
    draw = RenderedFaces.__getitem__

    def watched(self, step):
        seen.append(draw(self, step))
        return seen[-1]

    monkeypatch.setattr(RenderedFaces, "__getitem__", watched)
    path = train(
        "neurotensorial", {}, tmp_path / "run", preset, tiny_proof(talker), morphable=talker
    )
    assert set(checkpoints.build_model(path).spec.factors) == factors
    assert list((tmp_path / "run" / "samples").glob("*.png"))  # of people not trained on
    assert json.loads((tmp_path / "run" / "settings.json").read_text())["data"] == {}
    in_depth = torch.cat([batch.rotation[:, 2] for batch in seen])  # which tilts do not change
    assert len(in_depth) == 8
    assert (in_depth.std(dim=0).max() < 1e-3) == ("pose" not in factors)


def test_training_on_rendered_faces_says_what_it_lacks_or_would_not_look_at(
    heads, talker, tmp_path
):
    changes = tiny_proof(talker)
    tensorial, proof = "neurotensorial", "small-proof"
    photos = {"celeba": heads}
    for data, given, message in (
        ({}, {}, "learns from rendered faces of a morphable model; name one"),
        (photos, {"morphable": talker}, "leave --data celeba out"),
        ({}, {"morphable": talker, "landmarks": heads.parent}, "leave --landmarks out"),
        ({}, {"morphable": talker, "validation": 0.1}, "recognises no expressions"),
    ):
        with pytest.raises(TrainingError, match=message):
            train(tensorial, data, tmp_path / "run", proof, changes, cache=tmp_path, **given)
    with pytest.raises(MorphableModelError, match=r"egg\.npz: no expression .* of ICT-FaceKit"):
        egg = heads.parent / "egg.npz"
        train(tensorial, {}, tmp_path / "run", proof, TINY_TENSORIAL, morphable=egg)
    for method in ("landmarks", tensorial):
        with pytest.raises(TrainingError, match=f"{method} learns from photos; name a folder"):
            train(method, {}, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_run_does_not_go_on_with_other_landmarks(celeba, tmp_path):
    data, small = {"celeba": celeba}, {"batch_size": "2", "images": "2"}
    marks = celeba.parent / "marks"
    train("landmarks", data, tmp_path, changes=small, cache=tmp_path, landmarks=marks)
    with np.load(marks / "CelebA.npz") as stored:
        arrays = dict(stored)
    other = tmp_path / "other"
    other.mkdir()
    np.savez(other / "CelebA.npz", **{**arrays, "landmarks68": arrays["landmarks68"] + 1})
    with pytest.raises(TrainingError, match="landmarks"):
        train("landmarks", data, tmp_path, changes=small, cache=tmp_path, landmarks=other)


def test_people_of_two_data_sets_are_told_apart_and_folders_of_one_are_not(celeba, tmp_path):
    """CK+48 keeps a person's photos in a folder per expression; here with a name CelebA has too."""
    for expression in ("anger", "happy"):
        (tmp_path / "CK+48" / expression).mkdir(parents=True)
        for subject in range(2, 12):
            name = f"S{subject:03d}_001_0000001{len(expression)}.png"
            Image.new("L", (48, 48)).save(tmp_path / "CK+48" / expression / name)
    identity = celeba / "identity.txt"
    before = identity.read_text()
    identity.write_text(re.sub(r" (\d+)$", lambda n: f" S{int(n[1]):03d}", before, flags=re.M))
    data = {"celeba": celeba, "ckplus48": tmp_path / "CK+48"}
    known = training_faces(data, "arcface", 112, tmp_path / "cache")
    identity.write_text(before)
    people = number_subjects(known.records)
    of_ck = np.array([record.path.is_relative_to(tmp_path) for record in known.records])
    assert not set(people[of_ck]) & set(people[~of_ck])
    counts = np.bincount(people[of_ck] - people[of_ck].min())
    assert set(counts) == {2} and len(counts) > 5
