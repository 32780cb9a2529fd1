"""A tree of clips as VoxCeleb has it -> cropped frames, one person a clip, that train reads."""

import csv
import pickle
import shutil

import cv2
import numpy as np
import pytest
from PIL import Image

from facefactor import api, preparing
from facefactor.data.crops import crop_faces
from facefactor.data.frame_sets import list_voxceleb, read_frame_sets
from facefactor.data.records import DataError
from facefactor.demo import portrait_paths
from facefactor.errors import FaceFactorError
from facefactor.images import read_photo
from facefactor.perception.align import crop_points
from facefactor.photo_edits import face_detector
from facefactor.videos import write_video

CLIPS = ("id1/abc/00001.mp4", "id1/abc/00002.mp4", "id2/x-y/00001.mp4")


def moving(portrait, frames):
    """A portrait that is shifted by two pixels from frame to frame."""
    return [np.ascontiguousarray(portrait[:140, 2 * n : 2 * n + 140]) for n in range(frames)]


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Three clips of 12 frames a second, one of nobody, and one that is none."""
    top = tmp_path_factory.mktemp("clips")
    hopper, collins = (read_photo(path) for path in portrait_paths().values())
    faces = hopper[40:440, 60:460], collins[20:240, 115:335]
    small = [cv2.resize(face, (160, 150), interpolation=cv2.INTER_AREA) for face in faces]
    for number, clip in enumerate(CLIPS):
        (top / clip).parent.mkdir(parents=True, exist_ok=True)
        write_video(top / clip, moving(small[number % 2], 6), fps=12)
    write_video(top / "id2/x-y/00002.mp4", [np.zeros((64, 64, 3), np.uint8)] * 3, fps=12)
    (top / "id2/x-y/00003.mp4").write_text("no clip")
    return top


@pytest.fixture(scope="module")
def frames(clips, tmp_path_factory):
    output = tmp_path_factory.mktemp("frames") / "out"
    outcome = api.prepare(clips, output, size=64)
    assert outcome.exit_code == 3 and outcome.done == (output / "index.csv",)
    return output


def table(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_every_second_frame_of_twelve_a_second_is_cut(frames):
    rows = [row for row in table(frames / "index.csv") if not row["error"]]
    assert [row["file"] for row in rows] == [
        f"{clip.removesuffix('.mp4')}/{number:06d}.jpg" for clip in CLIPS for number in (1, 2, 3)
    ]
    assert [row["frame"] for row in rows[:3]] == ["0", "2", "4"]
    assert [row["time_s"] for row in rows[:3]] == ["0.000", "0.167", "0.333"]
    assert {Image.open(frames / row["file"]).size for row in rows} == {(96, 96)}
    assert float(rows[0]["left"]) - float(rows[2]["left"]) > 4  # pixels of the clip, where it moves
    own = table(frames / "id1/abc/00001/index.csv")
    assert own == rows[:3]


def test_a_bad_clip_is_a_line_of_the_report(frames):
    told = {row["clip"]: row["error"] for row in table(frames / "failed.csv")}
    assert list(told) == ["id2/x-y/00002.mp4", "id2/x-y/00003.mp4"]
    assert "no face found in any frame" in told["id2/x-y/00002.mp4"]
    assert "not a video" in told["id2/x-y/00003.mp4"]


def test_the_points_of_the_index_are_those_of_the_pictures(frames):
    """What training cuts by them is the face, in place, without looking for it again."""
    records = read_frame_sets(frames)
    assert {record.subject for record in records} == {"id1", "id2"}
    assert len({record.clip for record in records}) == 3
    assert [r.path.name for r in records[:3]] == ["000001.jpg", "000002.jpg", "000003.jpg"]
    for record in records[::3]:
        (found, *_) = face_detector().detect(read_photo(record.path))
        assert np.abs(found.points - np.array(record.points)).max() < 3
        middle = crop_points("facecycle", 64) + 16  # margin of a quarter of 64
        assert np.abs(np.array(record.points) - middle).max() < 6
    assert crop_faces(records, "arcface", 32, None).faces.shape == (9, 32, 32, 3)


def test_what_is_there_is_not_done_again_and_what_is_not_is(clips, frames, tmp_path):
    output = tmp_path / "out"
    shutil.copytree(frames, output)
    (output / "index.csv").unlink()
    (output / "id1/abc/00002/index.csv").unlink()  # as if killed within this clip
    before = (output / "id1/abc/00001/000001.jpg").stat().st_mtime_ns
    told = []
    api.prepare(clips, output, size=64, progress=lambda *done: told.append(done))
    assert told == [(5, 5)]
    assert (output / "index.csv").read_bytes() == (frames / "index.csv").read_bytes()
    assert (output / "id1/abc/00001/000001.jpg").stat().st_mtime_ns == before


def test_other_processes_are_asked_where_there_is_enough_to_do(clips, tmp_path, monkeypatch):
    asked = []

    def elsewhere(work, pieces, workers, engine):
        asked.append((len(pieces), workers, engine))
        return map(pickle.loads(pickle.dumps(work)), pieces)

    monkeypatch.setattr(preparing, "do_all", elsewhere)
    api.prepare(clips, tmp_path / "few", size=64, workers=2)
    monkeypatch.setattr(preparing, "_WORTH_A_PROCESS", 2)
    api.prepare(clips, tmp_path / "many", size=64, workers=9)
    api.prepare(clips, tmp_path / "ray", size=64, workers=9, engine="ray")
    assert asked == [(5, 1, "local"), (5, 2, "local"), (5, 9, "ray")]
    assert len(read_frame_sets(tmp_path / "ray")) == 9


def test_what_was_begun_otherwise_is_refused(clips, frames, tmp_path):
    with pytest.raises(FaceFactorError, match="begun with another folder or other settings"):
        api.prepare(clips, frames, size=32)
    with pytest.raises(FaceFactorError, match="lies among the clips"):
        api.prepare(clips, clips / "out")
    with pytest.raises(FaceFactorError, match="no reader is called 'vox'; there are voxceleb"):
        api.prepare(clips, tmp_path / "new", reader="vox")
    with pytest.raises(FaceFactorError, match="no crop is called"):
        api.prepare(clips, tmp_path / "new", crop="tight")
    with pytest.raises(FaceFactorError, match="0 frames a second"):
        api.prepare(clips, tmp_path / "new", rate=0)


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ((), "no clips person/video/clip.mp4"),
        (("id1/clip.mp4",), "expected person/video/clip.mp4"),
        (("a/b/c.mp4", "a/b/c.avi"), "another clip of this name"),
        (("a/b/caf\udce9.mp4",), "not UTF-8"),
    ],
)
def test_a_tree_that_is_laid_out_otherwise_is_named(tmp_path, files, reason):
    for file in files:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
    with pytest.raises(DataError, match=reason):
        list_voxceleb(tmp_path)
