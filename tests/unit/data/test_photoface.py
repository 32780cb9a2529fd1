"""Photoface: small sessions as the release has them, and normals of surfaces that are known."""

import numpy as np
import pytest
from scipy.io import savemat

from facefactor.data.photoface import photoface_name, read_photoface, read_photoface_normals
from facefactor.data.readers import READERS
from facefactor.data.records import DataError
from tests.made_folders import draw, write

SESSION = "2008-02-23_12-21-31"
HEIGHT, WIDTH = 50, 40


def make_session(top, subject, session=SESSION, photos=4):
    for number in range(photos):
        draw(top / subject / session / f"im{number}.bmp", WIDTH, HEIGHT)
    write(top / subject / session / "LightSource.m", "L = [0 1; 2 3];\n")
    return top / subject / session


@pytest.fixture
def photoface(tmp_path):
    for subject, session in (("1001", SESSION), ("1001", "2008-03-01_07-57-06"), ("1002", SESSION)):
        make_session(tmp_path / "PhotofaceDB", subject, session)
    return tmp_path


def test_records(photoface):
    records = read_photoface(photoface)
    assert len(records) == 12 and records == read_photoface(photoface / "PhotofaceDB")
    assert [record.subject for record in records] == ["1001"] * 8 + ["1002"] * 4
    assert {record.expression for record in records} == {None}
    assert READERS["photoface"] is read_photoface
    names = [photoface_name(record.path) for record in records]
    assert [name.light for name in names] == [0, 1, 2, 3] * 3
    assert {name.session for name in names[:4]} == {SESSION}
    assert names[5].normals == records[4].path.with_name("sn.mat")


def test_broken_folders(photoface, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=f"no sessions like 1001/{SESSION}"):
        read_photoface(tmp_path / "empty")
    (photoface / "PhotofaceDB/1002" / SESSION / "im2.bmp").unlink()
    with pytest.raises(
        DataError, match=rf"1002/{SESSION}: expected the photos.*found im0.bmp, im1.bmp, im3"
    ):
        read_photoface(photoface)
    with pytest.raises(DataError, match="expected a photo like 1001/"):
        photoface_name(photoface / "im0.bmp")


def ball():
    """A ball seen from the front, and its normals: x right, y up."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH].astype(float)
    right, up = (x - 19.5) / 30, (24.5 - y) / 30
    inside = right**2 + up**2 < 0.9
    towards = np.sqrt(np.where(inside, 1 - right**2 - up**2, 1))
    return right, up, towards, inside


@pytest.mark.parametrize("x_sign", [1, -1])
@pytest.mark.parametrize("y_sign", [1, -1])
def test_normals_of_a_ball_whatever_the_signs(photoface, x_sign, y_sign):
    right, up, towards, inside = ball()
    session = photoface / "PhotofaceDB/1001" / SESSION
    hole = inside & ~((abs(right) < 0.1) & (abs(up) < 0.1))
    px, py = (
        np.where(hole, sign * slope / towards, np.nan)
        for sign, slope in ((x_sign, right), (y_sign, up))
    )
    savemat(session / "sn.mat", {"px": px, "py": py})
    normals, known = read_photoface_normals(session / "im2.bmp")
    assert normals.dtype == np.float32 and np.array_equal(known, hole)
    expected = np.stack([right, up, towards], axis=2)
    np.testing.assert_allclose(normals[known], expected[known], atol=1e-6)
    assert not normals[~known].any()


def test_normals_are_of_length_one_and_a_slope_of_one_is_45_degrees(photoface):
    right, up, _, _ = ball()
    session = photoface / "PhotofaceDB/1001" / SESSION
    savemat(session / "sn.mat", {"px": np.sign(right), "py": 0.1 * up})
    normals, known = read_photoface_normals(str(session / "im0.bmp"))
    assert known.all()
    np.testing.assert_allclose(np.linalg.norm(normals, axis=2), 1, atol=1e-6)
    row = HEIGHT // 2
    np.testing.assert_allclose(normals[row, [0, -1], 0], [-np.sqrt(0.5), np.sqrt(0.5)], atol=1e-4)


def test_normals_that_cannot_be_read(photoface):
    right, up, towards, _ = ball()
    session = photoface / "PhotofaceDB/1001" / SESSION
    photo, file = session / "im0.bmp", session / "sn.mat"
    with pytest.raises(DataError, match="sn.mat does not exist; run .* generateSNAndZ"):
        read_photoface_normals(photo)
    for content in (b"", b"MATLAB 7.3 MAT-file, or not"):
        file.write_bytes(content)
        with pytest.raises(DataError, match="sn.mat: not a .mat file of Matlab"):
            read_photoface_normals(photo)
    wrong = [
        ({"px": right}, "numbers py of"),
        ({"px": right[1:], "py": up}, rf"numbers px of \({HEIGHT}, {WIDTH}\), found \(49, 40\)"),
        ({"px": right.astype(str), "py": up}, "numbers px"),
        ({"px": 0 * right, "py": up}, r"do not bulge .*\(correlation with their place\s+0.00\)"),
        ({"px": right * np.nan, "py": up}, "do not bulge"),
        ({"px": up, "py": up}, "do not bulge"),
    ]
    for arrays, message in wrong:
        savemat(file, arrays)
        with pytest.raises(DataError, match=message):
            read_photoface_normals(photo)
