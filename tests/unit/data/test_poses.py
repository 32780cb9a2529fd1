"""A folder of photos with angles."""

import numpy as np
import pytest

from facefactor.data.poses import read_poses
from facefactor.data.records import DataError
from facefactor.images import write_image

HEAD = "image,yaw_deg,pitch_deg,roll_deg,split\n"


@pytest.fixture
def folder(tmp_path):
    for name in ("a.png", "b.png"):
        write_image(tmp_path / name, np.zeros((32, 32, 3), np.uint8))
    return tmp_path


def test_angles_in_order(folder):
    (folder / "poses.csv").write_text(HEAD + "a.png,10,-5.5,0,train\nb.png,-30,0,2,test\n")
    records, angles = read_poses(folder)
    assert [(r.path.name, r.split) for r in records] == [("a.png", "train"), ("b.png", "test")]
    assert angles.tolist() == [[10, -5.5, 0], [-30, 0, 2]]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (None, "poses.csv is missing"),
        ("image,yaw_deg\n", "no column 'pitch_deg'"),
        (HEAD, "lists no images"),
        (HEAD + "c.png,1,2,3,train\n", "line 2: .*c.png does not exist"),
        (HEAD + "a.png,left,2,3,train\n", "line 2: .*'left'.*degrees"),
        (HEAD + "a.png,1,2,3,valid\n", "line 2: split 'valid'"),
    ],
)
def test_what_is_wrong_is_told(folder, text, told):
    if text is not None:
        (folder / "poses.csv").write_text(text)
    with pytest.raises(DataError, match=told):
        read_poses(folder)
