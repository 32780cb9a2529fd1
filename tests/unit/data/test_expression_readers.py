"""Readers of expression data sets: small folders in the official layouts, and the real copies."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from facefactor.data.affectnet import read_affectnet
from facefactor.data.ckplus import CK48_POINTS, read_ckplus, read_ckplus48, read_ckplus_pairs
from facefactor.data.named_photos import kdef_name, read_kdef, read_sfew
from facefactor.data.records import DataError
from tests.made_folders import draw, write

# CK+48


@pytest.fixture
def ck48(tmp_path):
    draw(tmp_path / "happy/S010_006_00000013.png", 48, 48)
    draw(tmp_path / "happy/S010_006_00000014.png", 48, 48)
    draw(tmp_path / "contempt/S138_008_00000007.png", 48, 48)
    return tmp_path


def test_ckplus48(ck48):
    assert [(r.path.name, r.subject, r.clip, r.expression) for r in read_ckplus48(ck48)] == [
        ("S138_008_00000007.png", "S138", "S138_008", "contempt"),
        ("S010_006_00000013.png", "S010", "S010_006", "happiness"),
        ("S010_006_00000014.png", "S010", "S010_006", "happiness"),
    ]
    assert read_ckplus48(ck48)[0].points == CK48_POINTS


def test_ckplus48_of_another_size_has_no_fixed_points(tmp_path):
    draw(tmp_path / "fear/S010_006_00000013.png", 96, 96)
    assert read_ckplus48(tmp_path)[0].points is None


def test_ckplus48_broken(ck48):
    draw(ck48 / "happy/photo7.png")
    with pytest.raises(DataError, match=r"photo7.png: expected a name like S010_004_00000017"):
        read_ckplus48(ck48)
    draw(ck48 / "boredom/S010_006_00000013.png")
    with pytest.raises(DataError, match="'boredom' is no expression; expected one of afraid"):
        read_ckplus48(ck48)


# CK+ as released


@pytest.fixture
def ckplus(tmp_path):
    for sequence in ("001", "002"):
        for frame in range(1, 7):
            name = f"S005_{sequence}_{frame:08d}.png"
            draw(tmp_path / "cohn-kanade-images/S005" / sequence / name)
    write(tmp_path / "Emotion/S005/001/S005_001_00000006_emotion.txt", "   3.0000000e+00\n")
    (tmp_path / "Emotion/S005/002").mkdir()  # most sequences have an empty folder
    return tmp_path


def test_ckplus_first_frame_is_neutral_and_the_last_three_are_the_peak(ckplus):
    records = read_ckplus(ckplus)
    assert [(r.path.stem[-1], r.expression) for r in records] == [
        ("1", "neutral"),
        ("4", "disgust"),
        ("5", "disgust"),
        ("6", "disgust"),
    ]
    assert {(record.subject, record.clip) for record in records} == {("S005", "S005_001")}


def test_ckplus_short_sequence_keeps_its_first_frame_neutral(ckplus):
    for frame in (4, 5, 6):
        (ckplus / f"cohn-kanade-images/S005/001/S005_001_{frame:08d}.png").unlink()
    expressions = [record.expression for record in read_ckplus(ckplus)]
    assert expressions == ["neutral", "disgust", "disgust"]


@pytest.mark.parametrize("text", ["0.0", "8.0", "2.5", "anger", ""])
def test_ckplus_unknown_number(ckplus, text):
    write(ckplus / "Emotion/S005/001/S005_001_00000006_emotion.txt", text)
    with pytest.raises(DataError, match=f"1 anger, .* 7 surprise; found '{text}'"):
        read_ckplus(ckplus)


def test_ckplus_broken(ckplus):
    images = ckplus / "cohn-kanade-images/S005/001"
    stray = draw(images / "S005_009_00000001.png")
    with pytest.raises(DataError, match="belongs to another sequence than S005_001"):
        read_ckplus(ckplus)
    stray.unlink()
    for frame in range(2, 7):
        (images / f"S005_001_{frame:08d}.png").unlink()
    with pytest.raises(DataError, match="expected a neutral frame and a peak, found 1"):
        read_ckplus(ckplus)
    images.rename(images.with_name("003"))
    with pytest.raises(DataError, match="labels .*001, which does not exist"):
        read_ckplus(ckplus)
    for file in (ckplus / "Emotion").rglob("*.txt"):
        file.unlink()
    with pytest.raises(DataError, match="Emotion: no label files"):
        read_ckplus(ckplus)


# CK+neutral-peak


@pytest.fixture
def pairs(tmp_path):
    head = "peak_file,emotion,subject,neutral_file,neutral_file_claimed_by_two_sequences"
    rows = [
        "00_005_00000023.jpg,anger,S100,00_005_00000001.jpg,0",
        "11_006_00000010.jpg,happy,S111,11_006_00000001.jpg,1",
        "32_005_00000016.jpg,disgust,,32_005_00000001.jpg,0",
        "54_002_00000015.jpg,fear,S054,54_002_00000001.jpg,0",  # S154_002 begins contempt
    ]
    draw(tmp_path / "anger/00_005_00000023.jpg")
    draw(tmp_path / "neutral_all309/00_005_00000001.jpg")
    write(tmp_path / "pairs.csv", "\n".join([head, *rows]))
    return tmp_path


def test_pairs_without_flagged_rows_those_of_nobody_and_those_of_two(pairs):
    assert [
        (r.path.parent.name, r.expression, r.subject, r.clip) for r in read_ckplus_pairs(pairs)
    ] == [
        ("neutral_all309", "neutral", "S100", "S100_005"),
        ("anger", "anger", "S100", "S100_005"),
    ]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("jpg,0", "jpg,no", "line 2: expected 0 or 1 in neutral_file_claimed.*found 'no'"),
        ("anger", "joy", "line 2: 'joy' is no expression"),
        ("jpg,1", "jpg,0", "line 3: .*00000001.jpg does not exist"),
        ("jpg,0", "jpg,1", "no pairs in it"),
        ("subject", "person", "no column 'subject'"),
    ],
)
def test_pairs_broken(pairs, old, new, message):
    file = pairs / "pairs.csv"
    file.write_text(file.read_text().replace(old, new))
    with pytest.raises(DataError, match=message):
        read_ckplus_pairs(pairs)


# KDEF


@pytest.mark.parametrize(
    ("name", "meaning"),
    [
        ("AF01ANS.JPG", ("A", "F01", "anger", "S")),
        ("BM35SUHL.jpg", ("B", "M35", "surprise", "HL")),
        ("AM02AFFR.JPG", ("A", "M02", "fear", "FR")),  # afraid, full right
        ("af01saf l.jpg", None),
        ("AF01XXS.JPG", None),
        ("CF01ANS.JPG", None),
    ],
)
def test_kdef_names(name, meaning):
    if meaning is None:
        with pytest.raises(DataError, match="expected a name like AF01ANS.JPG"):
            kdef_name(Path(name))
    else:
        assert tuple(kdef_name(Path(name))) == meaning


def test_kdef(tmp_path):
    for name in ("AF01/AF01ANS.JPG", "AF01/AF01NEHL.JPG", "BF01/BF01SUS.JPG", "AF31/AF31V.JPG"):
        draw(tmp_path / name)
    records = read_kdef(tmp_path)
    assert [record.subject for record in records] == ["F01"] * 3
    straight = read_kdef(tmp_path, views=("S",))
    assert [record.expression for record in straight] == ["anger", "surprise"]
    draw(tmp_path / "AF01/holiday.jpg")
    with pytest.raises(DataError, match="holiday.jpg: expected a name like"):
        read_kdef(tmp_path)


# SFEW


def test_sfew(tmp_path):
    draw(tmp_path / "Train/Train_Aligned_Faces/Angry/a.png")
    draw(tmp_path / "Train/Train_Aligned_Faces/Neutral/b.png")
    draw(tmp_path / "Val/Val_Aligned_Faces_new/Happy/c.png")
    draw(tmp_path / "Test/imgs/d.png")
    assert [(r.path.name, r.expression, r.split) for r in read_sfew(tmp_path)] == [
        ("a.png", "anger", "train"),
        ("b.png", "neutral", "train"),
        ("c.png", "happiness", "test"),
    ]
    assert [record.path.name for record in read_sfew(tmp_path, "test")] == ["c.png"]
    assert read_sfew(tmp_path, "valid") == []


def test_sfew_with_classes_directly_in_train_and_val(tmp_path):
    draw(tmp_path / "Train/Sad/a.png")
    with pytest.raises(DataError, match="no image folder Val/Val_Aligned_Faces or"):
        read_sfew(tmp_path)
    draw(tmp_path / "Val/Fear/b.png")
    assert [record.expression for record in read_sfew(tmp_path)] == ["sadness", "fear"]


# AffectNet

COLUMNS = (
    "subDirectory_filePath,face_x,face_y,face_width,face_height,facial_landmarks,expression,"
    "valence,arousal"
)
LANDMARKS = ";".join(f"{i};{2 * i}" for i in range(68))


def affectnet_row(name, expression, landmarks=LANDMARKS):
    return f"{name},1,2,30,30,{landmarks},{expression},0.1,-0.2"


@pytest.fixture
def affectnet(tmp_path):
    for name in ("1/b.jpg", "2/a.JPG", "3/c.png"):
        draw(tmp_path / "Manually_Annotated_Images" / name)
    rows = [affectnet_row("2/a.JPG", 1), affectnet_row("1/b.jpg", 7), affectnet_row("9/z.jpg", 10)]
    write(tmp_path / "training.csv", "\n".join([COLUMNS, *rows]))
    write(tmp_path / "validation.csv", affectnet_row("3/c.png", 6))  # without a head
    return tmp_path


def test_affectnet_tables(affectnet):
    assert [(r.path.name, r.expression, r.split) for r in read_affectnet(affectnet)] == [
        ("b.jpg", "contempt", "train"),
        ("a.JPG", "happiness", "train"),
        ("c.png", "anger", "test"),
    ]
    assert [record.path.name for record in read_affectnet(affectnet, "test")] == ["c.png"]
    assert read_affectnet(affectnet, "valid") == []


def test_affectnet_points_are_eyes_nose_and_mouth_corners(affectnet):
    """Landmark i is at (i, 2i); an eye is the mean of six, 36 to 41 and 42 to 47."""
    points = read_affectnet(affectnet)[0].points
    assert points == ((38.5, 77.0), (44.5, 89.0), (30.0, 60.0), (48.0, 96.0), (54.0, 108.0))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (affectnet_row("2/a.JPG", 2), "line 5: 2/a.JPG was happiness before"),
        (affectnet_row("2/x.jpg", 2), "line 5: .*2/x.jpg does not exist"),
        (affectnet_row("2/a.JPG", 11), "line 5: expected one of 0 neutral.*found '11'"),
        (affectnet_row("2/a.JPG", 1, "1;2;3"), "line 5: expected 68 landmarks .* found 3 values"),
    ],
)
def test_affectnet_tables_broken(affectnet, row, message):
    file = affectnet / "training.csv"
    file.write_text(file.read_text() + "\n" + row)
    with pytest.raises(DataError, match=message):
        read_affectnet(affectnet)


@pytest.fixture
def affectnet8(tmp_path):
    labels = {("train_set", "0"): np.array("4"), ("train_set", "7"): np.array(0)}
    for (part, stem), label in {**labels, ("val_set", "1"): np.array(["5"])}.items():
        draw(tmp_path / part / "images" / f"{stem}.jpg")
        (tmp_path / part / "annotations").mkdir(exist_ok=True)
        np.save(tmp_path / part / "annotations" / f"{stem}_exp.npy", label)
        np.save(tmp_path / part / "annotations" / f"{stem}_val.npy", 0.5)
    return tmp_path


def test_affectnet_of_eight_classes(affectnet8):
    records = read_affectnet(affectnet8)
    assert [(r.path.name, r.expression, r.split, r.points) for r in records] == [
        ("0.jpg", "fear", "train", None),
        ("7.jpg", "neutral", "train", None),
        ("1.jpg", "disgust", "test", None),
    ]


@pytest.mark.parametrize(
    ("label", "message"),
    [
        (np.array("8"), "expected one of 0 neutral.*found '8'"),
        (np.array([1, 2]), "expected one number, found 2 values"),
        (np.array({"a": 1}), "cannot be read as an array of one number"),  # a pickle: never run
    ],
)
def test_affectnet_of_eight_classes_broken(affectnet8, label, message):
    np.save(affectnet8 / "train_set/annotations/0_exp.npy", label)
    with pytest.raises(DataError, match=f"0_exp.npy.*{message}"):
        read_affectnet(affectnet8)


def test_affectnet_of_eight_classes_without_an_annotation(affectnet8):
    (affectnet8 / "train_set/annotations/0_exp.npy").unlink()
    with pytest.raises(DataError, match="holds 0 without a label"):
        read_affectnet(affectnet8)


# The real copies


def test_real_counts(shared):
    data = shared / "data"
    ck48 = read_ckplus48(data / "CK+48")
    assert Counter(record.expression for record in ck48) == {
        "anger": 135,
        "contempt": 54,
        "disgust": 177,
        "fear": 75,
        "happiness": 207,
        "sadness": 84,
        "surprise": 249,
    }
    assert len({record.subject for record in ck48}) == 118
    frames = Counter(record.clip for record in ck48)
    assert len(frames) == 327 and set(frames.values()) == {3}

    pairs = read_ckplus_pairs(data / "CK+neutral-peak")
    assert len(pairs) == 2 * 278  # 284 rows without a flag, 1 names nobody, 5 are two people
    assert all(
        first.clip == peak.clip and first.expression == "neutral" != peak.expression
        for first, peak in zip(pairs[::2], pairs[1::2], strict=True)
    )
    # The pairs name subjects and sequences as CK+48 does, and agree on their expressions.
    known = {record.clip: record.expression for record in ck48}
    assert all(known[peak.clip] == peak.expression for peak in pairs[1::2])

    kdef = read_kdef(data / "KDEF")
    assert (len(kdef), len({record.subject for record in kdef})) == (979, 70)
    assert {kdef_name(record.path).session for record in kdef} == {"A", "B"}
