"""`facefactor evaluate` on rendered faces: from a morphable model's file to tables and pictures."""

import dataclasses
import json

import numpy as np
import pytest
import torch

from facefactor.data.scenes import draw_scenes
from facefactor.data.synthetic import FaceRenderer, synthetic_faces
from facefactor.errors import FaceFactorError
from facefactor.evaluation.solids import SolidFaces, solid_errors
from facefactor.factors import EXPRESSIONS, Factors, FactorSpec, ModelSpec
from facefactor.geometry.morphable import MorphableModelError, write_morphable
from facefactor.geometry.uv_grid import resample
from facefactor.images import photos_to_faces, read_photo
from facefactor.protocols import evaluate, exchange, rendered, synthetic
from facefactor.protocols.exchange import exchanged, rendered_pairs
from facefactor.training.sources import TrainingFaces, rendered_only
from facefactor.training.targets import normalized_samples
from tests.made_heads import egg_model
from tests.made_talking_head import talking_egg
from tests.small_networks import save_neurotensorial


@pytest.fixture(scope="module")
def morphable(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "egg.npz"
    write_morphable(path, talking_egg())
    return path


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "model.safetensors"
    return save_neurotensorial(path, expression_modes=len(talking_egg().expression_names))


def test_truth_floors_and_rivals(weights, morphable, tmp_path, monkeypatch):
    monkeypatch.setattr(synthetic, "PEOPLE", 1)
    tables = evaluate(
        weights, ["synthetic-truth"], [], tmp_path, cache=tmp_path / "cache", morphable=morphable
    )
    rows = {table.model: table for table in tables}
    assert list(rows) == [
        "neurotensorial",
        "neurotensorial, untrained",
        "mean face, frontal, in even light",
        "mean of the truths",
        "fit to the landmarks found",
        "fit to the true landmarks",
    ]
    assert {table.n for table in tables} == {8} and {table.seed for table in tables} == {0}
    assert rows["fit to the landmarks found"].instruments == ("landmarks",)
    assert "--morphable FILE" in tables[0].command
    fitted, mean = rows["fit to the true landmarks"], rows["mean of the truths"]
    for metric in ("normals", "rotation", "mesh, 68 landmarks"):
        assert fitted[metric] < 0.9 * mean[metric], metric
    assert fitted["rotation"] < 4
    assert rows["neurotensorial"]["normals"] > 0
    assert json.loads((tmp_path / "results.json").read_text())[0]["dataset"].startswith("8 rend")
    picture = read_photo(tmp_path / "synthetic-normals.png")
    assert picture.shape[0] > 8 * 140  # two rows of faces and normals, and six who tell


class Oracle:
    """A model that knows the faces it is shown, in their order."""

    def __init__(self, made, grid):
        shapes = {"identity": 5, "expression": made.expression.shape[1], "pose": 9}
        factors = {name: FactorSpec((size,), "") for name, size in shapes.items()}
        self.spec = ModelSpec("oracle", "facecycle", made.faces.shape[1], 3, factors)
        self.made, self.grid, self.next = made, grid, 0

    def encode(self, faces):
        self.rows = range(self.next, self.next + len(faces))
        self.next += len(faces)
        made, rows = self.made, list(self.rows)
        return Factors(
            {
                "identity": made.identity[rows],
                "expression": made.expression[rows],
                "pose": 1.3 * made.rotation[rows].flatten(1),  # no rotation, but near one
                "illumination": made.lighting[rows],
            }
        )

    def coefficients(self, factors):
        return factors["identity"], factors["expression"]

    def render(self, factors):
        made, rows = self.made, list(self.rows)

        @dataclasses.dataclass
        class Drawn:
            normals = 0.9 * made.normals[rows]  # of another length
            mask = 0.8 * made.mask[rows]

        return Drawn()

    def shape(self, identity, expression):
        return (self.grid.vertices(identity, expression) - self.grid.neutral).mT

    def lighting(self, illumination):
        colours = torch.tensor([0.5, 1.0, 1.5])  # grey on average
        return torch.cat([gain * illumination for gain in colours], dim=1)


def test_a_model_that_knows_has_no_error(monkeypatch):
    monkeypatch.setattr(synthetic, "_BATCH", 3)
    source = talking_egg()
    made = synthetic_faces(FaceRenderer(source, "facecycle", 32), [0], ["neutral", "anger"] * 2, 0)
    grid = resample(source)
    told = synthetic.told_by(Oracle(made, grid), photos_to_faces(made.faces), source, grid)
    shape = grid.vertices(made.identity, made.expression)
    truth = SolidFaces(made.normals, made.mask.bool(), made.rotation, shape, made.lighting)
    table = solid_errors(told, truth, grid.landmarks68, "made")
    errors = ("normals", "rotation", "mesh, 68 landmarks", "light, coefficients")
    for metric in (*errors, "mesh, all vertices", "light, shading of a sphere"):
        assert table[metric] == pytest.approx(0, abs=2e-2), metric
    assert table["mask, overlap (intersection over union)"] == 100


def test_landmarks_are_brought_from_one_crop_to_the_other(monkeypatch):
    """A network that is right in its own crop is right in the model's."""
    source, varied = talking_egg(), {"turned": True, "lit": True}
    made = synthetic_faces(FaceRenderer(source, "facecycle", 64), [3, 5], EXPRESSIONS, 0, **varied)
    there = FaceRenderer(source, "arcface", 112)
    seen = [synthetic_faces(there, [number], EXPRESSIONS, 0, **varied) for number in (3, 5)]
    truths = iter([each.landmarks.flatten(1) for each in seen])
    monkeypatch.setattr(synthetic, "encode_faces", lambda network, faces: next(truths))
    found = synthetic._found_landmarks(made, source, varied, seed=0)
    torch.testing.assert_close(found, made.landmarks, atol=1e-4, rtol=1e-3)
    assert (seen[0].landmarks - made.landmarks[:8]).abs().max() > 0.05


def test_exchanges_of_all_factors(weights, morphable, tmp_path, monkeypatch):
    monkeypatch.setattr(exchange, "PAIRS", 8)
    tables = evaluate(
        weights, ["synthetic-exchange"], [], tmp_path, cache=tmp_path / "cache", morphable=morphable
    )
    factors = ("identity", "expression", "pose", "illumination")
    assert [(table.protocol.split()[0], table.model) for table in tables] == [
        (factor, model)
        for factor in factors
        for model in ("neurotensorial", "neurotensorial, untrained")
    ]
    for table in tables:
        assert table.n == 8 and 5 < table["PSNR, photo as it is"] < 60
        assert {f"{factor} moved, exchanged" for factor in factors} <= {
            score.metric for score in table.scores
        }
    picture = read_photo(tmp_path / "synthetic-exchange.png")
    assert picture.shape[0] > 11 * 140  # both faces, redrawn; each exchange and its truth


@pytest.fixture(scope="module")
def renderer():
    return FaceRenderer(talking_egg(), "facecycle", 32)


def spec(**factors):
    return ModelSpec("made", "facecycle", 32, 3, factors)


def test_exchanging_everything_gives_the_other_face(renderer):
    """But for what lies behind it, which is nobody's."""
    scenes, others = (
        draw_scenes(people, np.random.default_rng(len(people)), renderer.model, 0)
        for people in ([1, 2, 3], [4, 5, 6])
    )
    still = torch.zeros_like(scenes.wobble)
    scenes, others = (dataclasses.replace(each, wobble=still) for each in (scenes, others))
    names = ("identity", "expression", "pose", "illumination")
    both = [renderer.render(each) for each in (exchanged(scenes, others, names), others)]
    assert torch.equal(both[0].mask, both[1].mask)
    seen = both[0].mask[:, 0].bool().numpy()
    assert np.array_equal(both[0].faces[seen], both[1].faces[seen])
    one = exchanged(scenes, others, ("pose",))
    assert torch.equal(one.pose, others.pose) and torch.equal(one.identity, scenes.identity)
    assert torch.equal(one.lighting, scenes.lighting) and torch.equal(one.traits, scenes.traits)


def test_pairs_differ_in_what_is_exchanged_and_in_nothing_else(renderer):
    light = spec(illumination=FactorSpec((9,), ""), pose=FactorSpec((9,), ""))
    pairs = rendered_pairs(renderer, light, 8, seed=0)
    faces, others, truth, mask = pairs["illumination"]
    assert torch.equal(others, faces.roll(-1, 0))
    changed = ((truth - faces).abs() > 0).any(dim=1, keepdim=True)
    assert changed.any() and not (changed & ~mask).any()  # light changes nothing off the face
    _, _, turned, union = pairs["pose"]
    assert (union.sum() > mask.sum()) and not torch.equal(turned, truth)
    assert not (((turned - faces).abs() > 0).any(dim=1, keepdim=True) & ~union).any()


def test_what_a_factor_covers_goes_with_it(renderer):
    """Expression that covers pose turns the head; without pose anywhere nobody turns it."""
    alone = spec(expression=FactorSpec((8,), ""), identity=FactorSpec((8,), ""))
    covering = spec(expression=FactorSpec((8,), "", covers=("pose",)))
    assert rendered.variety(alone) == {"turned": False, "lit": False}
    assert rendered.variety(covering) == {"turned": True, "lit": False}
    faces, others, truth, mask = rendered_pairs(renderer, covering, 8, seed=0)["expression"]
    still = rendered_pairs(renderer, alone, 8, seed=0)["expression"]
    off = [
        (pair[2] - pair[0]).abs().mean().item() for pair in ((faces, others, truth, mask), still)
    ]
    assert off[0] > 1.5 * off[1] > 0


def test_strangers_are_those_that_training_leaves_out(renderer, monkeypatch):
    nobody = np.empty(0)
    known = TrainingFaces(nobody, [], nobody, nobody)
    trained_on = normalized_samples(
        known, None, renderer, 4, seed=0, recipe=None
    ).pairs.anybody.people
    shown, render = [], renderer.render

    def watched(scenes):
        shown.extend(scenes.subject.tolist())
        return render(scenes)

    monkeypatch.setattr(renderer, "render", watched)
    rendered_pairs(renderer, spec(identity=FactorSpec((8,), "")), 2, seed=0)
    assert sorted(set(shown)) == [trained_on, trained_on + 1]
    shown.clear()
    rendered_only(renderer, [], spec(identity=FactorSpec((8,), "")), seed=0)
    assert min(shown) == trained_on


def test_what_cannot_be_measured(weights, morphable, tmp_path):
    with pytest.raises(FaceFactorError, match="facecycle knows no shapes, albedo and light"):
        evaluate("facecycle", ["synthetic-truth"], [], morphable=morphable)
    for protocol in ("synthetic-truth", "synthetic-exchange"):
        with pytest.raises(FaceFactorError, match=f"{protocol} renders its faces.*--morphable"):
            evaluate(weights, [protocol], [])
    with pytest.raises(MorphableModelError, match="nowhere.npz does not exist"):
        evaluate(weights, ["synthetic-truth"], [], morphable=tmp_path / "nowhere.npz")
    write_morphable(tmp_path / "mute.npz", egg_model())
    with pytest.raises(MorphableModelError, match="mute.npz: no expression"):
        evaluate(weights, ["synthetic-truth"], [], morphable=tmp_path / "mute.npz")


def test_weights_of_another_morphable_model_are_refused(tmp_path):
    source = talking_egg()
    made = synthetic_faces(FaceRenderer(source, "facecycle", 32), [0], ["neutral"], 0)
    grid = resample(source)
    fewer = dataclasses.replace(source, identity=source.identity[:3])
    with pytest.raises(FaceFactorError, match="has 3 identity modes.*learned from one with 5"):
        synthetic.told_by(Oracle(made, grid), photos_to_faces(made.faces), fewer, grid)
