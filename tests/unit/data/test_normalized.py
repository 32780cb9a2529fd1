"""Who has a frontal neutral face, and batches of faces with theirs."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from facefactor.data.normalized import (
    NormalizedPairs,
    RenderedNormalized,
    find_targets,
    normalized_scenes,
    people_of_step,
)
from facefactor.data.records import DataError, FaceRecord
from facefactor.data.samples import Mixed
from facefactor.data.scenes import FRONTAL_PITCH, draw_scenes
from facefactor.data.synthetic import FaceRenderer
from tests.made_talking_head import talking_egg

SIZE = 16


def photo(subject: str | None, clip: str | None = None, **known: object) -> FaceRecord:
    return FaceRecord(Path("x.png"), subject, clip=clip, **known)


# Who has one


def test_a_frontal_neutral_photo_is_its_own_target_and_the_others():
    records = [photo("ann"), photo("bob"), photo("ann"), photo("ann"), photo("bob")]
    who = find_targets(records, np.array([True, False, False, True, False]))
    assert [rows.tolist() for rows in who.people] == [[0, 2, 3]]  # nothing is known of Bob
    goals = {row: goals.tolist() for row, goals in who.targets.items()}
    assert goals == {0: [0], 2: [0, 3], 3: [3]}
    assert who.guides.tolist() == [0, 3]
    assert who.unpaired.tolist() == [1, 4]
    assert str(who).startswith("3 photos of 1 people who have a frontal neutral face; 2 such")
    assert str(who).endswith("; 2 photos of others")


def test_the_neutral_face_of_the_same_sequence_comes_first():
    clips = ["S1_1", "S1_1", "S1_2", "S1_2", "S1_3"]
    records = [photo("S1", clip) for clip in clips]
    who = find_targets(records, np.array([True, False, True, False, False]))
    assert {row: goals.tolist() for row, goals in who.targets.items()} == {
        0: [0], 1: [0], 2: [2], 3: [2], 4: [0, 2]
    }  # fmt: skip


def test_a_clip_stands_for_its_person_and_strangers_are_guides_only():
    records = [photo(None, "a"), photo(None, "a"), photo(None), photo("a")]
    who = find_targets(records, np.array([True, False, True, False]))
    assert [rows.tolist() for rows in who.people] == [[0, 1]]  # the subject "a" is somebody else
    assert who.guides.tolist() == [0, 2]
    assert who.unpaired.tolist() == [2, 3]


def test_nobody_with_a_frontal_neutral_face_is_an_error():
    with pytest.raises(DataError, match="none of 2 known people in 3 photos"):
        find_targets([photo("ann"), photo(None), photo("bob")], np.array([False, True, False]))


# Who is in a batch


def test_everybody_comes_once_before_anybody_comes_again():
    for count, batch_size in ((7, 3), (3, 7), (5, 5), (1, 4)):
        drawn = np.concatenate([people_of_step(step, count, batch_size, 1) for step in range(20)])
        for start in range(0, len(drawn) - count + 1, count):
            assert sorted(drawn[start : start + count]) == list(range(count))
    orders = {tuple(people_of_step(step, 7, 7, seed)) for step in range(3) for seed in (0, 1)}
    assert len(orders) == 6


# Batches of photos


@pytest.fixture
def made():
    """Three people: person p has 3, 9 and 3 photos; all pixels of photo n of person p are
    (p + 1, n, 100) but for a bright left half in the red; photo 0 is the frontal neutral one."""
    records, faces = [], []
    for person, count in enumerate((3, 9, 3)):
        for number in range(count):
            face = np.empty((SIZE, SIZE, 3), np.uint8)
            face[:] = (60 * (person + 1), 20 * number + 20, 100)
            face[:, : SIZE // 2, 0] += 40
            faces.append(face)
            records.append(photo(f"p{person}", light=(0.0, 0.0)))
    frontal = np.array([True] + [False] * 2 + [True] + [False] * 8 + [True] + [False] * 2)
    return np.stack(faces), records, frontal


def as_they_are(pairs: NormalizedPairs) -> NormalizedPairs:
    """Without random motion and colour."""
    pairs.move = pairs.jitter = nn.Identity()
    return pairs


def of_person(images: torch.Tensor) -> list[int]:
    """Whose each face is, by its red right or left half."""
    return ((images[:, 0].amin(dim=(1, 2)) * 255 / 60).round().long() - 1).tolist()


def test_a_target_is_the_same_persons_frontal_neutral_face(made):
    faces, records, frontal = made
    pairs = as_they_are(NormalizedPairs(faces, records, find_targets(records, frontal), 6, 0))
    inputs = set()
    for step in range(30):
        batch = pairs[step]
        people = of_person(batch.faces)
        assert people == of_person(batch.targets)
        assert sorted(people) == [0, 0, 1, 1, 2, 2]  # however many photos somebody has
        numbers = (batch.faces[:, 1, 0, 0] * 255 / 20).round().long() - 1
        inputs |= set(zip(people, numbers.tolist(), strict=True))
        green = torch.cat([batch.targets, batch.guides])[:, 1] * 255
        torch.testing.assert_close(green, torch.full_like(green, 20.0))  # number 0: frontal
        left = [part[:, 0, :, 0] > part[:, 0, :, -1] for part in batch]
        assert left[0].equal(left[1])  # mirrored together
    assert len(inputs) == 15  # every photo comes
    guides = torch.cat([pairs[step].guides for step in range(30)])
    assert {*of_person(guides)} == {0, 1, 2}
    mirrored = (guides[:, 0, 0, 0] < guides[:, 0, 0, -1]).float().mean()
    assert 0.35 < mirrored < 0.65


def test_a_batch_follows_from_seed_and_step_alone(made):
    faces, records, frontal = made
    who = find_targets(records, frontal)
    pairs = NormalizedPairs(faces, records, who, 4, 5)
    first = pairs[3]
    pairs[0], torch.rand(3)
    before = torch.random.get_rng_state()
    for again in (pairs[3], NormalizedPairs(faces, records, who, 4, 5)[3]):
        assert all(a.equal(b) for a, b in zip(first, again, strict=True))
    assert torch.random.get_rng_state().equal(before)
    assert not first.faces.equal(pairs[4].faces)
    assert not first.faces.equal(NormalizedPairs(faces, records, who, 4, 6)[3].faces)
    assert [len(images) for images in first] == [4, 4, 4, 0]  # everybody has a target
    for images in first[:3]:
        assert images.shape == (4, 3, SIZE, SIZE) and images.is_contiguous()
        assert images.dtype == torch.float32 and 0 <= images.min() and images.max() <= 1


def test_photos_of_others_come_without_a_target(made):
    """Person 0 has no frontal neutral photo now."""
    faces, records, frontal = made
    who = find_targets(records, frontal & (np.arange(len(frontal)) > 0))
    pairs = as_they_are(NormalizedPairs(faces, records, who, 6, 0, unpaired=4))
    batches = [pairs[step] for step in range(20)]
    assert {tuple(map(len, batch)) for batch in batches} == {(2, 2, 2, 4)}
    assert {*of_person(torch.cat([batch.faces for batch in batches]))} == {1, 2}
    others = torch.cat([batch.unpaired for batch in batches])
    assert {*of_person(others)} == {0}
    numbers = (others[:, 1, 0, 0] * 255 / 20).round().long() - 1
    assert set(numbers.tolist()) == {0, 1, 2}
    assert 0.35 < (others[:, 0, 0, 0] < others[:, 0, 0, -1]).float().mean() < 0.65  # mirrored
    changed = NormalizedPairs(faces, records, who, 6, 0, unpaired=4)
    still = changed[0].unpaired
    assert still.equal(changed[0].unpaired) and not still.equal(batches[0].unpaired)
    nobody = NormalizedPairs(faces, records, find_targets(records, frontal), 6, 0, unpaired=4)
    assert [len(images) for images in nobody[0]] == [6, 6, 6, 0]


def test_the_faces_given_are_not_changed(made):
    faces, records, frontal = made
    before = faces.copy()
    faces.setflags(write=False)  # as cut faces on disk are
    NormalizedPairs(faces, records, find_targets(records, frontal), 4, 5)[0]
    np.testing.assert_array_equal(faces, before)


def test_an_input_takes_over_its_targets_colours_unless_its_light_is_known():
    random = np.random.default_rng(0)
    dark = random.integers(10, 60, (SIZE, SIZE, 3)).astype(np.uint8)
    bright = random.integers(120, 250, (SIZE, SIZE, 3)).astype(np.uint8)
    for light, expected in ((None, bright), ((90.0, 0.0), dark)):
        records = [photo("ann", light=light)] * 2
        who = find_targets(records, np.array([False, True]))
        who = replace(who, people=[np.array([0])])  # only ever the dark photo
        pairs = as_they_are(NormalizedPairs(np.stack([dark, bright]), records, who, 1, 0))
        batch = pairs[0]
        assert batch.faces.mean() * 255 == pytest.approx(expected.mean(), abs=1)
        assert batch.faces.std() * 255 == pytest.approx(expected.std(), rel=0.1)
        assert batch.targets.mean() * 255 == pytest.approx(bright.mean(), abs=1)


def test_colours_change_alike_in_input_and_target_and_only_inputs_move():
    """A photo that is its own target: without motion the two are the same, jitter and all."""
    random = np.random.default_rng(0)
    face = random.integers(60, 200, (1, SIZE, SIZE, 3)).astype(np.uint8)
    who = find_targets([photo("ann")], np.array([True]))
    pairs = NormalizedPairs(face, [photo("ann")], who, 8, 0)
    moved = pairs[0]
    assert (moved.faces - moved.targets).abs().mean(dim=(1, 2, 3)).min() > 0.01
    pairs.move = nn.Identity()
    batch = pairs[0]
    torch.testing.assert_close(batch.faces, batch.targets)
    plain = torch.from_numpy(face).permute(0, 3, 1, 2) / 255
    for images in (batch.targets, batch.guides):
        as_it_is, mirrored = (
            (images - one).abs().mean(dim=(1, 2, 3)) for one in (plain, plain.flip(-1))
        )
        assert torch.minimum(as_it_is, mirrored).max() > 0.01  # some change in colour


# Rendered faces


@pytest.fixture(scope="module")
def renderer() -> FaceRenderer:
    return FaceRenderer(talking_egg(), image_size=SIZE)


def test_normalised_scenes_keep_the_person_and_the_ground_and_nothing_else(renderer):
    model = renderer.model
    draw = np.random.default_rng(0)
    scenes = draw_scenes([3, 3, 8], draw, model, 0, plain=False)
    goals = normalized_scenes(scenes)
    for name in ("subject", "identity", "traits", "ground"):
        assert getattr(goals, name) is getattr(scenes, name)
    assert not goals.expression.any() and goals.expression_name == ("neutral",) * 3
    assert scenes.expression.any() and not scenes.pose.equal(goals.pose)
    assert goals.pose.tolist() == [[0.0, FRONTAL_PITCH, 0.0]] * 3 and not goals.wobble.any()
    ground = scenes.ground
    scenes = replace(scenes, ground=ground[:1].expand(3, -1, -1, -1))
    twins = renderer.render(normalized_scenes(scenes)).faces
    np.testing.assert_array_equal(twins[0], twins[1])  # two pictures of person 3
    assert np.abs(twins[0].astype(int) - twins[2]).max() > 10


def test_rendered_batches_follow_from_seed_and_step(renderer):
    rendered = RenderedNormalized(renderer, 50, 3, 1)
    first, again, other = rendered[2], RenderedNormalized(renderer, 50, 3, 1)[2], rendered[3]
    assert all(a.equal(b) for a, b in zip(first, again, strict=True))
    assert not first.faces.equal(other.faces)
    assert len(first.unpaired) == 0
    for images in first[:3]:
        assert images.shape == (3, 3, SIZE, SIZE) and 0 <= images.min() and images.max() <= 1
    assert not first.faces.equal(first.targets)
    assert first.guides.equal(first.targets[[2, 0, 1]])  # of others
    with pytest.raises(ValueError, match="0 people"):
        RenderedNormalized(renderer, 0, 3, 1)


def test_a_mixed_batch_has_both_after_one_another(made, renderer):
    faces, records, frontal = made
    photos = NormalizedPairs(faces, records, find_targets(records, frontal), 3, 0)
    rendered = RenderedNormalized(renderer, 50, 2, 0)
    batch = Mixed(photos, rendered)[1]
    for images, of_photos, of_rendered in zip(batch, photos[1], rendered[1], strict=True):
        torch.testing.assert_close(images, torch.cat([of_photos, of_rendered]))
