"""Readers of RaFD and CFEED: small folders in the official layouts."""

from pathlib import Path

import pytest

from facefactor.data.cfeed import CFEED_EXPRESSIONS, cfeed_name, read_cfeed
from facefactor.data.rafd import rafd_name, read_rafd
from facefactor.data.readers import READERS
from facefactor.data.records import DataError, split_by_subject
from facefactor.factors import EXPRESSIONS
from tests.made_folders import draw

# RaFD


@pytest.fixture
def rafd(tmp_path):
    for name in (
        "Rafd090_01_Caucasian_female_angry_frontal",
        "Rafd090_01_Caucasian_female_contemptuous_left",
        "Rafd045_01_Caucasian_female_angry_frontal",
        "Rafd180_73_Moroccan_male_fearful_right",
        "Rafd090_63_Kid_male_surprised_frontal",
    ):
        draw(tmp_path / f"{name}.jpg")
    return tmp_path


def test_rafd(rafd):
    assert [(r.path.stem[:10], r.subject, r.expression) for r in read_rafd(rafd)] == [
        ("Rafd045_01", "01", "anger"),
        ("Rafd090_01", "01", "anger"),
        ("Rafd090_01", "01", "contempt"),
        ("Rafd090_63", "63", "surprise"),
        ("Rafd180_73", "73", "fear"),
    ]
    assert {(r.split, r.clip, r.points) for r in read_rafd(rafd)} == {(None, None, None)}


def test_rafd_some_cameras_only(rafd):
    assert {rafd_name(r.path).angle for r in read_rafd(rafd, angles=("045", "090"))} == {
        "045",
        "090",
    }
    with pytest.raises(DataError, match="no photos named as RaFD"):
        read_rafd(rafd, angles=("000",))


def test_rafd_names():
    name = rafd_name(Path("x/Rafd135_08_Caucasian_female_disgusted_right.JPG"))
    assert name == ("135", "08", "disgust", "right")
    words = "angry contemptuous disgusted fearful happy neutral sad surprised".split()
    read = {rafd_name(Path(f"Rafd090_01_Kid_male_{word}_left.jpg")).expression for word in words}
    assert read == set(EXPRESSIONS)


@pytest.mark.parametrize(
    "name",
    [
        "Rafd100_01_Caucasian_female_angry_frontal",  # no such camera
        "Rafd090_01_Caucasian_female_bored_frontal",
        "Rafd090_01_Caucasian_female_angry",
        "Rafd090_Caucasian_female_angry_frontal",
        "photo7",
    ],
)
def test_rafd_other_names(rafd, name):
    (rafd / "more").mkdir()
    draw(rafd / "more" / f"{name}.jpg")
    with pytest.raises(DataError, match=f"{name}.jpg: expected a name like Rafd090_01"):
        read_rafd(rafd)


def test_rafd_missing(tmp_path):
    with pytest.raises(DataError, match="no photos named as RaFD names them"):
        read_rafd(tmp_path)
    with pytest.raises(DataError, match="does not exist"):
        read_rafd(tmp_path / "nowhere")


# CFEED


@pytest.fixture
def cfeed(tmp_path):
    top = tmp_path / "CFEE_Database_230"
    for name in (
        "01-04/Images1/01_126_3963.jpg",
        "01-04/Images1/02_339_3470.jpg",
        "01-04/Images1/04_126_3990.jpg",
        "05-08/Images2/05_140_5449.jpg",
        "05-08/Images2/08_140_5460.jpg",
        "09-12/Images3/09_110_2555.jpg",
        "21-26/Images6/26_222.jpg",
        "21-26/Images6/260_19.png.jpg",
    ):
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        draw(top / name)
    draw(tmp_path / "sheet_of_all.jpg")  # not in a folder of photos
    return top


def test_cfeed(cfeed):
    found = [(r.path.name, r.subject, r.expression) for r in read_cfeed(cfeed)]
    assert found == [
        ("01_126_3963.jpg", "126", "neutral"),
        ("02_339_3470.jpg", "339", "happiness"),
        ("04_126_3990.jpg", "126", None),
        ("05_140_5449.jpg", "140", "anger"),
        ("08_140_5460.jpg", "140", "fear"),
        ("09_110_2555.jpg", "110", None),
        ("260_19.png.jpg", "260", None),
        ("26_222.jpg", "222", None),
    ]
    assert len(read_cfeed(cfeed.parent)) == 8


def test_cfeed_has_the_seven_basic_expressions():
    assert sorted(CFEED_EXPRESSIONS.values()) == sorted(EXPRESSIONS[:7])


@pytest.mark.parametrize("name", ["27_126_3963", "00_126_3963", "1_126_3963", "face"])
def test_cfeed_other_names(cfeed, name):
    with pytest.raises(DataError, match=f"{name}.jpg: expected a name like 02_339_3470.jpg"):
        cfeed_name(Path(f"{name}.jpg"))
    draw(cfeed / "01-04/Images1" / f"{name}.jpg")
    with pytest.raises(DataError, match=name):
        read_cfeed(cfeed)


def test_cfeed_missing(tmp_path):
    draw(tmp_path / "01_126_3963.jpg")
    with pytest.raises(DataError, match="no photos in folders Images1 to Images6"):
        read_cfeed(tmp_path)


# both


def test_they_are_registered_and_can_be_split_by_person(rafd):
    assert (READERS["rafd"], READERS["cfeed"]) == (read_rafd, read_cfeed)
    parts = split_by_subject(READERS["rafd"](rafd), (0.5, 0.5), seed=0)
    people = [{record.subject for record in part} for part in parts]
    assert not people[0] & people[1] and people[0] | people[1] == {"01", "63", "73"}
