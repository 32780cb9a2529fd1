"""What every method promises, whatever its paper: each entry of METHODS, no skip list."""

from __future__ import annotations

import copy
import dataclasses

import pytest
import torch
from lightning import Trainer
from torch.utils.data import DataLoader

from facefactor import checkpoints, editing
from facefactor.checkpoints import CheckpointHeader
from facefactor.data.samples import FittedBatch, LabelledBatch, NeutralisedBatch, NormalizedBatch
from facefactor.factors import encode_code, encode_codes
from facefactor.geometry.rotations import rotation_matrix
from facefactor.methods import METHODS
from facefactor.nn.enlarging import EnlargingConvolution
from facefactor.nn.inference import quicken
from facefactor.perception.align import CROPS

FACTORS = ("identity", "expression", "pose", "illumination")


@pytest.fixture(scope="module", params=METHODS)
def method(request):
    return request.param


@pytest.fixture(scope="module")
def model(method):
    """The `small` preset, untrained: real sizes, a fixed seed."""
    recipes = METHODS[method]
    torch.manual_seed(0)
    return recipes.build(recipes.PRESETS["small"]).eval()


@pytest.fixture(scope="module")
def faces(model):
    spec = model.spec
    random = torch.Generator().manual_seed(1)
    return torch.rand(3, spec.channels, spec.image_size, spec.image_size, generator=random)


@pytest.fixture(scope="module")
def codes(model, faces):
    with torch.inference_mode():
        return model.encode(faces)


def test_both_sizes_are_there(method):
    assert {"small", "paper"} <= METHODS[method].PRESETS.keys()


def test_recipes_are_frozen_values(method):
    for recipe in METHODS[method].PRESETS.values():
        with pytest.raises(dataclasses.FrozenInstanceError):
            recipe.batch_size = 1


def test_spec_is_of_this_method_and_a_known_crop(method, model):
    assert model.spec.name == method
    assert model.spec.crop in CROPS
    assert set(model.spec.factors) <= set(FACTORS)


def test_codes_have_the_declared_shapes(model, codes):
    assert set(codes.codes) == set(model.spec.factors)
    for name, factor in model.spec.factors.items():
        assert codes[name].shape == (3, *factor.shape)
        assert codes[name].dtype == torch.float32


def test_codes_without_the_residual_are_the_same(model, faces, codes):
    with torch.inference_mode():
        alone = encode_codes(model, faces)
    assert alone.codes.keys() == codes.codes.keys()
    assert all(torch.equal(alone[name], codes[name]) for name in codes.codes)


def test_one_code_alone_is_the_same(model, faces, codes):
    with torch.inference_mode():
        for name, code in codes.codes.items():
            assert torch.equal(encode_code(model, faces, name), code)


def test_it_is_the_same_where_it_is_only_used(model, faces, codes):
    with torch.inference_mode():
        quick = quicken(copy.deepcopy(model))
        assert not any(isinstance(part, EnlargingConvolution) for part in quick.modules())
        found = quick.encode(faces)
        for name in codes.codes:
            torch.testing.assert_close(found[name], codes[name], rtol=1e-3, atol=1e-4)
        drawn = quick.decode(codes)
        torch.testing.assert_close(drawn, model.decode(codes), rtol=1e-3, atol=1e-3)


def test_owned_residual_entries_exist(model, codes):
    for factor in model.spec.factors.values():
        assert set(factor.owns) <= set(codes.residual)


def test_decoded_faces_are_faces(model, faces, codes):
    with torch.inference_mode():
        decoded = model.decode(codes)
    assert decoded.shape == faces.shape
    assert decoded.min() >= 0 and decoded.max() <= 1


def test_decoding_needs_no_photo(model, codes):
    """Codes alone are enough, as interpolation between people drops the residual."""
    with torch.inference_mode():
        decoded = model.decode(type(codes)(codes.codes))
    assert decoded.isfinite().all()


def test_eval_is_deterministic(model, faces):
    with torch.inference_mode():
        first, second = (model.decode(model.encode(faces)) for _ in range(2))
    assert torch.equal(first, second)


def test_a_batch_of_one_is_the_same_face(model, faces, codes):
    with torch.inference_mode():
        alone = model.encode(faces[1:2])
        together = model.decode(codes)[1:2]
        torch.testing.assert_close(model.decode(alone), together, rtol=1e-3, atol=1e-4)
    for name in model.spec.factors:
        torch.testing.assert_close(alone[name], codes[name][1:2], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", FACTORS)
def test_an_undeclared_factor_is_refused(model, codes, name):
    if name in model.spec.factors:
        assert codes[name] is not None
        return
    with pytest.raises(KeyError, match=name):
        codes[name]
    with pytest.raises(ValueError, match=name):
        model.neutral(name)
    with pytest.raises(editing.FactorError, match=name):
        editing.transfer(codes, codes, [name], model.spec)


def test_transfer_moves_one_code_and_what_it_owns(model, codes):
    for name, factor in model.spec.factors.items():
        source = type(codes)(
            {n: c.roll(1, 0) for n, c in codes.codes.items()},
            {n: r.roll(1, 0) for n, r in codes.residual.items()},
        )
        moved = editing.transfer(codes, source, [name], model.spec)
        for other in model.spec.factors:
            expected = source if other == name else codes
            assert torch.equal(moved[other], expected[other])
        for entry in codes.residual:
            expected = source if entry in factor.owns else codes
            assert torch.equal(moved.residual[entry], expected.residual[entry])


def test_neutral_codes_fit_and_stay_neutral(model, codes):
    removable = 0
    for name, factor in model.spec.factors.items():
        try:
            neutral = model.neutral(name)
        except ValueError:
            continue
        removable += 1
        assert neutral.shape == factor.shape
        once = editing.set_strength(codes, model, name, 0.0)
        twice = editing.set_strength(once, model, name, 0.0)
        assert torch.equal(once[name], twice[name])
        torch.testing.assert_close(once[name][0], neutral)
    # where a code tells nothing but the person, decoding itself removes all else
    only_a_person = set(model.spec.factors) == {"identity"}
    assert removable or only_a_person, "a face editor removes something"


def test_edit_flow_of_no_edit_is_zero(model, codes):
    if hasattr(model, "edit_flow"):
        with torch.inference_mode():
            assert model.edit_flow(codes, codes).abs().max() < 1e-5


def test_saved_and_built_again_it_is_the_same(method, model, faces, codes, tmp_path):
    recipe = METHODS[method].PRESETS["small"]
    header = CheckpointHeader(method, "small", dataclasses.asdict(recipe), model.spec)
    checkpoints.save(tmp_path / "m.safetensors", model.state_dict(), header)
    again = checkpoints.build_model(tmp_path / "m.safetensors")
    assert again.spec == model.spec
    assert not again.training
    with torch.inference_mode():
        assert torch.equal(again.decode(again.encode(faces)), model.decode(codes))


def test_half_precision_storage_changes_little(method, model, faces, codes, tmp_path):
    recipe = METHODS[method].PRESETS["small"]
    header = CheckpointHeader(method, "small", dataclasses.asdict(recipe), model.spec)
    checkpoints.save(tmp_path / "m.safetensors", model.state_dict(), header, dtype="float16")
    again = checkpoints.build_model(tmp_path / "m.safetensors")
    with torch.inference_mode():
        difference = (again.decode(again.encode(faces)) - model.decode(codes)).abs()
    assert difference.mean() < 0.01


def test_every_stage_moves_weights_and_leaves_the_instrument(method, tmp_path):
    """One step of each stage on the smallest batch: finite loss, something moved, nothing else."""
    recipes = METHODS[method]
    recipe = recipes.PRESETS["small"]
    torch.manual_seed(0)
    model = recipes.build(recipe)
    instrument = TinyFeatures() if recipe.instrument else None
    seen = {name: w.clone() for name, w in instrument.state_dict().items()} if instrument else {}
    for stage in recipes.stages(recipe, model, instrument):
        module = stage.module()
        before = {name: weight.clone() for name, weight in model.state_dict().items()}
        trained = {n for n, p in model.named_parameters() if p.requires_grad}
        loss = fit(module, [batch_of(stage.samples, model.spec)], tmp_path)["loss"]
        assert loss.isfinite()
        after = model.state_dict()
        parameters = dict(model.named_parameters())
        moved = {n for n in parameters if not torch.equal(before[n], after[n])}
        assert moved and moved <= trained
    if instrument is not None:
        assert all(torch.equal(seen[n], w) for n, w in instrument.state_dict().items())


def batch_of(samples, spec):
    """The smallest batch of a kind, as `Stage.samples` names it."""
    face = (spec.channels, spec.image_size, spec.image_size)
    if samples in ("pairs", "faces"):
        return torch.rand(1, 2, *face)
    if samples == "fitted":
        return fitted_batch(face)
    if samples == "normalized":
        return NormalizedBatch(*torch.rand(8, *face).split([2, 2, 2, 2]))
    if samples == "neutralised":
        return NeutralisedBatch(*torch.rand(2, 3, *face))
    assert samples == "labelled"
    landmarks = torch.rand(3, 68, 2)
    landmarks[2] = torch.nan
    return LabelledBatch(
        torch.rand(3, *face),
        subject=torch.tensor([0, -1, 1]),
        expression=torch.tensor([0, 1, -1]),
        landmarks=landmarks,
    )


def fitted_batch(face):
    """Two fitted faces, one of them frontal, and one without a fit."""
    rotation = rotation_matrix(torch.tensor([[5.0, 0, 0], [40, 0, 0], [0, 0, 0]]))
    mask = torch.ones(3, 1, *face[1:])
    labels = [
        rotation,
        torch.randn(3, 100),
        torch.rand(3, 57),
        torch.randn(3, 3, 9375),
        torch.tensor([0.0, 0, 1])[:, None, None] * mask,
        torch.rand(3, 9),
        mask,
    ]
    for label in labels:
        label[2] = torch.nan
    return FittedBatch(torch.rand(3, *face), *labels, frontal=torch.tensor([True, False, False]))


def fit(module, batches, folder):
    """Train as Lightning does, whoever optimises; what the module logged last."""
    trainer = Trainer(
        max_epochs=1,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=False,
        default_root_dir=folder,
    )
    trainer.fit(module, DataLoader(batches, batch_size=None))
    return trainer.callback_metrics


class TinyFeatures(torch.nn.Module):
    """Stands for a feature network: three scales of random projections."""

    def __init__(self) -> None:
        super().__init__()
        self.project = torch.nn.Conv2d(3, 4, 3, 2, padding=1)

    def forward(self, faces):
        maps = self.project(faces)
        return [maps, maps[..., ::2, ::2], maps[..., ::4, ::4]]


def silence(module) -> None:
    """Lightning's log needs a trainer; a step alone has none."""
    module.log = lambda *args, **kwargs: None
    module.log_dict = lambda *args, **kwargs: None
