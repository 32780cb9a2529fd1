"""`facefactor evaluate landmarks -p fitting`: from photos to figures of pseudo-labels."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from facefactor.data.records import FaceRecord
from facefactor.errors import FaceFactorError
from facefactor.geometry.morphable import write_morphable
from facefactor.images import read_photo, write_image
from facefactor.perception import fsanet
from facefactor.perception.align import place
from facefactor.perception.head_pose import MEAN_FACE
from facefactor.perception.landmarks import LandmarkNetwork
from facefactor.perception.state_dicts import InstrumentError
from facefactor.protocols import evaluate, fitting
from tests.made_folders import write_celeba
from tests.made_heads import egg_model
from tests.made_poses import write_networks
from tests.small_networks import save_landmarks, save_neurotensorial

POINTS = ((40.0, 50.0), (80.0, 50.0), (60.0, 75.0), (45.0, 95.0), (75.0, 95.0))


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """It sees the mean face in every crop."""
    folder = tmp_path_factory.mktemp("network")
    told = {"facefactor": json.dumps({"network": "landmarks"})}
    tensors = load_file(save_landmarks(folder / "plain.safetensors"))
    save_file(tensors, folder / "model.safetensors", told)
    return folder / "model.safetensors"


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    top = tmp_path_factory.mktemp("data")
    names = write_celeba(top / "CelebA", 60, 2)
    # wider apart than the network has it, and of two photos in three
    shown = MEAN_FACE[:, :2] * torch.tensor([38.0, -38.0]) + torch.tensor([64.0, 78.0])
    (top / "marks").mkdir()
    np.savez(
        top / "marks/CelebA.npz",
        names=np.array(names),
        landmarks68=np.repeat(shown[None].float().numpy(), 60, axis=0),
        found=np.arange(60) % 3 > 0,
    )
    write_morphable(top / "egg.npz", egg_model())
    write_networks(top / "networks")
    return top


def test_from_photos_to_tables_and_a_sheet(network, folders, tmp_path, monkeypatch):
    monkeypatch.setenv("FACEFACTOR_WEIGHTS", str(folders / "networks"))
    tables = evaluate(
        network,
        ["fitting"],
        [f"celeba={folders / 'CelebA'}"],
        tmp_path,
        cache=tmp_path / "cache",
        landmarks=folders / "marks",
        morphable=folders / "egg.npz",
    )
    rows = {table.model: table for table in tables}
    assert list(rows) == [
        "fit to the landmarks found",
        "mean face, fitted to the same",
        "fit to the landmarks of the file",
        "always FSA-Net's mean",
    ]
    found, mean = (rows[name] for name in list(rows)[:2])
    assert found.n == mean.n > rows["fit to the landmarks of the file"].n > 1
    inner = "landmarks, without jaw"
    assert found[inner] < mean[inner] < 6  # the egg is that mean face, in steps
    assert found["landmarks"] < 6
    share = found["landmarks"] / 100  # of the eye distance, which is 0.3 of the arcface crop
    assert found["landmarks, in pixels"] == pytest.approx(share * 64 * 0.3 * 0.36 / 0.3147, rel=0.1)
    assert abs(found["yaw: offset"]) < 5  # noise is grey: the made networks say 0
    assert rows["always FSA-Net's mean"]["yaw: offset"] == pytest.approx(0, abs=1e-6)
    assert {"landmarks", "fsanet-1x1", "fsanet-var"} == set(found.instruments)
    assert len({table.split_hash for table in tables}) == 1
    sheet = read_photo(tmp_path / "fitting-celeba.png")
    assert sheet.shape[0] > 6 * 140


def test_landmarks_come_back_to_where_they_are_in_the_photo(tmp_path):
    """A network that sees the mean face in the middle of its crop, for a photo placed anywhere."""
    write_image(tmp_path / "a.png", np.full((128, 128, 3), 90, np.uint8))
    record = FaceRecord(tmp_path / "a.png", points=POINTS)
    network = LandmarkNetwork()
    for layer in (network.likely, network.offset):
        torch.nn.init.zeros_(layer.weight)
        torch.nn.init.zeros_(layer.bias)  # all landmarks at the middle of the crop
    marks = fitting.find_landmarks(network.eval(), [record], tmp_path / "cache")
    arcface = place(POINTS, "arcface", 112).to_crop
    in_photo = np.linalg.solve(arcface[:, :2], [55.5, 55.5] - arcface[:, 2])
    facecycle = place(POINTS, "facecycle", 64).to_crop
    there = facecycle[:, :2] @ in_photo + facecycle[:, 2]
    np.testing.assert_allclose(marks[0, 0], (there + 0.5) / 64, atol=1e-3)
    with pytest.raises(FaceFactorError, match=r"a.png has no fixed points"):
        fitting._points(FaceRecord(tmp_path / "a.png"))


def test_head_pose_is_measured_in_a_square_around_the_landmarks(tmp_path, monkeypatch):
    """Landmarks in a box of 20 pixels: with a quarter more on each side the square has 30."""
    photo = np.zeros((128, 128, 3), np.uint8)
    photo[49:79, 49:79] = (250, 0, 0)  # the square, if it is around (63.5, 63.5)
    write_image(tmp_path / "a.png", photo)
    record = FaceRecord(tmp_path / "a.png", points=POINTS)
    to_shares = fitting._to_shares(record, "facecycle")
    box = np.array([[53.5, 60.0], [73.5, 67.0]])
    corners = (box @ to_shares[:, :2].T + to_shares[:, 2]).astype(np.float32)
    marks = np.tile(corners, (34, 1))[None]
    seen = []

    def poses(faces):
        seen.append(faces)
        return torch.zeros(len(faces), 3)

    fitting.head_poses(poses, [record], marks)
    (square,) = seen
    assert square.shape == (1, 3, 64, 64)
    assert square[0, 0, 2:-2, 2:-2].min() > 0.9  # nothing but the face
    monkeypatch.setattr(fsanet, "MARGIN", fsanet.MARGIN + 0.1)
    fitting.head_poses(poses, [record], marks)
    assert seen[1][0, 0, 0].max() < 0.1  # its surroundings too


def test_what_is_missing_is_said(network, folders, tmp_path, monkeypatch):
    data = [f"celeba={folders / 'CelebA'}"]
    with pytest.raises(FaceFactorError, match=r"fitting needs the morphable model.*--morphable"):
        evaluate(network, ["fitting"], data)
    monkeypatch.delenv("FACEFACTOR_WEIGHTS", raising=False)
    with pytest.raises(InstrumentError, match="fsanet-1x1 is needed"):
        evaluate(network, ["fitting"], data, morphable=folders / "egg.npz")
    with pytest.raises(FaceFactorError, match="measured by landmark-error or fitting, not by leak"):
        evaluate(network, ["leakage"], data)
    monkeypatch.setenv("FACEFACTOR_WEIGHTS", str(folders / "networks"))
    with pytest.raises(FaceFactorError, match=r"no CelebA.npz in it"):
        evaluate(
            network, ["fitting"], data, cache=tmp_path / "cache", landmarks=tmp_path,
            morphable=folders / "egg.npz",
        )  # fmt: skip
    weights = save_neurotensorial(tmp_path / "model.safetensors")
    with pytest.raises(FaceFactorError, match="fitting is for the landmark network"):
        evaluate(weights, ["fitting"], data)
