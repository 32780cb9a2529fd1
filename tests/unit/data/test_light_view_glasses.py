"""What readers know of light, view and glasses: Extended Yale B, KDEF, CelebA."""

import numpy as np
import pytest

from facefactor.data.cropped_yale import CROPPED_YALE_POINTS, read_cropped_yale
from facefactor.data.readers import READERS, read_celeba
from facefactor.data.records import DataError
from tests.made_folders import draw, write, write_celeba


def test_names_hold_person_and_light(tmp_path):
    for name in ("yaleB01_P00A+000E+00", "yaleB01_P00A-035E+65", "yaleB39_P00A+110E-20"):
        draw(tmp_path / name[:7] / f"{name}.pgm", 168, 192)
    draw(tmp_path / "yaleB01" / "yaleB01_P00_Ambient.pgm", 640, 480)
    write(tmp_path / "yaleB01" / "yaleB01_P00A-110E+40.pgm.bad", "")
    write(tmp_path / "yaleB01" / "yaleB01_P00.info", "")
    records = READERS["cropped-yale"](tmp_path)
    assert [(record.subject, record.light) for record in records] == [
        ("yaleB01", (0.0, 0.0)),
        ("yaleB01", (-35.0, 65.0)),
        ("yaleB39", (110.0, -20.0)),
    ]
    assert {(record.expression, record.frontal) for record in records} == {("neutral", True)}
    assert {record.points for record in records} == {CROPPED_YALE_POINTS[168, 192]}


def test_points_scale_with_the_photos_edges():
    """A point at share f of the small photo is at share f of the large one."""
    small, large = (np.array(CROPPED_YALE_POINTS[size]) for size in ((126, 144), (168, 192)))
    np.testing.assert_allclose((small + 0.5) / (126, 144), (large + 0.5) / (168, 192))


def test_photos_of_another_size_have_no_points(tmp_path):
    draw(tmp_path / "yaleB01_P00A+000E+00.png", 100, 100)
    assert read_cropped_yale(tmp_path)[0].points is None


def test_broken(tmp_path):
    with pytest.raises(DataError, match="no photos like yaleB01/yaleB01_P00A"):
        read_cropped_yale(tmp_path)
    draw(tmp_path / "yaleB01_P03A+000E+00.png")
    with pytest.raises(DataError, match=r"P03A\+000E\+00\.png: expected a name like .* the light"):
        read_cropped_yale(tmp_path)


def test_the_copy_at_hand_is_whole(shared):
    records = read_cropped_yale(shared / "data" / "CroppedYale")
    assert len(records) == 2414 and len({record.subject for record in records}) == 38
    assert sum(record.light == (0.0, 0.0) for record in records) == 38


def test_points_lie_where_landmarks_are_found(shared):
    """Of a third party's pseudo-labels, in photos lit from the front."""
    with np.load(shared / "data" / "landmarks" / "CroppedYale.npz") as file:
        lit = [
            row
            for row, name in enumerate(file["names"])
            if "A+000E+00" in name and file["found"][row]
        ]
        marks = file["landmarks68"][lit][..., :2].astype(float)
    assert len(lit) > 30
    eyes = np.stack([marks[:, 36:42].mean(axis=1), marks[:, 42:48].mean(axis=1)], axis=1)
    points = np.array(CROPPED_YALE_POINTS[126, 144][:2])
    assert np.abs(np.median(eyes, axis=0) - points).max() < 2  # pixels
    assert np.linalg.norm(eyes - points, axis=2).mean() < 0.08 * 72  # of the eyes' distance


# CelebA's attributes


def test_glasses_are_known_where_attributes_are_there(tmp_path):
    names = write_celeba(tmp_path, 3, of_each=1)
    assert [record.glasses for record in read_celeba(tmp_path)] == [None] * 3
    head = "2\nBald Eyeglasses Young\n"
    attributes = f"{names[0]}  -1  1 -1\n{names[2]} 1 -1  1\n"
    for where in ("Anno/list_attr_celeba.txt", "list_attr_celeba.txt"):
        write(tmp_path / where, head + attributes)
        assert [record.glasses for record in read_celeba(tmp_path)] == [True, None, False]
        (tmp_path / where).unlink()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 2: no attribute Eyeglasses"),
        ("1\nBald Young\n000000.jpg -1 1\n", "line 2: no attribute Eyeglasses"),
        ("1\nBald Eyeglasses\n000000.jpg -1\n", "line 3: expected a name and 2 times 1 or -1"),
        ("1\nBald Eyeglasses\n000000.jpg -1 yes\n", "line 3: expected a name and 2 times"),
    ],
)
def test_attributes_broken(tmp_path, text, message):
    write_celeba(tmp_path, 1, of_each=1)
    write(tmp_path / "list_attr_celeba.txt", text)
    with pytest.raises(DataError, match=message):
        read_celeba(tmp_path)


# What KDEF's names say of the camera


def test_kdef_views_say_which_photos_are_frontal(tmp_path):
    for view in ("FL", "HL", "S", "HR", "FR"):
        draw(tmp_path / f"AF01NE{view}.JPG")
    known = {record.path.stem[6:]: record.frontal for record in READERS["kdef"](tmp_path)}
    assert known == {"FL": False, "HL": False, "S": True, "HR": False, "FR": False}
