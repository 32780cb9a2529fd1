"""LEED's own facts: published sizes, what is nothing at the start, whom each objective moves."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from facefactor import editing
from facefactor.data.samples import NeutralisedBatch
from facefactor.factors import Factors
from facefactor.losses.identity import cosine_distance
from facefactor.losses.wasserstein import critic_loss, fooling_loss
from facefactor.methods.leed import recipe as recipes
from facefactor.methods.leed.instruments import Instruments, load_instruments
from facefactor.methods.leed.losses import (
    Weights,
    code_distance,
    feature_distance,
    information_loss,
    separation_loss,
)
from facefactor.methods.leed.model import LEED
from facefactor.methods.leed.networks import (
    CodeNeutraliser,
    Critic,
    Decoder,
    Extractor,
    Interpolator,
    Regulariser,
    ResidualEncoder,
    Siamese,
    VGGEncoder,
)
from facefactor.methods.leed.recipe import PRESETS, build, stages
from facefactor.methods.leed.training import (
    EVERY_STEP,
    WHOLE_STEPS,
    AutoencodingStage,
    EditingStage,
    drawing_terms,
)
from facefactor.nn.schedules import Schedule
from facefactor.perception.state_dicts import InstrumentError
from facefactor.perception.vgg import VGG19
from tests.methods.test_contract import fit, silence

LEARNERS = (*EVERY_STEP, *WHOLE_STEPS)
UNEQUAL = Weights(
    information=0.7,
    gradient_penalty=3.0,
    adversarial=5.0,
    reconstruction=0.4,
    siamese=1.5,
    separation=0.6,
    drawn_neutral=0.8,
    pixel=2.0,
)


# Networks


def size(network: nn.Module) -> int:
    return sum(weight.numel() for weight in network.parameters())


def test_the_published_sizes():
    with torch.device("meta"):
        assert size(VGGEncoder(VGG19(("conv5_1",)))) == 12_944_960
        decoder = Decoder(512, PRESETS["paper"].decoder_channels, PRESETS["paper"].decoder_repeats)
        assert size(Extractor(512)) == (9 * 1024 + 1) * 512 + 2 * (9 * 512 + 1) * 512
        assert size(Interpolator(512)) == 3 * (9 * 512 + 1) * 512
    wide = 9 * (512 * 512 + 512 * 256 + 3 * 256**2 + 256 * 128 + 3 * 128**2 + 128 * 64 + 2 * 64**2)
    norms = 2 * (512 + 4 * 256 + 4 * 128 + 3 * 64)  # two numbers a channel, in place of a bias
    assert size(decoder) == wide + norms + (9 * 64 + 1) * 3 == 6_199_363


@pytest.mark.parametrize("channels", [(6,), (4, 6)])
def test_the_small_encoder_halves_to_eight(channels):
    network = ResidualEncoder((4, 4, *(4,) * (2 - len(channels)), *channels)).eval()
    with torch.inference_mode():
        codes = network(torch.rand(2, 3, 128, 128))
    assert codes.shape == (2, 6, 8, 8) and network.code_channels == 6
    assert codes.min() >= 0 and codes.std(dim=0).max() > 0


def test_the_decoder_doubles_to_128():
    decoder = Decoder(6, (8, 6, 4, 2), (1, 0, 2, 0)).eval()
    with torch.inference_mode():
        drawn = decoder(3 * torch.randn(2, 6, 8, 8))
    assert drawn.shape == (2, 3, 128, 128)
    assert drawn.min() >= 0 and drawn.max() <= 1
    widths = [layer.out_channels for layer in decoder.layers if isinstance(layer, nn.Conv2d)]
    assert widths == [6, 8, 8, 6, 4, 4, 4, 2, 3]


def made_codes(count: int = 2, channels: int = 4) -> torch.Tensor:
    return torch.randn(count, channels, 8, 8, generator=torch.Generator().manual_seed(count))


def stir(*networks: nn.Module) -> None:
    """As if trained: nothing is zero."""
    torch.manual_seed(3)
    for network in networks:
        for weight in network.parameters():
            nn.init.normal_(weight, std=0.2)


def test_corrections_begin_as_nothing():
    """Exactly Eq. 1 and Eq. 5, so that Eq. 2 and 7 begin at 0."""
    codes, neutral_codes = made_codes(3), made_codes(3).flip(0)
    extractor, interpolator = Extractor(4), Interpolator(4)
    expressions = extractor(codes, neutral_codes)
    assert torch.equal(expressions, codes - neutral_codes)
    alpha = torch.tensor([0.0, 0.5, 1.4]).view(3, 1, 1, 1)
    between = interpolator(neutral_codes, alpha * expressions)
    assert torch.equal(between, neutral_codes + alpha * expressions)
    torch.testing.assert_close(interpolator(neutral_codes, expressions), codes)
    assert torch.equal(CodeNeutraliser(4)(codes), codes)


def test_they_can_learn_nevertheless():
    """A last layer of zeros has a gradient of its own at the first step."""
    network = Extractor(4)
    network(made_codes(2), made_codes(2).flip(0)).square().sum().backward()
    assert network.correct[-1].weight.grad.abs().max() > 0


def test_no_expression_is_the_neutral_code_however_trained():
    interpolator, neutral_codes = Interpolator(4), made_codes(3)
    stir(interpolator)
    nothing = torch.zeros_like(neutral_codes)
    torch.testing.assert_close(interpolator(neutral_codes, nothing), neutral_codes)
    assert not torch.allclose(
        interpolator(neutral_codes, nothing + 1), neutral_codes + 1, atol=1e-2
    )


def test_the_critic_judges_every_code_alone():
    critic, codes = Critic(4, 8), made_codes(3)
    stir(critic)
    assert critic(codes).shape == (3,)
    torch.testing.assert_close(critic(codes)[1:2], critic(codes[1:2]))
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(critic(codes), critic(codes))
        assert critic(codes).dtype == torch.float32


# Losses


def test_information_is_half_the_mean_square():
    features = torch.tensor([[1.0, -1.0], [0.0, 4.0]])
    loss = information_loss(torch.zeros(2, 2), features)
    torch.testing.assert_close(loss, torch.tensor((1.0 + 1.0 + 0.0 + 16.0) / 4 / 2))
    assert information_loss(features, features) == 0


def test_information_is_a_gaussian_likelihood_but_for_a_constant():
    first, second, features = torch.randn(3, 5, 7, generator=torch.Generator().manual_seed(0))

    def cost(mean):
        return -torch.distributions.Normal(mean, 1.0).log_prob(features).mean()

    difference = information_loss(first, features) - information_loss(second, features)
    torch.testing.assert_close(difference, cost(first) - cost(second))


def test_a_critic_wants_real_ones_to_score_higher():
    real = torch.tensor([2.0, 4.0], requires_grad=True)
    fake = torch.tensor([1.0, -2.0], requires_grad=True)
    loss = critic_loss(real, fake)
    torch.testing.assert_close(loss, torch.tensor(-3.5))  # -0.5 - 3, of any sign
    loss.backward()
    assert torch.equal(real.grad, torch.tensor([-0.5, -0.5]))
    assert torch.equal(fake.grad, torch.tensor([0.5, 0.5]))
    torch.testing.assert_close(fooling_loss(fake), torch.tensor(0.5))


def test_separation_by_hand():
    """Squared distances 25, 1 and 18 of three points: of a margin of 10 only the 1 lacks, 9."""
    points = torch.tensor([[0.0, 0.0], [3.0, 4.0], [0.0, 1.0]])
    torch.testing.assert_close(separation_loss(points, 10.0), torch.tensor(9.0 / 3))
    assert separation_loss(points[:1], 10.0) == 0
    apart = torch.tensor([[0.0, 0.0], [4.0, 0.0]], requires_grad=True)
    separation_loss(apart, 25.0).backward()
    assert apart.grad[0, 0] > 0 > apart.grad[1, 0]  # descending, they part


def test_a_siamese_network_that_says_the_same_of_all_faces_pays():
    """Eq. 11 is content with it: every change goes the same way."""
    faces, neutrals = torch.ones(4, 3), torch.zeros(4, 3)
    change = faces - neutrals
    torch.testing.assert_close(cosine_distance(change, change.roll(1, 0)), torch.tensor(0.0))
    torch.testing.assert_close(separation_loss(faces, 10.0), torch.tensor(10.0))


def test_distances_are_means():
    maps = [torch.zeros(2, 3, 4, 4), torch.zeros(2, 5, 2, 2)]
    torch.testing.assert_close(
        feature_distance(maps, [maps[0] + 2, maps[1] - 3]), torch.tensor(4.0 + 9.0)
    )
    torch.testing.assert_close(code_distance(maps[0], maps[0] + 2), torch.tensor(4.0))


# Model


def tiny_model(channels: int = 4) -> LEED:
    torch.manual_seed(0)
    encoder = nn.Sequential(nn.Conv2d(3, channels, 16, 16), nn.BatchNorm2d(channels))
    decoder = nn.Sequential(
        nn.BatchNorm2d(channels), nn.ConvTranspose2d(channels, 3, 16, 16), nn.Sigmoid()
    )
    return LEED(
        encoder,
        CodeNeutraliser(channels),
        Extractor(channels),
        Interpolator(channels),
        decoder,
        channels,
    )


def made_faces(count: int = 3, seed: int = 1) -> torch.Tensor:
    return torch.rand(count, 3, 128, 128, generator=torch.Generator().manual_seed(seed))


def test_a_transfer_is_the_printed_one():
    """D(I(E(I_N), alpha X(E(R_B), E(R_N)))), Sec. 3.2."""
    model = tiny_model().eval()
    stir(model.extractor, model.interpolator)
    face, neutral, reference, its_neutral = made_faces(4).split(1)
    with torch.inference_mode():
        target = model.encode_beside(face, neutral)
        source = model.encode_beside(reference, its_neutral)
        moved = editing.transfer(target, source, ["expression"], model.spec)
        found = model.decode(editing.set_strength(moved, model, "expression", 0.6))
        expression = model.extractor(model.encoder(reference), model.encoder(its_neutral))
        code = model.interpolator(model.encoder(neutral), 0.6 * expression)
        torch.testing.assert_close(found, model.decoder(code))


def test_the_neutral_face_is_drawn_of_the_neutral_code():
    model = tiny_model().eval()
    stir(model.extractor, model.interpolator, model.code_neutraliser)
    with torch.inference_mode():
        codes = model.encode(made_faces())
        drawn = model.decode(editing.set_strength(codes, model, "expression", 0.0))
        predicted = model.code_neutraliser(model.encoder(made_faces()))
        torch.testing.assert_close(codes["identity"], predicted)
        torch.testing.assert_close(drawn, model.decoder(predicted))


def test_several_references_are_averaged_by_their_codes():
    """Codes are vectors: their mean is an expression, too."""
    model = tiny_model().eval()
    with torch.inference_mode():
        codes = model.encode(made_faces())
    mean = codes["expression"].mean(dim=0, keepdim=True)
    target = Factors({name: code[:1] for name, code in codes.codes.items()})
    moved = editing.transfer(
        target, target.replace({"expression": mean}), ["expression"], model.spec
    )
    assert torch.equal(moved["expression"], mean)


def test_identity_has_no_neutral_and_covers_pose_and_light():
    model = tiny_model()
    with pytest.raises(ValueError, match="no neutral identity"):
        model.neutral("identity")
    for name in ("pose", "illumination"):
        with pytest.raises(editing.FactorError, match="ask for identity"):
            editing.check_factor(model.spec, name)


# Training


class TinyMaps(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.project = nn.Conv2d(3, 4, 8, 8)

    def forward(self, faces):
        maps = self.project(faces).tanh()
        return [maps, maps[..., ::2, ::2]]


class TinyExpressions(TinyMaps):
    def forward(self, faces):
        return self.project(faces).mean(dim=(2, 3))


def tiny_stage(weights: Weights = UNEQUAL, critic_steps: int = 2, stirred: bool = True):
    model = tiny_model()
    torch.manual_seed(1)
    look = Instruments(TinyMaps(), TinyExpressions(), 4)
    critic, regulariser = Critic(4, 4), Regulariser(4, 4)
    siamese = Siamese((4, 4, 4, 4, 4))
    if stirred:
        stir(model.extractor, model.interpolator, model.code_neutraliser)
    stage = EditingStage(
        model,
        critic if weights.adversarial else None,
        regulariser if weights.information else None,
        siamese if weights.siamese else None,
        look,
        weights,
        critic_steps,
        Schedule(1e-3, (100,)),
    )
    silence(stage)
    stage.model.eval()
    return stage


def made_batch(count: int = 3) -> NeutralisedBatch:
    return NeutralisedBatch(made_faces(count), made_faces(count, seed=2))


def networks_of(stage: EditingStage) -> dict[str, list[nn.Parameter]]:
    return {learner: stage.learnt(learner) for learner in LEARNERS}


def test_every_weight_has_one_learner():
    stage = tiny_stage()
    every = [weight for weights in networks_of(stage).values() for weight in weights]
    assert len({id(weight) for weight in every}) == len(every)
    frozen = {id(weight) for weight in stage.instruments.parameters()}
    learning = {id(weight) for weight in stage.parameters()} - frozen
    assert {id(weight) for weight in every} == learning


@pytest.mark.parametrize("learner", LEARNERS)
def test_an_objective_leaves_all_other_networks_without_a_gradient(learner):
    """The table of the README, row by row."""
    stage = tiny_stage()
    objective = stage.objectives(made_batch(), whole=True)[learner]
    stage.send_back({learner: objective})
    for other, weights in networks_of(stage).items():
        if other == learner:
            assert all(weight.grad is not None for weight in weights)
            assert any(weight.grad.any() for weight in weights)
        else:
            assert all(weight.grad is None for weight in weights), other
    assert all(weight.grad is None for weight in stage.instruments.parameters())


@pytest.mark.parametrize(
    ("learner", "terms"),
    [
        ("extractor", {"residual", "information"}),
        ("code_neutraliser", {"neutral_code", "neutral_features", "neutral_pixels"}),
        ("decoder", {"features", "pixels"}),
        ("critic", {"distance", "penalty"}),
        ("interpolator", {"adversarial", "straight", "itself"}),
        ("encoder", {"adversarial", "reconstruction", "siamese"}),
        ("siamese", {"siamese", "separation"}),
    ],
)
def test_which_terms_an_objective_has(learner, terms):
    assert set(tiny_stage().objectives(made_batch(), whole=True)[learner]) == terms


@pytest.mark.parametrize("term", ["adversarial", "siamese", "reconstruction"])
def test_each_term_of_the_encoder_reaches_it(term):
    """L_adv and L_S go through networks that do not move by them."""
    stage = tiny_stage()
    found = stage.objectives(made_batch(), whole=True)["encoder"][term]
    stage.send_back({"encoder": {term: found}})
    assert all(weight.grad.any() for weight in stage.model.encoder[0].parameters())


def test_e_i_and_s_rest_in_a_step_that_is_not_whole():
    stage = tiny_stage()
    objectives = stage.objectives(made_batch(), whole=False)
    assert set(objectives) == set(EVERY_STEP)
    stage.send_back(objectives)
    for learner, weights in networks_of(stage).items():
        rests = learner in WHOLE_STEPS
        assert all((weight.grad is None) == rests for weight in weights), learner


def literal_losses(stage: EditingStage, batch: NeutralisedBatch):
    """Every network's line of the paper, one graph, alpha drawn as the stage draws it."""
    model, look, w = stage.model, stage.instruments, stage.weights
    c, n = model.encoder(batch.faces), model.encoder(batch.neutrals)
    d = model.extractor(c, n)
    last = torch.tensor([2, 0, 1])  # the reference of each face
    alpha = torch.rand(3, 1, 1, 1)
    hat = model.interpolator(n, alpha * d[last])
    share = torch.rand(3).view(3, 1, 1, 1)
    at = (share * c + (1 - share) * hat).detach().requires_grad_()
    slope = torch.autograd.grad(stage.critic(at).sum(), at, create_graph=True)[0]
    drawn, edited = model.decoder(c), model.decoder(model.interpolator(n, d[last]))
    seen = zip(look.features(drawn), look.features(batch.faces), strict=True)
    recon = sum(((a - b) ** 2).mean() for a, b in seen)
    recon = recon + w.pixel * ((drawn - batch.faces) ** 2).mean()  # Eq. 14, 15
    # of photos that are neutral themselves nothing is drawn
    own = [row for row in range(3) if (batch.faces[row] != batch.neutrals[row]).any()]
    plain, goals = model.decoder(model.code_neutraliser(c)[own]), batch.neutrals[own]
    seen = zip(look.features(plain), look.features(goals), strict=True)
    redrawn = sum(((a - b) ** 2).mean() for a, b in seen) + w.pixel * ((plain - goals) ** 2).mean()
    v_r = stage.siamese(batch.faces[last]) - stage.siamese(batch.neutrals[last])  # Eq. 9
    v_i = stage.siamese(edited) - stage.siamese(batch.neutrals)  # Eq. 10
    ways = [row for row in range(3) if last[row] in own]
    likeness = 1 - F.cosine_similarity(v_r[ways], v_i[ways]).mean()  # Eq. 11
    codes = stage.siamese(batch.faces)
    pairs = [((codes[i] - codes[j]) ** 2).sum() for i, j in ((0, 1), (0, 2), (1, 2))]
    apart = sum(torch.relu(10 - pair) for pair in pairs) / 3
    adversarial = -w.adversarial * stage.critic(hat).mean() / (4 * 64) ** 0.5  # Eq. 13
    information = ((look.expressions(batch.faces) - stage.regulariser(d)) ** 2).mean() / 2
    straight = ((hat - (n + alpha * d[last])) ** 2).mean()  # Eq. 6
    itself = ((model.interpolator(n, d) - c) ** 2).mean()  # Eq. 7
    penalty = ((slope.flatten(1).norm(dim=1) - 1) ** 2).mean()
    return {
        "extractor": ((d - (c - n)) ** 2).mean() + w.information * information,  # Eq. 4
        "code_neutraliser": ((model.code_neutraliser(c) - n) ** 2).mean()
        + w.drawn_neutral * redrawn,
        "decoder": recon,
        "critic": stage.critic(hat).mean()  # Eq. 12
        - stage.critic(c).mean()
        + w.gradient_penalty * penalty,
        "interpolator": adversarial + straight + itself,  # Eq. 8
        "encoder": adversarial + w.reconstruction * recon + w.siamese * likeness,  # Eq. 16
        "siamese": likeness + w.separation * apart,
    }


def test_each_network_descends_its_own_line():
    stage, batch = tiny_stage(), made_batch()
    batch.neutrals[1] = batch.faces[1]
    literal = copy.deepcopy(stage)
    torch.manual_seed(5)
    losses = literal_losses(literal, batch)
    expected = {
        learner: torch.autograd.grad(losses[learner], literal.learnt(learner), retain_graph=True)
        for learner in LEARNERS
    }
    torch.manual_seed(5)
    objectives = stage.objectives(batch, whole=True)
    for learner, terms in objectives.items():
        torch.testing.assert_close(sum(terms.values()), losses[learner], rtol=1e-4, atol=1e-5)
    stage.send_back(objectives)
    for learner in LEARNERS:
        # but for rounding: a bias that a normalisation undoes has no gradient to compare
        largest = max(float(gradient.abs().max()) for gradient in expected[learner])
        for weight, gradient in zip(stage.learnt(learner), expected[learner], strict=True):
            torch.testing.assert_close(weight.grad, gradient, rtol=1e-3, atol=1e-4 * largest)


def test_untrained_eq_2_and_7_are_zero():
    found = tiny_stage(stirred=False).objectives(made_batch(), whole=True)
    assert found["extractor"]["residual"] == 0
    assert found["interpolator"]["straight"] == 0
    assert found["interpolator"]["itself"] < 1e-12


@pytest.mark.parametrize(
    ("weight", "network", "lost"),
    [
        ("information", "regulariser", {("extractor", "information")}),
        ("siamese", "siamese", {("encoder", "siamese"), ("siamese", "separation")}),
        ("adversarial", "critic", {("encoder", "adversarial"), ("critic", "penalty")}),
        ("separation", None, {("siamese", "separation")}),
        ("pixel", None, {("decoder", "pixels")}),
        ("reconstruction", None, {("encoder", "reconstruction")}),
    ],
)
def test_a_weight_of_zero_leaves_the_term_and_its_network_out(weight, network, lost, tmp_path):
    """The ablations of Fig. 3 among them."""
    stage = tiny_stage(replace(UNEQUAL, **{weight: 0.0}), critic_steps=1)
    assert network is None or getattr(stage, network) is None
    terms = stage.objectives(made_batch(), whole=True)
    assert not any(name in terms.get(learner, {}) for learner, name in lost)
    del stage.log, stage.log_dict
    assert fit(stage, [made_batch()], tmp_path)["loss"].isfinite()


def moved_parts(stage: EditingStage, batches, folder) -> set[str]:
    before = copy.deepcopy(stage.state_dict())
    fit(stage, batches, folder)
    after = stage.state_dict()
    return {name for name, old in before.items() if not torch.equal(old, after[name])}


def test_a_whole_step_comes_after_so_many_others(tmp_path):
    def parts(steps: int) -> set[str]:
        stage = tiny_stage(critic_steps=2)
        del stage.log, stage.log_dict
        moved = moved_parts(stage, [made_batch()] * steps, tmp_path)
        return {".".join(name.split(".")[:2]) for name in moved if "critic" not in name}

    first = (
        {"taken"}
        | {f"model.{name}" for name in ("extractor", "code_neutraliser", "decoder")}
        | {"regulariser.layers"}
    )
    assert parts(1) == first
    assert parts(2) == first | {"model.encoder", "model.interpolator", "siamese.layers"}


def test_a_run_taken_up_again_knows_whose_turn_it_is(tmp_path):
    """`taken` is part of what is saved; a fresh stage would count from 0."""
    stage = tiny_stage(critic_steps=2)
    del stage.log, stage.log_dict
    stage.taken += 1
    moved = moved_parts(stage, [made_batch()], tmp_path)
    assert any(name.startswith("model.encoder") for name in moved)


def test_normalisations_keep_what_autoencoding_gave_them(tmp_path):
    stage = tiny_stage(critic_steps=1)
    del stage.log, stage.log_dict
    moved = moved_parts(stage, [made_batch()], tmp_path)
    assert not any("running" in name for name in moved)
    assert not any(name.startswith("instruments") for name in moved)


def test_autoencoding_moves_encoder_and_decoder_only(tmp_path):
    look = Instruments(TinyMaps(), TinyExpressions(), 4)
    stage = AutoencodingStage(tiny_model(), look, UNEQUAL, Schedule(1e-2, (100,)))
    moved = moved_parts(stage, [made_batch()] * 2, tmp_path)
    assert {".".join(name.split(".")[:2]) for name in moved} == {"model.encoder", "model.decoder"}
    assert any("running_mean" in name for name in moved)  # here statistics are learnt


def test_the_rate_of_autoencoding_falls_at_its_step(tmp_path):
    look = Instruments(TinyMaps(), TinyExpressions(), 4)
    stage = AutoencodingStage(tiny_model(), look, UNEQUAL, Schedule(1e-2, (2,)))
    fit(stage, [made_batch()] * 4, tmp_path)  # one epoch
    (group,) = stage.optimizers().param_groups
    assert group["lr"] == pytest.approx(1e-3)


def test_autoencoding_gets_better(tmp_path):
    look = Instruments(TinyMaps(), TinyExpressions(), 4)
    stage = AutoencodingStage(tiny_model(), look, UNEQUAL, Schedule(1e-2, (100,)))
    batch = made_batch()

    @torch.inference_mode()
    def cost() -> float:
        drawn = stage.model.decoder(stage.model.encoder(batch.faces))
        return float(sum(drawing_terms(look, drawn, batch.faces, 1.0).values()))

    before = cost()
    fit(stage, [batch] * 8, tmp_path)
    assert cost() < 0.98 * before


# Recipe


def test_two_stages():
    found = stages(PRESETS["small"], tiny_model())
    assert [(stage.name, stage.samples) for stage in found] == [
        ("autoencoding", "labelled"),
        ("editing", "neutralised"),
    ]
    weights = PRESETS["small"].weights
    bare = replace(weights, adversarial=0.0, information=0.0, siamese=0.0)
    editing_stage = stages(replace(PRESETS["small"], weights=bare), tiny_model())[1].module()
    assert editing_stage.critic is editing_stage.regulariser is editing_stage.siamese is None


def test_the_packaged_instruments_see_our_faces():
    """Psi is told apart by what its classifier was: 512 features of faces of another crop."""
    look = load_instruments("", "")
    with torch.inference_mode():
        maps, features = look.features(made_faces(1)), look.expressions(made_faces(1))
    assert [m.shape[-1] for m in maps] == [64, 32, 16]
    assert features.shape == (1, look.expression_size) and features.std() > 0


@pytest.mark.parametrize(
    "changes",
    [
        {"encoder": "resnet"},
        {"encoder_channels": (8, 8)},
        {"decoder_channels": (8, 8, 8)},
        {"decoder_repeats": ()},
        {"siamese_channels": (8,)},
        {"critic_steps": 0},
    ],
)
def test_settings_that_do_not_fit_are_refused(changes):
    with pytest.raises(ValueError, match=f"{next(iter(changes))} is .*; set "):
        build(replace(PRESETS["small"], **changes))


def test_the_published_encoder_begins_with_vgg19s_weights(monkeypatch):
    monkeypatch.delenv("FACEFACTOR_WEIGHTS", raising=False)
    with pytest.raises(InstrumentError, match="vgg19 is needed"):
        recipes.begin(PRESETS["paper"])
    assert isinstance(recipes.begin(PRESETS["small"]), LEED)
