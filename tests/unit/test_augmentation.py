"""Normalised faces of labelled folders: how they are labelled, where they lie, who reads them."""

import csv
import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from facefactor import api, augmentation
from facefactor.augmentation import LabelledPhoto, augment_folder, labelled_photos
from facefactor.data.augmented import COLUMNS, read_augmented
from facefactor.data.crops import crop_faces
from facefactor.data.readers import READERS
from facefactor.data.records import DataError, FaceRecord
from facefactor.errors import FaceFactorError
from facefactor.factors import Factors, FactorSpec, ModelSpec
from facefactor.files import WriteError
from facefactor.images import read_photo, write_image
from facefactor.videos import write_video
from tests.made_faces import made_face, noise
from tests.made_folders import draw, write, write_rafdb

ABOUT = {"model": "fader", "weights_sha256": "0" * 64}


class Fader:
    """The normalised face is the face, half as bright; counts how many it has drawn."""

    spec = ModelSpec("fader", "facecycle", 16, 3, {"identity": FactorSpec((1,), "who")})

    def __init__(self) -> None:
        self.drawn = 0

    def encode(self, faces: Tensor) -> Factors:
        return Factors({"identity": faces.mean(dim=(1, 2, 3))[:, None]})

    def decode(self, factors: Factors) -> Tensor:
        return factors["identity"][..., None, None].expand(-1, 3, 16, 16)

    def normalise(self, faces: Tensor) -> Tensor:
        assert not torch.is_grad_enabled()
        self.drawn += len(faces)
        return faces / 2

    def neutral(self, name: str) -> Tensor:
        raise ValueError(name)


class Finder:
    """Finds a face in the middle, wherever there is light."""

    def detect(self, photo):
        return [made_face(photo, 40).found] if photo.mean() > 20 else []


@pytest.fixture(autouse=True)
def finder(monkeypatch):
    monkeypatch.setattr(augmentation, "face_detector", Finder)


def tree(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        draw(folder / name, 60, 60)
    return folder


def labels(photos):
    return [(p.record.path.name, p.source_label, p.label, p.record.expression) for p in photos]


def rows_of(output: Path) -> list[dict[str, str]]:
    with open(output / "index.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert all(tuple(row) == COLUMNS for row in rows)
    return rows


def test_a_normalised_face_is_neutral_whatever_its_photo_shows(tmp_path):
    tree(tmp_path, "happy/a.png", "happy/deep/b.jpg", "Neutral/c.png")
    assert labels(labelled_photos(tmp_path)) == [
        ("c.png", "Neutral", "Neutral", "neutral"),
        ("a.png", "happy", "Neutral", "happiness"),
        ("b.jpg", "happy", "Neutral", "happiness"),
    ]
    tree(tmp_path / "angry only", "angry/a.png")
    assert labels(labelled_photos(tmp_path / "angry only")) == [
        ("a.png", "angry", "neutral", "anger")
    ]


def test_other_classes_are_kept(tmp_path):
    """Numbered photos of a class are not taken for a clip."""
    tree(tmp_path, "anna/1.png", "anna/2.png", "happy/1.png")
    photos = labelled_photos(tmp_path)
    assert labels(photos) == [
        ("1.png", "anna", "anna", None),
        ("2.png", "anna", "anna", None),
        ("1.png", "happy", "happy", None),
    ]
    assert {photo.label for photo in labelled_photos(tmp_path, label="6")} == {"6"}


def test_data_sets_are_read_by_their_readers_without_their_test_part(tmp_path, caplog):
    write_rafdb(tmp_path, lambda label: noise(100, 100), train=[4, 5], test=[1, 2, 3])
    caplog.set_level("INFO")
    photos = labelled_photos(tmp_path)
    assert [(p.source_label, p.label) for p in photos] == [
        ("happiness", "neutral"),
        ("sadness", "neutral"),
    ]
    assert {photo.record.split for photo in photos} == {"train"}
    assert "3 photos of its test part are left out" in caplog.text


@pytest.mark.parametrize(
    ("names", "reader", "label", "message"),
    [
        (["a.png", "happy/b.png"], "auto", None, r"a\.png: lies loose; .*--reader folder"),
        ([], "classes", None, "no photos in its sub-folders"),
        (["happy/b.png"], "nonsense", None, "'nonsense'; there are auto, classes, celeba"),
        (["happy/b.png"], "classes", "../out", "cannot be the name of a folder"),
        (["happy/b.png"], "classes", "..", "cannot be the name of a folder"),
        (["happy/b.png"], "classes", "", "cannot be the name of a folder"),
    ],
)
def test_folders_that_are_none(names, reader, label, message, tmp_path):
    with pytest.raises(DataError, match=message):
        labelled_photos(tree(tmp_path, *names), reader, label)


def test_all_of_the_test_part(tmp_path):
    write_rafdb(tmp_path, lambda label: noise(100, 100), train=[], test=[1])
    with pytest.raises(DataError, match="all photos are of its test part"):
        labelled_photos(tmp_path)


@pytest.fixture
def photos(tmp_path) -> Path:
    """Two classes of light photos, and what cannot be used."""
    folder = tmp_path / "photos"
    write_image(folder / "happy" / "1.png", noise(60, 60))
    write_image(folder / "happy" / "1.jpg", 255 - noise(60, 60))  # the same stem
    write_image(folder / "sad" / "1.png", noise(70, 50))
    write_image(folder / "sad" / "dark.png", 0 * noise(60, 60))
    write(folder / "sad" / "text.png", "not an image")
    return folder


def augment(model, folder, output):
    return augment_folder(model, labelled_photos(folder), folder, output, ABOUT)


def test_faces_lie_by_their_label_and_the_index_tells_of_each(photos, tmp_path):
    out, model = tmp_path / "out", Fader()
    outcome = augment(model, photos, out)
    assert outcome.done == (out / "index.csv",) and outcome.exit_code == 3
    assert {Path(name).name for name in outcome.failed} == {"dark.png", "text.png"}
    rows = rows_of(out)
    assert [row["file"] for row in rows] == [
        "neutral/happy/1.jpg.png",
        "neutral/happy/1.png.png",
        "neutral/sad/1.png.png",
        "",
        "",
    ]
    for row in rows[:3]:
        assert row["label"] == "neutral" and row["error"] == ""
        record = FaceRecord(Path(row["source"]))
        cut = crop_faces([record], "facecycle", 16, None, Finder().detect).faces[0]
        drawn = read_photo(out / row["file"]).astype(int)
        assert np.abs(drawn - cut / 2).max() <= 0.5
    assert [row["source_label"] for row in rows] == ["happy", "happy", "sad", "sad", "sad"]
    assert "dark.png: no face found" in rows[3]["error"] and "text.png" in rows[4]["error"]
    kept = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    assert kept == {row["file"] for row in rows[:3]} | {"index.csv", "about.json"}


def test_called_again_it_draws_what_is_missing(photos, tmp_path):
    out = tmp_path / "out"
    augment(Fader(), photos, out)
    whole = {path: path.read_bytes() for path in sorted(out.rglob("*.*"))}
    (out / "index.csv").unlink()  # as if killed after the second face
    (out / "neutral/sad/1.png.png").unlink()
    again = Fader()
    augment(again, photos, out)
    assert again.drawn == 1
    assert {path: path.read_bytes() for path in sorted(out.rglob("*.*"))} == whole
    write_image(photos / "sad" / "dark.png", noise(60, 60))  # the bad file is mended
    augment(again, photos, out)
    assert again.drawn == 2 and rows_of(out)[3]["file"] == "neutral/sad/dark.png.png"


def test_what_was_drawn_stays_when_it_is_killed(photos, tmp_path, monkeypatch):
    out = tmp_path / "out"
    monkeypatch.setattr(augmentation, "BATCH", 2)
    calls = []

    def stop(done, total):
        calls.append((done, total))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        augment_folder(Fader(), labelled_photos(photos), photos, out, ABOUT, stop)
    assert calls == [(2, 5)] and not (out / "index.csv").exists()
    later = Fader()
    augment(later, photos, out)
    assert later.drawn == 1 and len(rows_of(out)) == 5


def test_folders_that_hold_something_else_are_refused(photos, tmp_path):
    write(tmp_path / "mine" / "letter.txt", "dear")
    with pytest.raises(WriteError, match="mine: holds something else"):
        augment(Fader(), photos, tmp_path / "mine")
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["letter.txt"]
    for inside in (photos, photos / "out"):
        with pytest.raises(FaceFactorError, match="lies in the folder the photos are read from"):
            augment(Fader(), photos, inside)
    augment(Fader(), photos, tmp_path / "out")
    tree(tmp_path / "other", "happy/1.png")
    with pytest.raises(FaceFactorError, match="begun with other weights, another folder"):
        augment(Fader(), tmp_path / "other", tmp_path / "out")
    with pytest.raises(FaceFactorError, match="begun with other weights"):
        about = {**ABOUT, "weights_sha256": "1" * 64}
        augment_folder(Fader(), labelled_photos(photos), photos, tmp_path / "out", about)


def test_nothing_to_normalise_is_told_and_is_no_data_set(tmp_path):
    write_image(tmp_path / "photos" / "happy" / "dark.png", 0 * noise(60, 60))
    outcome = augment(Fader(), tmp_path / "photos", tmp_path / "out")
    assert outcome.done == () and outcome.exit_code == 1
    with pytest.raises(DataError, match="no faces in it, only errors"):
        read_augmented(tmp_path / "out")


def test_a_full_disk_ends_it(photos, tmp_path, monkeypatch):
    def full(path, photo):
        raise WriteError(f"{path}: cannot be written (No space left on device)")

    monkeypatch.setattr(augmentation, "write_image", full)
    with pytest.raises(WriteError, match="No space left"):
        augment(Fader(), photos, tmp_path / "out")


def test_the_reader_gives_back_who_it_is_and_where_the_face_lies(tmp_path):
    """Frames of a film, people and parts; the crop of a face is the face."""
    folder = tmp_path / "data"
    folder.mkdir()
    write_video(folder / "film.mp4", [noise(64, 64), 255 - noise(64, 64)], fps=10)
    records = [
        FaceRecord(folder / "film.mp4", "F01", "anger", frame=frame, split=split)
        for frame, split in ((0, "train"), (1, "valid"))
    ]
    photos = [LabelledPhoto(record, "anger", "neutral") for record in records]
    augment_folder(Fader(), photos, folder, tmp_path / "out", ABOUT)
    found = READERS["augmented"](tmp_path / "out")
    assert [record.path.name for record in found] == ["film.mp4.0.png", "film.mp4.1.png"]
    assert {(record.subject, record.expression) for record in found} == {("F01", "neutral")}
    assert [record.split for record in found] == ["train", "valid"]
    assert [row["frame"] for row in rows_of(tmp_path / "out")] == ["0", "1"]
    cut = crop_faces(found, "facecycle", 16, None).faces  # nobody has to find them
    for record, face in zip(found, cut, strict=True):
        assert np.abs(read_photo(record.path).astype(int) - face).max() <= 1


def test_labels_that_are_no_expressions_are_none(tmp_path):
    tree(tmp_path / "people", "anna/1.png", "6/1.png")
    augment(Fader(), tmp_path / "people", tmp_path / "out")
    found = read_augmented(tmp_path / "out")
    assert [record.path.relative_to(tmp_path / "out").as_posix() for record in found] == [
        "6/6/1.png.png",
        "anna/anna/1.png.png",
    ]
    assert [(r.subject, r.expression, r.split) for r in found] == [(None, None, None)] * 2


def test_names_that_are_not_utf8(tmp_path):
    folder = tmp_path / "photos" / "happy"
    write_image(folder / "a.png", noise(60, 60))
    name = os.fsdecode(b"caf\xe9.png")
    try:
        (folder / "a.png").rename(folder / name)
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    augment(Fader(), tmp_path / "photos", tmp_path / "out")
    (row,) = rows_of(tmp_path / "out")
    assert row["source"].endswith("caf\\xe9.png")
    (record,) = read_augmented(tmp_path / "out")
    assert record.path.is_file()


@pytest.mark.parametrize("about", [None, "{", "[1]", '{"crop": "facecycle"}'])
def test_folders_that_augment_did_not_make(about, tmp_path):
    if about is not None:
        write(tmp_path / "about.json", about)
    with pytest.raises(DataError, match="about.json: does not say how the faces were cut"):
        read_augmented(tmp_path)


def test_indices_that_are_broken(tmp_path):
    write(tmp_path / "about.json", json.dumps({"crop": "nonsense", "image_size": 64}))
    with pytest.raises(DataError, match="no crop is called 'nonsense'"):
        read_augmented(tmp_path)
    write(tmp_path / "about.json", json.dumps({"crop": "facecycle", "image_size": 64}))
    with pytest.raises(DataError, match="index.csv does not exist"):
        read_augmented(tmp_path)
    head = ",".join(COLUMNS)
    draw(tmp_path / "a.png")
    for line, message in [
        ("gone.png,s,,neutral,,,,", "line 2: .*gone.png is not there"),
        ("a.png,s,,neutral,,,holdout,", "no split is called 'holdout'"),
    ]:
        write(tmp_path / "index.csv", f"{head}\n{line}\n")
        with pytest.raises(DataError, match=message):
            read_augmented(tmp_path)


def test_a_model_that_draws_none_is_refused_before_anything_is_written(photos, tmp_path):
    class Plain(Fader):
        normalise = property()

    with pytest.raises(FaceFactorError, match="fader draws no normalised faces"):
        augment(Plain(), photos, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    with pytest.raises(FaceFactorError, match="facecycle draws no normalised faces"):
        api.augment(photos, tmp_path / "out", model="facecycle")
    assert not (tmp_path / "out").exists()
