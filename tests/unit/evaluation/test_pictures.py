import numpy as np
import pytest

from facefactor.evaluation.pictures import (
    _CELL_PX,
    _COLOURS,
    _FACE_PX,
    _GAP_PX,
    _HEAD_PX,
    _MAP_PX,
    _NAMES_PX,
    _ROW_NAMES_PX,
    _TITLE_PX,
    confusion_picture,
    faces_picture,
    map_picture,
)
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


def places_of(picture, colour):
    """Rows and columns, in the map, of the pixels of a colour."""
    inside = picture[_TITLE_PX:, :_MAP_PX]
    return np.nonzero((inside == colour).all(axis=2))


def test_dots_lie_where_their_codes_do():
    """Three corners of a triangle twice as wide as high, y up: its shape is kept."""
    points = [[0.0, 0.0], [20.0, 0.0], [0.0, 10.0]]
    picture = map_picture(points, ["neutral", "happiness", "sadness"], "three codes")
    assert picture.dtype == np.uint8
    middles = {}
    for name in ("neutral", "happiness", "sadness"):
        rows, columns = places_of(picture, _COLOURS[EXPRESSIONS.index(name)])
        middles[name] = np.array([columns.mean(), rows.mean()])
    across = middles["happiness"] - middles["neutral"]
    up = middles["sadness"] - middles["neutral"]
    assert across == pytest.approx([680, 0], abs=3) and up == pytest.approx([0, -340], abs=3)


def test_each_expression_has_a_colour_and_a_name_in_the_legend():
    assert len(set(_COLOURS)) == len(EXPRESSIONS)
    random = np.random.default_rng(0)
    picture = map_picture(random.normal(size=(80, 2)), list(EXPRESSIONS) * 10)
    for colour in _COLOURS:
        assert len(places_of(picture, colour)[0])
        assert (picture[:, _MAP_PX:] == colour).all(axis=2).sum() > 20
    assert (picture[:, -2:] == 255).all() and (picture[-2:] == 255).all()  # nothing is cut off
    fewer = map_picture(random.normal(size=(2, 2)), ["fear", "fear"])
    assert (fewer[:, _MAP_PX:] == _COLOURS[4]).all(axis=2).sum() > 20
    for colour in (*_COLOURS[1:4], *_COLOURS[5:]):  # the first is a grey, as edges of letters are
        assert not (fewer == colour).all(axis=2).any()


def test_codes_in_one_place_are_still_drawn():
    assert len(places_of(map_picture([[3.0, 3.0]], ["fear"]), _COLOURS[4])[0])


@pytest.mark.parametrize(
    ("points", "labels", "message"),
    [
        ([[0.0, 0.0]], ["fear", "anger"], r"points must be \(2, 2\)"),
        ([[0.0, np.nan]], ["fear"], "points must be"),
        ([[0.0, 0.0]], ["glee"], "'glee' is not among"),
    ],
)
def test_maps_of_other_things_are_refused(points, labels, message):
    with pytest.raises(ValueError, match=message):
        map_picture(points, labels)


def test_faces_lie_in_their_row_and_column():
    faces = {
        name: [np.full((size, size, 3), value, np.uint8) for value in values]
        for name, size, values in (("photo", 112, (10, 20)), ("identity", 200, (30, 40)))
    }
    picture = faces_picture(faces, "two people")
    step = _FACE_PX + _GAP_PX
    for row, values in enumerate(((10, 20), (30, 40))):
        for column, value in enumerate(values):
            top, left = _TITLE_PX + row * step, _ROW_NAMES_PX + column * step
            assert (picture[top : top + _FACE_PX, left : left + _FACE_PX] == value).all()
            assert (picture[top : top + _FACE_PX, left + _FACE_PX : left + step] == 255).all()
    # the longest name there is fits beside the faces
    drawn = faces_picture({"identity + pose + expression": faces["photo"]})
    names = drawn[_TITLE_PX:, :_ROW_NAMES_PX]
    assert (names[:, :4] == 255).all() and (names[:, -4:] == 255).all() and (names < 100).any()


def test_rows_must_be_equally_long():
    face = np.zeros((8, 8, 3), np.uint8)
    for rows in ({}, {"a": []}, {"a": [face], "b": [face, face]}):
        with pytest.raises(ValueError, match="as many faces as one another"):
            faces_picture(rows)
