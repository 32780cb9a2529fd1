"""Instruments that come with the package: found, read once, and what is said when they are not."""

import pytest
import torch

from facefactor import api, doctor
from facefactor.errors import FaceFactorError
from facefactor.perception import packaged
from facefactor.perception.landmarks import LandmarkNetwork
from facefactor.perception.recognition import MobileFaceNet
from facefactor.perception.state_dicts import InstrumentError
from tests.small_networks import save_landmarks, save_recogniser


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(packaged, "FOLDER", tmp_path)
    return tmp_path


def test_the_folder_is_in_the_package_and_no_models_are_listed_from_it():
    assert packaged.FOLDER.parts[-3:] == ("facefactor", "weights", "instruments")
    assert not {entry.name for entry in api.models()} & set(packaged.INSTRUMENTS)


@pytest.mark.parametrize("name", packaged.INSTRUMENTS)
def test_what_is_not_there_says_how_to_train_it(folder, name):
    with pytest.raises(InstrumentError, match=rf"{name}.safetensors.*facefactor train {name}"):
        packaged.packaged_instrument(name)
    with pytest.raises(InstrumentError, match="no instrument 'vgg19' is packaged"):
        packaged.packaged_instrument("vgg19")


def test_what_is_there_is_read_once(folder):
    save_landmarks(folder / "landmarks.safetensors")
    save_recogniser(folder / "recogniser.safetensors")
    assert packaged.packaged_instrument("landmarks") == folder / "landmarks.safetensors"
    landmarks, recogniser = packaged.packaged_landmarks(), packaged.packaged_recogniser()
    assert isinstance(landmarks, LandmarkNetwork) and not landmarks.training
    assert isinstance(recogniser, MobileFaceNet) and not recogniser.training
    assert packaged.packaged_landmarks() is landmarks
    with torch.inference_mode():
        assert landmarks(torch.rand(1, 3, 112, 112)).shape == (1, 68, 2)


@pytest.mark.parametrize("content", [b"", b"not weights at all"])
def test_damaged_files_are_told(folder, content):
    for name in packaged.INSTRUMENTS:
        (folder / f"{name}.safetensors").write_bytes(content)
    for load in (packaged.packaged_landmarks, packaged.packaged_recogniser):
        with pytest.raises(InstrumentError, match="safetensors: cannot be read"):
            load()
    checks = {check.name: check for check in doctor.instruments()}
    assert [checks[name].status for name in packaged.INSTRUMENTS] == ["fail", "fail"]


def test_checks_of_instruments(folder):
    assert [check.status for check in doctor.instruments()] == ["warn", "warn"]
    assert "facefactor train landmarks" in doctor.instruments()[0].advice
    save_landmarks(folder / "landmarks.safetensors")
    first, second = doctor.instruments()
    assert (first.name, first.status, second.status) == ("landmarks", "ok", "warn")
    assert "LandmarkNetwork" in first.seen
    assert api.verify_models()[-2:] == [first, second]


def test_cards(folder):
    save_landmarks(folder / "landmarks.safetensors")
    with pytest.raises(FaceFactorError, match="no card landmarks.md"):
        api.model_card("landmarks")
    (folder / "landmarks.md").write_text("# How it was trained", encoding="utf-8")
    assert api.model_card("landmarks") == "# How it was trained"
    with pytest.raises(FaceFactorError, match="facefactor train recogniser"):
        api.model_card("recogniser")
    shown = api.model_card("facecycle")
    assert "| 71.01 % |" in shown and "<!--" not in shown  # the paper's figure: it does not change
