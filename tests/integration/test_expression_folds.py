"""Recognition by generation, from a made folder to tables, with few steps."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from facefactor.data.ckplus import read_ckplus48
from facefactor.data.folds import subject_folds
from facefactor.data.records import FaceRecord, check_disjoint
from facefactor.errors import FaceFactorError
from facefactor.evaluation.two_branches import train_two_branches
from facefactor.factors import Factors, FactorSpec, ModelSpec
from facefactor.perception.head_pose import MEAN_FACE
from facefactor.protocols import PROTOCOLS, evaluate, recognition_folds
from facefactor.protocols.normalisers import normaliser
from facefactor.protocols.recognition_folds import Faces, over_all_folds
from tests.small_networks import save_ipdfer

TITLES = [
    "softmax",
    "softmax and faces normalised by ipdfer",
    "2B(N+M)Softmax",
    "2B(N+M)Softmax and faces normalised by ipdfer",
    "always the most frequent class",
]


class MeanLandmarks(nn.Module):
    """The landmarks of the mean face for every face."""

    crop, image_size = "arcface", 112

    def forward(self, faces):
        points = 0.5 + 0.3 * MEAN_FACE[:, :2] * torch.tensor([1.0, -1.0])
        return points.float().expand(len(faces), 68, 2)


@pytest.fixture
def ck48(tmp_path):
    """CK+48's layout: six people with three expressions of two photos each."""
    random = np.random.default_rng(0)
    for name in ("anger", "contempt", "happy"):
        (tmp_path / "CK48" / name).mkdir(parents=True)
        for person in range(1, 7):
            for frame in (11, 12):
                face = random.integers(0, 255, (48, 48), dtype=np.uint8)
                file = f"S{person:03d}_001_{frame:08d}.png"
                Image.fromarray(face).save(tmp_path / "CK48" / name / file)
    return tmp_path / "CK48"


@pytest.fixture
def quick(monkeypatch, tmp_path):
    monkeypatch.setattr(recognition_folds, "packaged_instrument", lambda name: tmp_path / name)
    monkeypatch.setattr(
        recognition_folds, "load_landmark_network", lambda path: MeanLandmarks().eval()
    )
    monkeypatch.setattr(
        recognition_folds, "train_two_branches", partial(train_two_branches, steps=1)
    )
    monkeypatch.setitem(recognition_folds.FOLDS, "ckplus48", 2)


def test_from_a_folder_to_tables(ck48, quick, tmp_path):
    weights = save_ipdfer(tmp_path / "model.safetensors")
    tables = evaluate(weights, ["expression-folds"], [f"ckplus48={ck48}"], cache=tmp_path / "cache")
    assert [table.model for table in tables][:5] == TITLES
    assert {table.n for table in tables} == {36} and {table.seed for table in tables} == {0}
    assert len({table.split_hash for table in tables}) == 1
    setting = "expression recognition, 2 folds by person, trained in each"
    assert {table.protocol for table in tables} == {setting}
    for table in tables:
        assert table.scores[0].published is None and table.scores[0].spread is not None
        assert table.confusion.classes == ("happiness", "anger", "contempt")
        assert table.instruments == ("landmarks",)
    assert tables[4]["accuracy"] == pytest.approx(100 / 3)


def test_it_is_for_data_sets_with_folds(quick, tmp_path):
    weights = save_ipdfer(tmp_path / "model.safetensors")
    with pytest.raises(FaceFactorError, match="needs one of the data sets ckplus, ckplus48, mmi"):
        evaluate(weights, ["expression-folds"], [f"rafdb={tmp_path}"], cache=tmp_path / "cache")
    assert "expression-folds" in PROTOCOLS


def test_too_few_people_for_the_folds(ck48, quick, tmp_path, monkeypatch):
    monkeypatch.setitem(recognition_folds.FOLDS, "ckplus48", 8)
    weights = save_ipdfer(tmp_path / "model.safetensors")
    with pytest.raises(FaceFactorError, match="CK48: photos with an expression of 6 people; 8"):
        evaluate(weights, ["expression-folds"], [f"ckplus48={ck48}"], cache=tmp_path / "cache")


def test_nobody_is_trained_and_tested_and_only_training_people_are_normalised(monkeypatch):
    """A face's grey value says who it is; normalised ones are brighter by 100."""
    names = ("anger", "fear", "anger", "fear")
    records = [
        FaceRecord(photo(person, number), f"S{person:02d}", name)
        for person in range(16)
        for number, name in enumerate(names)
    ]
    photos = Faces(np.stack([flat(int(r.subject[1:])) for r in records]), records)
    neutral = [FaceRecord(photo(p, 9), f"S{p:02d}", "neutral") for p in range(16)]
    normalised = Faces(np.stack([flat(100 + p) for p in range(16)]), neutral)
    trained = []

    def remember(patches, classes, subjects, count, with_metric, seed):
        values = patches[:, 0, 0, 0].int()
        assert subjects.unique().numel() == 14 and count == 3 and seed == 5
        people = {int(value) % 100 for value in values}
        assert all((values >= 100).eq(classes == 2))  # "neutral" comes after the two classes
        trained.append((len(values), with_metric, people))
        return people

    def answer(people, patches):
        asked = {int(value) for value in patches[:, 0, 0]}
        assert len(asked) == 2 and not asked & people
        return torch.tensor([[0.0, 0.4, 0.6]]).expand(len(patches), 3)

    monkeypatch.setattr(recognition_folds, "training_patches", lambda g: g[:, None].astype("f4"))
    monkeypatch.setattr(recognition_folds, "centre_patches", lambda g: g.astype("f4"))
    monkeypatch.setattr(recognition_folds, "train_two_branches", remember)
    monkeypatch.setattr(recognition_folds, "class_probabilities", answer)
    tables = over_all_folds(photos, normalised, "ckplus", "nfgan", seed=5)
    sizes = [(56, False), (70, False), (56, True), (70, True)]
    assert [entry[:2] for entry in trained] == sizes * 8
    assert [table.scores[0].published for table in tables[:4]] == [None, None, 97.1, 97.49]
    # "neutral" was likelier each time and is no answer; the second class, anger, is half of all
    assert all(table["accuracy"] == 50 and table.n == 64 for table in tables[:4])
    assert tables[0].confusion.classes == ("fear", "anger")


def photo(person, number):
    return Path(f"/d/S{person:02d}_{number}.png")


def flat(grey):
    return np.full((64, 64), grey, np.uint8)


class Adding:
    """A face is the sum of its codes; `factors` as given."""

    def __init__(self, *factors):
        self.spec = ModelSpec("sum", "arcface", 4, 1, {n: FactorSpec((1,), "") for n in factors})

    def encode(self, faces):
        mean = faces.mean(dim=(1, 2, 3))[:, None]
        return Factors({name: mean for name in self.spec.factors})

    def decode(self, factors):
        return sum(factors.codes.values())

    def neutral(self, name):
        return torch.full((1,), 0.25)


@pytest.mark.parametrize(
    ("factors", "drawn"),
    [
        (["identity"], 0.5),  # NFGAN: what it decodes is the normalised face
        (["identity", "expression"], 0.75),
        (["identity", "expression", "pose", "illumination"], 1.5),
    ],
)
def test_normalised_faces_lose_expression_and_pose(factors, drawn):
    face = normaliser(Adding(*factors))(torch.full((2, 1, 4, 4), 0.5))
    torch.testing.assert_close(face, torch.full((2, 1), drawn))


def test_the_eight_folds_of_the_real_people(shared):
    records = read_ckplus48(shared / "data" / "CK+48")
    folds = subject_folds(records, recognition_folds.FOLDS["ckplus48"])
    assert len(folds) == 8 and sum(len(test) for _, test in folds) == 981
    for train, test in folds:
        check_disjoint(train, test)
        assert 14 <= len({record.subject for record in test}) <= 15
        assert {record.expression for record in train} == {r.expression for r in records}
