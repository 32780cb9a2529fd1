import numpy as np
import pytest

from facefactor.data.fer import FER_POINTS, _majority, read_fer2013, read_ferplus, unpack_fer2013
from facefactor.data.records import DataError
from facefactor.images import read_photo, write_image

HEAD = "Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF"
FOLDERS = {"Training": "FER2013Train", "PublicTest": "FER2013Valid", "PrivateTest": "FER2013Test"}
ROWS = [
    "Training,fer0000000.png,1,9,0,0,0,0,0,0,0,0",
    "Training,,0,0,0,0,0,0,0,0,0,10",
    "Training,fer0000002.png,4,4,0,1,1,0,0,0,0,0",
    "PublicTest,fer0000003.png,0,0,0,0,0,0,0,8,2,0",
    "PrivateTest,fer0000004.png,0,0,0,0,0,6,4,0,0,0",
]


@pytest.fixture
def fer(tmp_path):
    for row in ROWS:
        usage, name = row.split(",")[:2]
        if name:
            write_image(tmp_path / FOLDERS[usage] / name, np.full((48, 48, 3), 90, np.uint8))
    (tmp_path / "fer2013new.csv").write_text("\n".join([HEAD, *ROWS]) + "\n")
    (tmp_path / "fer2013_labels.csv").write_text(
        "image,emotion,emotion_name,ambiguous\nfer0000000.png,3,happy,0\nfer0000002.png,6,x,1\n"
        "fer0000003.png,0,angry,0\nfer0000004.png,1,disgust,0\n"
    )
    return tmp_path


@pytest.mark.parametrize(
    ("votes", "expression"),
    [
        ([6, 4, 0, 0, 0, 0, 0, 0, 0, 0], "neutral"),
        ([5, 5, 0, 0, 0, 0, 0, 0, 0, 0], None),  # a tie is no majority
        ([5, 4, 1, 0, 0, 0, 0, 0, 0, 0], "neutral"),  # 5 of 9: the lone vote is struck out
        ([0, 0, 0, 4, 3, 3, 0, 0, 0, 0], None),  # most votes, not a majority
        ([0, 0, 0, 0, 0, 0, 0, 0, 8, 2], None),  # unknown
        ([1, 1, 1, 1, 1, 1, 1, 1, 1, 1], None),
        ([0, 0, 0, 0, 0, 0, 0, 6, 2, 2], "contempt"),
    ],
)
def test_majority_of_the_votes(votes, expression):
    assert _majority(votes) == expression


def test_ferplus(fer):
    assert [(r.path.name, r.expression, r.split) for r in read_ferplus(fer)] == [
        ("fer0000000.png", "happiness", "train"),
        ("fer0000002.png", None, "train"),
        ("fer0000003.png", "contempt", "valid"),
        ("fer0000004.png", "disgust", "test"),
    ]
    assert [record.path.name for record in read_ferplus(fer, "test")] == ["fer0000004.png"]
    assert read_ferplus(fer)[0].points == FER_POINTS


def test_fer2013(fer):
    records = read_fer2013(fer)
    assert [record.expression for record in records] == ["happiness", None, "anger", "disgust"]
    assert [record.split for record in records] == ["train", "train", "valid", "test"]
    assert read_fer2013(fer, "valid") == records[2:3]


@pytest.mark.parametrize("read", [read_ferplus, read_fer2013])
def test_images_and_labels_that_do_not_fit(fer, read):
    image = fer / "FER2013Train/fer0000000.png"
    image.rename(fer / "FER2013Train/fer0000009.png")
    with pytest.raises(DataError, match="names fer0000000.png"):
        read(fer)
    write_image(image, np.full((48, 48, 3), 90, np.uint8))
    with pytest.raises(DataError, match="holds fer0000009.png without a label"):
        read(fer)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (ROWS[0], None),  # the same again
        (ROWS[4].replace("6,4", "4,6"), "line 7: fer0000004.png was given other votes"),
        ("PrivateTest,fer0000004.png,0,0,0,0,0,0,0,0,0,10", None),  # seen by nobody else
        ("Validation,x.png,1,9,0,0,0,0,0,0,0,0", "line 7: unknown Usage 'Validation'"),
        ("Training,x.png,1,many,0,0,0,0,0,0,0,0", "line 7: votes must be whole numbers"),
        ("Training,x.png,1", "line 7: too few columns"),
    ],
)
def test_another_row_of_votes(fer, row, message):
    before = read_ferplus(fer)
    file = fer / "fer2013new.csv"
    file.write_text(file.read_text() + row + "\n")
    if message is None:
        assert read_ferplus(fer) == before
    else:
        with pytest.raises(DataError, match=message):
            read_ferplus(fer)


def test_votes_outweigh_a_row_of_no_face_whichever_comes_first(fer):
    before = read_ferplus(fer)
    nobody = "PrivateTest,fer0000004.png,0,0,0,0,0,0,0,0,0,10"
    (fer / "fer2013new.csv").write_text("\n".join([HEAD, nobody, *ROWS]))
    assert read_ferplus(fer) == before


def test_fer2013_labels_that_are_wrong(fer):
    file = fer / "fer2013_labels.csv"
    good = file.read_text()
    file.write_text(good.replace("png,0,", "png,7,"))
    with pytest.raises(DataError, match="line 4: unknown label '7'"):
        read_fer2013(fer)
    file.write_text(good + "fer0000004.png,1,disgust,0\n")
    with pytest.raises(DataError, match="line 6: fer0000004.png is named twice"):
        read_fer2013(fer)
    file.write_text(good.replace("emotion,", "feeling,"))
    with pytest.raises(DataError, match="no column 'emotion'"):
        read_fer2013(fer)


def test_missing_folder_of_images(fer):
    (fer / "FER2013Valid/fer0000003.png").unlink()
    (fer / "FER2013Valid").rmdir()
    for read in (read_ferplus, read_fer2013):
        with pytest.raises(DataError, match="FER2013Valid"):
            read(fer)


def test_the_official_csv_is_unpacked_once(tmp_path):
    rng = np.random.default_rng(0)
    grey = rng.integers(0, 256, (3, 48, 48))
    rows = [
        f"{label},{' '.join(map(str, pixels.ravel()))},{usage}"
        for label, pixels, usage in zip((4, 3, 0), grey, FOLDERS, strict=True)
    ]
    file = tmp_path / "fer2013.csv"
    file.write_text("\n".join(["emotion,pixels,Usage", *rows]))
    with pytest.raises(DataError, match="unpack_fer2013"):
        read_fer2013(tmp_path)
    assert unpack_fer2013(file, tmp_path) == 3
    records = read_fer2013(tmp_path)
    assert [record.expression for record in records] == ["sadness", "happiness", "anger"]
    np.testing.assert_array_equal(read_photo(records[1].path)[..., 0], grey[1])


def test_a_row_of_too_few_pixels(tmp_path):
    file = tmp_path / "fer2013.csv"
    file.write_text("emotion,pixels,Usage\n0,1 2 3,Training\n")
    with pytest.raises(DataError, match="line 2: expected 2304 pixels of 0 to 255, found 3"):
        unpack_fer2013(file, tmp_path)


def test_real_counts(shared):
    folder = shared / "data/FERPlus"
    counts = {"train": 28_558, "valid": 3_579, "test": 3_573}
    for read, named in ((read_ferplus, 31_409), (read_fer2013, 35_573)):
        records = read(folder)
        for split, count in counts.items():
            assert sum(record.split == split for record in records) == count
        assert sum(record.expression is not None for record in records) == named
