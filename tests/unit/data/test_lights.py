"""Lights: their angles, subsets and sides."""

from collections import Counter

import numpy as np
import pytest
import torch

from facefactor.data.cropped_yale import read_cropped_yale
from facefactor.data.lights import SIDES, light_angle, light_of, light_side, light_subset
from facefactor.data.records import FaceRecord
from facefactor.geometry.lighting import light_direction
from facefactor.images import read_photo


def test_azimuth_is_counted_to_the_subjects_left(tmp_path):
    assert light_of(FaceRecord(tmp_path / "a.png", light=(35.0, -20.0))) == (-35.0, -20.0)
    assert str(light_of(FaceRecord(tmp_path / "a.png", light=(0.0, 20.0)))) == "(0.0, 20.0)"
    assert light_of(FaceRecord(tmp_path / "a.png")) is None


def test_angles_by_hand():
    assert light_angle((0.0, 0.0)) == 0
    assert light_angle((25.0, 0.0)) == 25 and light_angle((0.0, -35.0)) == 35
    assert light_angle((0.0, 90.0)) == 90 and light_angle((-130.0, 0.0)) == 130
    assert light_angle((90.0, 45.0)) == 90  # from the side, however high


def test_angles_and_sides_are_those_of_the_direction():
    random = np.random.default_rng(0)
    for azimuth, elevation in random.uniform((-180, -90), (180, 90), (200, 2)).tolist():
        x, y, z = light_direction(torch.tensor(azimuth), torch.tensor(elevation)).tolist()
        light = azimuth, elevation
        assert light_angle(light) == pytest.approx(np.degrees(np.arccos(z)), abs=0.05)
        side = light_side(light)
        if side != "front":
            sides = {"left": x, "right": -x, "above": y, "below": -y}
            assert side.removeprefix("far ") == max(sides, key=sides.__getitem__)


@pytest.mark.parametrize(
    ("light", "subset", "side"),
    [
        ((0.0, 0.0), 1, "front"),
        ((10.0, 0.0), 1, "front"),
        ((-25.0, 0.0), 2, "front"),
        ((35.0, 15.0), 3, "left"),
        ((-35.0, 40.0), 3, "above"),
        ((-70.0, 0.0), 4, "right"),
        ((0.0, 90.0), 5, "above"),
        ((0.0, -35.0), 3, "below"),
        ((110.0, 15.0), 5, "far left"),
        ((-130.0, 20.0), 5, "far right"),
    ],
)
def test_subsets_and_sides(light, subset, side):
    assert (light_subset(light), light_side(light)) == (subset, side)


def test_the_real_ones(shared):
    records = read_cropped_yale(shared / "data" / "CroppedYale")
    lights = {record: light_of(record) for record in records}
    known = [light for light in lights.values() if light is not None]
    # as the field counts its five subsets
    assert Counter(map(light_subset, known)) == {1: 263, 2: 456, 3: 455, 4: 526, 5: 714}
    assert set(map(light_side, known)) == set(SIDES)
    of_first = {lights[record]: record.path for record in records if record.subject == "yaleB01"}
    photo = read_photo(of_first[70.0, 0.0])  # from the subject's left, the photo's right
    assert photo[:, 63:].mean() > 5 * photo[:, :63].mean()
