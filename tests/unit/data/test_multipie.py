"""Multi-PIE: small folders in its official layout, and what broken ones are told."""

from collections import Counter
from pathlib import Path

import pytest

from facefactor.data.multipie import CAMERA_YAW_DEG, CAMERAS, multipie_name, read_multipie
from facefactor.data.readers import READERS
from facefactor.data.records import DataError, split_by_subject
from facefactor.factors import EXPRESSIONS
from tests.made_folders import draw


def shot(top: Path, subject: str, session: int, recording: int, camera: str, light: int) -> Path:
    name = f"{subject}_{session:02d}_{recording:02d}_{camera.replace('_', '')}_{light:02d}.png"
    place = top / f"session{session:02d}/multiview/{subject}/{recording:02d}/{camera}"
    return draw(place / name, 64, 48)


@pytest.fixture
def multipie(tmp_path):
    top = tmp_path / "Multi-Pie" / "data"
    shot(top, "001", 1, 1, "05_1", 7)
    shot(top, "001", 1, 1, "05_1", 0)
    shot(top, "001", 1, 2, "24_0", 7)
    shot(top, "346", 2, 3, "05_1", 19)
    shot(top, "346", 4, 3, "19_1", 18)
    draw(top / "session01/highres/001/001_01_01.png")
    return top


def test_records(multipie):
    assert [(r.path.name, r.subject, r.expression) for r in read_multipie(multipie)] == [
        ("001_01_01_051_00.png", "001", "neutral"),
        ("001_01_01_051_07.png", "001", "neutral"),
        ("001_01_02_240_07.png", "001", "happiness"),
        ("346_02_03_051_19.png", "346", None),  # a squint
        ("346_04_03_191_18.png", "346", None),  # a scream
    ]
    assert READERS["multipie"] is read_multipie
    parts = split_by_subject(read_multipie(multipie), (0.5, 0.5), seed=0)
    assert not {r.subject for r in parts[0]} & {r.subject for r in parts[1]}


def test_the_folder_above_and_the_cameras(multipie):
    assert read_multipie(multipie.parent) == read_multipie(multipie)
    frontal = read_multipie(multipie, cameras=["05_1"])
    assert [multipie_name(record.path).illumination for record in frontal] == [0, 7, 19]


def test_what_a_name_says():
    name = multipie_name(Path("session03/multiview/042/02/13_0/042_03_02_130_11.png"))
    assert name == ("042", 3, 2, "13_0", 11)
    assert (name.expression, name.yaw_deg) == ("smile", 30)
    assert multipie_name(Path("042_03_02_081_11.png")).yaw_deg is None  # from above
    told = {
        (session, recording): multipie_name(
            Path(f"001_{session:02d}_{recording:02d}_051_00.png")
        ).expression
        for session in (1, 2, 3, 4)
        for recording in (1, 2, 3)
        if (session, recording) != (1, 3)
    }
    assert Counter(told.values()) == {  # the paper's six; five recordings are neutral
        **{"neutral": 5, "smile": 2},
        **dict.fromkeys(("surprise", "squint", "disgust", "scream"), 1),
    }
    assert told[4, 2] == "neutral" and told[4, 3] == "scream" and told[2, 3] == "squint"


def test_cameras_are_fifteen_degrees_apart_with_the_right_profile_in_24_0():
    """Nose to the image's left is positive, so a head that shows its right side is negative."""
    yaws = list(CAMERA_YAW_DEG.values())
    assert yaws == list(range(-90, 91, 15)) and len(CAMERAS) == 15
    assert CAMERA_YAW_DEG["24_0"] == -90 and CAMERA_YAW_DEG["05_1"] == 0


def test_expressions_are_the_projects(multipie):
    told = {record.expression for record in read_multipie(multipie)} - {None}
    assert told <= set(EXPRESSIONS)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("001_01_01_051_07_crop.png", "expected a name like 001_01_01_051_07.png"),
        ("001_05_01_051_07.png", "expected a name like"),
        ("001_01_01_051_20.png", "illumination 00 to 19"),
        ("001_01_01_061_07.png", "there is no camera 06_1"),
        ("001_01_03_051_07.png", "session 1 has no recording 3"),
        ("002_01_01_051_07.png", "belongs into session01/multiview/002/01/05_1"),
        ("001_01_01_050_07.png", "belongs into session01/multiview/001/01/05_0"),
    ],
)
def test_names_in_doubt(multipie, name, message):
    draw(multipie / "session01/multiview/001/01/05_1" / name)
    with pytest.raises(DataError, match=message) as told:
        read_multipie(multipie)
    assert name in str(told.value)


def test_other_folders(tmp_path, multipie):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"no session01/multiview .* top folder of\s+Multi-PIE"):
        read_multipie(tmp_path / "empty")
    with pytest.raises(DataError, match="does not exist"):
        read_multipie(tmp_path / "gone")
    with pytest.raises(DataError, match="no photos 001_01_01_051_07.png of 11_0"):
        read_multipie(multipie, cameras=["11_0"])
