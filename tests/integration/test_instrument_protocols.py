"""`facefactor evaluate` on our own frozen networks: from folders of photos to tables."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from facefactor.errors import FaceFactorError
from facefactor.perception.landmarks import LandmarkNetwork
from facefactor.perception.recognition import MobileFaceNet
from facefactor.protocols import evaluate


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """LFW and CelebA of people who are one colour each: anything can tell them apart."""
    top, random = tmp_path_factory.mktemp("data"), np.random.default_rng(0)
    colours = random.integers(0, 255, (40, 3))

    def draw(path, person, side):
        path.parent.mkdir(parents=True, exist_ok=True)
        noise = random.integers(-4, 5, (side, side, 3))
        Image.fromarray(np.clip(colours[person] + noise, 0, 255).astype(np.uint8)).save(path)

    for person in range(6):
        for photo in (1, 2):
            draw(top / "LFW/aligned112" / f"P{person}" / f"P{person}_{photo:04d}.jpg", person, 112)
    same = [f"P{person}\t1\t2" for person in range(6)]
    other = [f"P{person}\t1\tP{(person + 1) % 6}\t2" for person in range(6)]
    folds = [line for fold in (0, 3) for line in (*same[fold : fold + 3], *other[fold : fold + 3])]
    (top / "LFW/pairs.txt").write_text("2\t3\n" + "\n".join(folds) + "\n")
    lines = []
    for number in range(80):
        draw(top / "CelebA/images" / f"{number:06d}.png", number // 2, 128)
        lines.append(f"{number:06d}.png {number // 2}")
    (top / "CelebA/identity.txt").write_text("\n".join(lines) + "\n")
    marks = np.full((80, 68, 3), 64.0, np.float32)
    marks[:, :, 0] += np.linspace(-20, 20, 68)
    marks[:, 36:42, :2], marks[:, 42:48, :2] = (45, 66), (83, 66)
    (top / "marks").mkdir()
    names = np.array([f"{number:06d}.png" for number in range(80)])
    np.savez(top / "marks/CelebA.npz", names=names, landmarks68=marks, found=np.arange(80) % 3 > 0)
    return top


def save(network, name, path):
    save_file(network.state_dict(), path, {"facefactor": json.dumps({"network": name})})
    return path


@pytest.fixture(scope="module")
def recogniser(tmp_path_factory):
    torch.manual_seed(0)
    network = MobileFaceNet(code_size=16, width=0.125)
    return save(network, "recogniser", tmp_path_factory.mktemp("weights") / "model.safetensors")


def test_the_recogniser_on_pairs_and_at_a_threshold_of_other_people(
    recogniser, folders, tmp_path, monkeypatch
):
    monkeypatch.setattr("facefactor.protocols.instruments.verification", _two_folds)
    data = [f"lfw={folders / 'LFW'}", f"celeba={folders / 'CelebA'}"]
    monkeypatch.setattr("facefactor.protocols.instruments._FLOOR_SIZE", 8)
    tables = evaluate(recogniser, ["verification"], data, tmp_path, cache=tmp_path / "cache")
    assert [table.model for table in tables] == [
        "recogniser", "recogniser, mirror image too", "pixel PCA, 8", "recogniser",
    ]  # fmt: skip
    assert tables[2]["accuracy"] > 80  # colours are all that pixels need
    rates = tables[-1]
    assert -1 <= rates["threshold"] <= 1.001 and rates.n == 12
    assert 0 <= rates["false matches"] <= 100 and 0 <= rates["false non-matches"] <= 100
    assert json.loads((tmp_path / "results.json").read_text())[-1]["scores"]


def _two_folds(left, right, same, dataset, folds=2, model=""):
    from facefactor.evaluation.verification import verification

    return verification(left, right, same, dataset, folds, model)


def test_landmarks_of_people_held_out(folders, tmp_path):
    network = save(LandmarkNetwork(), "landmarks", tmp_path / "model.safetensors")
    data = [f"celeba={folders / 'CelebA'}"]
    found, mean = evaluate(
        network, ["landmark-error"], data, cache=tmp_path / "cache", landmarks=folders / "marks"
    )
    assert found.n == mean.n < 20  # a tenth of the people, and of these two photos in three
    assert found["mean error"] > 10  # untrained
    assert mean["mean error"] < 1  # all labels are alike here
    with pytest.raises(FaceFactorError, match=r"compares with labels.*--landmarks"):
        evaluate(network, ["landmark-error"], data, cache=tmp_path / "cache")
    with pytest.raises(FaceFactorError, match=r"no CelebA.npz in it"):
        evaluate(network, ["landmark-error"], data, cache=tmp_path, landmarks=tmp_path)


def test_what_an_instrument_is_not_measured_by(recogniser, folders):
    with pytest.raises(FaceFactorError, match="measured by verification, not by recognition"):
        evaluate(recogniser, ["recognition"], [f"lfw={folders / 'LFW'}"])
    with pytest.raises(FaceFactorError, match="landmark-error is for the landmark network"):
        evaluate("facecycle", ["landmark-error"], [f"lfw={folders / 'LFW'}"])
