"""StarGAN's own facts: published sizes, whom each term reaches, whose turn it is."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from facefactor import checkpoints, editing
from facefactor.data.samples import LabelledBatch
from facefactor.factors import EXPRESSIONS
from facefactor.losses.classification import class_loss
from facefactor.losses.wasserstein import critic_loss, fooling_loss
from facefactor.methods.stargan.losses import (
    Weights,
    draw_targets,
    reconstruction_loss,
)
from facefactor.methods.stargan.networks import Discriminator, Generator
from facefactor.methods.stargan.recipe import PRESETS, build, stages
from facefactor.methods.stargan.training import Schedule, StarGANStage
from facefactor.training.train import train
from tests.made_folders import write_rafdb
from tests.methods.test_contract import fit, silence

CLASSES = ("neutral", "happiness", "anger")
NARROW = replace(
    PRESETS["small"],
    width=4,
    discriminator_width=4,
    image_size=64,
    classes=CLASSES,
    batch_size=4,
    images=400,
)
CLASS_OF = [CLASSES.index(name) if name in CLASSES else -1 for name in EXPRESSIONS]


@pytest.fixture
def model():
    torch.manual_seed(0)
    return build(NARROW)


def stage_of(model, critic_steps=1, steps=100):
    schedule = Schedule(1e-3, steps, steps // 2, critic_steps)
    return StarGANStage(model, CLASS_OF, NARROW.weights, schedule)


def batch(*expressions):
    """Faces with these labels; None: unknown."""
    numbers = [-1 if name is None else EXPRESSIONS.index(name) for name in expressions]
    count = len(numbers)
    return LabelledBatch(
        torch.rand(count, 3, 64, 64, generator=torch.Generator().manual_seed(count)),
        torch.full((count,), -1),
        torch.tensor(numbers),
        torch.full((count, 68, 2), torch.nan),
    )


# Networks: Tables 4 and 5


def size(network):
    return sum(weight.numel() for weight in network.parameters())


def test_the_published_size():
    """53.2 M parameters with the eight expressions of RaFD (Table 3)."""
    with torch.device("meta"):
        model = build(PRESETS["paper"])
    assert size(model.generator) == 8_439_936
    assert size(model.discriminator) == 44_786_624
    assert round(size(model) / 1e6, 1) == 53.2


@pytest.mark.parametrize(("preset", "million"), [("paper", (10_115, 684)), ("small", (754, 45))])
def test_multiplications_a_face_are_those_the_recipe_states(preset, million):
    recipe = PRESETS[preset]
    with torch.device("meta"):
        model = build(recipe)
        faces = torch.empty(1, 3, recipe.image_size, recipe.image_size)
        labels = torch.empty(1, len(recipe.classes))
    of_generator = multiplications(model.generator, faces, labels)
    of_discriminator = multiplications(model.discriminator, faces)
    assert (round(of_generator / 1e6), round(of_discriminator / 1e6)) == million


def multiplications(network, *inputs):
    """Of all convolutions, of one face: weights, each once a place it is put to."""
    counts = []

    def count(layer, given, found):
        places = given[0] if isinstance(layer, nn.ConvTranspose2d) else found
        counts.append(layer.weight.numel() * places.shape[2] * places.shape[3])

    layers = [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]
    hooks = [layer.register_forward_hook(count) for layer in layers]
    network(*inputs)
    for hook in hooks:
        hook.remove()
    return sum(counts)


def test_sides_of_the_maps():
    generator, sides = Generator(5, 4), []
    x = torch.rand(2, 8, 32, 32)
    for layer in generator.layers:
        x = layer(x)
        sides += [x.shape[-1]] if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d) else []
    assert sides == [32, 16, 8, 16, 32, 32] and x.shape[1] == 3
    scores, logits = Discriminator(5, 4, 128)(torch.rand(2, 3, 128, 128))
    assert scores.shape == (2, 1, 2, 2) and logits.shape == (2, 5)


def test_a_label_is_a_constant_map_for_each_class():
    """G of a photo and a label is its layers of seven maps: colours in [-1, 1], then the label."""
    torch.manual_seed(0)
    generator, face = Generator(2, 4), torch.rand(1, 3, 8, 8)
    maps = torch.ones(1, 2, 8, 8) * torch.tensor([0.25, 1.0]).view(2, 1, 1)
    expected = (generator.layers(torch.cat([2 * face - 1, maps], dim=1)).tanh() + 1) / 2
    torch.testing.assert_close(generator(face, torch.tensor([[0.25, 1.0]])), expected)


def test_each_face_is_drawn_and_judged_alone(model):
    """No statistics of a batch: D's slope is that of one face, and one face is edited like many."""
    faces, labels = torch.rand(3, 3, 64, 64), model.labels(CLASSES)
    together = model.generator(faces, labels)
    torch.testing.assert_close(together[1:2], model.generator(faces[1:2], labels[1:2]))
    scores, _ = model.discriminator(faces)
    torch.testing.assert_close(scores[1:2], model.discriminator(faces[1:2])[0])


# The model


def test_the_label_is_the_code_and_the_photo_the_residual(model):
    faces = torch.rand(2, 3, 64, 64)
    codes = model.encode(faces)
    assert torch.equal(codes.residual["photo"], faces)
    torch.testing.assert_close(codes["expression"].sum(dim=1), torch.ones(2))
    seen = model.discriminator(faces)[1].softmax(dim=1)
    torch.testing.assert_close(codes["expression"], seen)
    torch.testing.assert_close(model.decode(codes), model.generator(faces, seen))


def test_the_neutral_label(model):
    assert model.neutral("expression").tolist() == [1.0, 0.0, 0.0]
    with pytest.raises(ValueError, match="stargan has no neutral identity"):
        model.neutral("identity")


def test_labels_by_name(model):
    assert model.labels(["anger", "neutral"]).tolist() == [[0, 0, 1], [1, 0, 0]]
    with pytest.raises(KeyError, match="no 'fear' here; stargan was built for neutral, happiness"):
        model.labels(["neutral", "fear"])


def test_a_transfer_draws_the_target_with_the_sources_label(model):
    target, source = torch.rand(2, 1, 3, 64, 64)
    codes = editing.transfer(model.encode(target), model.encode(source), ["expression"], model.spec)
    label = model.expression_probabilities(source)
    torch.testing.assert_close(model.decode(codes), model.generator(target, label))


def test_without_photos_the_mean_face_is_drawn_on(model):
    faces = torch.rand(7, 3, 64, 64)
    for part in faces.split([3, 1, 3]):
        model.average_in(part)
    torch.testing.assert_close(model.mean_face, faces.mean(dim=0))
    codes = model.encode(faces[:2])
    drawn = model.decode(type(codes)(codes.codes))
    mean = faces.mean(dim=0).expand(2, -1, -1, -1)
    torch.testing.assert_close(drawn, model.generator(mean, codes["expression"]))


# Losses


def test_adversarial_losses_by_hand():
    real, fake = torch.tensor([[3.0, 1.0]]), torch.tensor([[-1.0, 2.0]])
    assert critic_loss(real, fake) == 0.5 - 2.0
    assert fooling_loss(fake) == -0.5


def test_class_loss_leaves_unknown_labels_out():
    logits = torch.tensor([[0.0, 0.0], [math.log(3.0), 0.0], [5.0, -5.0]])
    loss = class_loss(logits, torch.tensor([1, 0, -1]))
    torch.testing.assert_close(loss, torch.tensor((math.log(2) + math.log(4 / 3)) / 2))
    assert class_loss(logits, torch.tensor([-1, -1, -1])) == 0


def test_reconstruction_counts_in_images_from_minus_one_to_one():
    black, grey = torch.zeros(1, 3, 2, 2), torch.full((1, 3, 2, 2), 0.25)
    torch.testing.assert_close(reconstruction_loss(grey, black), torch.tensor(0.5))


def test_targets_are_labels_of_the_batch():
    torch.manual_seed(0)
    labels = torch.tensor([4, -1, 2, 2] * 500)
    targets = draw_targets(labels, 7)
    assert set(targets.tolist()) == {2, 4}
    assert 0.62 < (targets == 2).float().mean() < 0.72  # two of three known ones
    unknown = draw_targets(torch.full((700,), -1), 7)
    assert set(unknown.tolist()) == set(range(7))


# The step


@pytest.mark.parametrize("terms", ["discriminator_terms", "generator_terms"])
def test_a_term_moves_its_own_network_only(model, terms):
    stage = stage_of(model)
    silence(stage)
    faces, labels, targets = batch("neutral", "anger").faces, torch.tensor([0, 2]), torch.ones(2)
    found = getattr(stage, terms)(faces, labels, targets.long())
    own, other = model.discriminator, model.generator
    if terms == "generator_terms":
        own, other = other, own
    seen = {}

    class Watched(torch.optim.SGD):
        def step(self, closure=None):
            seen["own"] = [w.grad is not None for w in own.parameters()]
            seen["other"] = [w.grad is not None for w in other.parameters()]
            return super().step(closure)

    stage._descend(own, Watched(own.parameters(), lr=0.1), found)
    assert all(seen["own"]) and not any(seen["other"])


def test_terms_are_weighted_and_of_the_right_images(model):
    """D's terms, and G's, against the equations written out."""
    faces, labels, targets = torch.rand(2, 3, 64, 64), torch.tensor([0, 2]), torch.tensor([1, 0])
    stage = StarGANStage(model, CLASS_OF, Weights(2.0, 3.0, 5.0), Schedule(1e-3, 10, 5, 1))
    silence(stage)
    one_hot = nn.functional.one_hot
    fakes = model.generator(faces, one_hot(targets, 3).float())
    torch.manual_seed(3)
    found = stage.discriminator_terms(faces, labels, targets)
    torch.manual_seed(3)
    share = torch.rand(2).view(2, 1, 1, 1)
    between = (share * (2 * faces - 1) + (1 - share) * (2 * fakes - 1)).detach().requires_grad_()
    (slope,) = torch.autograd.grad(model.discriminator((between + 1) / 2)[0].sum(), between)
    real_scores, real_logits = model.discriminator(faces)
    fake_scores, fake_logits = model.discriminator(fakes)
    cross_entropy = nn.functional.cross_entropy
    expected = {
        "discriminator/adversarial": fake_scores.mean() - real_scores.mean(),
        "discriminator/penalty": 5 * (slope.flatten(1).norm(dim=1) - 1).square().mean(),
        "discriminator/classification": 2 * cross_entropy(real_logits, labels),
    }
    torch.testing.assert_close(found, expected)
    rebuilt = model.generator(fakes, one_hot(labels, 3).float())
    expected = {
        "generator/adversarial": -fake_scores.mean(),
        "generator/classification": 2 * cross_entropy(fake_logits, targets),
        "generator/reconstruction": 3 * 2 * (rebuilt - faces).abs().mean(),
    }
    torch.testing.assert_close(stage.generator_terms(faces, labels, targets), expected)


def test_a_face_without_a_label_is_not_asked_for_it(model):
    stage = stage_of(model)
    silence(stage)
    faces, targets = torch.rand(2, 3, 64, 64), torch.tensor([1, 0])
    mixed = stage.generator_terms(faces, torch.tensor([2, -1]), targets)
    first = stage.generator_terms(faces[:1], torch.tensor([2]), targets[:1])
    name = "generator/reconstruction"
    torch.testing.assert_close(mixed[name], first[name])
    assert mixed["generator/classification"] != first["generator/classification"]
    nobody = stage.generator_terms(faces, torch.tensor([-1, -1]), targets)
    assert nobody[name] == 0 and nobody["generator/adversarial"] != 0


def test_expressions_the_recipe_lacks_are_unknown(model):
    stage = stage_of(model)
    numbers = torch.tensor([EXPRESSIONS.index(n) for n in ("anger", "contempt", "neutral")] + [-1])
    assert stage.class_of[numbers].tolist() == [2, -1, 0, -1]


def test_the_generator_moves_after_every_third_update_of_the_discriminator(model, tmp_path):
    """And both at the rate of that step."""
    stage = stage_of(model, critic_steps=3, steps=6)
    moves = watched(stage)
    fit(stage, [batch("neutral", "anger", None)] * 6, tmp_path)
    rates = {1: 1e-3, 2: 1e-3, 3: 1e-3, 4: 1e-3, 5: 2e-3 / 3, 6: 1e-3 / 3}
    turns = [(step, model.discriminator) for step in range(1, 7)]
    turns = turns[:3] + [(3, model.generator)] + turns[3:] + [(6, model.generator)]
    assert [(step, network) for step, network, _, _ in moves] == turns
    assert all(moved for _, _, _, moved in moves)
    assert [rate for _, _, rate, _ in moves] == pytest.approx([rates[step] for step, _ in turns])


def watched(stage):
    """(step, network, rate, whether it moved) of each update to come."""
    moves, descend = [], stage._descend

    def watch(network, optimizer, terms):
        before = flat(network)
        descend(network, optimizer, terms)
        moved = not torch.equal(before, flat(network))
        moves.append((int(stage.steps_done), network, optimizer.param_groups[0]["lr"], moved))

    stage._descend = watch
    return moves


def test_whose_turn_it_is_survives_an_interruption(model, tmp_path):
    """Two steps, saved and read back: the next one is the third, and G's."""
    fit(stage_of(model, critic_steps=3), [batch("neutral", "anger")] * 2, tmp_path)
    first = stage_of(model, critic_steps=3)
    first.steps_done.fill_(2)
    again = stage_of(build(NARROW), critic_steps=3)
    again.load_state_dict(first.state_dict(), strict=False)
    before = flat(again.model.generator)
    fit(again, [batch("neutral", "anger")], tmp_path)
    assert int(again.steps_done) == 3 and not torch.equal(before, flat(again.model.generator))


def flat(network):
    return torch.cat([weight.detach().flatten().clone() for weight in network.parameters()])


def test_the_rate_falls_in_a_straight_line_over_the_second_half():
    schedule = Schedule(1e-4, steps=200, decay_from=100, critic_steps=5)
    assert [schedule.factor(step) for step in (0, 99, 100, 150, 199)] == [1, 1, 1, 0.5, 0.01]
    assert Schedule(1e-4, 200, 200, 5).factor(199) == 1.0


@pytest.mark.parametrize("terms", ["discriminator_terms", "generator_terms"])
def test_a_step_down_lowers_the_sum_of_its_terms(model, terms):
    stage = stage_of(model)
    silence(stage)
    faces, labels, targets = torch.rand(3, 3, 64, 64), torch.tensor([0, 2, -1]), torch.arange(3)
    network = model.discriminator if terms == "discriminator_terms" else model.generator

    def found():
        torch.manual_seed(5)  # where slopes are taken
        return getattr(stage, terms)(faces, labels, targets)

    def total():
        return sum(term.item() for term in found().values())

    before = total()
    stage._descend(network, torch.optim.SGD(network.parameters(), lr=1e-3), found())
    assert total() < before - 1e-5


# The recipe


def test_published_settings():
    paper = PRESETS["paper"]
    assert paper.weights == Weights(classification=1.0, reconstruction=10.0, penalty=10.0)
    [stage] = stages(paper, build(NARROW))
    assert (stage.samples, stage.steps, stage.batch_size) == ("labelled", 200_000, 16)
    assert (paper.critic_steps, paper.learning_rate, paper.decay_from) == (5, 1e-4, 0.5)
    schedule = stage.module().schedule
    assert (schedule.steps, schedule.decay_from) == (200_000, 100_000)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"classes": ("neutral", "boredom")}, "each must be another of"),
        ({"classes": ("neutral", "neutral")}, "each must be another of"),
        ({"classes": ("happiness", "anger")}, "without neutral"),
        ({"image_size": 112}, "image_size is 112; set a multiple of 64"),
        ({"image_size": 0}, "image_size is 0"),
        ({"crop": "round"}, "crop is 'round'; set arcface or"),
        ({"critic_steps": 0}, "critic_steps is 0"),
        ({"decay_from": 1.5}, "decay_from is 1.5"),
        ({"instrument": "vgg19"}, "looks through none"),
    ],
)
def test_settings_that_cannot_be(changes, message):
    with pytest.raises(ValueError, match=message):
        build(replace(NARROW, **changes))


def test_trained_as_the_command_does(tmp_path):
    """A folder of labelled faces in, a file with weights and a validation out."""
    random = torch.Generator().manual_seed(0)

    def face(label):
        return torch.randint(20 * label, 20 * label + 100, (100, 100, 3), generator=random).numpy()

    data = write_rafdb(tmp_path / "RAF-DB", face, train=[1, 4, 7] * 6, test=[7])
    changes = {"width": "4", "discriminator_width": "4", "image_size": "64", "batch_size": "4"}
    weights = train(
        "stargan",
        {"rafdb": data},
        tmp_path / "run",
        changes=changes | {"images": "16"},
        validation=0.3,
        cache=tmp_path / "cache",
    )
    model = checkpoints.build_model(weights)
    assert int(model.faces_seen) == 16 and model.mean_face.std() > 0
    assert model.classes == EXPRESSIONS[:7]
    assert (tmp_path / "run/validation.json").is_file()
    assert list((tmp_path / "run").glob("progress-1-main.safetensors"))
