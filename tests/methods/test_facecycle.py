"""FaceCycle's own facts: published sizes, gradient routing, what its flows and codes mean."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch

from facefactor import editing
from facefactor.factors import Factors
from facefactor.geometry.flow import warp
from facefactor.losses.symmetry import symmetry_loss
from facefactor.methods.facecycle.losses import (
    equivariance_loss,
    margin_loss,
    perceptual_loss,
    swap_halves,
)
from facefactor.methods.facecycle.networks import ExpressionDecoder, LearnedStem
from facefactor.methods.facecycle.recipe import PRESETS, build, stages
from facefactor.methods.facecycle.training import encode_with_motion, motion_terms
from tests.methods.test_contract import TinyFeatures, silence


def count(part: torch.nn.Module) -> int:
    return sum(weight.numel() for weight in part.parameters())


@pytest.fixture(scope="module")
def paper():
    return build(PRESETS["paper"]).eval()


@pytest.fixture(scope="module")
def small():
    torch.manual_seed(0)
    return build(PRESETS["small"]).eval()


def test_published_parameter_counts(paper):
    assert count(paper.expression_encoder) == count(paper.identity_encoder) == 4_240_000
    assert count(paper.flow_decoder) == 2_996_544
    assert count(paper.expression_decoder) == 12_854_147
    assert count(paper.expression_decoder) + count(paper.stem) == 13_409_475
    assert count(paper.identity_decoder) == 9_458_947
    assert count(paper.identity_decoder) + count(paper.stem) == 10_014_275
    assert count(paper.identity_decoder.remove) == 131_584  # MLP_de
    assert count(paper.identity_decoder.give) == 131_584  # MLP_re


def test_small_fits_its_share_of_the_package(small):
    assert 2 * sum(t.numel() for t in small.state_dict().values()) < 16e6  # float16 bytes


def test_encoder_has_sixteen_3x3_or_7x7_convolutions(paper):
    kernels = [
        m.kernel_size[0]
        for m in paper.expression_encoder.modules()
        if isinstance(m, torch.nn.Conv2d) and m.kernel_size[0] > 1
    ]
    assert sorted(kernels) == [3] * 15 + [7]


def test_encoder_map_of_a_100_pixel_image_flattens_to_the_probed_6272(paper):
    maps = paper.expression_encoder.maps(torch.rand(1, 3, 100, 100))
    assert maps.flatten(1).shape == (1, 6272)


def test_flow_and_features_have_the_published_sizes(paper):
    forward, backward = paper.flows(torch.rand(2, 256) * 2 - 1)
    assert forward.shape == backward.shape == (2, 2, 16, 16)
    assert [maps.shape[1:] for maps in paper.stem(torch.rand(1, 3, 64, 64))] == [
        (128, 32, 32),
        (256, 16, 16),
    ]


def test_the_zero_code_does_not_move_a_face(small):
    forward, backward = small.flows(torch.zeros(2, 256))
    assert forward.abs().max() == 0 and backward.abs().max() == 0


def test_neutral_edit_of_a_neutral_face_is_stable(small):
    faces = torch.rand(2, 3, 64, 64)
    with torch.inference_mode():
        codes = editing.set_strength(small.encode(faces), small, "expression", 0.0)
        assert torch.equal(small.decode(codes), small.decode(codes.replace({})))
        assert small.edit_flow(codes, codes).abs().max() == 0


def test_identity_moves_the_neutral_face_with_it(small):
    """The published transfer warps the target's neutral face (Sec. 3.6)."""
    first, second = torch.rand(1, 3, 64, 64), torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        a, b = small.encode(first), small.encode(second)
        onto_b = editing.transfer(b, a, ["expression"], small.spec)
        from_a = editing.transfer(a, b, ["identity"], small.spec)
        torch.testing.assert_close(small.decode(onto_b), small.decode(from_a))


def test_without_a_neutral_face_the_mean_face_is_given_the_identity(small):
    codes = Factors({"identity": torch.rand(1, 256), "expression": torch.zeros(1, 256)})
    with torch.inference_mode():
        small.mean_face.fill_(0.2)
        neutral = small.reidentify(small.mean_face[None], codes["identity"])
        expected = small.to_faces(small.express(neutral, torch.zeros(1, 2, 16, 16))).clamp(0, 1)
        torch.testing.assert_close(small.decode(codes), expected)
        small.mean_face.zero_()


def test_noise_fills_while_training_only():
    torch.manual_seed(0)
    decoder = ExpressionDecoder(half=4, quarter=8, full=4, blocks=1, noise=1.0)
    half, quarter = torch.rand(1, 4, 8, 8), torch.rand(1, 8, 4, 4)
    filling = [half.mean((2, 3), keepdim=True), quarter.mean((2, 3), keepdim=True)]
    decoder.train()
    assert not torch.equal(decoder(half, quarter, filling), decoder(half, quarter, filling))
    decoder.eval()
    assert torch.equal(decoder(half, quarter, filling), decoder(half, quarter, filling))


def test_a_drift_all_faces_share_costs_and_opposite_motions_do_not(trained):
    model, (_, expression, _) = trained
    module = expression()
    terms = {}
    module.log = lambda *args, **kwargs: None
    module.log_dict = lambda found: terms.update(found)
    for codes_flow, expected in (((0.1, 0.1), 2.0), ((0.1, -0.1), 0.0)):
        field = torch.stack([torch.full((2, 16, 16), 0.0) for _ in codes_flow])
        field[:, 0] = torch.tensor(codes_flow).view(2, 1, 1)
        model.flows = lambda codes, field=field: (field, -field)
        module.training_step(torch.rand(1, 2, 3, 64, 64), 0)
        torch.testing.assert_close(terms["loss/mean_flow"], torch.tensor(expected))


def test_learned_stem_gives_the_maps_of_vgg_in_size():
    half, quarter = LearnedStem(6, 10)(torch.rand(2, 3, 64, 64))
    assert half.shape == (2, 6, 32, 32) and quarter.shape == (2, 10, 16, 16)


def test_swapping_twice_is_nothing():
    batch = torch.arange(6.0)
    assert swap_halves(batch).tolist() == [3, 4, 5, 0, 1, 2]
    assert torch.equal(swap_halves(swap_halves(batch)), batch)


def test_margin_hinges_per_image():
    """One image beyond the margin by 0.2, one within it: (0.2 + 0) / 2."""
    mean_faces = torch.tensor([0.3, 0.05]).view(2, 1, 1, 1).expand(2, 3, 4, 4)
    loss = margin_loss(mean_faces, torch.zeros(2, 3, 4, 4), margin=0.1)
    torch.testing.assert_close(loss, torch.tensor(0.1))


def test_margin_gradient():
    faces = torch.rand(2, 1, 3, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: margin_loss(x, torch.full_like(x, 2.0)), faces)


def test_perceptual_loss_is_features_plus_grams():
    maps, target = [torch.tensor([3.0, 4.0]).view(1, 1, 1, 2)], [torch.zeros(1, 1, 1, 2)]
    torch.testing.assert_close(perceptual_loss(maps, target), torch.tensor(12.5**0.5 + 12.5))


@pytest.fixture
def trained():
    """(model, stage modules) of `small`, fresh, quiet."""
    torch.manual_seed(0)
    recipe = replace(PRESETS["small"], expression_blocks=1, identity_blocks=1)
    model = build(recipe)
    return model, [stage.module for stage in stages(recipe, model, TinyFeatures())]


def gradients(model) -> set[str]:
    return {
        name.split(".")[0] for name, weight in model.named_parameters() if weight.grad is not None
    }


def test_the_warm_up_reaches_encoder_and_flow_only(trained):
    model, (motion, _, _) = trained
    module = motion()
    silence(module)
    module.training_step(torch.rand(1, 2, 3, 64, 64), 0).backward()
    assert gradients(model) == {"expression_encoder", "flow_decoder"}


def test_published_presets_have_no_warm_up():
    for preset in ("paper", "code"):
        recipe = PRESETS[preset]
        names = [stage.name for stage in stages(recipe, None, torch.nn.Identity())]
        assert names == ["expression", "identity"]


def test_the_coarse_term_by_hand(small):
    """Constant images one apart: 1 at each of three resolutions, whatever the flow."""
    weights = replace(PRESETS["code"].expression, coarse_cycle=2.0)
    images = torch.cat([torch.zeros(1, 3, 64, 64), torch.ones(1, 3, 64, 64)])
    still = torch.zeros(2, 2, 16, 16)
    terms, rebuilt = motion_terms(small, weights, images, still, still)
    torch.testing.assert_close(terms["coarse_cycle"], torch.tensor(6.0))
    torch.testing.assert_close(rebuilt, images.flip(0))  # each from its partner's pixels


def test_a_flow_that_follows_the_motion_of_its_face_costs_nothing():
    """Shifts: what moved by (0.2, -0.1) already needs that much less motion."""
    own = torch.tensor([0.3, 0.1]).view(1, 2, 1, 1).expand(1, 2, 16, 16)
    motion = torch.tensor([0.2, -0.1]).view(1, 2, 1, 1).expand(1, 2, 16, 16)
    assert equivariance_loss(own, motion, own - motion) < 1e-3
    missed = equivariance_loss(own, motion, own)  # blind to the motion
    torch.testing.assert_close(missed, torch.tensor(0.05**0.5), rtol=1e-3, atol=0)


def test_standing_still_is_no_minimum_of_equivariance(small):
    torch.manual_seed(0)
    resting = copy.deepcopy(small)
    torch.nn.init.zeros_(resting.flow_decoder.to_flow.weight)
    weights = replace(PRESETS["code"].expression, equivariance=2.0)
    _, forward, _, terms = encode_with_motion(resting, weights, torch.rand(64, 3, 64, 64))
    assert not forward.any()
    # the mean length of (0, 0)-centred motions with 0.072 an axis, about 2.8 px at 64
    assert 0.15 < terms["equivariance"] < 0.21


def test_the_encoder_of_small_probes_like_the_published_one(small):
    maps = small.expression_encoder.maps(torch.rand(1, 3, 100, 100))
    assert maps.flatten(1).shape == (1, 6272)
    assert small.expression_encoder(torch.rand(1, 3, 64, 64)).shape == (1, 256)


def test_codes_are_spread_before_they_saturate():
    torch.manual_seed(0)
    encoder = build(PRESETS["small"]).expression_encoder.train()
    with torch.no_grad():
        encoder.head[1].weight.mul_(1000.0)  # would drive every tanh to -1 or 1
        codes = encoder(torch.rand(16, 3, 64, 64))
    assert (codes.abs() > 0.999).float().mean() < 0.05
    assert codes.std(dim=0).mean() > 0.5
    assert encoder.eval()(torch.rand(1, 3, 64, 64)).shape == (1, 256)


def test_stage_1_reaches_expression_and_stem_only(trained):
    model, (_, expression, _) = trained
    module = expression()
    silence(module)
    module.training_step(torch.rand(1, 2, 3, 64, 64), 0).backward()
    assert gradients(model) == {
        "stem",
        "expression_encoder",
        "flow_decoder",
        "expression_decoder",
    }


def test_stage_2_leaves_stage_1_and_its_gradients_untouched(trained):
    model, (_, _, identity) = trained
    module = identity()
    silence(module)
    before = {name: weight.clone() for name, weight in model.named_parameters()}
    optimizer = module.configure_optimizers()["optimizer"]
    module.training_step(torch.rand(2, 2, 3, 64, 64), 0).backward()
    optimizer.step()
    assert gradients(model) == {"identity_encoder", "identity_decoder"}
    for name, weight in model.named_parameters():
        if not name.startswith("identity_"):
            assert torch.equal(weight, before[name]) and weight.grad is None


def test_stage_2_sets_the_mean_face(trained):
    model, (_, _, identity) = trained
    module = identity()
    silence(module)
    module.training_step(torch.rand(2, 2, 3, 64, 64), 0)
    assert model.mean_face.abs().sum() > 0


@pytest.mark.parametrize("preset", ["small", "small-paper"])
def test_objectives_have_their_own_terms(preset, trained):
    recipe = replace(PRESETS[preset], expression_blocks=1, identity_blocks=1)
    model = build(recipe)
    terms: dict[str, float] = {}
    for stage in stages(recipe, model, TinyFeatures()):
        module = stage.module()
        module.log = lambda *args, **kwargs: None
        module.log_dict = lambda found: terms.update({k: float(v) for k, v in found.items()})
        module.training_step(torch.rand(1, 2, 3, 64, 64), 0)
    assert ("loss/cycle" in terms) == (preset == "small-paper")  # Eq. 4 on the same image
    assert ("loss/gram" in terms) == (preset == "small")
    assert all(value >= 0 for value in terms.values())


def test_the_instrument_sees_what_it_compares_moved_alike(trained):
    """Equal images stay equal, and others are not compared at the same pixels twice."""
    _, (_, expression, identity) = trained
    for module in (expression(), identity()):
        assert module.shake == 1.0
        images, other = torch.rand(2, 2, 3, 64, 64)
        same = module._instrument_terms(images, images, images, [images])
        assert same and all(float(term) < 1e-5 for term in same.values())
        one, two = (module._instrument_terms(images, other, images, [other]) for _ in range(2))
        assert all(one[name] != two[name] for name in one)
        module.shake = 0.0
        one, two = (module._instrument_terms(images, other, images, [other]) for _ in range(2))
        assert one == two


def test_stage_1_terms_against_a_literal_reading(trained):
    """Two terms of the released objective, written out without the stage."""
    model, (_, expression, _) = trained
    module = expression()
    terms = {}
    module.log = lambda *args, **kwargs: None
    module.log_dict = lambda found: terms.update(found)
    model.eval()  # no noise
    pairs = torch.rand(1, 2, 3, 64, 64)
    module.training_step(pairs, 0)
    first, second = model.to_images(pairs[0, :1]), model.to_images(pairs[0, 1:])
    warped, backward, neutral = [], [], []
    for image in (first, second):
        forward, back = model.flows(model.expression_encoder(image))
        warped.append(warp(image, forward, model.padding))
        neutral.append(model.express(image, forward))
        backward.append(back)
    crossed = (
        (warp(warped[1], backward[0], model.padding) - first).abs().mean()
        + (warp(warped[0], backward[1], model.padding) - second).abs().mean()
    ) / 2
    torch.testing.assert_close(terms["loss/swapped_cycle"], 1.5 * crossed)
    both = symmetry_loss(torch.cat(neutral))
    torch.testing.assert_close(terms["loss/symmetry"], 1.5 * both)


def test_published_settings():
    recipe = PRESETS["paper"]
    assert (recipe.expression_rate, recipe.identity_rate) == (5e-5, 1e-4)
    assert recipe.expression_betas == recipe.identity_betas == (0.5, 0.999)
    assert recipe.batch_size == 32 and recipe.drop_at == 0.5
    assert recipe.expression.perceptual == recipe.identity.identity_perceptual == 0.05
    assert PRESETS["code"].identity_betas == (0.5, 0.9)
