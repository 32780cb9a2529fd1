"""Neuro-Tensorial's model and training: what each code changes, whom each term reaches."""

from __future__ import annotations

import dataclasses
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from facefactor import checkpoints, editing
from facefactor.checkpoints import CheckpointHeader
from facefactor.data.samples import FittedBatch, RenderedBatch
from facefactor.geometry.rotations import geodesic_distance, rotation_matrix
from facefactor.methods import METHODS
from facefactor.methods.neurotensorial import recipe as recipes
from facefactor.methods.neurotensorial.losses import Weights
from facefactor.methods.neurotensorial.model import ILLUMINATION, VERTICES
from facefactor.methods.neurotensorial.networks import Discriminator
from facefactor.methods.neurotensorial.recipe import PRESETS, build, stages
from facefactor.methods.neurotensorial.tensors import rotate, synthesis
from facefactor.methods.neurotensorial.training import (
    NeuroTensorialStage,
    ProofStage,
    follow,
    plain_codes,
)
from facefactor.nn.schedules import Schedule
from facefactor.perception.frozen import Frozen
from facefactor.perception.reframe import Reframed
from facefactor.perception.state_dicts import InstrumentError
from tests.methods.test_contract import fit, silence

SIZE = 16
TINY = replace(
    PRESETS["small"],
    channels=(4, 4, 4),
    face_rank=4,
    shape_rank=2,
    identity_modes=6,
    expression_modes=5,
    image_size=SIZE,
)
TINY_PROOF = replace(TINY, network="proof")
TINY_TURNED = replace(TINY, network="turned proof")
WEIGHTS = PRESETS["small"].weights
NOTHING = Weights(**{field.name: 0.0 for field in dataclasses.fields(Weights)})


def model_of(recipe=TINY):
    torch.manual_seed(0)
    return build(recipe)


@pytest.fixture(scope="module")
def model():
    return model_of().eval()


@pytest.fixture(scope="module")
def faces():
    return torch.rand(3, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def codes(model, faces):
    with torch.no_grad():
        return model.encode(faces)


def fitted(rows=4, lighting_size=9):
    """A batch of made-up labels; the last row has none, the third is not frontal."""
    random = torch.Generator().manual_seed(2)

    def noise(*shape):
        return torch.randn(rows, *shape, generator=random)

    mask = torch.zeros(rows, 1, SIZE, SIZE)
    mask[..., 3:14, 4:12] = 1
    batch = FittedBatch(
        faces=torch.rand(rows, 3, SIZE, SIZE, generator=random),
        rotation=rotation_matrix(10 * noise(3)),
        identity=noise(6),
        expression=noise(5),
        shape=noise(3, VERTICES),
        normals=F.normalize(noise(3, SIZE, SIZE)) * mask,
        lighting=0.3 * noise(lighting_size),
        mask=mask,
        frontal=torch.tensor([True, True, False, False])[:rows],
    )
    for labels in batch[1:-1]:
        labels[-1] = torch.nan
    return batch


class TinyRecogniser(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.project = nn.Linear(3 * 16, 5)

    def forward(self, faces):
        return self.project(F.adaptive_avg_pool2d(faces, 4).flatten(1))


def stage_of(model, weights=WEIGHTS, rate=1e-3, balance_rate=1e-3) -> NeuroTensorialStage:
    torch.manual_seed(3)
    return NeuroTensorialStage(
        model,
        Discriminator((4, 4, 4), 128, SIZE),
        Frozen(TinyRecogniser()),
        weights,
        0.5,
        balance_rate,
        Schedule(rate, (10_000,)),
    )


# Model


def test_codes_and_what_they_are_called(model, codes, faces):
    assert model.spec.name == "neurotensorial"
    shapes = {name: factor.shape for name, factor in model.spec.factors.items()}
    assert shapes == {
        "identity": (80,), "expression": (15,), "pose": (9,), "illumination": (9,)
    }  # fmt: skip
    for name, shape in shapes.items():
        assert codes[name].shape == (3, *shape) and codes[name].dtype == torch.float32
    assert codes.residual["mask"].shape == (3, 1, SIZE, SIZE)
    assert codes.residual["background"].shape == faces.shape
    with pytest.raises(ValueError, match="identity"):
        model.neutral("identity")


def test_a_face_is_put_together_from_its_parts(model, codes):
    drawn = model.render(codes)
    assert torch.equal(drawn.image, model.decode(codes))
    face = (drawn.albedo * drawn.shading).clamp(0, 1)
    torch.testing.assert_close(
        drawn.image, (drawn.mask * face + (1 - drawn.mask) * drawn.background).clamp(0, 1)
    )
    torch.testing.assert_close(drawn.normals.norm(dim=1).clamp(max=1), torch.ones(3, SIZE, SIZE),
                               atol=1e-4, rtol=0)  # fmt: skip
    assert drawn.albedo.min() > 0 and drawn.normals[:, 2].min() > 0


def test_albedo_and_normals_come_from_the_rotated_synthesis(model, codes):
    rotation = rotation_matrix(torch.tensor([[30.0, 10.0, -5.0]])).expand(3, 3, 3)
    turned = codes.replace({"pose": rotation.flatten(1)})
    features = rotate(synthesis(codes["expression"], codes["identity"]), rotation)
    drawn = model.render(turned)
    albedo = (model.albedo_decoder(features) + 0.5).clamp(min=1e-6)
    torch.testing.assert_close(drawn.albedo, albedo, rtol=1e-3, atol=1e-5)
    xy = model.normal_decoder(features).clamp(-1, 1)
    torch.testing.assert_close(drawn.normals[:, :2], xy, rtol=1e-3, atol=1e-5)
    frontal = codes.replace({"pose": model.neutral("pose").expand(3, -1)})
    still = model.light_face(*(frontal[name] for name in model.spec.factors))
    torch.testing.assert_close(model.render(frontal).normals, still[1], rtol=1e-4, atol=1e-5)


def test_any_pose_code_is_drawn_as_the_nearest_rotation(model, codes):
    rotation = rotation_matrix(torch.tensor([[40.0, 0.0, 0.0], [0.0, 20.0, 5.0], [9.0, 9.0, 9.0]]))
    exact = model.decode(codes.replace({"pose": rotation.flatten(1)}))
    longer = model.decode(codes.replace({"pose": 2 * rotation.flatten(1)}))
    torch.testing.assert_close(longer, exact, rtol=1e-3, atol=1e-4)


def test_training_draws_the_pose_code_as_it_is(model, faces):
    """Near a rotation both ways agree; the encoder is not asked to be on it."""
    read, places = model.read(faces)
    rotation = rotation_matrix(torch.tensor([[20.0, 5.0, 0.0]])).expand(3, 3, 3)
    on = read._replace(pose=rotation.flatten(1))
    same = model.encode(faces).replace({"pose": on.pose})
    torch.testing.assert_close(
        model.draw(on, places).image, model.decode(same), rtol=1e-3, atol=1e-4
    )
    off = model.draw(read._replace(pose=2 * on.pose), places).image
    assert (off - model.decode(same)).abs().max() > 1e-3


def test_light_from_another_face_changes_the_shading_only(model, codes):
    source = type(codes)({n: c.roll(1, 0) for n, c in codes.codes.items()}, codes.residual)
    relit = model.render(editing.transfer(codes, source, ["illumination"], model.spec))
    before = model.render(codes)
    for part in ("albedo", "normals", "mask", "background"):
        assert torch.equal(getattr(relit, part), getattr(before, part))
    assert not torch.equal(relit.shading, before.shading)
    light = model.lighting(codes["illumination"].roll(1, 0))
    expected = model.render(codes.replace({"illumination": model.illumination_of(light)}))
    torch.testing.assert_close(relit.shading, expected.shading, rtol=1e-3, atol=1e-4)


def test_light_is_turned_into_codes_and_back():
    for colours in (1, 3):
        model = model_of(replace(TINY, lighting_colours=colours))
        with torch.no_grad():
            model.to_lighting.weight.add_(0.1 * torch.randn_like(model.to_lighting.weight))
        illumination = torch.randn(4, 9)
        light = model.lighting(illumination)
        assert light.shape == (4, 9 * colours)
        torch.testing.assert_close(model.illumination_of(light), illumination, rtol=1e-3, atol=1e-4)
        grey = torch.randn(4, 9)
        both = model.illumination_of(grey), model.illumination_of(grey.repeat(1, 3))
        torch.testing.assert_close(*both, rtol=1e-3, atol=1e-4)


def test_a_pose_takes_its_mask_along_and_leaves_the_background(model, codes):
    source = type(codes)(
        {n: c.roll(1, 0) for n, c in codes.codes.items()},
        {n: r.roll(1, 0) for n, r in codes.residual.items()},
    )
    turned = editing.transfer(codes, source, ["pose"], model.spec)
    assert torch.equal(turned.residual["mask"], source.residual["mask"])
    assert torch.equal(turned.residual["background"], codes.residual["background"])
    smiling = editing.transfer(codes, source, ["expression"], model.spec)
    assert torch.equal(smiling.residual["mask"], codes.residual["mask"])
    alone = model.render(type(codes)(codes.codes))
    assert torch.equal(alone.image, alone.face)  # without a mask the face fills the square


def test_interpolation_ends_at_the_faces_and_stays_on_rotations(model, codes):
    ends = [type(codes)({n: c[k : k + 1] for n, c in codes.codes.items()}) for k in (0, 1)]
    rotations = rotation_matrix(torch.tensor([[-30.0, 5.0, 0.0], [40.0, 0.0, 10.0]]))
    ends = [e.replace({"pose": r.flatten()[None]}) for e, r in zip(ends, rotations, strict=True)]
    names = list(model.spec.factors)
    path = editing.interpolate(*ends, names, (0.0, 0.5, 1.0), model.spec)
    for name in names:
        torch.testing.assert_close(path[name][0], ends[0][name][0])
        torch.testing.assert_close(path[name][2], ends[1][name][0])
    drawn = model.decode(path)
    torch.testing.assert_close(drawn[:1], model.decode(ends[0]), rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(drawn[2:], model.decode(ends[1]), rtol=1e-3, atol=1e-4)
    left, _, right = torch.linalg.svd(path["pose"][1].reshape(3, 3))
    halfway = left @ right
    expected = geodesic_distance(rotations[0], rotations[1]) / 2
    torch.testing.assert_close(geodesic_distance(rotations[0], halfway), expected)
    torch.testing.assert_close(geodesic_distance(halfway, rotations[1]), expected)


def test_an_untrained_face_is_frontal_and_lit_evenly(model, codes):
    """Where training starts: a black face would have no gradient, nor would a matrix near 0."""
    angle = geodesic_distance(codes["pose"].reshape(3, 3, 3), torch.eye(3))
    assert angle.max() < 20
    assert (model.render(codes).shading.mean(dim=(1, 2, 3)) - 0.75).abs().max() < 0.2


def test_normals_branch_is_the_mean_over_the_light_slots_of_q(model, codes):
    """Eq. 5: light replaced by 1/9 in each slot."""
    identity, expression = codes["identity"], codes["expression"]
    slots = [
        model.frontal(identity, expression, torch.eye(9)[k].expand(3, 9))
        for k in range(ILLUMINATION)
    ]
    normals = model.frontal(identity, expression, None)
    torch.testing.assert_close(normals, torch.stack(slots).mean(dim=0))
    unit = model.frontal_normals(codes)
    torch.testing.assert_close(unit, F.normalize(normals))
    drawn = model.frontal(identity, expression, codes["illumination"])
    torch.testing.assert_close(model.frontal_face(codes), (drawn / 2 + 0.5).clamp(0, 1))


def test_shapes_are_products_of_expression_and_identity(model, codes):
    shape = model.shape(codes["identity"], codes["expression"])
    assert shape.shape == (3, 3, VERTICES)
    for scale in (-1.0, 2.0):
        torch.testing.assert_close(
            model.shape(codes["identity"], scale * codes["expression"]), scale * shape
        )
    identity, expression = model.coefficients(codes)
    assert identity.shape == (3, 6) and expression.shape == (3, 5)


def test_published_sizes():
    """506 MiB of Q are counted, not allocated."""
    with torch.device("meta"):
        paper = build(PRESETS["paper"])
    assert paper.face_core.weight.shape == (12_288, 10_800)
    assert paper.face_core.weight.numel() == 132_710_400 and paper.face_core.bias is None
    assert paper.shape_core.weight.shape == (28_125, 1200)
    assert paper.shape_core.weight.numel() == 33_750_000 and paper.shape_core.bias is None
    assert paper.to_expression_modes.out_features == 28
    assert paper.to_identity_modes.out_features == 157
    assert paper.to_lighting.out_features == 27
    heads = (paper.to_background, paper.to_mask, paper.to_identity, paper.to_expression)
    assert [head.out_features for head in heads] == [128, 128, 80, 15]


def test_small_is_small():
    with torch.device("meta"):
        small = build(PRESETS["small"])
    assert sum(weight.numel() for weight in small.parameters()) < 10e6
    assert small.to_expression_modes.out_features == 57  # ICT-FaceKit
    assert small.to_identity_modes.out_features == 100


# The step

BY_LIGHT = {"to_illumination", "to_lighting"}
CODES = {"to_identity", "to_expression"}
ALBEDO = CODES | {"to_pose", "albedo_decoder"}
NORMALS = CODES | {"to_pose", "normal_decoder"}
MASK = {"to_mask", "mask_decoder"}
IMAGE = ALBEDO | NORMALS | BY_LIGHT | MASK | {"to_background", "background_decoder"}
REACHED = {  # beside the encoder
    "reconstruction": IMAGE,
    "image": IMAGE,
    "face": ALBEDO | NORMALS | BY_LIGHT,
    "adversarial": IMAGE,
    "verification": IMAGE,
    "pose": {"to_pose"},
    "expression": {"to_expression", "to_expression_modes"},
    "identity": {"to_identity", "to_identity_modes"},
    "shape": CODES | {"shape_core"},
    "frontal_face": CODES | {"to_illumination", "face_core"},
    "frontal_normals": CODES | {"face_core"},
    "normals": NORMALS,
    "normals_smoothness": NORMALS,
    "unit_norm": NORMALS,
    "albedo_smoothness": ALBEDO,
    "lighting": BY_LIGHT,
    "white_shading": NORMALS | BY_LIGHT,
    "mask": MASK,
    "mask_smoothness": MASK,
}


def part_of(name):
    """model.encoder.to_code.bias -> encoder"""
    return name.removeprefix("model.").split(".")[0]


def watch(module, folder, batches):
    """Train, and see which parts have a gradient as each optimiser steps, and which then differ."""
    seen = []
    configure = module.configure_optimizers

    def snapshot():
        return {name: weight.detach().clone() for name, weight in module.named_parameters()}

    def before(*_):
        reached = {part_of(n) for n, w in module.named_parameters() if w.grad is not None}
        seen.append([reached, snapshot()])

    def after(*_):
        now = snapshot()
        seen[-1][1] = {part_of(n) for n, w in seen[-1][1].items() if not torch.equal(w, now[n])}

    def configured():
        optimizers, schedules = configure()
        for optimizer in optimizers:
            optimizer.register_step_pre_hook(before)
            optimizer.register_step_post_hook(after)
        return optimizers, schedules

    module.configure_optimizers = configured
    metrics = fit(module, batches, folder)
    return [tuple(each) for each in seen], metrics


@pytest.mark.parametrize("name", REACHED)
def test_each_term_reaches_its_own_networks(name, tmp_path):
    """As the paper routes it; D and V are looked through, and never reached by the generator."""
    module = stage_of(model_of(), replace(NOTHING, **{name: 1.0}))
    batch = fitted()
    found, _ = watch(module, tmp_path, [batch])
    assert found[0] == ({"encoder"} | REACHED[name],) * 2
    discriminated = [({"discriminator"}, {"discriminator"})] if name == "adversarial" else []
    assert found[1:] == discriminated
    assert all(weight.grad is None for weight in module.parameters())


def test_all_weights_are_reached_by_all_terms(tmp_path):
    module = stage_of(model_of())
    without = []
    configure = module.configure_optimizers

    def configured():
        optimizers, schedules = configure()
        for optimizer in optimizers:
            optimizer.register_step_pre_hook(
                lambda o, *_: without.extend(
                    w for w in o.param_groups[0]["params"] if w.grad is None
                )
            )
        return optimizers, schedules

    module.configure_optimizers = configured
    fit(module, [fitted()], tmp_path)
    assert without == []
    trained = {id(w) for o in configure()[0] for w in o.param_groups[0]["params"]}
    assert not trained & {id(w) for w in module.recogniser.parameters()}


def test_the_step_of_d_leaves_the_encoder(tmp_path):
    """And that of the encoder leaves D: each optimiser moves what only its own loss reaches."""
    found, metrics = watch(stage_of(model_of()), tmp_path, [fitted()])
    everything = {"encoder"} | set().union(*REACHED.values())
    assert found == [(everything, everything), ({"discriminator"}, {"discriminator"})]
    logged = {name.removeprefix("generator/") for name in metrics if name.startswith("generator/")}
    assert logged == {field.name for field in dataclasses.fields(Weights)}
    total = sum(v for n, v in metrics.items() if n.split("/")[0] in ("generator", "discriminator"))
    torch.testing.assert_close(metrics["loss"], total)


def test_terms_of_the_discriminator_and_its_balance_step_by_step():
    """k is 0 in the first step, what the first step's errors made it in the second."""
    module = stage_of(model_of(), balance_rate=0.5)
    silence(module)
    faces, fakes = fitted().faces, torch.rand(4, 3, SIZE, SIZE)
    with torch.no_grad():
        real = (faces - module.discriminator(faces)).abs().mean()
        fake = (fakes - module.discriminator(fakes)).abs().mean()
        first = module.discriminator_terms(faces, fakes)
        torch.testing.assert_close(first["real"], real)
        assert first["fake"] == 0
        balance = (0.5 * (0.5 * real - fake)).clamp(0, 1)
        torch.testing.assert_close(module.balance, balance)
        module.balance.fill_(0.25)
        second = module.discriminator_terms(faces, fakes)
    torch.testing.assert_close(second["fake"], -0.25 * fake)
    assert "balance" in module.state_dict()  # a run that continues has it


def terms_of(module, batch):
    codes, places = module.model.read(batch.faces)
    return module.generator_terms(batch, codes, module.model.draw(codes, places))


def whole(core):
    """The unfolded core (outputs, inputs) of its two factors."""
    return core[1].weight @ core[0].weight


@torch.no_grad()
def test_terms_against_a_literal_reading():
    """Those with a formula of their own in the paper (Eq. 8 to 14), over rows that are known."""
    module = stage_of(model_of())
    model, batch = module.model, fitted()
    found = terms_of(module, batch)
    codes, places = model.read(batch.faces)
    image = model.draw(codes, places).image
    core = whole(model.face_core).unflatten(1, (9, 15, 80))  # Q
    shape_core = whole(model.shape_core).unflatten(1, (15, 80))  # B
    literal = dict.fromkeys(
        ("pose", "expression", "identity", "shape", "frontal_face", "frontal_normals"), 0.0
    )
    for n in range(3):  # the fourth row has no labels
        z_p, z_exp, z_id, z_l = (
            codes.pose[n], codes.expression[n], codes.identity[n], codes.illumination[n]
        )  # fmt: skip
        z_3d = shape_core @ z_id @ z_exp
        literal["pose"] += (z_p.reshape(3, 3) - batch.rotation[n]).square().mean() / 3
        fc_exp = model.to_expression_modes(z_exp)
        literal["expression"] += (fc_exp - batch.expression[n]).square().mean() / 3
        fc_id = model.to_identity_modes(z_id)
        literal["identity"] += (fc_id - batch.identity[n]).square().mean() / 3
        literal["shape"] += (z_3d - batch.shape[n].flatten()).square().mean() / 3
        if n == 2:  # seen from the side
            continue
        seen = (2 * batch.faces[n] - 1) * batch.mask[n]
        x_f = core @ z_id @ z_exp @ z_l
        n_f = (core @ z_id @ z_exp).mean(dim=1)
        literal["frontal_face"] += (x_f - seen.flatten()).square().mean() / 2
        literal["frontal_normals"] += (n_f - batch.normals[n].flatten()).square().mean() / 2
    redrawn = module.discriminator(image)
    literal["adversarial"] = 0.1 * (image - redrawn).abs().mean()
    cosines = F.cosine_similarity(module.recogniser(image), module.recogniser(batch.faces))
    literal["verification"] = 0.1 * (1 - cosines).mean()
    literal["reconstruction"] = (image - batch.faces).square().mean()
    literal["image"] = 2 * (image - batch.faces).abs().mean()
    for name, value in literal.items():
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-6, msg=name)


def test_faces_without_labels_still_teach_drawing(tmp_path):
    batch = fitted()
    unknown = FittedBatch(
        batch.faces,
        *(torch.full_like(labels, torch.nan) for labels in batch[1:-1]),
        frontal=torch.zeros(4, dtype=torch.bool),
    )
    module = stage_of(model_of())
    metrics = fit(module, [unknown], tmp_path)
    moving = {n.removeprefix("generator/") for n, v in metrics.items() if n.startswith("gen") and v}
    drawing = {"reconstruction", "image", "adversarial", "verification", "unit_norm"}
    assert moving == drawing | {"mask_smoothness"}
    assert all(weight.isfinite().all() for weight in module.parameters())
    assert not module.model.neutral_expression.any()  # nobody is known to be neutral


@pytest.mark.parametrize("colours", [1, 3])
@pytest.mark.parametrize("lighting_size", [9, 27])
def test_grey_and_coloured_light_go_with_both_kinds_of_labels(colours, lighting_size):
    module = stage_of(model_of(replace(TINY, lighting_colours=colours)))
    terms = terms_of(module, fitted(lighting_size=lighting_size))
    assert all(term.isfinite() for term in terms.values()) and terms["lighting"] > 0


def test_neutral_codes_are_those_of_the_plainest_quarter():
    codes = torch.arange(5.0)[:, None].repeat(1, 15)
    labels = torch.tensor([[3.0, 0.0], [0.1, -0.1], [torch.nan, 0.0], [0.0, 1.0], [-9.0, 0.0]])
    assert plain_codes(codes, labels)[:, 0].tolist() == [1.0]
    assert len(plain_codes(codes, labels * torch.nan)) == 0
    running = torch.zeros(15)
    follow(running, torch.full((2, 15), 4.0))
    assert running.tolist() == [4.0] * 15  # the first codes set it
    follow(running, torch.full((1, 15), 5.0))
    torch.testing.assert_close(running, torch.full((15,), 4.01))
    follow(running, torch.empty(0, 15))
    torch.testing.assert_close(running, torch.full((15,), 4.01))


def test_neutral_codes_follow_training(tmp_path):
    module = stage_of(model_of())
    batch = fitted()
    with torch.no_grad():
        read, _ = module.model.read(batch.faces)
    plain = batch.expression[:3].norm(dim=1).argmin()
    fit(module, [batch], tmp_path)
    model = module.model
    torch.testing.assert_close(model.neutral("expression"), read.expression[plain])
    torch.testing.assert_close(model.neutral("illumination"), read.illumination.mean(dim=0))


def test_a_few_steps_lower_the_loss(tmp_path):
    module = stage_of(model_of(), rate=3e-3)
    batch = fitted()
    with torch.no_grad():
        before = terms_of(module, batch)
    fit(module, [batch] * 30, tmp_path)
    with torch.no_grad():
        after = terms_of(module, batch)
    small_from_the_start = {name for name in before if before[name] < 0.02 and name != "pose"}
    assert small_from_the_start <= {
        "adversarial", "verification", "white_shading", "unit_norm",
        "albedo_smoothness", "normals_smoothness", "mask_smoothness",
    }  # fmt: skip
    for name in before.keys() - small_from_the_start:
        assert after[name] < before[name], name
    assert sum(after.values()) < 0.8 * sum(before.values())


def test_a_step_in_bfloat16_is_near_the_exact_one():
    """As the machines train: convolutions in bfloat16, all that is summed in float32."""
    module, batch = stage_of(model_of()), fitted()
    found = []
    for precise in (True, False):
        with torch.autocast("cpu", torch.bfloat16, enabled=not precise):
            terms = terms_of(module, batch)
            loss = torch.stack(list(terms.values())).sum()
        learnt = [w for n, w in module.model.named_parameters()]
        gradients = torch.autograd.grad(loss, learnt)
        assert all(term.dtype == torch.float32 for term in terms.values())
        found.append((terms, torch.cat([g.flatten() for g in gradients])))
    (exact, gradient), (rounded, rounded_gradient) = found
    for name, term in exact.items():
        torch.testing.assert_close(rounded[name], term, rtol=0.03, atol=0.003, msg=name)
    assert F.cosine_similarity(gradient, rounded_gradient, dim=0) > 0.98


# Recipes


def test_published_weights():
    weights = PRESETS["paper"].weights
    published = {  # of Neural Face Editing; the paper prints none
        "face": 4, "image": 2, "albedo_smoothness": 0.2, "normals": 0.2, "normals_smoothness": 0.2,
        "unit_norm": 5, "lighting": 5, "white_shading": 1, "mask": 5, "mask_smoothness": 2,
    }  # fmt: skip
    assert {name: getattr(weights, name) for name in published} == published
    assert (PRESETS["paper"].balance_ratio, PRESETS["paper"].balance_rate) == (0.5, 1e-3)


def test_all_networks_learn_at_one_rate_that_drops():
    *_, stage = stages(replace(TINY, images=3200, batch_size=32, drop_at=(0.5,)), model_of())
    optimizers, schedules = stage.module().configure_optimizers()
    assert [o.param_groups[0]["betas"] for o in optimizers] == [(0.5, 0.999)] * 2
    for step in range(51):
        expected = TINY.learning_rate * (0.1 if step == 50 else 1)
        assert all(o.param_groups[0]["lr"] == pytest.approx(expected) for o in optimizers)
        for optimizer, schedule in zip(optimizers, schedules, strict=True):
            optimizer.step()
            schedule.step()


def test_nobody_judges_at_first():
    recipe = replace(TINY, unjudged_images=320, images=3200, batch_size=32)
    first, main = stages(recipe, model_of())
    assert (first.name, first.steps, main.steps) == ("unjudged", 10, 100)
    alone, judged = first.module(), main.module()
    assert alone.discriminator is None and alone.recogniser is None
    assert judged.discriminator is not None and judged.recogniser is not None
    changed = {
        name for name, weight in vars(alone.weights).items() if weight != getattr(WEIGHTS, name)
    }
    assert changed == {"adversarial", "verification"}
    optimizers, schedules = alone.configure_optimizers()
    assert len(optimizers) == 1 and schedules[0].milestones == {}  # the rate drops in the end only
    (only,) = stages(replace(recipe, unjudged_images=0), model_of())
    assert only.name == "main"


def test_the_packaged_recogniser_verifies_unless_another_is_named(monkeypatch, tmp_path):
    assert recipes.load_instrument(TINY) is None
    *_, stage = stages(TINY, model_of())
    network = stage.module().recogniser
    assert isinstance(network, Frozen) and isinstance(network.network, Reframed)
    embeddings = network(torch.rand(2, 3, SIZE, SIZE))
    assert embeddings.ndim == 2 and len(embeddings) == 2
    monkeypatch.setenv("FACEFACTOR_WEIGHTS", str(tmp_path))
    with pytest.raises(InstrumentError, match="mobilefacenet"):
        recipes.load_instrument(replace(TINY, instrument="mobilefacenet"))
    unverified = replace(TINY, weights=replace(WEIGHTS, verification=0.0))
    assert stages(unverified, model_of())[-1].module().recogniser is None


def test_light_of_two_colours_is_refused():
    with pytest.raises(ValueError, match="lighting_colours is 2"):
        build(replace(TINY, lighting_colours=2))


@pytest.mark.parametrize("recipe", [TINY, TINY_PROOF, TINY_TURNED], ids=lambda r: r.network)
def test_one_line_registers_it(recipe, faces, monkeypatch, tmp_path):
    """Saved and built again as any method is, once METHODS names it."""
    monkeypatch.setitem(METHODS, "neurotensorial", recipes)
    model = recipes.begin(recipe, None).eval()
    header = CheckpointHeader("neurotensorial", "small", dataclasses.asdict(recipe), model.spec)
    checkpoints.save(tmp_path / "m.safetensors", model.state_dict(), header)
    again = checkpoints.build_model(tmp_path / "m.safetensors")
    assert again.spec == model.spec
    with torch.inference_mode():
        assert torch.equal(again.decode(again.encode(faces)), model.decode(model.encode(faces)))


# Proof of concept


def rendered(rows=4):
    random = torch.Generator().manual_seed(4)
    shape = (rows, 3, SIZE, SIZE)
    return RenderedBatch(
        faces=torch.rand(shape, generator=random),
        rotation=rotation_matrix(20 * torch.randn(rows, 3, generator=random)),
        identity=torch.randn(rows, 6, generator=random),
        expression=torch.randn(rows, 5, generator=random),
        texture=torch.rand(shape, generator=random),
    )


@pytest.mark.parametrize("recipe", [TINY_PROOF, TINY_TURNED], ids=lambda r: r.network)
def test_the_proof_of_concept_learns(recipe, tmp_path):
    model = model_of(recipe)
    (stage,) = stages(replace(recipe, learning_rate=3e-3), model)
    module, batch = stage.module(), rendered()
    assert isinstance(module, ProofStage)
    before = module.terms(batch)
    assert ("pose" in before) == (recipe is TINY_TURNED)
    metrics = fit(module, [batch] * 30, tmp_path)
    after = module.terms(batch)
    for name, term in after.items():
        assert term < before[name], name
        assert f"loss/{name}" in metrics
    sum(after.values()).backward()
    assert all(weight.grad is not None for weight in model.parameters())
    assert model.neutral("expression").any()


def test_frontal_faces_are_a_projection_and_turned_ones_are_decoded(faces):
    """Fig. 3a against 3b; texture is a matter of identity alone in both."""
    frontal, turned = model_of(TINY_PROOF).eval(), model_of(TINY_TURNED).eval()
    assert set(frontal.spec.factors) == {"identity", "expression"}
    assert set(turned.spec.factors) == {"identity", "expression", "pose"}
    with pytest.raises(ValueError, match="pose"):
        frontal.neutral("pose")
    codes = frontal.encode(faces)
    drawn = frontal.draw(codes["identity"], codes["expression"], None)
    doubled = frontal.draw(codes["identity"], 2 * codes["expression"], None)
    torch.testing.assert_close(2 * doubled - 1, 2 * (2 * drawn - 1))  # bilinear
    torch.testing.assert_close(frontal.decode(codes), drawn.clamp(0, 1))
    codes = turned.encode(faces)
    rotation = rotation_matrix(torch.tensor([[45.0, 0.0, 0.0]])).expand(3, 3, 3)
    away = codes.replace({"pose": rotation.flatten(1)})
    features = rotate(synthesis(codes["expression"], codes["identity"]), rotation)
    expected = ((turned.image_decoder(features) + 1) / 2).clamp(0, 1)
    torch.testing.assert_close(turned.decode(away), expected, rtol=1e-3, atol=1e-4)
    assert torch.equal(turned.texture(away), turned.texture(codes))
    identity, expression = turned.coefficients(codes)
    assert identity.shape == (3, 6) and expression.shape == (3, 5)


def test_the_proof_of_concept_has_published_sizes():
    with torch.device("meta"):
        frontal, turned = (build(PRESETS["paper-proof" + kind]) for kind in ("", "-turned"))
    assert frontal.image_decoder[0].weight.shape == (12_288, 1200)
    assert turned.image_decoder.from_code.in_features == 1200
    assert frontal.texture_decoder.from_code.in_features == 80
