"""Multi-PIE: what its names say, on a small made folder."""

from pathlib import Path

import pytest

from facefactor.data.multipie import CAMERAS, multipie_name, read_multipie
from facefactor.data.readers import READERS
from facefactor.data.records import DataError
from tests.made_folders import draw


@pytest.fixture
def multipie(tmp_path):
    for session, recording, camera, light in (
        ("01", "02", "051", "07"),
        ("02", "03", "080", "07"),
        ("01", "01", "110", "07"),  # a profile
        ("04", "03", "051", "00"),  # no flash
    ):
        folder = f"session{session}/multiview/001/{recording}/{camera[:2]}_{camera[2]}"
        draw(tmp_path / folder / f"001_{session}_{recording}_{camera}_{light}.png")
    return tmp_path


def test_seven_cameras(multipie):
    records = READERS["multipie"](multipie)
    assert [(r.path.name, r.subject, r.expression) for r in records] == [
        ("001_01_02_051_07.png", "001", "happiness"),
        ("001_02_03_080_07.png", "001", None),
        ("001_04_03_051_00.png", "001", None),
    ]
    assert all(record.points is None for record in records) and len(CAMERAS) == 7


def test_frontal_with_a_flash(multipie):
    (record,) = READERS["multipie-frontal"](multipie)
    assert record.path.name == "001_01_02_051_07.png"


@pytest.mark.parametrize(
    ("name", "expression"),
    [
        ("346_01_01_190_19.png", "neutral"),
        ("002_02_02_190_01.png", "surprise"),
        ("002_02_03_190_01.png", "squint"),
        ("002_03_02_190_01.png", "smile"),
        ("002_03_03_190_01.png", "disgust"),
        ("002_04_02_190_01.png", "neutral"),
        ("002_04_03_190_01.png", "scream"),
    ],
)
def test_the_expression_follows_from_session_and_recording(name, expression):
    found = multipie_name(Path(name))
    assert (found.subject, found.expression, found.camera, found.light) == (
        name[:3],
        expression,
        "190",
        name[14:16],
    )


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("1_01_01_051_07.png", "expected a name like 001_01_01_051_07.png"),
        ("001_05_01_051_07.png", "expected a name like"),
        ("001_01_03_051_07.png", "session 01 has recordings 01 to 02, this is 03"),
        ("001_01_01_110_07.png", "no photos of these cameras"),
    ],
)
def test_what_is_no_multipie(tmp_path, name, message):
    draw(tmp_path / name)
    with pytest.raises(DataError, match=message):
        read_multipie(tmp_path)
