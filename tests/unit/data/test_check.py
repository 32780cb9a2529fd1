import json
import os
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from facefactor.data.augmented import write_index
from facefactor.data.check import check_folder, check_records, guess_reader
from facefactor.data.frame_sets import write_rows
from facefactor.data.records import DataError, FaceRecord
from facefactor.images import write_image


def draw(path: Path, seed=0, side=64, grey=False):
    photo = np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)
    write_image(path, np.repeat(photo[..., :1], 3, axis=2) if grey else photo)
    return path


def records_at(folder, count=6):
    return [FaceRecord(draw(folder / f"{i}.png", seed=i), f"person{i // 2}") for i in range(count)]


def test_a_good_folder_has_nothing_to_say(tmp_path):
    report = check_records(records_at(tmp_path), tmp_path, "celeba")
    assert report.usable and report.advice == ()
    assert (report.photos, report.subjects, report.same_person_pairs) == (6, 3, True)


def test_every_fault_is_counted_and_spoken_of(tmp_path):
    records = records_at(tmp_path)
    draw(records[0].path, grey=True)
    draw(records[1].path, side=32)
    whole = records[2].path.read_bytes()
    records[2].path.write_bytes(whole[: len(whole) // 2])
    records[3].path.write_bytes(b"")
    records[5].path.write_bytes(records[4].path.read_bytes())
    records[4] = replace(records[4], expression="fear", split="train")
    records[5] = replace(records[5], expression="anger", split="test")
    records.append(FaceRecord(draw(tmp_path / "alone.png", 9), "alone", split="test"))

    seen = []
    report = check_records(records, tmp_path, "celeba", lambda *at: seen.append(at))
    assert seen[-1] == (7, 7)
    assert [Path(path).name for path, _ in report.broken] == ["2.png", "3.png"]
    assert [Path(path).name for path in report.tiny] == ["1.png"]
    assert report.grey == 1
    assert [[Path(path).name for path in group] for group in report.duplicates] == [
        ["4.png", "5.png"]
    ]
    assert report.subjects_on_both_sides == ("person2",)
    assert report.lone_subjects == 1
    assert report.splits == {"test": 2, "train": 1}
    assert report.expressions == {"fear": 1, "anger": 1}
    text = "\n".join(report.advice)
    for words in (
        "2 photos cannot be read, the first: ",
        "1 subjects are in more than one split (person2)",
        "1 photos are copies of others, byte for byte (4.png, 5.png)",
        "1 of the copied photos are in more than one split",
        "1 of the copied photos are in more than one label",
        "1 photos have a side below 48 px (1.png)",
        "1 of 7 photos are grey",
        "1 of 4 subjects have one photo only",
    ):
        assert words in text
    assert "more than one subject" not in text
    assert report.usable
    assert json.loads(json.dumps(report.to_dict()))["usable"] is True


def test_rare_and_missing_labels(tmp_path):
    record = FaceRecord(draw(tmp_path / "a.png"))
    happy = [replace(record, expression="happiness")] * 200
    report = check_records([*happy, replace(record, expression="fear"), record], tmp_path, "x")
    assert "only 1 of 201 labels are fear: report the mean over classes beside accuracy" in (
        report.advice
    )
    assert "1 photos have no label that can be trusted" in report.advice


@pytest.mark.skipif(sys.platform != "linux", reason="needs a file system that takes any byte")
def test_names_that_are_no_text_are_escaped(tmp_path):
    draw(tmp_path / "a.png")
    try:
        os.rename(tmp_path / "a.png", os.fsencode(tmp_path) + b"/\xff\n.png")
    except OSError:
        pytest.skip("this file system refuses such names")
    report = check_folder(tmp_path, "folder")
    assert [Path(name).name for name in report.odd_names] == ["\\xff\\n.png"]
    json.dumps(report.to_dict()).encode()


def test_photos_of_nobody_known_make_no_pairs(tmp_path):
    draw(tmp_path / "a.png", 1)
    draw(tmp_path / "b.png", 2)
    report = check_folder(tmp_path)
    assert (report.reader, report.same_person_pairs) == ("folder", False)
    assert "no two photos are known to show the same person" in report.advice[0]


def test_clips_of_several_frames_make_pairs(tmp_path):
    for frame in range(2):
        draw(tmp_path / "clip" / f"{frame}.png", frame)
    report = check_folder(tmp_path)
    assert (report.reader, report.clips, report.same_person_pairs) == ("clips", 1, True)


def test_a_broken_video_is_found(tmp_path):
    (tmp_path / "film.mp4").write_bytes(b"no video")
    report = check_folder(tmp_path)
    assert [Path(path).name for path, _ in report.broken] == ["film.mp4"]
    assert not report.usable


def test_a_broken_layout_is_a_report_that_says_why(tmp_path):
    draw(tmp_path / "images/1.jpg")
    (tmp_path / "identity.txt").write_text("1.jpg 5\n2.jpg 5\n")
    report = check_folder(tmp_path)
    assert report.reader == "celeba" and not report.usable
    assert report.layout_error is not None and "names 2.jpg" in report.layout_error
    assert report.advice == (report.layout_error,)


@pytest.mark.parametrize(
    ("files", "reader"),
    [
        (["identity_CelebA.txt"], "celeba"),
        (["basic/EmoLabel/list_patition_label.txt"], "rafdb"),
        (["fer2013new.csv", "fer2013_labels.csv"], "ferplus"),
        (["fer2013_labels.csv"], "fer2013"),
        (["pairs.txt"], "lfw"),
        (["Ann_Bo/Ann_Bo_0001.jpg"], "lfw"),
        (["someone/08.jpg", "someone/09.jpg", "someone/10.jpg"], "clips"),
        (["someone/monday/frame1.png", "someone/monday/frame2.png"], "clips"),
        (["film.mp4"], "clips"),
        (["someone/1.jpg", "someone/3.jpg"], "folder"),
        (["AF01/AF01ANS.JPG", "AF01/AF01AFHL.JPG"], "kdef"),
        (["am05nes.png", "am05has.png", "notes.png"], "kdef"),
        (["Rafd090_01_Caucasian_female_angry_frontal.jpg"], "rafd"),
        (["yaleB01/yaleB01_P00A+000E+00.pgm", "yaleB01/yaleB01_P00_Ambient.pgm"], "cropped-yale"),
        (["cohn-kanade-images/S005/001/S005_001_00000001.png"], "ckplus"),
        (["anger/S010_004_00000017.png", "fear/S010_005_00000018.png"], "ckplus48"),
        (["pairs.csv"], "ckplus-pairs"),
        (["training.csv", "Manually_Annotated_Images/1/a.jpg"], "affectnet"),
        (["train_set/annotations/0_exp.npy"], "affectnet"),
        (["Train/Angry/a.png"], "sfew"),
        (["index.csv", "about.json"], "folder"),
        (["AF01ANS.JPG", "me.jpg", "you.jpg"], "folder"),
        (["anger/S010_004_17.png", "anger/S011_004_18.png"], "folder"),
        (["anger/one.png", "anger/two.png"], "folder"),
        (["x.jpg", "someone/1.jpg", "someone/2.jpg"], "folder"),
        (["1.jpg"], "folder"),
        (["notes.txt"], "folder"),
    ],
)
def test_the_reader_is_told_by_the_files(tmp_path, files, reader):
    for file in files:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text("")
    assert guess_reader(tmp_path) == reader


def test_what_facefactor_wrote_is_told_by_its_table(tmp_path):
    write_index(tmp_path, [])
    assert guess_reader(tmp_path) == "augmented"
    write_rows(tmp_path / "index.csv", [])
    assert guess_reader(tmp_path) == "frame-sets"


def test_unknown_reader_and_missing_folder(tmp_path):
    with pytest.raises(DataError, match="no reader is called 'imagenet'; there are auto, celeba"):
        check_folder(tmp_path, "imagenet")
    with pytest.raises(DataError, match="does not exist"):
        check_folder(tmp_path / "nowhere")


def test_real_data_set(shared):
    report = check_folder(shared / "data/CK+48", "folder")
    assert report.usable and report.broken == ()
    assert report.photos == report.grey == 981
