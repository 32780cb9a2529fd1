"""Rendered faces: what is said of them is exactly so, and follows from seed, person and step."""

import dataclasses

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from facefactor import api
from facefactor.data.poses import read_poses
from facefactor.data.readers import read_clips
from facefactor.data.rendered import RenderedFaces
from facefactor.data.scenes import (
    AMBIENTS,
    AZIMUTHS,
    BLENDS,
    ELEVATIONS,
    FRONTAL_PITCH,
    MIXED,
    PITCH_SPREAD,
    STRENGTHS,
    WOBBLE,
    YAWS,
    draw_scenes,
    light_from,
)
from facefactor.data.synthetic import (
    FaceRenderer,
    five_points,
    synthetic_faces,
    write_faces,
)
from facefactor.errors import FaceFactorError
from facefactor.factors import EXPRESSIONS
from facefactor.geometry.lighting import shading
from facefactor.geometry.morphable import MorphableModelError, read_morphable, write_morphable
from facefactor.geometry.projection import project
from facefactor.geometry.rasteriser import interpolate, normal_map, rasterise
from facefactor.geometry.rotations import rotation_matrix, yaw_pitch_roll
from facefactor.images import read_photo
from facefactor.perception.align import crop_points, place
from tests.made_heads import egg_model
from tests.made_talking_head import talking_egg

SIZE = 32


@pytest.fixture(scope="module")
def renderer():
    return FaceRenderer(talking_egg(), "facecycle", SIZE)


@pytest.fixture(scope="module")
def scenes(renderer):
    """Six scenes of four people, with everything varied."""
    draw = np.random.default_rng(7)
    return draw_scenes([0, 1, 1, 2, 3, 0], draw, renderer.model, seed=0, plain=False)


@pytest.fixture(scope="module")
def made(renderer, scenes):
    return renderer.render(scenes)


def many(count: int = 400, **settings):
    """Scenes only: nothing is rendered."""
    return draw_scenes(range(count), np.random.default_rng(1), talking_egg(), 0, **settings)


# Exactness


def test_the_model_put_where_it_is_said_to_be_has_its_landmarks_there(made):
    """With the model as the user has it, not as the renderer closed it."""
    model = talking_egg()
    for row in range(len(made)):
        shape = model.neutral.clone()
        for weight, mode in zip(made.identity[row], model.identity, strict=True):
            shape += weight * mode
        for weight, mode in zip(made.expression[row], model.expression, strict=True):
            shape += weight * mode
        turned = (made.rotation[row] @ shape[model.landmarks68].T).T
        seen = made.scale[row] * turned[:, :2] * torch.tensor([1, -1]) + made.shift[row]
        torch.testing.assert_close(made.landmarks[row], seen, atol=1e-5, rtol=1e-4)


def test_normals_and_mask_are_those_of_the_shape_there(renderer, made):
    model = renderer.model
    vertices = model.vertices(made.identity, made.expression)
    points = project(vertices, made.rotation, SIZE * made.scale, SIZE * made.shift - 0.5)
    raster = rasterise(points, model.triangles, (SIZE, SIZE))
    assert torch.equal(made.mask, raster.mask.float())
    torch.testing.assert_close(
        made.normals, normal_map(raster, points, model.triangles), atol=1e-5, rtol=1e-4
    )
    assert 0.4 < made.mask.mean() < 0.95


def test_the_picture_is_albedo_times_shading_in_front_of_the_ground(made, scenes):
    lit = (made.albedo * shading(made.normals, made.lighting)).clamp(0, 1)
    faces = torch.from_numpy(made.faces).permute(0, 3, 1, 2) / 255
    mask = made.mask.bool().expand_as(lit)
    assert ((faces - lit)[mask].abs() <= 0.5 / 255 + 1e-6).all()
    assert made.albedo.min() >= 0 and made.albedo.max() <= 1
    assert made.albedo[~mask].abs().max() == 0
    # corners of the grid of colours are corners of the picture
    corner = scenes.ground[:, :, 0, 0].clamp(0, 1)
    outside = ~mask[:, 0, 0, 0]
    assert outside.any()
    torch.testing.assert_close(faces[outside, :, 0, 0], corner[outside], atol=0.51 / 255, rtol=0)


def test_texture_is_the_albedo_unfolded(renderer, made):
    """Looked up at each pixel's texture coordinates it gives the albedo back, but for its grid."""
    model = renderer.model
    vertices = model.vertices(made.identity, made.expression)
    points = project(vertices, made.rotation, SIZE * made.scale, SIZE * made.shift - 0.5)
    raster = rasterise(points, model.triangles, (SIZE, SIZE))
    u, v = interpolate(raster, model.uv).unbind(dim=1)
    (left, bottom), (right, top) = model.uv.amin(dim=0), model.uv.amax(dim=0)
    across, down = (u - left) / (right - left), (top - v) / (top - bottom)
    places = 2 * torch.stack([across, down], dim=-1) - 1
    found = F.grid_sample(made.texture, places, align_corners=True)
    away = (found - made.albedo).abs().mean(dim=1)[raster.mask[:, 0]]
    assert away.mean() < 0.01 and away.quantile(0.95) < 0.08
    spread = made.albedo.mean(dim=1)[raster.mask[:, 0]].std()
    assert spread > 0.05  # of a plain picture the above would say nothing


# Where the face lies


@pytest.mark.parametrize("crop", ["facecycle", "arcface"])
def test_aligned_faces_lie_where_alignment_would_put_them(crop):
    """Five points of the landmarks, aligned as those of a photo are, stay where they are."""
    renderer = FaceRenderer(talking_egg(), crop, SIZE)
    drawn = draw_scenes(range(6), np.random.default_rng(0), renderer.model, seed=0)
    made = renderer.render(dataclasses.replace(drawn, wobble=torch.zeros(6, 4)))
    for landmarks in made.landmarks:
        points = five_points(landmarks).double().numpy() * SIZE - 0.5
        unmoved = [[1, 0, 0], [0, 1, 0]]
        np.testing.assert_allclose(place(points, crop, SIZE).to_crop, unmoved, atol=2e-3)
        assert np.abs(points.mean(0) - crop_points(crop, SIZE).mean(0)).max() < 1e-3


def test_five_points_are_eyes_nose_and_corners_of_the_mouth():
    marks = torch.arange(68.0)[:, None].expand(68, 2)
    assert five_points(marks)[:, 0].tolist() == [38.5, 44.5, 30, 48, 54]


def test_a_wobble_is_what_alignment_finds(renderer):
    """Turned by 3 degrees clockwise, 2 % larger, a hundredth of the side to the right and two up:
    alignment takes just that back."""
    drawn = draw_scenes([0], np.random.default_rng(0), renderer.model, seed=0, turned=False)
    off = torch.tensor([[3.0, 0.02, 0.01, -0.02]])
    straight = renderer.render(drawn)
    made = renderer.render(dataclasses.replace(drawn, wobble=off))
    points = five_points(made.landmarks[0]).numpy() * SIZE - 0.5
    (c, minus_s, _), (s, _, _) = place(points, "facecycle", SIZE).to_crop
    assert np.degrees(np.arctan2(s, c)) == pytest.approx(-3, abs=1e-3) and minus_s == -s
    assert np.hypot(s, c) == pytest.approx(1 / 1.02, abs=1e-4)
    moved = points.mean(0) - crop_points("facecycle", SIZE).mean(0)
    np.testing.assert_allclose(moved, [0.01 * SIZE, -0.02 * SIZE], atol=1e-3)
    # y is down in pictures: clockwise there is a roll of 3 degrees more
    tilt = made.rotation[0] @ straight.rotation[0].T
    rolled = rotation_matrix(torch.tensor([0.0, 0, 3]))
    torch.testing.assert_close(tilt, rolled, atol=1e-5, rtol=1e-4)


def test_alignment_tilts_a_head_and_turns_it_no_other_way(made, scenes):
    """The bottom row of a rotation is where the head's axes point in depth: tilts leave it."""
    depth = rotation_matrix(scenes.pose)[:, 2]
    torch.testing.assert_close(made.rotation[:, 2], depth, atol=1e-5, rtol=1e-4)
    identity = torch.eye(3).expand(len(made), 3, 3)
    torch.testing.assert_close(made.rotation @ made.rotation.mT, identity, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(torch.linalg.det(made.rotation), torch.ones(len(made)))


# What is drawn


def test_poses_and_wobbles_are_in_their_ranges():
    drawn = many()
    assert set(drawn.pose[:, 0].tolist()) == set(YAWS)
    pitch, roll = drawn.pose[:, 1], drawn.pose[:, 2]
    assert roll.abs().max() == 0  # alignment would take it out; the wobble brings it
    assert (pitch - FRONTAL_PITCH).abs().max() <= PITCH_SPREAD
    assert (pitch - FRONTAL_PITCH).abs().max() > 0.95 * PITCH_SPREAD
    for number, limit in enumerate((*WOBBLE, WOBBLE[2])):
        assert 0.95 * limit < drawn.wobble[:, number].abs().max() <= limit
    spread = many(yaw_spread=7.5).pose[:, 0]
    assert spread.abs().max() <= 52.5 and len(spread.unique()) > 300


def test_light_is_in_its_range():
    x, y, z = many().lighting[:, [3, 1, 2]].T
    strength = torch.stack([x, y, z]).norm(dim=0) / 0.488603
    assert (strength > STRENGTHS[0] - 1e-4).all() and (strength < STRENGTHS[1] + 1e-4).all()
    elevation = torch.rad2deg(torch.atan2(y, torch.hypot(x, z)))
    azimuth = torch.rad2deg(torch.atan2(x, z))
    for angle, (low, high) in ((elevation, ELEVATIONS), (azimuth, AZIMUTHS)):
        assert low - 0.01 <= angle.min() < low + 5 and high - 5 < angle.max() <= high + 0.01
    ambient = (many().lighting[:, 0] - 0.282095 * strength) * 0.886227
    assert (ambient > AMBIENTS[0] - 1e-4).all() and (ambient < AMBIENTS[1] + 1e-4).all()


def test_a_light_of_two_parts():
    """Straight on, a distant light of strength 1 gives 17/16; from behind 1/16."""
    from_left = light_from(*torch.tensor([[90.0], [0.0], [0.5], [0.4]]))
    normals = torch.tensor([[1.0, 0, 0], [-1, 0, 0]]).T[None]
    shaded = shading(normals, from_left)[0, 0]
    torch.testing.assert_close(
        shaded, torch.tensor([0.4 + 0.5 * 17 / 16, 0.4 + 0.5 / 16]), atol=1e-3, rtol=0
    )


def test_what_a_method_does_not_separate_can_be_left_out():
    drawn = many(20, turned=False, lit=False)
    assert drawn.pose.unique(dim=0).tolist() == [[0, FRONTAL_PITCH, 0]]
    assert drawn.wobble.abs().max() == 0
    assert len(drawn.lighting.unique(dim=0)) == 1
    assert drawn.ground.unique().tolist() == [0.5]


def test_expressions_asked_for_by_name():
    drawn = many(len(EXPRESSIONS), expressions=EXPRESSIONS)
    assert drawn.expression_name == EXPRESSIONS
    names = talking_egg().expression_names
    for name, weights in zip(EXPRESSIONS, drawn.expression, strict=True):
        blend = torch.tensor([BLENDS[name].get(shape, 0.0) for shape in names])
        if name == "neutral":
            assert weights.abs().max() == 0
            continue
        strength = weights.sum() / blend.sum()
        assert 0.5 <= strength <= 1
        torch.testing.assert_close(weights, strength * blend)


def test_half_of_the_expressions_are_mixtures():
    drawn = many()
    names = np.array(drawn.expression_name)
    assert set(names) == {*EXPRESSIONS, MIXED} and 0.4 < (names == MIXED).mean() < 0.6
    assert drawn.expression.min() >= 0 and drawn.expression.max() <= 1
    mixed = drawn.expression[torch.from_numpy(names == MIXED)]
    assert len(mixed.unique(dim=0)) == len(mixed)
    assert mixed[:, -2:].max() == 0  # the two shapes that nobody shows alone
    assert (mixed.amax(dim=0)[:-2] > 0).all()  # all others occur


# Who, and again


def test_a_batch_follows_from_seed_and_step(renderer):
    first, again = (RenderedFaces(renderer, 10, 4, seed=3) for _ in range(2))
    batch = first[5]
    for name, value in batch._asdict().items():
        assert torch.equal(value, getattr(again[5], name)), name
        assert value.dtype == torch.float32 and len(value) == 4, name
    assert batch.faces.shape == batch.texture.shape == (4, 3, SIZE, SIZE)
    assert not torch.equal(batch.faces, first[6].faces)
    assert not torch.equal(batch.faces, RenderedFaces(renderer, 10, 4, seed=4)[5].faces)


def test_a_person_is_the_same_in_all_batches_and_unlike_others(renderer):
    batches = [RenderedFaces(renderer, 3, 8, seed=0)[step] for step in range(4)]
    identity = torch.cat([batch.identity for batch in batches])
    texture = torch.cat([batch.texture for batch in batches]).flatten(1)
    people, number = identity.unique(dim=0, return_inverse=True)
    assert len(people) == 3
    for person in range(3):
        own = texture[number == person]
        assert len(own) > 1 and (own - own[0]).abs().max() < 1e-6
        assert (texture[number != person] - own[0]).abs().mean(dim=1).min() > 0.02
    assert torch.cdist(people, people)[~torch.eye(3, dtype=torch.bool)].min() > 0.5


def test_identity_is_about_standard_normal_and_cut():
    identity = many(2000).identity
    assert identity.mean().abs() < 0.05 and identity.std() == pytest.approx(0.99, abs=0.03)
    assert identity.abs().max() == 2.5


def test_a_set_is_people_by_expressions_whoever_else_is_asked_for(renderer):
    names = ["neutral", "anger", "surprise"]
    whole = synthetic_faces(renderer, [4, 9], names, seed=1)
    assert whole.subject.tolist() == [4, 4, 4, 9, 9, 9]
    assert whole.expression_name == (*names, *names) and len(whole) == 6
    alone = synthetic_faces(renderer, [9], names, seed=1)
    for field in dataclasses.fields(whole):
        both, one = getattr(whole, field.name)[3:], getattr(alone, field.name)
        assert np.array_equal(np.asarray(both), np.asarray(one)), field.name


def test_a_folder_of_people(renderer, tmp_path):
    told = []
    table = write_faces(
        tmp_path / "made", renderer, 5, seed=0, progress=lambda *at: told.append(at)
    )
    assert told[-1] == (5, 5)
    records, angles = read_poses(table.parent)
    assert len(records) == 5 * 8 and len(read_clips(table.parent)) == 5 * 8
    assert [record.split for record in records].count("test") == 8
    made = synthetic_faces(renderer, [3], EXPRESSIONS, seed=0)
    happy = records[3 * 8 + 1]
    assert happy.path.parts[-2:] == ("person00003", "happiness.png")
    assert np.array_equal(read_photo(happy.path), made.faces[1])
    np.testing.assert_allclose(angles[3 * 8 + 1], yaw_pitch_roll(made.rotation)[1], atol=1e-3)
    with np.load(happy.path.parent / "factors.npz", allow_pickle=False) as arrays:
        np.testing.assert_array_equal(arrays["normals"], made.normals)
        assert arrays["expression_name"].tolist() == list(EXPRESSIONS)
        assert "faces" not in arrays


# What cannot be


def test_what_cannot_be_drawn_is_said(renderer):
    with pytest.raises(MorphableModelError, match="no expression '.*'; this .* of ICT-FaceKit"):
        FaceRenderer(egg_model())
    with pytest.raises(ValueError, match="no crop is called 'portrait'"):
        FaceRenderer(talking_egg(), "portrait")
    with pytest.raises(ValueError, match="0 people; there must be somebody"):
        RenderedFaces(renderer, 0, 4, seed=0)
    with pytest.raises(ValueError, match="0 people with 1 expressions: no faces"):
        synthetic_faces(renderer, [], ["neutral"], seed=0)
    with pytest.raises(ValueError, match="no expression 'glee'; there are neutral, happiness"):
        synthetic_faces(renderer, [1], ["glee"], seed=0)


def test_the_command_says_what_it_cannot_do(tmp_path):
    write_morphable(tmp_path / "egg.npz", egg_model())
    write_morphable(tmp_path / "talker.npz", talking_egg())
    for given, message in (
        ({"morphable": tmp_path / "egg.npz"}, r"egg\.npz: no expression"),
        ({"morphable": tmp_path / "none.npz"}, r"none\.npz does not exist"),
        ({"crop": "portrait"}, "no crop is called 'portrait'; there are arcface, facecycle"),
        ({"people": 0}, "0 people of 64 pixels"),
        ({"size": 8}, "10 people of 8 pixels"),
    ):
        with pytest.raises(FaceFactorError, match=message):
            api.render_people(tmp_path / "out", **{"morphable": tmp_path / "talker.npz", **given})
    assert not (tmp_path / "out").exists()
    made = api.render_people(tmp_path / "out", tmp_path / "talker.npz", people=1, size=16)
    assert made == tmp_path / "out" / "poses.csv"
    assert len(list((tmp_path / "out").glob("*/*.png"))) == 8


# ICT-FaceKit's head


def test_people_of_ict_facekit_have_eyes_brows_lips_and_a_mouth(shared):
    model = read_morphable(shared / "models3d" / "ict_facekit_face.npz")
    renderer = FaceRenderer(model, "arcface", 112)
    made = synthetic_faces(
        renderer, range(4), ["neutral", "surprise"], seed=0, turned=False, lit=False
    )
    for row in range(0, 8, 2):
        albedo, marks = made.albedo[row], made.landmarks[row] * 112 - 0.5

        def colour(point, albedo=albedo):
            column, line = point.round().long().tolist()
            return albedo[:, line, column]

        brightness = colour(marks[[31, 48]].mean(0)).mean()  # beside the nose
        for eye, brow in ((range(36, 42), 19), (range(42, 48), 24)):
            pupil = marks[list(eye)].mean(0)
            assert colour(pupil).mean() < 0.6 * brightness
            above = marks[brow] - torch.tensor([0.0, 8])
            assert (colour(marks[brow]) - colour(above)).abs().max() > 0.03
        lip, cheek = colour(marks[[51, 62]].mean(0)), colour(marks[[31, 48]].mean(0))
        assert lip[0] / lip[1] > 1.1 * cheek[0] / cheek[1]
        opened = made.landmarks[row + 1] * 112 - 0.5
        inside = opened[66] - torch.tensor([0.0, 2.5])  # above the lower lip
        assert colour(inside, made.albedo[row + 1]).mean() < 0.2
        assert opened[66, 1] - opened[62, 1] > 4 > marks[66, 1] - marks[62, 1]
