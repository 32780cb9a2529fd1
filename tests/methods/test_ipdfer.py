"""IPD-FER's own facts: sums of codes, whom each update reaches, what unknown labels do."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F

from facefactor.data.samples import LabelledBatch
from facefactor.factors import EXPRESSIONS
from facefactor.losses.classification import class_loss
from facefactor.methods.ipdfer import recipe as recipes
from facefactor.methods.ipdfer.losses import (
    class_weights,
    confusion_loss,
    identity_loss,
    orthogonality_loss,
    reconstruction_loss,
)
from facefactor.methods.ipdfer.model import IPDFER
from facefactor.methods.ipdfer.networks import Decoder
from facefactor.methods.ipdfer.recipe import PRESETS, build, build_discriminator, stages
from facefactor.methods.ipdfer.training import IPDFERStage
from facefactor.nn.resnet import IResNet18
from facefactor.nn.schedules import Schedule
from facefactor.perception.frozen import Frozen
from facefactor.perception.head_pose import MEAN_FACE
from facefactor.perception.recognition import MobileFaceNet
from facefactor.perception.state_dicts import InstrumentError
from tests.methods.test_contract import fit, silence

SEVEN = EXPRESSIONS[:7]
WEIGHTS = PRESETS["paper"].weights
DRAWING = {"pose_encoder", "expression_encoder", "decoder"}
SORTING = {"pose_encoder", "expression_encoder", "classify_expression", "classify_pose"}


# Losses


def test_orthogonality_is_one_for_parallel_and_opposite_codes_and_zero_for_orthogonal_ones():
    identity = torch.tensor([[3.0, 4.0], [3.0, 4.0], [3.0, 4.0], [3.0, 4.0]])
    expression = torch.tensor([[6.0, 8.0], [-3.0, -4.0], [4.0, -3.0], [1.0, 0.0]])
    for row, expected in enumerate((1.0, 1.0, 0.0, 0.6)):
        loss = orthogonality_loss(identity[row : row + 1], expression[row : row + 1])
        torch.testing.assert_close(loss, torch.tensor(expected))
    torch.testing.assert_close(orthogonality_loss(identity, expression), torch.tensor(0.65))


def test_confusion_is_log_5_at_its_least():
    known = torch.ones(2, dtype=torch.bool)
    even = torch.full((2, 5), 7.0)
    torch.testing.assert_close(confusion_loss(even, known), torch.tensor(math.log(5)))
    sure = torch.tensor([[0.0, 0.0, 0.0, 0.0, 1.0]]).expand(2, 5)
    by_hand = math.log(4 + math.e) - 1 / 5  # mean over k of log sum exp - logit k
    torch.testing.assert_close(confusion_loss(sure, known), torch.tensor(by_hand))
    assert by_hand > math.log(5)


def test_confusion_leaves_faces_of_unknown_pose_out():
    logits = torch.randn(3, 5, requires_grad=True)
    some = torch.tensor([True, False, True])
    expected = confusion_loss(logits[[0, 2]], torch.ones(2, dtype=torch.bool))
    torch.testing.assert_close(confusion_loss(logits, some), expected)
    nobody = confusion_loss(logits, torch.zeros(3, dtype=torch.bool))
    nobody.backward()
    assert nobody == 0 and not logits.grad.any()


def test_reconstruction_of_the_neutral_face_counts_for_neutral_photos_only():
    """Two faces, the second neutral; in [-1, 1] differences are twice as large."""
    faces = torch.zeros(2, 3, 4, 4)
    rebuilt = torch.full_like(faces, 0.1)
    neutral = torch.tensor([0.9, 0.3]).view(2, 1, 1, 1).expand_as(faces)
    loss = reconstruction_loss(rebuilt, neutral, faces, torch.tensor([False, True]))
    torch.testing.assert_close(loss, torch.tensor(2 * (0.1 + 0.3 / 2)))
    none = reconstruction_loss(rebuilt, neutral, faces, torch.tensor([False, False]))
    torch.testing.assert_close(none, torch.tensor(2 * 0.1))


def test_reconstruction_gives_no_gradient_to_neutral_faces_of_others():
    neutral = torch.rand(2, 3, 4, 4, requires_grad=True)
    faces = torch.rand(2, 3, 4, 4)
    reconstruction_loss(faces, neutral, faces, torch.tensor([True, False])).backward()
    assert neutral.grad[0].abs().min() > 0 and not neutral.grad[1].any()


def test_identity_loss_adds_both_drawings():
    rebuilt, neutral = torch.tensor([[1.0, 3.0]]), torch.tensor([[0.0, 1.0]])
    loss = identity_loss(rebuilt, neutral, torch.zeros(1, 2))
    torch.testing.assert_close(loss, torch.tensor(2.0 + 0.5))


def test_class_loss_is_the_mean_over_labelled_rows():
    logits = torch.randn(4, 3, requires_grad=True)
    labels = torch.tensor([2, -1, 0, -1])
    literal = -(logits.softmax(1)[0, 2].log() + logits.softmax(1)[2, 0].log()) / 2
    torch.testing.assert_close(class_loss(logits, labels), literal)
    unknown = class_loss(logits, torch.full((4,), -1))
    unknown.backward()
    assert unknown == 0 and not logits.grad.any()


def test_class_weights_by_hand():
    """Three images of one class to one of the other: full balance makes both weigh two images."""
    torch.testing.assert_close(class_weights((3, 1), 1.0), torch.tensor([2 / 3, 2.0]))
    assert torch.equal(class_weights((3, 1), 0.0), torch.ones(2))
    counts = torch.tensor(PRESETS["paper"].class_counts).float()
    assert counts.sum() == 12_271  # RAF-DB's training part
    root = class_weights(counts.int().tolist(), 0.5)
    torch.testing.assert_close((root * counts).sum(), counts.sum())  # the mean image weighs 1
    logits = torch.randn(4, 2)
    labels = torch.tensor([0, 0, 0, 1])
    balanced = (class_loss(logits[:3], labels[:3]) + class_loss(logits[3:], labels[3:])) / 2
    found = class_loss(logits, labels, class_weights((3, 1), 1.0))
    torch.testing.assert_close(found, balanced)


# Networks and model


class TinyEncoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.project = nn.Linear(3 * 7 * 7, 8)
        self.norm = nn.BatchNorm1d(8)

    def forward(self, faces):
        return self.norm(self.project(F.avg_pool2d(faces, 16).flatten(1)))


def tiny_model(with_pose: bool = True, classes: tuple[str, ...] = SEVEN) -> IPDFER:
    torch.manual_seed(0)
    return IPDFER(
        identity_encoder=Frozen(TinyEncoder()),
        pose_encoder=TinyEncoder() if with_pose else None,
        expression_encoder=TinyEncoder(),
        decoder=Decoder(8, (6, 5, 4, 3, 2)),
        classes=classes,
        code_size=8,
    )


def test_the_decoder_has_the_published_form():
    decoder = Decoder(512, PRESETS["paper"].decoder_channels)
    ups = [m for m in decoder.modules() if isinstance(m, nn.ConvTranspose2d)]
    assert [up.out_channels for up in ups] == [512, 256, 128, 64, 32]
    assert sum(weight.numel() for weight in decoder.parameters()) == 21_916_515


def test_a_code_of_1x1_becomes_a_face_of_112():
    decoder = Decoder(8, (6, 5, 4, 3, 2))
    codes = torch.randn(2, 8)
    faces = decoder(codes)
    assert faces.shape == (2, 3, 112, 112)
    assert faces.min() >= 0 and faces.max() <= 1
    assert (faces[0] - faces[1]).abs().mean() > 1e-3  # normalisation has not removed the code
    torch.testing.assert_close(decoder(codes[1:]), faces[1:])


def test_a_face_is_drawn_from_the_sum_of_its_codes():
    model = tiny_model().eval()
    codes = model.encode(torch.rand(2, 3, 112, 112))
    total = codes["identity"] + codes["pose"] + codes["expression"]
    torch.testing.assert_close(model.decode(codes), model.decoder(total))
    moved = torch.randn(8)  # what one factor loses another one gains
    shifted = codes.replace(
        {"pose": codes["pose"] - moved, "expression": codes["expression"] + moved}
    )
    torch.testing.assert_close(model.decode(shifted), model.decode(codes), rtol=1e-3, atol=1e-4)


def test_neutral_and_frontal_faces_leave_codes_out():
    model = tiny_model().eval()
    codes = model.encode(torch.rand(2, 3, 112, 112))
    neutral = codes.replace({"expression": model.neutral("expression").expand(2, 8)})
    expected = model.decoder(codes["identity"] + codes["pose"])  # x^f_{i-p}
    torch.testing.assert_close(model.decode(neutral), expected)
    frontal = neutral.replace({"pose": model.neutral("pose").expand(2, 8)})
    torch.testing.assert_close(model.decode(frontal), model.decoder(codes["identity"]))
    with pytest.raises(ValueError, match="identity"):
        model.neutral("identity")


def test_recognition_asks_the_expression_branch_only():
    model = tiny_model(classes=("neutral", "anger", "fear")).eval()
    faces = torch.rand(4, 3, 112, 112)
    before = model.expression_probabilities(faces)
    assert before.shape == (4, 3) and model.classes == ("neutral", "anger", "fear")
    torch.testing.assert_close(before.sum(dim=1), torch.ones(4))
    for part in (model.identity_encoder, model.pose_encoder, model.decoder, model.classify_pose):
        for weight in part.parameters():
            nn.init.constant_(weight, torch.nan)
    assert torch.equal(model.expression_probabilities(faces), before)
    logits = model.classify_expression(model.encode(faces)["expression"])
    torch.testing.assert_close(before, logits.softmax(dim=1))


def test_id_fer_has_no_pose():
    model = build(replace(PRESETS["small-id"], decoder_channels=(4, 4, 4, 4, 4)))
    assert set(model.spec.factors) == {"identity", "expression"}
    assert model.pose_encoder is None and model.classify_pose is None
    with pytest.raises(ValueError, match="pose"):
        model.neutral("pose")
    codes = model.eval().encode(torch.rand(1, 3, 112, 112))
    torch.testing.assert_close(
        model.decode(codes), model.decoder(codes["identity"] + codes["expression"])
    )


# Recipe


def test_published_settings():
    recipe = PRESETS["paper"]
    weights = recipe.weights
    assert (weights.fake_neutral, weights.fake_expression) == (0.001, 0.001)
    assert (weights.identity, weights.reconstruction) == (1, 10)
    assert (weights.orthogonality, weights.confusion) == (0.5, 1)
    assert (recipe.batch_size, recipe.learning_rate, recipe.code_size) == (32, 1e-4, 512)
    assert recipe.images // recipe.batch_size == 11_504  # 30 epochs of RAF-DB
    module = stage_of(tiny_model(), drops=recipe.drop_at)
    optimizers, schedules = module.configure_optimizers()
    assert [optimizer.param_groups[0]["lr"] for optimizer in optimizers] == [1e-4] * 3
    for optimizer in optimizers:
        optimizer.step()
    for _ in range(100):
        for schedule in schedules:
            schedule.step()
    assert all(o.param_groups[0]["lr"] == pytest.approx(1e-6) for o in optimizers)


@pytest.mark.parametrize("size", ["small", "paper"])
def test_ablations_differ_in_weights_only(size):
    whole, without_pose, baseline = (PRESETS[size + part] for part in ("", "-id", "-baseline"))
    assert replace(without_pose, weights=whole.weights) == whole
    assert replace(baseline, weights=whole.weights) == whole
    pose_off = replace(whole.weights, pose=0.0, confusion=0.0)
    assert without_pose.weights == pose_off
    assert not any(vars(baseline.weights).values())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"classes": ("neutral", "joy")}, "joy"),
        ({"classes": ("neutral", "neutral")}, "once"),
        ({"classes": ("anger", "fear")}, "class neutral"),
        ({"classes": EXPRESSIONS, "class_balance": 1.0}, "class_counts of the 8"),
    ],
)
def test_classes_that_do_not_go_together_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        build(replace(PRESETS["small"], **changes))


def test_the_baseline_needs_no_neutral_class():
    recipe = replace(PRESETS["small-baseline"], classes=("anger", "fear"))
    assert build(recipe).classes == ("anger", "fear")


@pytest.fixture(scope="module")
def recogniser(tmp_path_factory):
    """(path, network) of `small`, with statistics that are not those of a fresh network."""
    torch.manual_seed(3)
    network = MobileFaceNet(512, 0.5)
    network(torch.rand(2, 3, 112, 112))
    path = tmp_path_factory.mktemp("weights") / "recogniser.safetensors"
    save_file({name: w.contiguous() for name, w in network.state_dict().items()}, path)
    return path, network


def test_all_four_trunks_start_from_the_recogniser(recogniser):
    path, network = recogniser
    recipe = PRESETS["small"]
    model = build(recipe, path)
    discriminator = build_discriminator(recipe, model)
    trunks = [model.identity_encoder.network, model.pose_encoder, model.expression_encoder]
    for trunk in (*trunks, discriminator[0]):
        for name, weight in network.state_dict().items():
            assert torch.equal(trunk.state_dict()[name], weight), name
    assert not any(weight.requires_grad for weight in model.identity_encoder.parameters())
    assert all(weight.requires_grad for weight in discriminator.parameters())
    storages = {trunk.conv3.weight.data_ptr() for trunk in (*trunks, discriminator[0])}
    assert len(storages) == 4  # each its own from here on
    faces = torch.rand(2, 3, 112, 112)
    torch.testing.assert_close(model.encode(faces)["identity"], network.eval()(faces))


def test_without_a_recogniser_no_two_trunks_are_alike():
    model = build(PRESETS["small"])
    pose, expression = model.pose_encoder, model.expression_encoder
    assert not torch.equal(pose.conv3.weight, expression.conv3.weight)
    assert not torch.equal(pose.conv3.weight, model.identity_encoder.network.conv3.weight)


def test_a_recogniser_of_other_sizes_is_refused(recogniser, tmp_path):
    path, _ = recogniser
    with pytest.raises(ValueError, match="MobileFaceNet with codes of 512.*codes of 128"):
        build(replace(PRESETS["small"], code_size=128), path)
    with pytest.raises(ValueError, match="width 1.0"):
        build(replace(PRESETS["small"], width=1.0), path)
    with pytest.raises(InstrumentError, match="nowhere"):
        build(PRESETS["small"], tmp_path / "nowhere.safetensors")


def test_the_published_trunk_starts_alike_and_keeps_its_last_scale_at_one(tmp_path):
    recipe = replace(PRESETS["paper"], code_size=2, decoder_channels=(4, 4, 4, 4, 4))
    network = IResNet18(2)
    path = tmp_path / "iresnet18.safetensors"
    save_file({name: w.contiguous() for name, w in network.state_dict().items()}, path)
    model = build(recipe, path)
    for name, weight in network.state_dict().items():
        assert torch.equal(model.expression_encoder.state_dict()[name], weight)
    module = stages(recipe, model)[0].module()
    learnt = {id(weight) for weights in module.learnt.values() for weight in weights}
    for trunk in (model.pose_encoder, model.expression_encoder, module.discriminator[0]):
        assert id(trunk.features.weight) not in learnt
        assert id(trunk.features.bias) in learnt and id(trunk.conv1.weight) in learnt


# The three updates


def stage_of(
    model: IPDFER,
    weights=WEIGHTS,
    adversary="shared",
    recogniser=None,
    drops=(2.0,),
    rate=1e-4,
    class_of=(0, 1, 2, 3, 4, 5, 6, -1),
    drawn=6,
) -> IPDFERStage:
    """A stage of 100 steps on tiny networks; a pose is read off the first landmark's x."""
    return IPDFERStage(
        model,
        nn.Sequential(TinyEncoder(), nn.Linear(8, len(model.classes))),
        recogniser,
        lambda landmarks: landmarks[:, 0, 0].long(),
        class_of,
        torch.ones(len(model.classes)),
        weights,
        adversary,
        drawn,
        Schedule(rate, tuple(int(100 * share) for share in drops)),
    )


@pytest.fixture
def batch():
    random = torch.Generator().manual_seed(1)
    landmarks = torch.zeros(6, 68, 2)
    landmarks[:, 0, 0] = torch.tensor([0.0, 1.0, 2.0, 3.0, 4.0, 0.0])
    landmarks[5, 40, 1] = torch.nan
    return LabelledBatch(
        torch.rand(6, 3, 112, 112, generator=random),
        subject=torch.full((6,), -1),
        expression=torch.tensor([0, 1, 3, 0, -1, 6]),
        landmarks=landmarks,
    )


def unlabelled(batch):
    return batch._replace(
        expression=torch.full_like(batch.expression, -1),
        landmarks=torch.full_like(batch.landmarks, torch.nan),
    )


def watch_optimisers(module, see):
    """Call `see(update, before)` right before and right after each optimiser's step."""
    configure = module.configure_optimizers

    def configured():
        optimizers, schedules = configure()
        for update, optimizer in zip(module.learners, optimizers, strict=True):
            optimizer.register_step_pre_hook(lambda *_, update=update: see(update, True))
            optimizer.register_step_post_hook(lambda *_, update=update: see(update, False))
        return optimizers, schedules

    module.configure_optimizers = configured


def part_of(name: str) -> str:
    """model.pose_encoder.norm.bias -> pose_encoder"""
    return name.removeprefix("model.").split(".")[0]


def reached_and_moved(module, batch, folder) -> dict[str, tuple[set[str], set[str]]]:
    """For each update, the parts with a gradient, and those whose weights or statistics change."""
    last = {name: value.clone() for name, value in module.state_dict().items()}
    found: dict[str, tuple[set[str], set[str]]] = {}
    reached: set[str] = set()

    def see(update, before):
        nonlocal last, reached
        if before:
            reached = {part_of(n) for n, w in module.named_parameters() if w.grad is not None}
            return
        now = {name: value.clone() for name, value in module.state_dict().items()}
        found[update] = reached, {part_of(n) for n in now if not torch.equal(now[n], last[n])}
        last = now

    watch_optimisers(module, see)
    fit(module, [batch], folder)
    assert all(weight.grad is None for weight in module.parameters())
    return found


def test_line_4_sees_the_first_faces_of_a_batch_with_their_own_labels(batch, tmp_path):
    """Drawing costs most of a step; the other two lines see all faces all the same."""
    module = stage_of(tiny_model(), drawn=2)
    seen = {}
    for update in ("recognition", "generator"):
        real = getattr(module, f"{update}_terms")
        setattr(
            module,
            f"{update}_terms",
            lambda *rows, u=update, r=real: seen.update({u: rows}) or r(*rows),
        )
    fit(module, [batch], tmp_path)
    assert [len(rows) for rows in seen["recognition"]] == [6, 6, 6, 6]
    faces, identity, expression, pose = seen["generator"]
    assert torch.equal(faces, batch.faces[:2])
    torch.testing.assert_close(identity, module.model.identity_encoder(faces))
    assert expression.tolist() == [0, 1] and pose.tolist() == [0, 1]


def test_each_update_reaches_its_own_networks_and_no_others(batch, tmp_path):
    """Statistics count: line 4 leaves those of D and E_id as they are."""
    found = reached_and_moved(stage_of(tiny_model()), batch, tmp_path)
    assert list(found) == ["recognition", "discriminator", "generator"]
    assert found["recognition"] == (SORTING, SORTING)
    assert found["discriminator"] == ({"discriminator"}, {"discriminator"})
    assert found["generator"] == (DRAWING, DRAWING)


def test_every_weight_of_these_networks_is_reached(batch, tmp_path):
    module = stage_of(tiny_model())
    without: dict[str, list[str]] = {}

    def see(update, before):
        if before:
            names = {id(w): n for n, w in module.named_parameters()}
            without[update] = [names[id(w)] for w in module.learnt[update] if w.grad is None]

    watch_optimisers(module, see)
    fit(module, [batch], tmp_path)
    assert without == {"recognition": [], "discriminator": [], "generator": []}


def test_the_discriminator_learns_from_real_faces_and_judges_by_their_statistics(batch, tmp_path):
    module = stage_of(tiny_model())
    seen = []
    module.discriminator.register_forward_hook(
        lambda network, inputs, output: seen.append(
            (inputs[0].detach(), network.training, network[0].norm.training)
        )
    )
    fit(module, [batch], tmp_path)
    (real, *learning), (fakes, *judging) = seen
    assert learning == [True, True] and judging == [False, False]
    assert torch.equal(real, batch.faces)
    assert fakes.shape == (12, 3, 112, 112)
    assert not any(torch.equal(fake, face) for fake in fakes for face in batch.faces)


def test_only_learners_are_in_training_mode(batch, tmp_path):
    model = tiny_model()
    module = stage_of(model)
    modes = []
    for name, part in (*model.named_children(), ("discriminator", module.discriminator)):
        part.register_forward_hook(
            lambda part, inputs, output, name=name: modes.append((name, part.training))
        )
    fit(module, [batch], tmp_path)
    assert modes == [
        ("identity_encoder", False),
        ("expression_encoder", True),  # line 2
        ("classify_expression", True),
        ("pose_encoder", True),
        ("classify_pose", True),
        ("discriminator", True),  # line 3
        ("expression_encoder", True),  # line 4
        ("classify_pose", False),
        ("pose_encoder", True),
        ("decoder", True),
        ("identity_encoder", False),  # N of Eq. 2 on both drawings; the photos' codes are at hand
        ("discriminator", False),
    ]
    assert not model.identity_encoder.network.norm.training
    assert all(part.training for part in (module, model.decoder, module.discriminator))


@torch.no_grad()
def test_generator_terms_against_a_literal_reading(batch):
    model = tiny_model().eval()
    module = stage_of(model).eval()
    faces, labels = batch.faces, torch.tensor([0, 1, 3, 0, -1, 6])
    identity = model.identity_encoder(faces)
    pose = module.pose_labels(batch.landmarks)
    found = module.generator_terms(faces, identity, labels, pose)

    fakes, neutrals = [], []
    for face, person in zip(faces, identity, strict=True):
        turned = person + model.pose_encoder(face[None])[0]
        fakes.append(model.decoder((turned + model.expression_encoder(face[None])[0])[None])[0])
        neutrals.append(model.decoder(turned[None])[0])
    recon, same, fake_neutral, fake_expression, confusion = 0.0, 0.0, 0.0, 0.0, 0.0
    for i in range(6):
        recon += 2 * (fakes[i] - faces[i]).abs().mean() / 6
        if labels[i] == 0:
            recon += 2 * (neutrals[i] - faces[i]).abs().mean() / 6
        for drawn in (fakes[i], neutrals[i]):
            same += (model.identity_encoder(drawn[None])[0] - identity[i]).abs().mean() / 6
        fake_neutral -= module.discriminator(neutrals[i][None]).log_softmax(1)[0, 0] / 6
        if labels[i] >= 0:  # five of the faces have an expression, five a pose
            judged = module.discriminator(fakes[i][None]).log_softmax(1)
            fake_expression -= judged[0, labels[i]] / 5
        if pose[i] >= 0:
            guessed = model.classify_pose(model.expression_encoder(faces[i][None])).log_softmax(1)
            confusion -= guessed.mean() / 5
    literal = {
        "reconstruction": 10 * recon,
        "identity": same,
        "fake_neutral": 0.001 * fake_neutral,
        "fake_expression": 0.001 * fake_expression,
        "confusion": confusion,
    }
    assert found.keys() == literal.keys()
    for name, value in literal.items():
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-6, msg=name)


@torch.no_grad()
def test_recognition_terms_against_a_literal_reading(batch):
    model = tiny_model().eval()
    module = stage_of(model).eval()
    silence(module)
    labels, pose = torch.tensor([0, 1, 3, 0, -1, 6]), torch.tensor([0, 1, 2, 3, 4, -1])
    codes = model.encode(batch.faces)
    found = module.recognition_terms(batch.faces, codes["identity"], labels, pose)
    sorted_as = model.classify_expression(codes["expression"]).log_softmax(1)
    turned_as = model.classify_pose(codes["pose"]).log_softmax(1)
    cosines = F.cosine_similarity(codes["identity"], codes["expression"])
    literal = {
        "expression": -sorted_as[[0, 1, 2, 3, 5], [0, 1, 3, 0, 6]].mean(),
        "pose": -turned_as[[0, 1, 2, 3, 4], [0, 1, 2, 3, 4]].mean(),
        "orthogonality": 0.5 * cosines.abs().mean(),
    }
    assert found.keys() == literal.keys()
    for name, value in literal.items():
        torch.testing.assert_close(found[name], value, msg=name)


def test_the_discriminator_minimises_eq_8(batch):
    module = stage_of(tiny_model()).eval()
    labels = torch.tensor([0, 1, 3, 0, -1, 6])
    (name, found), *others = module.discriminator_terms(batch.faces, labels).items()
    judged = module.discriminator(batch.faces).log_softmax(1)
    assert name == "real" and not others
    torch.testing.assert_close(found, -judged[[0, 1, 2, 3, 5], [0, 1, 3, 0, 6]].mean())


def test_balance_weighs_the_classes_of_real_faces(batch):
    module = stage_of(tiny_model()).eval()
    silence(module)
    labels = torch.tensor([0, 1, 3, 0, -1, 6])
    identity, pose = torch.rand(6, 8), torch.full((6,), -1)
    args = (batch.faces, identity, labels, pose)
    plain = module.recognition_terms(*args)["expression"], module.generator_terms(*args)
    real = module.discriminator_terms(batch.faces, labels)["real"]
    module.class_weights.fill_(3.0)
    torch.testing.assert_close(module.recognition_terms(*args)["expression"], 3 * plain[0])
    torch.testing.assert_close(module.discriminator_terms(batch.faces, labels)["real"], 3 * real)
    torch.testing.assert_close(module.generator_terms(*args), plain[1])


def test_the_recogniser_of_eq_2_is_the_encoder_unless_one_is_named(
    recogniser, tmp_path, monkeypatch
):
    path, network = recogniser
    assert recipes.load_instrument(PRESETS["small"]) is None
    (tmp_path / "mobilefacenet_ms1m.safetensors").write_bytes(path.read_bytes())
    monkeypatch.setenv("FACEFACTOR_WEIGHTS", str(tmp_path))
    named = recipes.load_instrument(replace(PRESETS["small"], instrument="mobilefacenet"))
    assert torch.equal(named.conv3.weight, network.conv3.weight)
    with pytest.raises(InstrumentError, match="nobody"):
        recipes.load_instrument(replace(PRESETS["small"], instrument="nobody"))


def test_another_recogniser_can_compare_identities(batch):
    torch.manual_seed(5)
    model = tiny_model().eval()
    other = Frozen(TinyEncoder())
    module = stage_of(model, recogniser=other).eval()
    labels, pose = torch.tensor([0, 1, 3, 0, -1, 6]), torch.full((6,), -1)
    identity = model.identity_encoder(batch.faces)
    found = module.generator_terms(batch.faces, identity, labels, pose)["identity"]
    codes = model.encode(batch.faces)
    neutral = codes.replace({"expression": torch.zeros(6, 8)})
    drawn = [other(model.decode(each)) for each in (codes, neutral)]
    torch.testing.assert_close(found, identity_loss(*drawn, other(batch.faces)))


def test_with_a_head_of_its_own_the_adversary_learns_pose_from_expression_codes(batch, tmp_path):
    module = stage_of(tiny_model(), adversary="own_head")
    found = reached_and_moved(module, batch, tmp_path)
    assert found["recognition"][1] == SORTING | {"pose_adversary"}
    assert found["generator"] == (DRAWING, DRAWING)  # not the head, though it is asked

    silence(module)
    args = (batch.faces, torch.rand(6, 8), torch.full((6,), -1), torch.tensor([0, 1, 2, 3, 4, -1]))
    module.recognition_terms(*args)["adversary"].backward()
    assert {part_of(n) for n, w in module.named_parameters() if w.grad is not None} == {
        "pose_adversary"
    }
    module.eval()
    confusion = module.generator_terms(*args)["confusion"]
    codes = module.model.expression_encoder(batch.faces)
    torch.testing.assert_close(
        confusion, confusion_loss(module.pose_adversary(codes), args[3] >= 0)
    )


def test_unknown_labels_give_zero_and_the_drawing_goes_on(batch, tmp_path):
    module = stage_of(tiny_model())
    logged = fit(module, [unlabelled(batch)], tmp_path)
    for name in (
        "recognition/expression",
        "recognition/pose",
        "discriminator/real",
        "generator/confusion",
        "generator/fake_expression",
    ):
        assert logged[name] == 0, name
    assert logged["generator/reconstruction"] > 0 and logged["generator/fake_neutral"] > 0
    assert all(value.isfinite().all() for value in module.state_dict().values())


def test_a_landmark_unknown_makes_the_pose_unknown(batch):
    asked = []
    module = stage_of(tiny_model())
    module.pose_bins = lambda landmarks: asked.append(landmarks) or landmarks[:, 0, 0].long()
    assert module.pose_labels(batch.landmarks).tolist() == [0, 1, 2, 3, 4, -1]
    assert len(asked) == 1 and torch.equal(asked[0], batch.landmarks[:5])
    assert module.pose_labels(unlabelled(batch).landmarks).tolist() == [-1] * 6
    assert len(asked) == 1


def test_degrees_are_computed_in_full_precision(batch):
    module = stage_of(tiny_model())
    kinds = []

    def pose_bins(landmarks):
        kinds.append((landmarks.mT @ landmarks).dtype)
        return landmarks[:, 0, 0].long()

    module.pose_bins = pose_bins
    with torch.autocast("cpu", dtype=torch.bfloat16):
        module.pose_labels(batch.landmarks)
    assert kinds == [torch.float32]


def test_expressions_are_numbered_by_the_classes_of_the_recipe(batch):
    """Classes in another order, contempt among them, happiness not."""
    recipe = replace(PRESETS["small"], classes=("contempt", "neutral", "anger"))
    module = stages(recipe, build(recipe))[0].module()
    numbers = torch.tensor([0, 1, 6, 7, -1])  # neutral, happiness, anger, contempt, unknown
    assert module.class_of[numbers].tolist() == [1, -1, 2, 0, -1]
    assert module.neutral_class == 1


def test_baseline_and_id_fer_move_what_they_have(batch, tmp_path):
    baseline = stage_of(tiny_model(with_pose=False), PRESETS["paper-baseline"].weights)
    assert baseline.discriminator is None
    expression = {"expression_encoder", "classify_expression"}
    found = reached_and_moved(baseline, batch, tmp_path)
    assert found == {"recognition": (expression, expression)}

    without_pose = stage_of(tiny_model(with_pose=False), PRESETS["paper-id"].weights)
    found = reached_and_moved(without_pose, batch, tmp_path)
    assert found["recognition"] == (expression, expression)
    drawing = {"expression_encoder", "decoder"}
    assert found["generator"] == (drawing, drawing)


def test_a_term_of_weight_zero_is_left_out(batch):
    """The rows of Table 9, and confusion without any drawing."""
    args = (batch.faces, torch.rand(6, 8), torch.tensor([0, 1, 3, 0, -1, 6]), torch.arange(6) - 1)
    everything = {"confusion", "reconstruction", "identity", "fake_neutral", "fake_expression"}
    for off, missing in (
        ({"confusion": 0.0}, {"confusion"}),
        ({"identity": 0.0}, {"identity"}),
        ({"fake_neutral": 0.0, "fake_expression": 0.0}, {"fake_neutral", "fake_expression"}),
    ):
        module = stage_of(tiny_model(), replace(WEIGHTS, **off))
        assert set(module.generator_terms(*args)) == everything - missing
    nothing_drawn = {name: 0.0 for name in everything - {"confusion"}}
    module = stage_of(tiny_model(), replace(WEIGHTS, **nothing_drawn))
    assert set(module.generator_terms(*args)) == {"confusion"}
    assert module.learners["generator"] == [module.model.expression_encoder]
    silence(module)
    module = stage_of(tiny_model(), replace(WEIGHTS, orthogonality=0.0))
    silence(module)
    assert set(module.recognition_terms(*args)) == {"expression", "pose"}


def test_it_learns_the_labels_and_the_photos_of_one_batch(batch, tmp_path):
    first = fit(stage_of(tiny_model()), [batch], tmp_path)
    module = stage_of(tiny_model(), rate=0.01)
    last = fit(module, [batch] * 20, tmp_path)
    assert last["accuracy"] == 1 and last["pose_accuracy"] == 1
    assert last["recognition/orthogonality"] < first["recognition/orthogonality"]
    assert last["generator/reconstruction"] < 0.8 * first["generator/reconstruction"]


# Pose labels


def test_poses_are_sorted_by_yaw_in_half_open_bins():
    edges = torch.tensor([0.0, 9.99, 10.0, -10.0, 19.99, 20.0, 30.0, -39.9, 40.0, -75.0])
    assert recipes.yaw_bins(edges).tolist() == [0, 0, 1, 1, 1, 2, 3, 3, 4, 4]


@pytest.mark.parametrize(
    ("pose", "expected"), [(recipes.fitted_pose, [0, 2, 2, 4]), (recipes.formula_pose, None)]
)
def test_a_turned_head_gets_the_label_of_its_yaw(pose, expected):
    """The mean face turned by 0, 25, -25 and 60 degrees, in parallel projection."""
    angles = torch.deg2rad(torch.tensor([0.0, 25.0, -25.0, 60.0], dtype=torch.float64))
    x, y, z = MEAN_FACE.unbind(dim=1)
    across = angles.cos()[:, None] * x + angles.sin()[:, None] * z
    seen = torch.stack([0.5 + 0.4 * across, (0.5 - 0.4 * y).expand_as(across)], dim=2).float()
    bins = pose(seen).tolist()
    if expected:
        assert bins == expected
    else:  # a formula of two directions on the jaw, no measurement: order is all it promises
        assert bins[0] == 0 < bins[1] <= bins[3] == 4


def test_presets_say_where_their_pose_labels_come_from():
    for preset, pose in (("small", recipes.fitted_pose), ("paper", recipes.formula_pose)):
        recipe = replace(PRESETS["small"], yaw=PRESETS[preset].yaw)
        assert stages(recipe, build(recipe))[0].module().pose_bins is pose
