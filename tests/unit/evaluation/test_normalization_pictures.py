import numpy as np
import pytest

from facefactor.evaluation.normalization_pictures import (
    _BAR,
    _BIN_PX,
    _MARGIN_PX,
    _NAME_PX,
    _PANEL_PX,
    _RULE,
    _TITLE_PX,
    distances_picture,
    people_picture,
)
from facefactor.evaluation.pictures import _FACE_PX, _GAP_PX, _ROW_NAMES_PX
from facefactor.evaluation.pictures import _TITLE_PX as _TOP_PX


def bar_heights(picture, panel):
    """Pixels of bar in each bin of a panel."""
    bottom = _TITLE_PX + (panel + 1) * _PANEL_PX
    bars = (picture[bottom - _PANEL_PX + _NAME_PX : bottom] == _BAR).all(axis=2)
    inner = bars[:, _MARGIN_PX : _MARGIN_PX + 80 * _BIN_PX].reshape(-1, 80, _BIN_PX)
    return inner[:, :, 3].sum(axis=0)


def test_bars_stand_where_distances_are():
    """A bin is 0.05 wide: 0.01 is in the first, 1.02 twice in the 21st, 4 in the last."""
    picture = distances_picture({"one": [0.01, 1.02, 1.03, 4.0], "two": [2.51]}, 3.0)
    first, second = bar_heights(picture, 0), bar_heights(picture, 1)
    assert np.flatnonzero(first).tolist() == [0, 20, 79]
    assert first[20] == pytest.approx(2 * first[0], abs=1) and first[0] == first[79]
    assert np.flatnonzero(second).tolist() == [50]
    assert second[50] == first[20]  # each panel as high as its fullest bin


def test_the_threshold_crosses_every_panel():
    picture = distances_picture({"one": [0.5], "two": [0.5]}, 1.25)
    at = _MARGIN_PX + round(1.25 / 4 * 80 * _BIN_PX)
    for panel in range(2):
        middle = _TITLE_PX + panel * _PANEL_PX + (_PANEL_PX + _NAME_PX) // 2
        assert (picture[middle, at] == _RULE).all()
        assert (picture[middle, at + 5] == 255).all()


def test_rounding_is_forgiven_and_nonsense_is_not():
    distances_picture({"one": [-1e-9, 4 + 1e-9]}, 1)
    for wrong in ([], [-0.1], [4.1], [np.nan], [[1.0]]):
        with pytest.raises(ValueError, match="one: needs distances"):
            distances_picture({"one": wrong}, 1)
    with pytest.raises(ValueError, match="no distances"):
        distances_picture({}, 1)


def test_people_are_broken_into_blocks():
    """Five faces in blocks of two: the third stands below the first, and the fifth is alone."""
    faces = [np.full((8, 8, 3), 40 * number, np.uint8) for number in range(1, 6)]
    rows = {"input": faces, "output": faces[::-1]}
    picture = people_picture(rows, "title", columns=2)
    step = _FACE_PX + _GAP_PX
    block = _TOP_PX + 2 * step
    assert picture.shape == (3 * block, _ROW_NAMES_PX + 2 * step, 3)

    def middle(place, row):
        top = place // 2 * block + _TOP_PX + row * step
        return picture[top + 70, _ROW_NAMES_PX + place % 2 * step + 70, 0]

    assert [middle(place, 0) for place in range(5)] == [40, 80, 120, 160, 200]
    assert [middle(place, 1) for place in range(5)] == [200, 160, 120, 80, 40]
    assert (picture[2 * block :, _ROW_NAMES_PX + step :] == 255).all()
    with pytest.raises(ValueError, match="as many faces"):
        people_picture({"input": [], "output": []})
