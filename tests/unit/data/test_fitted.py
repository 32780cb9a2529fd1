"""Batches of fitted faces."""

import dataclasses

import numpy as np
import pytest
import torch

from facefactor.data.fitted import FittedFaces
from facefactor.data.pseudolabels import PseudoLabels
from facefactor.geometry.rotations import rotation_matrix
from tests.made_heads import egg_model

YAWS = (0.0, 14.0, -16.0, 50.0)


@pytest.fixture(scope="module")
def model():
    return egg_model()


@pytest.fixture(scope="module")
def labels():
    """Four faces; of the last one nothing is known."""
    random = np.random.default_rng(0)
    pose = torch.tensor([[yaw, 0.0, 0.0] for yaw in YAWS])
    packed = np.zeros((4, 8, 8, 3), np.uint8)
    packed[:3, 2:6, 2:6] = (128, 128, 255)  # towards the camera
    made = PseudoLabels(
        rotation=rotation_matrix(pose).numpy(),
        scale=np.full(4, 0.1, np.float32),
        shift=np.full((4, 2), 0.5, np.float32),
        identity=random.normal(size=(4, 5)).astype(np.float32),
        expression=random.random((4, 3)).astype(np.float32),
        light=random.random((4, 9)).astype(np.float32),
        error=np.zeros(4, np.float32),
        packed_normals=packed,
    )
    for name in ("rotation", "identity", "expression", "light"):
        getattr(made, name)[3] = np.nan
    return made


@pytest.fixture(scope="module")
def faces():
    """Face k is of brightness 10 k."""
    return np.stack([np.full((8, 8, 3), 10 * k, np.uint8) for k in range(4)])


def test_labels_go_with_their_faces(faces, labels, model):
    batch = FittedFaces(faces, labels, model, batch_size=4, seed=3)[0]
    rows = (batch.faces[:, 0, 0, 0] * 25.5).round().long().tolist()
    assert sorted(rows) == [0, 1, 2, 3] and rows != [0, 1, 2, 3]  # seed 3 shuffles
    for place, row in enumerate(rows):
        for name, given in (
            ("rotation", labels.rotation),
            ("identity", labels.identity),
            ("expression", labels.expression),
            ("lighting", labels.light),
        ):
            np.testing.assert_array_equal(getattr(batch, name)[place], given[row], err_msg=name)
        assert bool(batch.frontal[place]) == (row < 2)  # within 15 degrees, and known
        if row == 3:
            for name in ("shape", "normals", "mask"):
                assert getattr(batch, name)[place].isnan().all(), name
            continue
        literal = torch.zeros(len(model.neutral), 3)
        for weight, mode in zip(labels.identity[row], model.identity, strict=True):
            literal += float(weight) * mode
        for weight, mode in zip(labels.expression[row], model.expression, strict=True):
            literal += float(weight) * mode
        torch.testing.assert_close(batch.shape[place], literal.mT, atol=1e-6, rtol=1e-4)
        assert batch.mask[place].sum() == 16 and batch.mask[place, 0, 3, 3] == 1
        assert batch.normals[place, :, 3, 3].tolist() == [0, 0, 1]
        assert batch.normals[place, :, 0, 0].tolist() == [0, 0, 0]


def test_a_batch_follows_from_seed_and_step(faces, labels, model):
    first, again = (FittedFaces(faces, labels, model, 2, seed=0) for _ in range(2))
    assert torch.equal(first[5].faces, again[5].faces)
    epoch = torch.cat([first[0].faces, first[1].faces])[:, 0, 0, 0]
    assert len(epoch.unique()) == 4
    with pytest.raises(ValueError, match="4 faces are fewer than a batch of 5"):
        FittedFaces(faces, labels, model, 5, seed=0)


def test_stored_labels_are_not_changed(faces, labels, model):
    before = {f.name: getattr(labels, f.name).copy() for f in dataclasses.fields(labels)}
    FittedFaces(faces, labels, model, 4, seed=0)[0]
    for name, value in before.items():
        np.testing.assert_array_equal(getattr(labels, name), value, err_msg=name)
