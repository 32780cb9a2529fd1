"""One person or two: similarity, the measured threshold, and what is said without one."""

import json

import numpy as np
import pytest
import torch

from facefactor import api
from facefactor.demo import portrait_paths
from facefactor.errors import FaceFactorError
from facefactor.face_verification import MeasuredThreshold, Verification, read_threshold
from facefactor.images import ImageError, read_photo
from facefactor.perception import packaged
from facefactor.perception.align import align
from facefactor.perception.state_dicts import InstrumentError
from tests.small_networks import MEASURED, save_recogniser

THRESHOLD = MeasuredThreshold(0.25, 0.001, 0.0325, "LFW", 6000)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("instruments")
    save_recogniser(path / "recogniser.safetensors")
    return path


@pytest.fixture(scope="module")
def photos():
    """Two heads, cut small so that finding them is quick."""
    hopper, collins = (read_photo(path) for path in portrait_paths().values())
    return np.ascontiguousarray(hopper[:350, 100:420]), np.ascontiguousarray(collins[:260, 90:350])


def test_the_similarity_is_the_cosine_of_the_embeddings(folder, photos, monkeypatch):
    monkeypatch.setattr(packaged, "FOLDER", folder)
    found = api.verify(*photos)
    network = packaged.packaged_recogniser()
    with torch.inference_mode():
        left, right = (
            network(align(photo, api.read_face(photo).found.points, "arcface", 112)[0])[0].double()
            for photo in photos
        )
    literal = (left * right).sum() / (left.square().sum() * right.square().sum()).sqrt()
    assert found.similarity == pytest.approx(literal.item(), abs=1e-5)
    assert api.verify(*reversed(photos)).similarity == pytest.approx(found.similarity, abs=1e-6)
    assert found.measured == THRESHOLD
    faces = [api.read_face(photo) for photo in photos]
    assert api.verify_faces(*faces) == found


def test_a_photo_and_itself_are_one_person(folder, photos, monkeypatch):
    monkeypatch.setattr(packaged, "FOLDER", folder)
    found = api.verify(photos[1], photos[1])
    assert found.similarity == pytest.approx(1, abs=1e-6) and found.similarity <= 1
    assert found.same_person is True


@pytest.mark.parametrize(("similarity", "same"), [(0.2499, False), (0.25, True), (1.0, True)])
def test_at_the_threshold_it_is_one_person(similarity, same):
    assert Verification("a", "b", similarity, THRESHOLD).same_person is same


def test_as_a_dictionary_with_and_without_a_threshold():
    known = Verification("a.jpg", "b.jpg", 0.5, THRESHOLD).to_dict()
    unknown = Verification("a.jpg", "b.jpg", 0.5, None).to_dict()
    assert known == {
        "first": "a.jpg",
        "second": "b.jpg",
        "similarity": 0.5,
        "same_person": True,
        **MEASURED,
    }
    assert list(unknown) == list(known)
    assert [name for name, value in unknown.items() if value is not None] == [
        "first",
        "second",
        "similarity",
    ]


def test_the_threshold_is_read_from_the_file(tmp_path):
    assert read_threshold(save_recogniser(tmp_path / "a.safetensors")) == THRESHOLD
    assert read_threshold(save_recogniser(tmp_path / "b.safetensors", None)) is None


@pytest.mark.parametrize(
    "measured",
    [
        "no JSON",
        "[1, 2]",
        {"threshold": 0.3},
        {**MEASURED, "threshold": "high"},
        {**MEASURED, "threshold": 1.5},
        {**MEASURED, "false_match_rate": 3.0},
        {**MEASURED, "false_non_match_rate": float("nan")},
        {**MEASURED, "pairs": None},
    ],
)
def test_a_threshold_that_is_none_is_told(tmp_path, measured):
    file = save_recogniser(tmp_path / "odd.safetensors", measured)
    with pytest.raises(InstrumentError, match="odd.safetensors: the threshold"):
        read_threshold(file)


def test_what_cannot_be_compared(folder, photos, tmp_path, monkeypatch):
    monkeypatch.setattr(packaged, "FOLDER", folder)
    with pytest.raises(FaceFactorError, match="one face of each photo"):
        api.verify(*photos, face="all")
    with pytest.raises(FaceFactorError, match="face 7 was asked for"):
        api.verify(*photos, face="7")
    with pytest.raises(ImageError, match="gone.jpg"):
        api.verify(photos[0], tmp_path / "gone.jpg")
    monkeypatch.setattr(packaged, "FOLDER", tmp_path)
    with pytest.raises(InstrumentError, match="facefactor train recogniser"):
        api.verify(*photos)


def test_metadata_survive_as_json(tmp_path):
    """What the spec of the file says: the key "verification" holds JSON with these fields."""
    file = save_recogniser(tmp_path / "c.safetensors", json.dumps({**MEASURED, "note": "more"}))
    assert read_threshold(file) == THRESHOLD
