"""Readers on small folders in the official layouts, and what they say about broken ones."""

import numpy as np
import pytest

from facefactor.data.readers import (
    CELEBA_POINTS,
    READERS,
    read_celeba,
    read_clips,
    read_folder,
    read_lfw,
    read_pairs,
    read_rafdb,
)
from facefactor.data.records import DataError
from tests.made_folders import draw, write


@pytest.fixture
def celeba(tmp_path):
    for name in ("000001.jpg", "000002.jpg", "000003.jpg"):
        draw(tmp_path / "img_align_celeba" / name, 178, 218)
    write(tmp_path / "identity_CelebA.txt", "000001.jpg 7\n000003.jpg 9\n000002.jpg 7\n")
    return tmp_path


@pytest.fixture
def rafdb(tmp_path):
    for name in ("train_00001", "train_00002", "test_0001"):
        draw(tmp_path / "basic/Image/aligned" / f"{name}_aligned.jpg")
    write(
        tmp_path / "basic/EmoLabel/list_patition_label.txt",
        "train_00001.jpg 5\ntrain_00002.jpg 1\ntest_0001.jpg 7\n",
    )
    return tmp_path


@pytest.fixture
def lfw(tmp_path):
    for name, photos in (("Ann_Bo", 2), ("Cy", 2), ("Di_van_Eb", 1)):
        for number in range(1, photos + 1):
            draw(tmp_path / "lfw" / name / f"{name}_{number:04d}.jpg", 112, 112)
    pairs = "1\t2\nAnn_Bo\t1\t2\nCy\t1\t2\nAnn_Bo\t1\tCy\t2\nCy\t2\tDi_van_Eb\t1\n"
    write(tmp_path / "pairs.txt", pairs)
    return tmp_path


def test_celeba(celeba):
    records = read_celeba(celeba)
    assert [(record.path.name, record.subject) for record in records] == [
        ("000001.jpg", "7"),
        ("000002.jpg", "7"),
        ("000003.jpg", "9"),
    ]
    assert records[0].points == CELEBA_POINTS[178, 218]
    assert not records[0].stretch


def test_celeba_points_of_the_square_and_of_the_official_image_are_the_same_places():
    """The outer corner of the square, -0.5, is the left edge of column 15: 14.5."""
    square, official = np.array(CELEBA_POINTS[128, 128]), np.array(CELEBA_POINTS[178, 218])
    np.testing.assert_allclose((official - [14.5, 44.5]) / (square + 0.5), 148 / 128)
    np.testing.assert_allclose(official[0], [68.98, 111.74], atol=0.01)  # published: 69, 111


def test_celeba_of_another_size_has_no_fixed_points(tmp_path):
    draw(tmp_path / "images/1.jpg", 64, 64)
    write(tmp_path / "identity.txt", "1.jpg 7\n")
    assert read_celeba(tmp_path)[0].points is None


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (None, "no label file identity_CelebA.txt"),
        ("000001.jpg 7\n000002.jpg 7\n", "holds 000003.jpg without a label"),
        ("000001.jpg 7\n000002.jpg 7\n000003.jpg 1\n4.jpg 1\n5.jpg 1", "names 4.jpg and 1 more"),
        ("000001.jpg 7\n000002.jpg\n000003.jpg 1", "line 2"),
        ("000001.jpg 7\n000001.jpg 8\n", "line 2: 000001.jpg is named twice"),
        ("", "identity_CelebA.txt is empty"),
    ],
)
def test_celeba_labels_that_do_not_fit(celeba, labels, message):
    file = celeba / "identity_CelebA.txt"
    file.unlink()
    if labels is not None:
        file.write_text(labels)
    with pytest.raises(DataError, match=message) as raised:
        read_celeba(celeba)
    assert str(celeba) in str(raised.value)


def test_rafdb(rafdb):
    records = read_rafdb(rafdb / "basic")
    assert [(r.path.name, r.expression, r.split) for r in records] == [
        ("test_0001_aligned.jpg", "neutral", "test"),
        ("train_00001_aligned.jpg", "sadness", "train"),
        ("train_00002_aligned.jpg", "surprise", "train"),
    ]
    assert all(record.stretch and record.points for record in records)
    assert read_rafdb(rafdb, "test") == records[:1]


@pytest.mark.parametrize("label", ["0", "8", "joy", "-1"])
def test_rafdb_unknown_label(rafdb, label):
    file = rafdb / "basic/EmoLabel/list_patition_label.txt"
    file.write_text(file.read_text().replace("jpg 5", f"jpg {label}"))
    with pytest.raises(DataError, match=f"train_00001.jpg: unknown label '{label}'"):
        read_rafdb(rafdb)


def test_rafdb_neither_train_nor_test(rafdb):
    file = rafdb / "basic/EmoLabel/list_patition_label.txt"
    file.write_text("other_1.jpg 5\n" + file.read_text())
    draw(rafdb / "basic/Image/aligned/other_1_aligned.jpg")
    with pytest.raises(DataError, match="other_1.jpg begins with neither"):
        read_rafdb(rafdb)


def test_lfw(lfw):
    records = read_lfw(lfw)
    assert [record.subject for record in records] == ["Ann_Bo"] * 2 + ["Cy"] * 2 + ["Di_van_Eb"]
    # The published template of the 112-pixel crop, pixel centres at integers.
    np.testing.assert_allclose(records[0].points[0], (38.2946, 51.6963))
    assert read_lfw(lfw / "lfw") == records


def test_lfw_originals_have_no_fixed_points(tmp_path):
    draw(tmp_path / "Cy/Cy_0001.jpg", 250, 250)
    assert read_lfw(tmp_path)[0].points is None


def test_lfw_file_in_somebody_elses_folder(lfw):
    draw(lfw / "lfw/Cy/Ann_Bo_0003.jpg")
    with pytest.raises(DataError, match="should be called Cy_0001.jpg"):
        read_lfw(lfw)


def test_pairs_come_in_the_official_order(lfw):
    pairs = read_pairs(lfw)
    assert [(left.path.stem, right.path.stem, same) for left, right, same in pairs] == [
        ("Ann_Bo_0001", "Ann_Bo_0002", True),
        ("Cy_0001", "Cy_0002", True),
        ("Ann_Bo_0001", "Cy_0002", False),
        ("Cy_0002", "Di_van_Eb_0001", False),
    ]
    assert read_pairs(lfw / "lfw", lfw / "pairs.txt") == pairs


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("1\t2\n", "2\t2\n", "8 pairs announced, 4 listed"),
        ("1\t2\n", "ten\n", "line 1: expected folds"),
        ("Cy\t1\t2\n", "Cy\t1\t5\n", "line 3: .* has no photo Cy_0005"),
        ("Cy\t1\t2\n", "Cy\t1\tAnn_Bo\t2\n", 'line 3: expected "Name 1 4"'),
        ("Ann_Bo\t1\tCy\t2\n", "Ann_Bo\t1\t2\n", 'line 4: expected "Name 1 Other 3"'),
    ],
)
def test_pairs_that_do_not_fit(lfw, old, new, message):
    file = lfw / "pairs.txt"
    file.write_text(file.read_text().replace(old, new, 1))
    with pytest.raises(DataError, match=message):
        read_pairs(lfw)


def test_pairs_file_missing(lfw):
    (lfw / "pairs.txt").unlink()
    with pytest.raises(DataError, match="pairs.txt does not exist"):
        read_pairs(lfw)


def test_folder_takes_photos_of_all_levels_and_leaves_the_rest(tmp_path):
    draw(tmp_path / "b.png")
    draw(tmp_path / "deep/er/a.jpg")
    write(tmp_path / "notes.txt", "x")
    write(tmp_path / "._b.png", "macOS")
    assert [record.path.name for record in read_folder(tmp_path)] == ["b.png", "a.jpg"]


def test_clips(tmp_path):
    draw(tmp_path / "first/1.png")
    draw(tmp_path / "first/2.png")
    draw(tmp_path / "ann/monday/1.png")
    write(tmp_path / "ann/film.mp4", "")
    write(tmp_path / "film.mp4", "")
    assert [(r.path.name, r.clip, r.subject) for r in read_clips(tmp_path)] == [
        ("film.mp4", "ann/film.mp4", "ann"),
        ("1.png", "ann/monday", "ann"),
        ("film.mp4", "film.mp4", None),
        ("1.png", "first", None),
        ("2.png", "first", None),
    ]


def test_a_loose_frame_belongs_to_no_clip(tmp_path):
    draw(tmp_path / "1.png")
    with pytest.raises(DataError, match="1.png lies loose"):
        read_clips(tmp_path)


@pytest.mark.parametrize("name", READERS)
def test_every_reader_names_an_empty_or_missing_folder(name, tmp_path):
    with pytest.raises(DataError, match=str(tmp_path)):
        READERS[name](tmp_path)
    with pytest.raises(DataError, match="does not exist"):
        READERS[name](tmp_path / "nowhere")
    with pytest.raises(DataError, match="is a file"):
        READERS[name](write(tmp_path / "a.txt", "x"))


def test_an_empty_image_folder_is_named(tmp_path):
    write(tmp_path / "identity.txt", "1.jpg 7\n")
    (tmp_path / "images").mkdir()
    with pytest.raises(DataError, match="images: no images in it"):
        read_celeba(tmp_path)


def test_real_counts(shared):
    data = shared / "data"
    celeba = read_celeba(data / "CelebA-128")
    assert (len(celeba), len({record.subject for record in celeba})) == (14_500, 2_900)
    assert len(read_rafdb(data / "RAF-DB", "train")) == 12_271
    assert len(read_rafdb(data / "RAF-DB", "test")) == 3_068
    pairs = read_pairs(data / "LFW")
    folds = np.array([same for _, _, same in pairs]).reshape(10, 2, 300)
    assert folds[:, 0].all() and not folds[:, 1].any()
    assert all((left.subject == right.subject) == same for left, right, same in pairs)
