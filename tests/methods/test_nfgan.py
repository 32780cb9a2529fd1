"""NFGAN's own facts: published sizes, whom each error signal reaches, what balance means."""

from __future__ import annotations

import copy
import math
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F

from facefactor import editing
from facefactor.data.samples import LabelledBatch, NormalizedBatch
from facefactor.methods.nfgan import instruments
from facefactor.methods.nfgan import recipe as recipes
from facefactor.methods.nfgan.instruments import (
    Instruments,
    load_instruments,
    load_vgg_face,
)
from facefactor.methods.nfgan.losses import (
    Weights,
    fake_loss,
    feature_loss,
    identity_loss,
    pixel_loss,
    real_loss,
)
from facefactor.methods.nfgan.model import NFGAN
from facefactor.methods.nfgan.networks import Decoder, Discriminator, Encoder
from facefactor.methods.nfgan.recipe import PRESETS, build, load_instrument, stages
from facefactor.methods.nfgan.training import NFGANStage, face_length
from facefactor.nn.schedules import Schedule
from facefactor.perception.align import CROPS
from facefactor.perception.lightcnn import LightCNN9
from facefactor.perception.reframe import Reframed
from facefactor.perception.state_dicts import InstrumentError
from tests.methods.test_contract import fit, silence

EQUAL = Weights(feature=1.0, identity=1.0, pixel=1.0, symmetry=1.0, adversarial=1.0)


# Networks: Tables 1 to 3


def size(network: nn.Module) -> int:
    """Weights and biases; a bias before a normalisation is that of the normalisation."""
    scales = [m.weight for m in network.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)]
    every = sum(weight.numel() for weight in network.parameters())
    return every - sum(scale.numel() for scale in scales)


def test_the_published_sizes():
    encoder = (9 + 1) * 32 + (9 * 32 + 1) * 64 + (9 * 64 + 1) * 128 + (9 * 128 + 1) * 256
    encoder += (4096 + 1) * 512 + (512 + 1) * 256
    decoder = (9 * 64 + 1) * 512 + (9 * 512 + 1) * 256 + (9 * 256 + 1) * 128 + (9 * 128 + 1) * 64
    decoder += 9 * 64 + 1
    assert size(Encoder(1)) == encoder == 387_840 + 2_228_992
    assert size(Decoder(1, "transposed")) == decoder == 1_844_737
    assert size(Decoder(1, "nearest")) == decoder
    assert size(Discriminator(1)) == 1_554_433


def test_halvings_and_doublings():
    """64 -> 32 -> 16 -> 8 -> 4; and 2 -> 64, where a single point would have given 32."""
    x, sides = torch.rand(2, 1, 64, 64), []
    for layer in Encoder(1).layers:
        x = layer(x)
        sides += [x.shape[-1]] if isinstance(layer, nn.Conv2d) else []
    assert sides == [32, 16, 8, 4] and x.shape == (2, 256)
    x, sides = torch.randn(2, 256), []
    for layer in Decoder(1, "transposed").layers:
        x = layer(x)
        sides += [x.shape[-1]] if isinstance(layer, nn.ConvTranspose2d | nn.Unflatten) else []
    assert sides == [2, 4, 8, 16, 32, 64]


@pytest.mark.parametrize("upsampling", ["transposed", "nearest"])
@pytest.mark.parametrize("colours", [1, 3])
def test_decoded_images(colours, upsampling):
    drawn = Decoder(colours, upsampling)(3 * torch.randn(2, 256))
    assert drawn.shape == (2, colours, 64, 64)
    assert drawn.min() >= 0 and drawn.max() <= 1
    assert (drawn[0] - drawn[1]).abs().mean() > 1e-4


def test_dis_judges_patches():
    judge = Discriminator(1)
    assert judge(torch.rand(2, 1, 64, 64)).shape == (2, 1, 4, 4)
    slopes = {m.negative_slope for m in judge.modules() if isinstance(m, nn.LeakyReLU)}
    assert slopes == {0.3}


@pytest.mark.parametrize(("upsampling", "values"), [("transposed", 3), ("nearest", 1)])
def test_a_transposed_convolution_leaves_a_checkerboard(upsampling, values):
    """Of an even map, all taps alike, it makes one, two or four times a tap."""
    decoder = Decoder(1, upsampling)
    last = decoder.layers[-1:] if upsampling == "transposed" else decoder.layers[-2:]
    nn.init.ones_(last[-1].weight)
    made = last(torch.ones(1, 64, 8, 8))[..., 2:-2, 2:-2]
    assert len(made.unique()) == values


# Losses


def test_feature_loss_by_hand():
    """Two channels, two positions: (3^2 + 4^2 + 0 + 1) / 2 positions."""
    maps = torch.tensor([[3.0, 0.0], [4.0, 1.0]]).view(1, 2, 1, 2)
    torch.testing.assert_close(feature_loss(maps, torch.zeros_like(maps)), torch.tensor(13.0))


def test_identity_loss_adds_two_layers():
    """Absolute differences summed over channels: of a map mean over its positions."""
    maps = torch.tensor([[3.0, 0.0], [-4.0, 1.0]]).view(1, 2, 1, 2)
    code = torch.tensor([[1.0, -2.0, 0.5]])
    layers, others = (maps, code), (torch.zeros_like(maps), torch.zeros_like(code))
    torch.testing.assert_close(identity_loss(layers, others), torch.tensor((7 + 1) / 2 + 3.5))
    torch.testing.assert_close(identity_loss(layers, layers), torch.tensor(0.0))


def test_pixels_count_as_in_minus_one_to_one():
    black, grey = torch.zeros(1, 1, 2, 2), torch.full((1, 1, 2, 2), 0.25)
    torch.testing.assert_close(pixel_loss(grey, black), torch.tensor(0.5))


def test_an_undecided_dis_costs_two_log_two():
    undecided = torch.zeros(3, 1, 4, 4)
    total = real_loss(undecided) + fake_loss(undecided)
    torch.testing.assert_close(total, torch.tensor(2 * math.log(2)))


def test_adversarial_losses_are_those_of_probabilities():
    logits = torch.randn(2, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    printed = logits.sigmoid()
    torch.testing.assert_close(real_loss(logits), -printed.log().mean())
    torch.testing.assert_close(fake_loss(logits), -(1 - printed).log().mean())
    sure = torch.full((1, 1, 4, 4), -200.0, requires_grad=True)  # where a sigmoid is flat
    real_loss(sure).backward()
    torch.testing.assert_close(sure.grad, torch.full_like(sure, -1 / 16))


# Model


def small_model(colours: int = 3) -> NFGAN:
    torch.manual_seed(0)
    return NFGAN(Encoder(colours), Decoder(colours, "transposed"), colours)


def test_a_grey_model_sees_luminance_and_draws_three_equal_channels():
    model = small_model(colours=1).eval()
    faces = torch.rand(2, 3, 64, 64)
    grey = (faces * torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)).sum(1, keepdim=True)
    torch.testing.assert_close(model.seen(faces), grey)
    with torch.inference_mode():
        drawn = model.normalise(faces)
        torch.testing.assert_close(model.normalise(grey.expand(-1, 3, -1, -1)), drawn)
    assert drawn.shape == faces.shape
    assert torch.equal(drawn[:, 0], drawn[:, 1]) and torch.equal(drawn[:, 0], drawn[:, 2])


def test_a_morph_goes_from_dec_z_to_dec_of_the_normalised_face():
    """Sec. 5.5: from z to z~ = Enc(x~)."""
    model = small_model().eval()
    faces = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        start = model.encode(faces)
        end = model.encode(model.normalise(faces))
        path = editing.interpolate(start, end, ["identity"], [0.0, 0.5, 1.0], model.spec)
        morph = model.decode(path)
        torch.testing.assert_close(morph[:1], model.normalise(faces))
        torch.testing.assert_close(morph[2:], model.decode(end))
    middle = (start["identity"] + end["identity"]) / 2
    torch.testing.assert_close(path["identity"][1:2], middle)


def test_there_is_no_neutral_code():
    model = small_model()
    for name in ("identity", "expression", "pose"):
        with pytest.raises(ValueError, match=f"no neutral {name}"):
            model.neutral(name)


# Algorithm 1


class TinyFeatures(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.project = nn.Conv2d(3, 4, 5, 4)

    def forward(self, faces):
        return self.project(faces)


class TinyRecogniser(TinyFeatures):
    def forward(self, faces):
        maps = self.project(faces).tanh()
        return maps, maps.mean(dim=(2, 3))


def tiny_stage(weights: Weights = EQUAL, colours: int = 3, **changes) -> NFGANStage:
    """With a normalisation in each of the three networks, and few weights."""
    torch.manual_seed(0)
    encoder = nn.Sequential(
        nn.Conv2d(colours, 4, 8, 8, bias=False),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(256, 256),
    )
    decoder = nn.Sequential(
        nn.Linear(256, 8, bias=False),
        nn.BatchNorm1d(8),
        nn.ReLU(),
        nn.Linear(8, colours * 64 * 64),
        nn.Unflatten(1, (colours, 64, 64)),
        nn.Sigmoid(),
    )
    judge = nn.Sequential(
        nn.Conv2d(colours, 4, 8, 8, bias=False), nn.BatchNorm2d(4), nn.Conv2d(4, 1, 2, 2)
    )
    model = NFGAN(encoder, decoder, colours)
    settings = {"space": "pixels", "shake": 0.0, "balance_steps": 0}
    if "reading" not in changes:
        settings |= {"reading": None, "recognition": 0.0}
    look = Instruments(TinyFeatures(), TinyRecogniser())
    stage = NFGANStage(
        model,
        judge,
        instruments=look,
        weights=weights,
        schedule=Schedule(1e-3, ()),
        **{**settings, **changes},
    )
    silence(stage)
    return stage


def made_batch(count: int = 3, unpaired: int = 2) -> NormalizedBatch:
    random = torch.Generator().manual_seed(1)
    images = torch.rand(3 * count + unpaired, 3, 64, 64, generator=random)
    return NormalizedBatch(*images.split([count] * 3 + [unpaired]))


def literal_gradients(stage, batch):
    """Of Enc, Dec and Dis, each by its own line of Algorithm 1, through one graph."""
    model, judge, look = stage.model, stage.discriminator, stage.instruments
    faces = torch.cat([batch.faces, batch.unpaired])
    drawn = model.decoder(model.encoder(faces))
    known = drawn[:3]  # whose normalised faces are
    judged = judge(drawn)
    maps, targets = look.features(known), look.features(batch.targets)
    feature = (maps - targets).square().sum(dim=1).mean()
    pairs = zip(look.identity(drawn), look.identity(faces), strict=True)
    identity = sum((a - b).abs().sum(dim=1).mean() for a, b in pairs)
    pixel = ((2 * known - 1) - (2 * batch.targets - 1)).abs().mean()
    signed = 2 * drawn - 1
    symmetry = (signed - signed.flip(3))[..., :32].abs().mean()
    adversarial = -judged.sigmoid().log().mean()
    dis = -judge(batch.guides).sigmoid().log().mean() - (1 - judged.sigmoid()).log().mean()

    w = stage.weights
    shared = w.feature * feature + w.identity * identity + w.pixel * pixel
    whole = shared + w.symmetry * symmetry + w.adversarial * adversarial
    losses = [(shared, model.encoder), (whole, model.decoder), (dis, judge)]
    if stage.reading is not None:
        read, seen = stage.reading(model.encoder(faces)), look.identity(faces)[1]
        cosines = (read * seen).sum(1) / (read.norm(dim=1) * seen.norm(dim=1))
        recognition = stage.recognition * (1 - cosines).mean()
        losses[0] = (shared + recognition, model.encoder)
        losses.append((recognition, stage.reading))
    return [
        torch.autograd.grad(loss, list(network.parameters()), retain_graph=True)
        for loss, network in losses
    ] + [torch.autograd.grad(whole, list(model.encoder.parameters()))]


def assert_all_close(found, expected):
    """But for rounding: a bias that a normalisation undoes has no gradient to compare."""
    noise = 1e-5 * max(float(gradient.abs().max()) for gradient in expected)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=noise)


def test_each_network_descends_its_own_line():
    stage = tiny_stage(Weights(0.3, 0.7, 0.5, 2.0, 1.5))
    batch = made_batch()
    enc, dec, dis, enc_of_all = literal_gradients(copy.deepcopy(stage), batch)
    stage.propagate(batch)

    def grads(network):
        return [weight.grad for weight in network.parameters()]

    assert_all_close(grads(stage.model.encoder), enc)
    assert_all_close(grads(stage.model.decoder), dec)
    assert_all_close(grads(stage.discriminator), dis)
    with pytest.raises(AssertionError):  # it would be another one with all terms
        assert_all_close(grads(stage.model.encoder), enc_of_all)
    assert all(weight.grad is None for weight in stage.instruments.parameters())


@pytest.mark.parametrize("balance_steps", [0, 1])
def test_enc_goes_on_telling_who_is_who(balance_steps):
    """What is read off z is Enc's and the reading's own affair; weights of drawn faces do not
    count for it, balanced or not."""
    all_terms, only_of_dec = Weights(0.3, 0.7, 0.5, 2.0, 1.5), Weights(0.0, 0.0, 0.0, 2.0, 1.5)
    weights = only_of_dec if balance_steps else all_terms
    torch.manual_seed(3)
    reading = nn.Linear(256, 4)
    stage = tiny_stage(weights, reading=reading, recognition=0.9, balance_steps=balance_steps)
    expected = literal_gradients(copy.deepcopy(stage), made_batch())
    terms = stage.propagate(made_batch())
    networks = [stage.model.encoder, reading]
    for network, wanted in zip(networks, (expected[0], expected[3]), strict=True):
        assert_all_close([weight.grad for weight in network.parameters()], wanted)
    assert 0 < terms["encoder/recognition"] < 2 * 0.9
    taught = stage.configure_optimizers()[0][0].param_groups[0]["params"]
    assert {id(weight) for weight in reading.parameters()} < {id(weight) for weight in taught}


def test_a_face_without_a_target_is_asked_who_it_is_and_for_no_features_or_pixels():
    for name in vars(EQUAL):
        stage = tiny_stage(replace(Weights(0.0, 0.0, 0.0, 0.0, 0.0), **{name: 1.0}))
        image = torch.rand(3, 3, 64, 64, requires_grad=True)
        judged = stage.discriminator and stage.discriminator(image)
        seen = stage.instruments.identity(torch.rand(3, 3, 64, 64))
        terms = stage.generator_terms(image, seen, image.detach()[:2], judged)
        (slope,) = torch.autograd.grad(terms[name] + 0 * image.sum(), image)
        assert bool(slope[2].any()) == (name not in ("feature", "pixel")), name


def test_adversary_and_symmetry_alone_leave_enc_without_gradient():
    stage = tiny_stage(Weights(0.0, 0.0, 0.0, 1.0, 1.0))
    stage.propagate(made_batch())
    assert all(weight.grad is None for weight in stage.model.encoder.parameters())
    assert all(weight.grad.any() for weight in stage.model.decoder.parameters())


def test_batch_statistics_see_each_image_once():
    stage = tiny_stage()
    batch, fresh = made_batch(), copy.deepcopy(stage.model)
    stage.propagate(batch)
    fresh.decoder(fresh.encoder(torch.cat([batch.faces, batch.unpaired])))
    counted = 0
    for (name, found), expected in zip(
        stage.model.state_dict().items(), fresh.state_dict().values(), strict=True
    ):
        if "running" in name or "num_batches" in name:
            torch.testing.assert_close(found, expected)
            counted += 1
    assert counted == 3 * 2
    judge = stage.discriminator.state_dict()
    assert [int(n) for name, n in judge.items() if "num_batches" in name] == [2]


def test_terms_are_the_weighted_ones():
    weights = Weights(0.3, 0.7, 0.5, 2.0, 1.5)
    plain = tiny_stage().propagate(made_batch())
    weighted = tiny_stage(weights).propagate(made_batch())
    assert set(plain) == {f"generator/{name}" for name in vars(weights)} | {
        "discriminator/real",
        "discriminator/fake",
    }
    for name, weight in vars(weights).items():
        torch.testing.assert_close(
            weighted[f"generator/{name}"], weight * plain[f"generator/{name}"]
        )


def test_identity_is_of_the_face_given_and_all_else_of_the_target():
    stage, batch = tiny_stage(), made_batch()
    other = torch.rand(3, 3, 64, 64)
    image = torch.rand(3, 3, 64, 64)
    judged = stage.discriminator(image)
    seen, seen_of_other = (stage.instruments.identity(faces) for faces in (batch.faces, other))
    before = stage.generator_terms(image, seen, batch.targets, judged)
    faces = stage.generator_terms(image, seen_of_other, batch.targets, judged)
    targets = stage.generator_terms(image, seen, other, judged)
    assert {n for n in before if before[n] != faces[n]} == {"identity"}
    assert {n for n in before if before[n] != targets[n]} == {"feature", "pixel"}


def test_instruments_see_drawn_face_and_target_move_alike():
    """What is drawn is compared with what is there on the target; symmetry and pixels do not
    move."""
    stage, batch = tiny_stage(shake=1.5), made_batch()
    seen = stage.instruments.identity(batch.faces)
    judged = stage.discriminator(batch.faces)
    same = stage.generator_terms(batch.faces, seen, batch.faces, judged)
    assert float(same["feature"]) < 1e-10 and float(same["identity"]) > 0
    again = stage.generator_terms(batch.faces, seen, batch.targets, judged)
    stage.shake = 0.0
    still = stage.generator_terms(batch.faces, seen, batch.targets, judged)
    assert {name for name in still if still[name] != again[name]} == {"feature", "identity"}
    assert float(stage.generator_terms(batch.faces, seen, batch.faces, judged)["identity"]) == 0


def test_symmetry_in_laplacian_space_forgives_light_from_one_side():
    ramp = torch.linspace(0, 1, 64).expand(1, 3, 64, 64)
    only = Weights(0.0, 0.0, 0.0, 1.0, 0.0)
    found = {
        space: float(
            tiny_stage(only, space=space).generator_terms(ramp, [], ramp, None)["symmetry"]
        )
        for space in ("pixels", "laplacian")
    }
    assert found["pixels"] > 0.9 and found["laplacian"] < 0.01


def test_a_weight_of_zero_leaves_the_term_and_dis_out(tmp_path):
    stage = tiny_stage(replace(EQUAL, adversarial=0.0, identity=0.0))
    assert stage.discriminator is None
    terms = stage.propagate(made_batch())
    assert set(terms) == {"generator/feature", "generator/pixel", "generator/symmetry"}
    del stage.log, stage.log_dict
    assert fit(stage, [made_batch()], tmp_path)["loss"].isfinite()


def test_a_step_moves_all_networks_and_no_instrument(tmp_path):
    stage = tiny_stage(colours=1)
    del stage.log, stage.log_dict
    before = copy.deepcopy(stage.state_dict())
    found = fit(stage, [made_batch()], tmp_path)
    after = stage.state_dict()
    parts = {name: ".".join(name.split(".")[:2]) for name, _ in stage.named_parameters()}
    for name, part in parts.items():
        moved = not torch.equal(before[name], after[name])
        assert moved == (not part.startswith("instruments")), name
    logged = {f"{kind}/{name}" for kind in ("generator", "gradient") for name in vars(EQUAL)}
    assert logged <= set(found)


# Balance


def test_lengths_of_gradients_of_pixels_and_of_symmetry_by_hand():
    """Both are absolute values: each of 64 x 64 grey pixels pulls alike, whatever the faces."""
    random = torch.Generator().manual_seed(0)
    image = torch.rand(5, 1, 64, 64, generator=random, requires_grad=True)
    target = torch.rand(5, 1, 64, 64, generator=random)
    (slope,) = torch.autograd.grad(pixel_loss(image, target), image)
    torch.testing.assert_close(face_length(slope), torch.tensor(2 / 64))
    only = tiny_stage(Weights(0.0, 0.0, 0.0, 1.0, 0.0), colours=1)
    symmetry = only.generator_terms(image, [], target, None)["symmetry"]
    (slope,) = torch.autograd.grad(symmetry, image)
    torch.testing.assert_close(face_length(slope), torch.tensor(4 / 64))
    printed = PRESETS["paper"].weights  # so the paper's symmetry pulls 600 times as hard
    assert 2 * printed.symmetry / printed.pixel == pytest.approx(600)


def told(stage) -> dict[str, float]:
    """A step's figures that go to the log only."""
    found: dict[str, float] = {}
    stage.log_dict = lambda figures: found.update({n: float(v) for n, v in figures.items()})
    stage.propagate(made_batch())
    return found


def test_balanced_weights_are_lengths_of_gradients():
    weights = Weights(1.0, 3e-3, 1e-3, 0.3, 0.1)
    stage = tiny_stage(weights, balance_steps=2)
    found = told(stage)
    for name, weight in vars(weights).items():
        assert found[f"gradient/{name}"] == pytest.approx(weight, rel=1e-4)
    unbalanced = told(tiny_stage(weights))
    assert unbalanced["gradient/feature"] != pytest.approx(1.0, rel=0.01)


def test_balance_does_not_depend_on_the_size_of_an_instrument():
    """A network whose maps are 1,000 times as large pulls no harder."""
    louder, stage = tiny_stage(balance_steps=1), tiny_stage(balance_steps=1)
    louder.instruments.load_state_dict(stage.instruments.state_dict())
    for weight in louder.instruments.features.parameters():
        weight.data.mul_(1000)
    found, expected = told(louder), told(stage)
    assert found["gradient/feature"] == pytest.approx(expected["gradient/feature"], rel=1e-3)


def test_lengths_are_measured_over_the_first_steps_and_kept():
    stage = tiny_stage(balance_steps=2)
    lengths = []
    for factor in (1.0, 3.0, 100.0):
        stage._factors({name: torch.tensor(factor) for name in vars(EQUAL)})
        lengths.append(stage.lengths.clone())
    torch.testing.assert_close(lengths[0], torch.ones(5))
    torch.testing.assert_close(lengths[1], torch.full((5,), 2.0))
    assert torch.equal(lengths[2], lengths[1])
    assert {"lengths", "measured"} <= set(stage.state_dict())  # a resumed run knows them


def test_a_term_without_any_slope_is_not_divided_by_zero():
    stage = tiny_stage(balance_steps=1)
    lengths = {name: torch.tensor(0.0 if name == "symmetry" else 2.0) for name in vars(EQUAL)}
    factors = stage._factors(lengths)
    assert factors["symmetry"] == 0 and factors["pixel"] == 0.5


# Recipe and instruments


def test_the_published_settings():
    paper = PRESETS["paper"]
    assert vars(paper.weights) == {
        "feature": 1.0,
        "identity": 3e-3,
        "pixel": 1e-3,
        "symmetry": 0.3,
        "adversarial": 0.1,
    }
    assert (paper.colours, paper.upsampling, paper.symmetry) == (1, "transposed", "pixels")
    assert (paper.instrument, paper.recogniser) == ("vggface", "lightcnn9")
    assert paper.balance_steps == 0 and PRESETS["paper-balanced"].balance_steps > 0
    assert PRESETS["paper-balanced"].weights == paper.weights


@pytest.mark.parametrize(
    ("setting", "value"), [("colours", 2), ("upsampling", "bilinear"), ("symmetry", "gradient")]
)
def test_unknown_settings_are_named(setting, value):
    with pytest.raises(ValueError, match=f"{setting} is {value}; set "):
        build(replace(PRESETS["small"], **{setting: value}))


def test_small_looks_through_what_comes_with_the_package():
    recipe = PRESETS["small"]
    assert load_instrument(recipe) is None
    before, stage = stages(recipe, build(recipe))
    assert (before.name, before.samples) == ("autoencoding", "labelled")
    assert (stage.name, stage.samples, stage.batch_size) == ("main", "normalized", 32)
    bare = replace(recipe, autoencoding_images=0)
    assert [stage.steps > 0 for stage in stages(bare, build(bare))] == [False, True]
    look = stage.module().instruments
    faces = torch.rand(2, 3, 64, 64, requires_grad=True)
    maps = look.features(faces)
    last, codes = look.identity(faces)
    assert maps.shape == (2, 32, 28, 28)
    assert last.shape == (2, 64, 7, 7) and codes.shape == (2, 512)
    (slope,) = torch.autograd.grad(maps.sum() + codes.sum(), faces)
    assert slope.abs().sum() > 0


def autoencoding(name: str, **settings):
    """The stage that goes before Algorithm 1, and what it learns from four photos."""
    torch.manual_seed(0)
    recipe = replace(PRESETS[name], **settings)
    stage = stages(recipe, build(recipe))[0].module()
    silence(stage)
    photos = torch.rand(4, 3, 8, 8).repeat(1, 1, 8, 8)
    return stage, LabelledBatch(photos, *[torch.zeros(4)] * 3)


def test_autoencoding_learns_to_redraw_in_colour_and_grey():
    for name in ("small", "small-grey"):
        stage, batch = autoencoding(name, recognition=0.0)
        model, optimizer = stage.model, stage.configure_optimizers()["optimizer"]
        losses = []
        for _ in range(8):
            loss = stage.training_step(batch, 0)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        drawn = model.decoder(model.encoder(model.seen(batch.faces)))
        again = 2 * (drawn - model.seen(batch.faces)).abs().mean()  # Eq. 7 counts in [-1, 1]
        assert losses[-1] < 0.9 * losses[0]
        torch.testing.assert_close(stage.training_step(batch, 0), again, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", ["small", "small-grey"])
def test_what_a_recogniser_sees_is_read_off_the_code(name):
    """The term by itself, 1 - cosine; Enc and the reading learn from it, Dec and phi do not."""
    stage, batch = autoencoding(name, recognition=3.0)
    recipe = replace(PRESETS[name], recognition=3.0)
    before, main = (stage.module() for stage in stages(recipe, build(recipe)))
    assert before.reading is main.reading  # and goes on in Algorithm 1
    faces, encoder = stage.model.seen(batch.faces), stage.model.encoder
    with torch.no_grad():
        own = stage.identity(faces.expand(-1, 3, -1, -1))[1]
        drawn = pixel_loss(stage.model.decoder(encoder(faces)), faces)
        read = F.linear(encoder(faces), stage.reading.weight, stage.reading.bias)
    cosines = (read * own).sum(1) / (read.norm(dim=1) * own.norm(dim=1))
    torch.testing.assert_close(stage.training_step(batch, 0), drawn + 3 * (1 - cosines).mean())

    stage.model.decoder.requires_grad_(False)  # what is left reaches Enc by the reading, too
    stage.training_step(batch, 0).backward()
    assert all(weight.grad.abs().sum() > 0 for weight in stage.reading.parameters())
    learnt = copy.deepcopy([weight.grad for weight in encoder.parameters()])
    encoder.zero_grad()
    stage.recognition = 0.0
    stage.training_step(batch, 0).backward()
    assert any(
        (a - b.grad).abs().sum() > 0 for a, b in zip(learnt, encoder.parameters(), strict=True)
    )
    groups = stage.configure_optimizers()["optimizer"].param_groups
    taught = {id(weight) for group in groups for weight in group["params"]}
    learners = (stage.model, stage.reading)
    assert taught == {id(weight) for network in learners for weight in network.parameters()}
    assert all(weight.grad is None for weight in stage.identity.parameters())


def test_paper_looks_through_files(tmp_path, monkeypatch):
    asked = []

    def find(name):
        asked.append(name)
        return tmp_path / f"{name}.safetensors"

    monkeypatch.setattr(instruments, "find_weights", find)
    monkeypatch.setattr(instruments, "load_lightcnn9", lambda path: LightCNN9().eval())
    save_file(vgg_face_tensors(), tmp_path / "vggface.safetensors")
    look = load_instrument(PRESETS["paper"])
    assert asked == ["vggface", "lightcnn9"]
    faces = torch.rand(1, 3, 64, 64)
    assert look.features(faces).shape == (1, 256, 16, 16)
    assert [tuple(layer.shape) for layer in look.identity(faces)] == [(1, 128, 8, 8), (1, 256)]


def test_an_unknown_instrument_is_named():
    with pytest.raises(InstrumentError, match="no instrument 'resnet'"):
        load_instruments("resnet", "")
    with pytest.raises(InstrumentError, match="no instrument 'resnet'"):
        load_instruments("", "resnet")


def vgg_face_tensors() -> dict[str, torch.Tensor]:
    """The first layers of `vgg_face_dag`, and one that is not read."""
    random = torch.Generator().manual_seed(0)
    widths = {"conv1_1": (3, 64), "conv1_2": (64, 64), "conv2_1": (64, 128)}
    widths |= {"conv2_2": (128, 128), "conv3_1": (128, 256)}
    tensors = {"fc8.weight": torch.ones(2)}
    for name, (inputs, outputs) in widths.items():
        tensors[f"{name}.weight"] = torch.randn(outputs, inputs, 3, 3, generator=random) / inputs
        tensors[f"{name}.bias"] = torch.randn(outputs, generator=random)
    return tensors


def test_vgg_face_is_what_it_says(tmp_path):
    tensors = vgg_face_tensors()
    save_file(tensors, tmp_path / "face.safetensors")
    faces = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    x = 255 * faces - torch.tensor([129.1863, 104.7624, 93.5940]).view(3, 1, 1)
    for name in ("conv1_1", "conv1_2", "", "conv2_1", "conv2_2", "", "conv3_1"):
        if name:
            x = F.relu(F.conv2d(x, tensors[f"{name}.weight"], tensors[f"{name}.bias"], padding=1))
        else:
            x = F.max_pool2d(x, 2)
    with torch.inference_mode():
        found = load_vgg_face(tmp_path / "face.safetensors")(faces)[0]
    torch.testing.assert_close(found, x, rtol=1e-4, atol=1e-3)


def test_what_is_no_vgg_face_is_refused(tmp_path):
    tensors = vgg_face_tensors()
    save_file({**tensors, "conv2_1.bias": torch.ones(3)}, tmp_path / "a.safetensors")
    with pytest.raises(InstrumentError, match=r"a.safetensors: .*shape \(3,\) of conv2_1.bias"):
        load_vgg_face(tmp_path / "a.safetensors")
    tensors.pop("conv3_1.weight")
    save_file(tensors, tmp_path / "b.safetensors")
    with pytest.raises(InstrumentError, match=r"b.safetensors: .*none of conv3_1.weight"):
        load_vgg_face(tmp_path / "b.safetensors")


def bright_place(image: torch.Tensor) -> tuple[float, float]:
    """x and y of the middle of what is bright, shares of the side."""
    light = image.mean(dim=(0, 1))
    places = (torch.arange(len(light)) + 0.5) / len(light)
    return tuple(float((light.sum(axis) * places).sum() / light.sum()) for axis in (0, 1))


def dot(x: float, y: float) -> torch.Tensor:
    """A soft dot in a face of 64 pixels."""
    places = (torch.arange(64) + 0.5) / 64
    along, down = ((-((places - at) * 20).square()).exp() for at in (x, y))
    return (down[:, None] * along).expand(1, 3, 64, 64)


def test_another_crop_has_the_eyes_where_it_wants_them():
    points, own = CROPS["arcface"].points, CROPS["facecycle"].points
    reframed = Reframed(nn.Identity(), points, 112, own)
    for (x, y), (own_x, own_y) in zip(points[:2], own[:2], strict=True):
        found = bright_place(reframed(dot(own_x, own_y)))
        assert found == pytest.approx((x, y), abs=0.02)  # five points, one similarity


def test_light_cnn_gets_eyes_and_mouth_where_it_was_tested(monkeypatch):
    """Eyes 40 pixels down of 128, the mouth 48 further down, both in the middle."""
    monkeypatch.setattr(instruments, "find_weights", lambda name: None)
    monkeypatch.setattr(instruments, "load_lightcnn9", lambda path: LightCNN9())
    reframed = load_instruments("", "lightcnn9").identity.network
    reframed.network = nn.Identity()
    for own_y, expected in ((0.37, 40), (0.748, 88)):
        x, y = bright_place(reframed(dot(0.5, own_y)))
        assert (128 * x, 128 * y) == pytest.approx((64, expected), abs=0.5)


def test_the_recipe_has_no_other_methods_recogniser():
    """A recogniser given on the command line is not what this method begins with."""
    assert isinstance(recipes.begin(PRESETS["small"], None), NFGAN)
