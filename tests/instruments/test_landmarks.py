"""How the landmark network is trained: loss, harder photos, schedule, and that a step learns."""

import dataclasses
import math

import pytest
import torch

from facefactor.data.samples import LabelledBatch
from facefactor.geometry.landmarks import mirror_landmarks
from facefactor.instruments.landmarks import training
from facefactor.instruments.landmarks.losses import known_faces, wing_loss
from facefactor.instruments.landmarks.recipe import PRESETS, build, stages
from facefactor.instruments.landmarks.training import (
    LandmarkStage,
    cover,
    make_harder,
    mirror_some,
    move,
    random_motion,
    relight,
)
from facefactor.perception.landmarks import LandmarkNetwork, interocular_error


def test_wing_by_hand():
    """w = 4, e = 1; errors 1 and 10: 4 log 2 and 10 - (4 - 4 log 5)."""
    truth = torch.zeros(1, 68, 2)
    for error, expected in ((1, 4 * math.log(2)), (10, 6 + 4 * math.log(5)), (0, 0)):
        for sign in (1, -1):
            loss = wing_loss(truth + sign * error, truth, 4, 1)
            assert loss.item() == pytest.approx(expected)
    mixed = truth.clone()
    mixed[..., 0], mixed[..., 1] = 1, 10
    assert wing_loss(mixed, truth, 4, 1).item() == pytest.approx(
        (4 * math.log(2) + 6 + 4 * math.log(5)) / 2
    )


def test_the_branches_of_the_wing_meet():
    truth = torch.zeros(1, 68, 2).double()
    below, above = (wing_loss(truth + 4 + d, truth, 4, 0.9).item() for d in (-1e-5, 1e-5))
    assert below == pytest.approx(above, abs=1e-4)


def test_small_errors_pull_harder():
    truth = torch.zeros(1, 68, 2)
    pulls = []
    for error in (0.01, 2.0, 20.0):
        predicted = torch.full((1, 68, 2), error, requires_grad=True)
        wing_loss(predicted, truth, 4, 0.9).backward()
        pulls.append(predicted.grad.sum().item())
    assert pulls == pytest.approx([4 / (0.9 + 0.01), 4 / (0.9 + 2.0), 1], rel=1e-4)


def test_faces_without_landmarks_take_no_part():
    predicted = torch.randn(3, 68, 2, requires_grad=True)
    truth = torch.randn(3, 68, 2)
    truth[1, 5, 0] = torch.nan
    assert known_faces(truth).tolist() == [True, False, True]
    loss = wing_loss(predicted, truth, 4, 0.9)
    loss.backward()
    torch.testing.assert_close(loss, wing_loss(predicted[::2], truth[::2], 4, 0.9))
    assert predicted.grad.isfinite().all() and (predicted.grad[1] == 0).all()
    predicted.grad = None
    nothing = wing_loss(predicted, torch.full_like(truth, torch.nan), 4, 0.9)
    nothing.backward()
    assert nothing.item() == 0 and (predicted.grad == 0).all()


def dotted(places, side=112):
    """Faces (N, 3, S, S), black with a soft white dot at each place (N, 2), shares of the side."""
    axis = (torch.arange(side) + 0.5) / side
    x, y = (axis - places[:, :1]) * side, (axis - places[:, 1:]) * side  # (N, S)
    dot = torch.exp(-(x[:, None, :] ** 2 + y[:, :, None] ** 2) / 18)
    return dot[:, None].expand(-1, 3, -1, -1).contiguous()


def centre(faces):
    """Centre of the brightness, (N, 2) in shares of the side."""
    brightness = faces.mean(1)
    axis = (torch.arange(faces.shape[-1]) + 0.5) / faces.shape[-1]
    total = brightness.sum((1, 2))
    x, y = (brightness.sum(1) @ axis) / total, (brightness.sum(2) @ axis) / total
    return torch.stack([x, y], dim=1)


def dots(count):
    places = 0.5 + 0.1 * (2 * torch.rand(count, 2) - 1)
    return dotted(places), places[:, None].repeat(1, 68, 1)


def test_landmarks_go_where_the_pixels_go():
    torch.manual_seed(0)
    faces, landmarks = dots(12)
    moved, points = move(faces, landmarks, random_motion(12))
    torch.testing.assert_close(centre(moved), points[:, 0], rtol=0, atol=0.3 / 112)
    assert (points - landmarks).abs().max() > 0.05
    mirrored, points = mirror_some(faces, landmarks)
    torch.testing.assert_close(centre(mirrored), points[:, 0], rtol=0, atol=0.1 / 112)
    flipped = (points != landmarks).any(2).any(1)
    assert 0 < flipped.sum() < 12
    torch.testing.assert_close(points[flipped], mirror_landmarks(landmarks[flipped]))


def test_a_quarter_turn_about_the_middle_and_a_shift_by_hand():
    faces, landmarks = dotted(torch.tensor([[0.7, 0.4]])), torch.tensor([[[0.7, 0.4]]])
    # x right, y down: (1, 0) -> (0, 1) is clockwise; (0.2, -0.1) from the middle -> (0.1, 0.2)
    motion = torch.tensor([[[0.0, -1.0, 1.0 + 0.05], [1.0, 0.0, 0.0]]])
    moved, points = move(faces, landmarks, motion)
    torch.testing.assert_close(points, torch.tensor([[[0.65, 0.7]]]))
    torch.testing.assert_close(centre(moved), torch.tensor([[0.65, 0.7]]), rtol=0, atol=0.1 / 112)


def test_motions_keep_shapes_and_stay_in_their_range():
    torch.manual_seed(0)
    motion = random_motion(500)
    linear = motion[:, :, :2]
    zoom = torch.linalg.det(linear).sqrt()
    turn = torch.rad2deg(torch.atan2(linear[:, 1, 0], linear[:, 0, 0]))
    torch.testing.assert_close(
        linear.mT @ linear / zoom[:, None, None] ** 2, torch.eye(2).expand(500, 2, 2)
    )
    assert 28 < turn.abs().max() <= 30 and turn.mean().abs() < 3
    assert math.exp(-0.2) <= zoom.min() < 0.84 and 1.19 < zoom.max() <= math.exp(0.2) + 1e-6
    middle = linear @ torch.full((2, 1), 0.5) + motion[:, :, 2:]
    assert 0.07 < (middle - 0.5).abs().max() <= 0.08 + 1e-6


def test_harder_faces_are_faces_and_follow_from_the_seed():
    torch.manual_seed(1)
    faces, landmarks = dots(8)
    landmarks[2] = torch.nan
    results = []
    for seed in (5, 5, 6):
        torch.manual_seed(seed)
        results.append(make_harder(faces, landmarks))
    (first, points), (again, points_again), (other, _) = results
    assert torch.equal(first, again) and not torch.equal(first, other)
    torch.testing.assert_close(points, points_again, equal_nan=True, rtol=0, atol=0)
    assert first.shape == faces.shape and 0 <= first.min() and first.max() <= 1
    assert known_faces(points).tolist() == [i != 2 for i in range(8)]
    torch.manual_seed(5)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = make_harder(faces, landmarks)
    torch.testing.assert_close(rounded[1], points, equal_nan=True, rtol=0, atol=0)
    torch.testing.assert_close(rounded[0], first, rtol=0, atol=0)


def test_light_and_covers_leave_places_alone():
    torch.manual_seed(0)
    flat = torch.full((40, 3, 112, 112), 0.5)
    lit, covered = relight(flat), cover(flat)
    assert lit.mean((1, 2, 3)).std() > 0.05  # brighter and darker
    assert (lit[:, :, :, 0] - lit[:, :, :, -1]).abs().mean() > 0.05  # from one side
    colourless = (lit.amax(1) - lit.amin(1)).amax((1, 2)) < 1e-6
    assert 0 < colourless.sum() < 20
    share = (covered != 0.5).any(1).float().mean((1, 2))
    assert 8 < (share > 0).sum() < 32
    assert share.max() <= 0.4**2 + 0.02


def test_learning_rate_rises_and_falls_to_nothing():
    stage = LandmarkStage(LandmarkNetwork(), 1e-3, 0.0, (4.0, 0.9), steps=1000)
    rates = [stage.rate_at(step) for step in range(1001)]
    assert rates[0] == pytest.approx(1 / 31) and rates[30] == 1 == max(rates)
    assert rates[515] == pytest.approx(0.5) and rates[1000] == 0
    assert all(a > b for a, b in zip(rates[30:], rates[31:], strict=False))


def test_recipe_is_a_frozen_value_and_leads_to_one_stage():
    recipe = PRESETS["small"]
    with pytest.raises(dataclasses.FrozenInstanceError):
        recipe.batch_size = 1
    model = build(recipe)
    (stage,) = stages(recipe, model, instrument=torch.nn.Identity())
    assert (stage.name, stage.samples) == ("landmarks", "labelled")
    module = stage.module()
    assert module.model is model and module.steps == stage.steps == 12_500
    assert module.rate_at(stage.steps) == 0


def batch_of(faces, landmarks):
    unknown = torch.full((len(faces),), -1)
    return LabelledBatch(faces, unknown, unknown, landmarks)


def test_steps_learn_where_a_dot_is(monkeypatch):
    """Steps of the real stage on drawn faces, not made harder: the error, a %, falls."""
    monkeypatch.setattr(training, "make_harder", lambda faces, landmarks: (faces, landmarks))
    torch.manual_seed(0)
    stage = LandmarkStage(LandmarkNetwork(), 5e-3, 0.0, (4.0, 0.9), steps=16)
    logged = {}
    stage.log = lambda name, value, **_: logged.setdefault(name, []).append(float(value))
    optimizer = stage.configure_optimizers()["optimizer"]
    around = 0.1 * torch.randn(68, 2)
    around[36], around[45] = torch.tensor([-0.2, 0.0]), torch.tensor([0.2, 0.0])
    for index in range(16):
        faces, landmarks = dots(8)
        landmarks += around
        landmarks[0] = torch.nan
        loss = stage.training_step(batch_of(faces, landmarks), index)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    error = logged["interocular_error"]
    assert len(error) == 16 and error[0] > 20
    assert sum(error[-4:]) < 0.8 * sum(error[:4])
    assert sum(logged["loss"][-4:]) < 0.9 * sum(logged["loss"][:4])


def test_what_is_seen_and_asked_for_is_the_harder_photo():
    stage = LandmarkStage(LandmarkNetwork(), 1e-3, 0.0, (4.0, 0.9), steps=10)
    logged = {}
    stage.log = lambda name, value, **_: logged.update({name: float(value)})
    faces, landmarks = dots(4)
    landmarks += 0.1 * torch.randn(68, 2)
    torch.manual_seed(3)
    loss = stage.training_step(batch_of(faces, landmarks), 0)
    torch.manual_seed(3)
    faces, truth = make_harder(faces, landmarks)
    predicted = stage.model(faces)  # batch statistics: the same again
    torch.testing.assert_close(loss, wing_loss(112 * predicted, 112 * truth, 4.0, 0.9))
    expected = interocular_error(predicted, truth).mean().item()
    assert logged["interocular_error"] == pytest.approx(expected, rel=1e-4)


def test_a_batch_that_knows_nothing_is_no_step():
    stage = LandmarkStage(LandmarkNetwork(), 1e-3, 0.0, (4.0, 0.9), steps=10)
    logged = {}
    stage.log = lambda name, value, **_: logged.update({name: float(value)})
    faces, nothing = torch.rand(2, 3, 112, 112), torch.full((2, 68, 2), torch.nan)
    loss = stage.training_step(batch_of(faces, nothing), 0)
    loss.backward()
    assert logged == {"loss": 0.0}
    assert all((weight.grad == 0).all() for weight in stage.parameters())
