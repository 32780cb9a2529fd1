"""Codes that are computed once and then read."""

import numpy as np
import pytest
import torch
from torch import nn

from facefactor.data.records import DataError
from facefactor.evaluation.floors import encode_faces
from facefactor.protocols.kept_codes import encode_or_read, kept_codes, network_version


@pytest.fixture
def faces():
    return np.random.default_rng(0).integers(0, 256, (300, 4, 4, 3)).astype(np.uint8)


class Sums:
    """Sums of colours, and how many faces it was asked about."""

    def __init__(self, factor=1.0):
        self.factor = factor
        self.asked = 0

    def __call__(self, faces):
        self.asked += len(faces)
        return self.factor * faces.sum(dim=(2, 3))


def test_asked_once_and_the_same_as_without_a_cache(faces, tmp_path):
    sums = Sums()
    first = kept_codes(sums, "sums", faces, tmp_path)
    torch.testing.assert_close(first, encode_faces(Sums(), faces), rtol=0, atol=0)
    assert torch.equal(kept_codes(sums, "sums", faces, tmp_path), first)
    assert sums.asked == 300


def test_other_faces_and_other_versions_are_asked_again(faces, tmp_path):
    sums = Sums()
    kept_codes(sums, "sums", faces, tmp_path)
    other = faces.copy()
    other[299, 0, 0, 0] ^= 1
    changed = kept_codes(sums, "sums", other, tmp_path)
    assert sums.asked == 300 + 44  # of 256 faces in the first file none is another
    torch.testing.assert_close(changed, encode_faces(Sums(), other), rtol=0, atol=0)
    twice = kept_codes(Sums(2.0), "twice", faces, tmp_path)
    torch.testing.assert_close(twice, encode_faces(Sums(2.0), faces), rtol=0, atol=0)


def test_a_damaged_file_is_named(faces, tmp_path):
    kept_codes(Sums(), "sums", faces, tmp_path)
    path = sorted((tmp_path / "codes").glob("*.npz"))[0]
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(DataError, match=path.name):
        kept_codes(Sums(), "sums", faces, tmp_path)


def test_only_descriptors_are_kept(faces, tmp_path):
    sums = Sums()
    for _ in range(2):
        encode_or_read("a model", sums, faces, tmp_path)
    assert sums.asked == 600 and not (tmp_path / "codes").exists()
    for _ in range(2):
        encode_or_read("HoG", sums, faces, tmp_path)
    assert sums.asked == 900


def test_a_version_follows_from_kinds_names_and_numbers_of_weights():
    torch.manual_seed(0)
    network = nn.Linear(2, 3)
    before = network_version(network)
    assert before == network_version(network)
    assert before != network_version(network, network)
    assert before != network_version(nn.Linear(2, 3))
    with torch.no_grad():
        network.bias[1] += 1e-3
    assert before != network_version(network)
