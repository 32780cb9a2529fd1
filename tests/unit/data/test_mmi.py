"""The reader of MMI on a made folder, and frames of films as records."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from facefactor.data.check import check_folder
from facefactor.data.crops import crop_faces
from facefactor.data.folds import subject_folds
from facefactor.data.mmi import read_mmi
from facefactor.data.records import DataError, check_disjoint, split_hash
from facefactor.perception.align import crop_points
from facefactor.videos import VideoError, film_shape, write_video
from tests.made_folders import write


def film(path: Path, frames: int, height: int, width: int) -> None:
    """Frame i has the brightness 30 i, and a white left quarter."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pictures = [np.full((height, width, 3), 30 * i, np.uint8) for i in range(frames)]
    for picture in pictures:
        picture[:, : width // 4] = 255
    write_video(path.with_suffix(".mp4"), pictures, 25)
    path.with_suffix(".mp4").rename(path)


def session(top, number, name, emotion=4, view=0, frames=7, height=64, width=48):
    """One session; `emotion` None: coded for action units only."""
    folder = top / "Sessions" / str(number)
    film(folder / f"{name}.avi", frames, height, width)
    track = f'<track type="Video" filename="{name}.avi" view="{view}"/>'
    write(folder / "session.xml", f'<session sessionId="{number}">{track}</session>')
    write(folder / f"{name}-oao_aucs.xml", '<ActionUnitCoding><ActionUnit Number="12"/></Act')
    if emotion is not None:
        tags = f'<Metatag Name="AUs" Value="6+12"/><Metatag Name="Emotion" Value="{emotion}"/>'
        write(folder / f"{name}.xml", f"<ActionUnitCoding>{tags}</ActionUnitCoding>")
    return folder


def test_the_three_frames_in_the_middle_of_frontal_films_with_a_basic_expression(tmp_path):
    session(tmp_path, 1767, "S028-001", emotion=1)
    session(tmp_path, 9, "S001-009", emotion=None)  # action units only
    session(tmp_path, 10, "S002-001", emotion=6, view=1)
    session(tmp_path, 11, "S002-002", emotion=6, view=2)
    session(tmp_path, 12, "S002-003", emotion=7)
    session(tmp_path, 13, "S002-004", emotion=6, frames=2)
    records = read_mmi(tmp_path)
    assert [(r.path.name, r.subject, r.clip, r.expression, r.frame) for r in records] == [
        ("S002-004.avi", "S002", "S002-004", "surprise", 0),
        ("S002-004.avi", "S002", "S002-004", "surprise", 1),
        ("S028-001.avi", "S028", "S028-001", "anger", 2),
        ("S028-001.avi", "S028", "S028-001", "anger", 3),
        ("S028-001.avi", "S028", "S028-001", "anger", 4),
    ]
    assert read_mmi(tmp_path / "Sessions") == records
    assert all(record.points is None and record.split is None for record in records)


@pytest.mark.parametrize(
    ("number", "name"),
    [(1, "anger"), (2, "disgust"), (3, "fear"), (4, "happiness"), (5, "sadness"), (6, "surprise")],
)
def test_numbers_of_expressions(tmp_path, number, name):
    session(tmp_path, 1, "S001-001", emotion=number, frames=3)
    assert {record.expression for record in read_mmi(tmp_path)} == {name}


def test_frames_are_cut_from_their_film_upright(tmp_path):
    """Of PAL films the camera lay on its side: their left is the top of the head."""
    session(tmp_path, 1, "S001-001", frames=5, height=576, width=720)
    session(tmp_path, 2, "S002-001", frames=5, height=480, width=640)
    lying, standing = (read_mmi(tmp_path)[at : at + 3] for at in (0, 3))
    assert {record.quarter_turns for record in lying} == {1}
    assert {record.quarter_turns for record in standing} == {0}
    photos = []

    def detect(photo):
        photos.append(photo)
        return [SimpleNamespace(points=crop_points("arcface", min(photo.shape[:2])))]

    cut = crop_faces([*lying, *standing], "arcface", 32, None, detect)
    assert [photo.shape for photo in photos] == [(720, 576, 3)] * 3 + [(480, 640, 3)] * 3
    assert photos[0][:170].mean() > 240 and photos[3][:, :150].mean() > 240
    seen = [int(photo[-20:, -20:].mean()) for photo in photos]
    np.testing.assert_allclose(seen, [30, 60, 90] * 2, atol=4)
    assert cut.faces[0].mean() < cut.faces[1].mean() < cut.faces[2].mean()


def test_frames_of_a_film_are_kept_apart_in_the_cache_and_named_by_the_split(tmp_path):
    session(tmp_path, 1, "S001-001")
    records = [replace(r, points=tuple(crop_points("arcface", 48))) for r in read_mmi(tmp_path)]
    cache = tmp_path / "cache"
    first, second = (crop_faces([record], "arcface", 16, cache).faces for record in records[:2])
    assert first.mean() < second.mean()
    assert len({split_hash([record]) for record in records}) == 3
    late = replace(records[0], frame=99)
    with pytest.raises(DataError, match="S001-001.avi: ends before frame 99"):
        crop_faces([late], "arcface", 16, None)


def test_ten_folds_by_person(tmp_path):
    session(tmp_path, 1, "S001-001", frames=3)
    one = read_mmi(tmp_path)
    records = [
        replace(record, path=tmp_path / f"S{person:03d}-001.avi", subject=f"S{person:03d}")
        for person in range(30)
        for record in one
    ]
    for train, test in subject_folds(records, 10):
        check_disjoint(train, test)
        assert len(train) == 81 and len({record.subject for record in test}) == 3


def test_checking_the_folder_finds_no_copies(tmp_path):
    session(tmp_path, 1, "S001-001")
    report = check_folder(tmp_path, "mmi")
    assert report.photos == 3 and report.clips == 1 and report.duplicates == ()
    assert report.expressions == {"happiness": 3}


def test_broken_sessions_are_named(tmp_path):
    folder = session(tmp_path, 1, "S001-001")
    label, about = folder / "S001-001.xml", folder / "session.xml"
    good, known = label.read_text(), about.read_text()
    for text in (good.replace('"4"', '"happy"'), good.replace('"4"', '"0"')):
        write(label, text)
        with pytest.raises(DataError, match=r"S001-001.xml: expected one emotion numbered from 1"):
            read_mmi(tmp_path)
    write(label, good[:30])
    with pytest.raises(DataError, match="S001-001.xml: is no XML"):
        read_mmi(tmp_path)
    write(label, good)
    write(about, "<session/>")
    with pytest.raises(DataError, match="session.xml: no <track"):
        read_mmi(tmp_path)
    about.unlink()
    with pytest.raises(DataError, match="session.xml does not exist"):
        read_mmi(tmp_path)
    write(about, known)
    (folder / "S001-001.avi").write_bytes(b"no film")
    with pytest.raises(VideoError, match="S001-001.avi: is not a video"):
        read_mmi(tmp_path)
    (folder / "S001-001.avi").unlink()
    with pytest.raises(DataError, match="labels S001-001.avi, which does not exist"):
        read_mmi(tmp_path)


def test_no_session_of_use(tmp_path):
    session(tmp_path, 1, "S001-001", view=1)
    with pytest.raises(DataError, match="no frontal film with a basic expression"):
        read_mmi(tmp_path)


def test_film_shape(tmp_path):
    film(tmp_path / "a.avi", 4, 48, 64)
    assert film_shape(tmp_path / "a.avi") == (4, 48, 64)
