"""Neutral faces, photographed, rendered or drawn by another model: found, kept, changed alike."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from facefactor.data import kept_parts, neutralised
from facefactor.data.neutralised import (
    NeutralisedFaces,
    RenderedNeutralised,
    draw_neutrals,
    find_neutrals,
)
from facefactor.data.records import DataError, FaceRecord
from facefactor.data.synthetic import FaceRenderer
from tests.made_talking_head import talking_egg

SIZE = 16


def made_faces(count: int = 5) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, SIZE, SIZE, 3), dtype=np.uint8)


class Darker:
    """Halves a face's brightness, and counts the faces it was given."""

    def __init__(self) -> None:
        self.seen: list[int] = []

    def __call__(self, faces):
        self.seen.append(len(faces))
        return faces / 2


def test_the_neutral_photo_is_of_the_same_clip_or_session():
    """Sessions of "anna" differ in brightness; nobody says that "bert" looks straight ahead."""

    def photo(subject, expression, clip=None, frontal=True):
        return FaceRecord(Path("x.png"), subject, expression, clip=clip, frontal=frontal)

    shown = [
        (photo("anna", "happiness"), 100),
        (photo("anna", "neutral"), 10),
        (photo("anna", "neutral"), 90),
        (photo("anna", "anger"), 12),
        (photo("anna", "anger", clip="film"), 10),
        (photo("anna", "neutral", clip="film"), 200),
        (photo("bert", "fear", frontal=False), 50),
        (photo("bert", "neutral", frontal=False), 50),
        (photo(None, "neutral"), 50),
        (photo(None, "fear"), 50),
        (photo("carl", "surprise"), 50),
    ]
    faces = np.stack([np.full((SIZE, SIZE, 3), level, np.uint8) for _, level in shown])
    found = find_neutrals(faces, [record for record, _ in shown])
    assert found.tolist() == [2, 1, 2, 1, 5, 5, -1, 7, 8, -1, -1]


def test_rendered_faces_differ_from_their_neutral_ones_in_expression_only(monkeypatch):
    """Told by what is asked of the renderer, and by pixels: the ground is the same."""
    scenes = []
    renderer = FaceRenderer(talking_egg(), "facecycle", 32)
    render = renderer.render
    monkeypatch.setattr(renderer, "render", lambda shown: scenes.append(shown) or render(shown))
    batch = RenderedNeutralised(renderer, people=5, batch_size=4, seed=0)[3]
    given, neutral = scenes
    assert batch.faces.shape == batch.neutrals.shape == (4, 3, 32, 32)
    assert given.expression.abs().sum() > 0 and neutral.expression.abs().sum() == 0
    assert set(neutral.expression_name) == {"neutral"}
    for name in ("subject", "identity", "traits", "pose", "wobble", "lighting", "ground"):
        assert torch.equal(getattr(given, name), getattr(neutral, name))
    assert (batch.faces[..., 0, 0] - batch.neutrals[..., 0, 0]).abs().max() < 0.02
    assert (batch.faces - batch.neutrals).abs().max() > 0.05
    again = RenderedNeutralised(FaceRenderer(talking_egg(), "facecycle", 32), 5, 4, 0)[3]
    assert torch.equal(again.faces, batch.faces)


def test_faces_are_drawn_in_order(tmp_path):
    faces, darker = made_faces(), Darker()
    done = []
    drawn = draw_neutrals(faces, darker, "darker", tmp_path, lambda *n: done.append(n))
    np.testing.assert_array_equal(drawn, np.rint(faces / 2.0).astype(np.uint8))
    assert darker.seen == [5] and done == [(5, 5)]


def test_what_is_drawn_once_is_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(kept_parts, "_PART", 2)
    monkeypatch.setattr(neutralised, "_TOGETHER", 1)
    faces, darker = made_faces(), Darker()
    first = draw_neutrals(faces, darker, "darker", tmp_path)
    assert darker.seen == [1] * 5 and len(list(tmp_path.iterdir())) == 3
    np.testing.assert_array_equal(draw_neutrals(faces, darker, "darker", tmp_path), first)
    assert len(darker.seen) == 5
    next(iter(tmp_path.iterdir())).unlink()  # a killed run goes on with what is missing
    draw_neutrals(faces, darker, "darker", tmp_path)
    assert 5 < len(darker.seen) <= 7
    draw_neutrals(faces, darker, "another", tmp_path)
    draw_neutrals(faces[::-1], darker, "darker", tmp_path)
    assert len(darker.seen) >= 15


def test_damaged_files_and_other_shapes_are_refused(tmp_path):
    faces = made_faces(2)
    draw_neutrals(faces, Darker(), "darker", tmp_path)
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(DataError, match=file.name):
        draw_neutrals(faces, Darker(), "darker", tmp_path)
    np.savez(file, neutrals=faces[:1])
    with pytest.raises(DataError, match="remove it"):
        draw_neutrals(faces, Darker(), "darker", tmp_path)
    for wrong in (lambda x: x[..., ::2], lambda x: x * torch.nan):
        with pytest.raises(ValueError, match="the neutraliser makes"):
            draw_neutrals(faces, wrong, "wrong", tmp_path / "new")
    assert not list((tmp_path / "new").iterdir())
    with pytest.raises(ValueError, match="no faces"):
        draw_neutrals(faces[:0], Darker(), "darker", tmp_path)


def test_a_face_and_its_neutral_face_are_changed_alike():
    """Of the same picture twice the same is made, mirrored or not; colours too."""
    faces = made_faces(6)
    samples = NeutralisedFaces(faces, faces.copy(), batch_size=3, seed=1)
    for step in range(4):
        batch = samples[step]
        assert batch.faces.shape == (3, 3, SIZE, SIZE)
        torch.testing.assert_close(batch.faces, batch.neutrals)
        assert batch.faces.min() >= 0 and batch.faces.max() <= 1


def test_half_of_grey_photos_are_tinted_alike_and_others_are_not(monkeypatch):
    grey = np.broadcast_to(made_faces(20)[..., :1], (20, SIZE, SIZE, 3))
    faces = np.concatenate([grey, made_faces(20)])
    samples = NeutralisedFaces(faces, faces, 40, 0)
    tinted = samples[0].faces
    torch.testing.assert_close(samples[0].neutrals, tinted)
    monkeypatch.setattr(neutralised, "_TINT", ((1.0, 1.0, 1.0), (1.0, 1.0, 1.0)))
    plain = samples[0].faces
    changed = (tinted - plain).abs().amax(dim=(1, 2, 3)) > 0.02
    was_grey = plain.diff(dim=1).abs().amax(dim=(1, 2, 3)) < 0.2  # they are recoloured a little
    assert was_grey.sum() == 20 and not (changed & ~was_grey).any()
    assert 4 < changed.sum() < 16
    warm = tinted[changed].mean(dim=(0, 2, 3))
    assert warm[0] > warm[1] > warm[2]  # as skin is


def test_each_has_its_own_neutral_face():
    """Flat faces of 0, 40, 80, ... and neutral ones 20 brighter: so are the changed ones."""
    flat = np.arange(6, dtype=np.uint8)[:, None, None, None] * 40
    faces = np.broadcast_to(flat, (6, SIZE, SIZE, 3)) + np.array([0, 0, 10], np.uint8)  # not grey
    samples = NeutralisedFaces(faces, faces + 20, batch_size=6, seed=0)
    samples.jitter = torch.nn.Identity()
    batch = samples[0]
    torch.testing.assert_close(
        batch.neutrals - batch.faces, torch.full_like(batch.faces, 20 / 255), rtol=1e-3, atol=1e-3
    )
    assert len(batch.faces[:, 0, 8, 8].mul(255).round().unique()) == 6


def test_a_batch_is_a_function_of_seed_and_step():
    faces = made_faces(6)
    first, again, other = (NeutralisedFaces(faces, faces, 3, seed) for seed in (1, 1, 2))
    assert torch.equal(first[5].faces, again[5].faces)
    assert not torch.equal(first[5].faces, other[5].faces)
    assert not torch.equal(first[5].faces, first[6].faces)


def test_too_few_or_unequal_numbers_are_refused():
    faces = made_faces(4)
    with pytest.raises(ValueError, match="4 faces, but 3 neutral ones"):
        NeutralisedFaces(faces, faces[:3], 2, 0)
    with pytest.raises(ValueError, match="4 faces are fewer than a batch of 5"):
        NeutralisedFaces(faces, faces, 5, 0)
