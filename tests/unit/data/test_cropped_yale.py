"""CroppedYale: its names, its lights and its layout."""

from collections import Counter

import numpy as np
import pytest
import torch

from facefactor.data.cropped_yale import (
    SIDES,
    YALE_POINTS,
    light_angle,
    light_side,
    light_subset,
    read_cropped_yale,
)
from facefactor.data.readers import READERS
from facefactor.data.records import DataError
from facefactor.geometry.lighting import light_direction
from facefactor.images import read_photo
from tests.made_folders import draw, write


@pytest.fixture
def yale(tmp_path):
    for person in ("yaleB01", "yaleB12"):
        for light in ("A+000E+00", "A+035E-20", "A-110E+65"):
            draw(tmp_path / person / f"{person}_P00{light}.pgm", 168, 192)
        draw(tmp_path / person / f"{person}_P00_Ambient.pgm", 168, 192)
        write(tmp_path / person / f"{person}_P00.info", "a list\n")
    write(tmp_path / "yaleB12/yaleB12_P00A+050E-40.pgm.bad", "lost")
    return tmp_path


def test_subject_and_light_from_the_names(yale):
    records = READERS["croppedyale"](yale)
    assert [(record.subject, record.light) for record in records] == [
        (person, light)
        for person in ("yaleB01", "yaleB12")
        # the names count azimuth to the subject's right, records to the left
        for light in ((0.0, 0.0), (-35.0, -20.0), (110.0, 65.0))
    ]
    assert records[0].points == YALE_POINTS[168, 192]


def test_of_another_size_there_are_no_fixed_points(tmp_path):
    draw(tmp_path / "yaleB01/yaleB01_P00A+000E+00.png", 96, 96)
    assert read_cropped_yale(tmp_path)[0].points is None


def test_points_of_both_sizes_are_one_place():
    small, official = (np.array(YALE_POINTS[size]) for size in ((126, 144), (168, 192)))
    assert (official + 0.5) / (168, 192) == pytest.approx((small + 0.5) / (126, 144))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("yaleB01/photo.png", "photo.png: expected a name like yaleB01_P00A"),
        ("yaleB02/yaleB01_P00A+000E+00.png", "expected a name like yaleB02_P00A.* in doubt"),
        ("yaleB01/yaleB01_P03A+000E+00.png", "expected a name like yaleB01_P00A"),
        ("yaleB01/yaleB01_P00A+200E+00.png", "no light comes from azimuth 200"),
        ("yaleB01/yaleB01_P00_Ambient.png", "no folders of people"),
        ("loose.png", "no folders of people"),
    ],
)
def test_what_is_no_cropped_yale(tmp_path, name, message):
    draw(tmp_path / name)
    with pytest.raises(DataError, match=message):
        read_cropped_yale(tmp_path)


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


def test_the_real_one(shared):
    records = read_cropped_yale(shared / "data" / "CroppedYale")
    assert len({record.subject for record in records}) == 38
    lights = [record.light for record in records if record.light is not None]
    # as the field counts its five subsets
    assert Counter(map(light_subset, lights)) == {1: 263, 2: 456, 3: 455, 4: 526, 5: 714}
    assert set(map(light_side, lights)) == set(SIDES)
    of_first = {record.light: record.path for record in records if record.subject == "yaleB01"}
    photo = read_photo(of_first[70.0, 0.0])  # from the subject's left, the photo's right
    assert photo[:, 63:].mean() > 5 * photo[:, :63].mean()
