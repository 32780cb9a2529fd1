"""What is computed of faces once: in files whose names stay what they are, so that caches last."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from facefactor.data import frontal_neutral, kept_parts, pseudolabels
from facefactor.data.frontal_neutral import Judgements, judge_faces
from facefactor.data.kept_parts import kept_in_parts
from facefactor.data.neutralised import draw_neutrals
from facefactor.data.pseudolabels import PseudoLabels, pseudo_labels
from facefactor.data.records import DataError

FACES = np.arange(2 * 4 * 4 * 3, dtype=np.uint8).reshape(2, 4, 4, 3)


def network(*numbers):
    return SimpleNamespace(state_dict=lambda: {"weight": torch.tensor(numbers)})


def test_names_of_neutral_faces(tmp_path):
    draw_neutrals(FACES, lambda faces: faces / 2, "key", tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["neutral-8e552cb3627251dfcbcc249c.npz"]


def test_names_of_judgements(tmp_path, monkeypatch):
    nothing = Judgements(*(np.zeros(2, np.float32) for _ in range(5)))
    monkeypatch.setattr(frontal_neutral, "_look", lambda faces, judges: nothing)
    judges = SimpleNamespace(
        image_size=4, landmarks=network(1.0, 2.0), expressions=network(3.0, 4.0)
    )
    judge_faces(FACES, judges, tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["ee248f730d9c7a7e45100ce2.npz"]


def test_names_of_pseudo_labels(tmp_path, monkeypatch):
    nothing = PseudoLabels(*(np.zeros((2, 1), np.float32) for _ in range(8)))
    monkeypatch.setattr(pseudolabels, "resample", lambda model: model)
    monkeypatch.setattr(pseudolabels, "_label", lambda *rows_and_models: nothing)
    shape = torch.arange(6.0).view(2, 3)
    model = SimpleNamespace(neutral=shape, identity=shape[None], expression=-shape[None])
    landmarks = np.linspace(0, 1, 2 * 68 * 2, dtype=np.float32).reshape(2, 68, 2)
    landmarks = (landmarks * 256).round() / 256  # the same to the last bit on every machine
    pseudo_labels(FACES, landmarks, model, tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["499b4d92146692d6fc35da4a.npz"]


def test_parts_are_computed_once_and_put_together_in_order(tmp_path, monkeypatch):
    monkeypatch.setattr(kept_parts, "_PART", 2)
    numbers, given, told = np.arange(5), [], []

    def doubled(part, other):
        given.append(part.tolist())
        return {"sum": part + other, "part": part}

    def keep(progress=None):
        return kept_in_parts(
            (numbers, 10 * numbers),
            tmp_path / "new",
            name=lambda part, _: "-".join(map(str, part)),
            compute=doubled,
            arrays=["sum"],
            progress=progress,
        )

    assert keep(lambda *done: told.append(done))["sum"].tolist() == [0, 11, 22, 33, 44]
    assert given == [[0, 1], [2, 3], [4]] and told == [(2, 5), (4, 5), (5, 5)]
    (tmp_path / "new" / "2-3.npz").unlink()
    assert keep()["sum"].tolist() == [0, 11, 22, 33, 44] and given[3:] == [[2, 3]]


@pytest.mark.parametrize(
    ("arrays", "reason"),
    [
        ({"other": FACES}, "no array 'neutrals'"),
        ({"neutrals": FACES[:1]}, "named after"),
        ({"neutrals": FACES[:, :2]}, "named after"),
        ({"neutrals": FACES / 255}, "named after"),
        ({"neutrals": np.uint8(1)}, "named after"),
    ],
)
def test_files_that_hold_something_else_are_refused(tmp_path, arrays, reason):
    draw_neutrals(FACES, lambda faces: faces / 2, "key", tmp_path)
    (file,) = tmp_path.iterdir()
    np.savez(file, **arrays)
    with pytest.raises(DataError, match=f"{file.name}: .*{reason}.*; remove"):
        draw_neutrals(FACES, lambda faces: faces / 2, "key", tmp_path)
