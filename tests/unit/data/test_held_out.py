from pathlib import Path

import numpy as np

from facefactor.data.held_out import hold_out_photos
from facefactor.data.records import FaceRecord


def test_photos_to_choose_by_are_labelled_ones_of_unknown_people_and_stay_the_same():
    labelled = [FaceRecord(path=Path(f"{n}.jpg"), expression="fear") for n in range(2000)]
    chosen = hold_out_photos(labelled, 0.2)
    assert 320 < chosen.sum() < 480  # 400 expected; 4.5 standard deviations
    assert np.array_equal(hold_out_photos(labelled[::-1], 0.2)[::-1], chosen)  # by name alone
    moved = [FaceRecord(path=Path("elsewhere") / r.path, expression="fear") for r in labelled]
    assert np.array_equal(hold_out_photos(moved, 0.2), chosen)
    assert np.all(hold_out_photos(labelled, 0.4)[chosen])  # a larger share holds the smaller
    assert not hold_out_photos(labelled, 0.0).any()
    named = FaceRecord(path=Path("a.jpg"), expression="fear", subject="S1")
    without = FaceRecord(path=Path("a.jpg"))
    assert hold_out_photos([named, without], 1.0).tolist() == [False, False]
