import numpy as np
import pytest

from facefactor.evaluation.pictures import _CELL_PX, _HEAD_PX, _NAMES_PX, confusion_picture
from facefactor.evaluation.tables import Confusion
from facefactor.factors import EXPRESSIONS
from facefactor.images import read_photo, write_image


def corner(picture, row, column):
    """The colour of a cell, beside its text."""
    y, x = _HEAD_PX + row * _CELL_PX + 5, _NAMES_PX + column * _CELL_PX + 5
    return picture[y, x].tolist()


def test_rows_are_shares_of_their_class():
    """Counts 1,000 times larger in one row change no colour; an empty row is left blank."""
    few = confusion_picture(Confusion(("a", "b", "c"), ((3, 1, 0), (0, 4, 0), (0, 0, 0))))
    many = confusion_picture(Confusion(("a", "b", "c"), ((3000, 1000, 0), (0, 4, 0), (0, 0, 0))))
    for row in range(3):
        for column in range(3):
            assert corner(few, row, column) == corner(many, row, column)
    assert corner(few, 0, 2) == corner(few, 2, 2) == [255, 255, 255]
    assert corner(few, 1, 1) == [20, 70, 140]
    # a quarter of the way from white to full blue
    assert corner(few, 0, 1) == pytest.approx([196.25, 208.75, 226.25], abs=0.5)
    blank = few[_HEAD_PX + 2 * _CELL_PX + 3 : -20, _NAMES_PX + 3 : _NAMES_PX + _CELL_PX - 6]
    assert (blank == 255).all()


def test_every_name_and_percentage_fits(tmp_path):
    """Nothing is drawn at the outer edges or between the columns' names."""
    counts = 10_000 * np.eye(8, dtype=int)
    picture = confusion_picture(
        Confusion(EXPRESSIONS, tuple(tuple(map(int, row)) for row in counts)), "RAF-DB"
    )
    assert picture.dtype == np.uint8 and picture.shape[2] == 3
    for edge in (picture[:2], picture[-2:], picture[:, :2], picture[:, -2:]):
        assert (edge == 255).all()
    names = picture[_HEAD_PX - 22 : _HEAD_PX - 3]
    for border in range(_NAMES_PX, picture.shape[1], _CELL_PX):
        assert (names[:, border - 1 : border + 1] == 255).all()
    write_image(tmp_path / "confusion.png", picture)
    np.testing.assert_array_equal(read_photo(tmp_path / "confusion.png"), picture)
