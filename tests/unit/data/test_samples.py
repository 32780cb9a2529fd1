"""Training batches: functions of (seed, step), and labels that stay with their faces."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from kornia.augmentation import AugmentationSequential

from facefactor.data.colour import match_colour
from facefactor.data.records import FaceRecord
from facefactor.data.samples import FacePairs, LabelledFaces, deform, rows_of_step


def faces_of(*people: str) -> tuple[np.ndarray, list[FaceRecord]]:
    faces = np.stack([np.full((8, 8, 3), 10 * i, np.uint8) for i in range(len(people))])
    faces[:, :, :4] += 5  # left and right differ
    return faces, [FaceRecord(Path(f"{i}.png"), p or None) for i, p in enumerate(people)]


def test_batches_are_functions_of_seed_and_step():
    faces, records = faces_of("a", "a", "b")
    one, two = (FacePairs(faces, records, 4, seed=1) for _ in range(2))
    torch.manual_seed(99)
    first = one[7]
    two[3]
    assert torch.equal(first, two[7])
    assert not torch.equal(first, one[8])
    assert not torch.equal(first, FacePairs(faces, records, 4, seed=2)[7])
    assert first.shape == (4, 2, 3, 8, 8) and 0 <= first.min() and first.max() <= 1


def test_partners_are_the_same_person_or_the_mirror_image():
    faces, records = faces_of("a", "a", "b", "")
    pairs = FacePairs(faces, records, 1, seed=0, flip_probability=0.0)
    assert [list(p) for p in pairs.partners] == [[1], [0], [], []]
    drawn = [pairs._pair(np.random.default_rng(s)) for s in range(30)]
    for pair in drawn:
        first = int(pair[0].min()) // 10
        if first >= 2:  # alone: the partner is the mirror image
            assert np.array_equal(pair[1], pair[0][:, ::-1])


def test_strangers_are_never_the_same_photo():
    faces, records = faces_of("a", "b", "c")
    pairs = FacePairs(faces, records, 1, seed=0, strangers=True)
    for seed in range(30):
        pair = pairs._pair(np.random.default_rng(seed))
        assert pair[0].min() != pair[1].min()


def test_clips_have_their_share_of_pairs_and_are_paired_with_themselves(monkeypatch):
    monkeypatch.setattr("facefactor.data.samples.match_colour", lambda photo, _: photo)
    faces, records = faces_of("a", "a", "b", "b", "c", "d", "d", "e", "e")
    records[7:] = (replace(record, frontal=True, light=(0, 90)) for record in records[7:])
    records[0] = replace(records[0], clip="k")  # a clip of one frame has no pair to give
    records[2:5] = (replace(record, frontal=True) for record in records[2:5])  # c is alone
    faces, records = np.append(faces, faces[:1] + 90, axis=0), [*records, replace(records[3])]
    records[9] = replace(records[9], frontal=False)  # b from the side: no other take
    records[5:7] = (replace(record, clip="d1") for record in records[5:7])
    pairs = FacePairs(faces, records, 1, seed=0, flip_probability=1.0, clip_share=0.75)
    assert pairs.filmed.tolist() == [2, 3, 5, 6]
    drawn = [pairs._pair(np.random.default_rng(s)).min(axis=(1, 2, 3)) // 10 for s in range(400)]
    real = [(a, b) for a, b in drawn if a != b]  # else a mirror image, as `flip_probability` says
    assert set(real) == {(2, 3), (3, 2), (5, 6), (6, 5)}
    assert abs(len(real) / 400 - 0.75) < 0.07
    without = FacePairs(faces[:2], records[:2], 4, seed=3, clip_share=0.5)[0]  # none to prefer
    assert torch.equal(without, FacePairs(faces[:2], records[:2], 4, seed=3)[0])


def test_each_face_is_deformed_by_its_own_smooth_motion():
    torch.manual_seed(0)
    ramp = torch.linspace(0, 1, 64).expand(64, 1, 64, 64)
    moved = deform(ramp)
    shift_px = (moved - ramp) * 63  # how far each pixel's colour came from, along x
    assert 1.0 < shift_px.square().mean().sqrt() < 2.5
    assert (moved[0] - moved[1]).abs().mean() > 0.005
    assert shift_px.diff(dim=-1).abs().mean() < 0.5  # neighbours move together


def test_pairs_of_one_person_are_deformed_and_strangers_are_not():
    faces, records = faces_of("", "", "")
    ramp = np.broadcast_to(np.arange(0, 240, 4, dtype=np.uint8)[:, None], (3, 60, 60, 3))
    kept = FacePairs(ramp, records, 8, seed=0, strangers=True)[0]
    moved = FacePairs(ramp, records, 8, seed=0)[0]
    assert kept.shape == moved.shape and faces.shape[0] == 3

    def bend(batch):  # rows of a ramp stay straight under an affine motion
        return batch[..., 10:50, 10:50].diff(dim=-1).diff(dim=-1).abs().mean()

    assert bend(moved) > 2 * bend(kept)


def test_matched_colour_has_the_other_mean_and_deviation():
    random = np.random.default_rng(0)
    face = random.integers(60, 120, (32, 32, 3), dtype=np.uint8)
    like = random.integers(90, 200, (32, 32, 3), dtype=np.uint8)
    matched = match_colour(face, like).astype(float)
    np.testing.assert_allclose(matched.mean((0, 1)), like.mean((0, 1)), atol=1)
    np.testing.assert_allclose(matched.std((0, 1)), like.std((0, 1)), rtol=0.03)


def test_labels_go_with_their_faces_and_every_face_is_seen_once_an_epoch():
    records = [
        FaceRecord(Path(f"{index}.jpg"), subject="ab"[index % 2] if index < 4 else None)
        for index in range(6)
    ]
    records[5] = replace(records[5], expression="happiness")
    faces = np.stack([np.full((32, 32, 3), 40 * index, np.uint8) for index in range(6)])
    data = LabelledFaces(faces, records, batch_size=2, seed=3)
    data.change = AugmentationSequential(data_keys=["input", "keypoints"])  # colours stay readable
    for epoch in range(2):
        seen = []
        for step in range(3):
            batch = data[3 * epoch + step]
            for row in range(2):
                index = round(float(batch.faces[row].mean()) * 255 / 40)
                seen.append(index)
                assert batch.subject[row] == ([0, 1, 0, 1, -1, -1][index])
                assert batch.expression[row] == (1 if index == 5 else -1)
        assert sorted(seen) == list(range(6))


def test_landmarks_stay_on_what_they_mark():
    """A bright dot on black, and one landmark on it: after every change it is still there."""
    random = np.random.default_rng(0)
    faces = np.zeros((40, 64, 64, 3), np.uint8)
    marks = np.full((40, 68, 2), np.nan, np.float32)
    for index in range(40):
        x, y = random.integers(16, 48, 2)
        faces[index, y, x] = 255
        faces[index, y - 1 : y + 2, x - 1 : x + 2] |= 120
        marks[index, 30] = (np.array([x, y]) + 0.5) / 64  # the nose tip: it is its own mirror image
    data = LabelledFaces(
        faces, [FaceRecord(Path("a.png"))] * 40, batch_size=40, seed=0, landmarks=marks
    )
    batch = data[0]
    grid = (torch.arange(64) + 0.5) / 64
    light = batch.faces.mean(dim=1)
    light = light - light.amin(dim=(1, 2), keepdim=True)
    light = light / light.sum(dim=(1, 2), keepdim=True)
    centre = torch.stack([(light.sum(dim=1) * grid).sum(-1), (light.sum(dim=2) * grid).sum(-1)], -1)
    moved = batch.landmarks[:, 30]
    before = marks[rows_of_step(0, len(data.faces), data.batch_size, data.seed), 30]
    assert (moved - torch.from_numpy(before)).abs().max() > 0.05  # it did move
    assert (moved - centre).abs().max() * 64 < 0.6  # pixels
    assert batch.landmarks[:, 0].isnan().all()


def test_a_labelled_batch_follows_from_seed_and_step():
    faces = np.random.default_rng(0).integers(0, 255, (8, 32, 32, 3), dtype=np.uint8)
    first, again, other = (
        LabelledFaces(faces, [FaceRecord(Path("a.png"))] * 8, 4, seed)[5].faces
        for seed in (1, 1, 2)
    )
    assert torch.equal(first, again) and not torch.equal(first, other)
