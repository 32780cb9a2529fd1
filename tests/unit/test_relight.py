"""Light of another photo or from a direction: which code it is, and what it does to a face."""

import inspect
import math

import numpy as np
import pytest
import torch
from torch import Tensor

from facefactor import api
from facefactor.abilities import check_separates, lit_model
from facefactor.cli import sweeps
from facefactor.editing import FactorError, move_towards
from facefactor.errors import FaceFactorError
from facefactor.face_lighting import (
    AMBIENT,
    DIRECTIONS,
    Light,
    light_code,
    light_from,
    lights_between,
    relit,
)
from facefactor.factors import Factors, FactorSpec, ModelSpec
from facefactor.geometry.lighting import directional_lighting, shading
from facefactor.photo_edits import encode_face
from tests.made_faces import made_face, noise
from tests.small_networks import save_neurotensorial

SIDE = 32


class Ball:
    """A white ball for every face; its illumination code is the lighting itself, twice as large."""

    spec = ModelSpec(
        name="ball",
        crop="facecycle",
        image_size=SIDE,
        channels=3,
        factors={
            "identity": FactorSpec((1,), "who"),
            "illumination": FactorSpec((9,), "light"),
        },
    )

    def __init__(self) -> None:
        y, x = torch.meshgrid(
            torch.linspace(1, -1, SIDE), torch.linspace(-1, 1, SIDE), indexing="ij"
        )
        z = (1 - x.square() - y.square()).clamp(min=0).sqrt()
        self.normals = torch.nn.functional.normalize(torch.stack([x, y, z])[None], dim=1)

    def encode(self, faces: Tensor) -> Factors:
        mean = faces.mean(dim=(1, 2, 3))[:, None]
        front = directional_lighting(torch.zeros(1), torch.zeros(1), 0.2)
        return Factors({"identity": mean, "illumination": 2 * mean * front}, {"hat": mean})

    def decode(self, factors: Factors) -> Tensor:
        shade = shading(self.normals, factors["illumination"] / 2)
        return (0.5 * shade).clamp(0, 1).expand(-1, 3, -1, -1)

    def illumination_of(self, lighting: Tensor) -> Tensor:
        return 2 * lighting


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Its lighting matrix is no longer the identity it begins with."""
    built = api.load(save_neurotensorial(tmp_path_factory.mktemp("nt") / "model.safetensors"))
    with torch.no_grad():
        built.to_lighting.weight += 0.1 * torch.randn(9, 9, generator=torch.manual_seed(3))
    return built


@pytest.fixture(scope="module")
def face():
    return made_face(noise(), 80)


def halves(photo, face):
    """Mean brightness of the middle of the face: its left, right, upper and lower half."""
    y, x = (size // 2 for size in photo.shape[:2])
    part = photo[y - 25 : y + 25, x - 25 : x + 25].astype(float).mean(axis=2)
    return part[:, :25].mean(), part[:, 25:].mean(), part[:25].mean(), part[25:].mean()


@pytest.mark.parametrize(
    ("name", "brighter", "darker"),
    [("left", 1, 0), ("right", 0, 1), ("above", 2, 3), ("below", 3, 2)],
)
def test_light_brightens_the_side_it_comes_from(name, brighter, darker, face):
    """Left is the subject's left: the right half of the photo."""
    before = halves(face.photo, face)
    after = halves(api.relight_face(Ball(), face, light_from(name)), face)
    gained = [b - a for a, b in zip(before, after, strict=True)]
    assert gained[brighter] > gained[darker] + 20
    across = gained[2] - gained[3] if brighter < 2 else gained[0] - gained[1]
    assert abs(across) < 2  # symmetric about the light's own plane


def test_front_light_is_symmetric(face):
    flat = made_face(np.full((120, 100, 3), 100, np.uint8), 80)
    left, right, upper, lower = halves(api.relight_face(Ball(), flat, light_from("front")), flat)
    assert left == pytest.approx(right, abs=1) and upper == pytest.approx(lower, abs=1)


def test_the_code_of_a_direction_gives_its_light(model):
    light = Light(35, -20, 0.4)
    with torch.inference_mode():
        told = model.lighting(light_code(model, light))
    wanted = directional_lighting(torch.tensor([35.0]), torch.tensor([-20.0]), 0.4)
    torch.testing.assert_close(told, wanted, rtol=0, atol=1e-5)


def test_the_code_of_a_photo_is_its_own(model, face):
    assert torch.equal(light_code(model, face), encode_face(model, face)["illumination"])


@torch.inference_mode()
def test_strength_mixes_two_lights(model, face):
    own = encode_face(model, face)
    code = light_code(model, Light(60))
    for strength in (0.0, 0.25, 1.0, 1.5):
        edited = relit(model, code, strength)(own)
        lights = [model.lighting(each) for each in (own["illumination"], code)]
        expected = (1 - strength) * lights[0] + strength * lights[1]
        torch.testing.assert_close(model.lighting(edited["illumination"]), expected)
        for name in ("identity", "expression", "pose"):
            assert torch.equal(edited[name], own[name])
        assert edited.residual is own.residual


def test_its_own_light_leaves_a_photo_as_it_is(model, face):
    assert np.array_equal(api.relight_face(model, face, face), face.photo)
    assert np.array_equal(api.relight_face(model, face, Light(90), strength=0), face.photo)
    assert not np.array_equal(api.relight_face(model, face, Light(90)), face.photo)


def test_only_the_square_changes(model, face):
    changed = (api.relight_face(model, face, Light(90, 10, 2.0)) != face.photo).any(axis=2)
    assert changed[40:80, 30:70].mean() > 0.5
    assert not changed[:20].any() and not changed[-20:].any()
    assert not changed[:, :10].any() and not changed[:, -10:].any()


def test_raw_is_the_decoded_square(model, face):
    own = encode_face(model, face)
    code = light_code(model, Light(45))
    with torch.inference_mode():
        square = model.decode(own.replace({"illumination": code}))[0]
    wanted = (255 * square.clamp(0, 1)).round().byte().permute(1, 2, 0).numpy()
    assert np.array_equal(api.relight_face(model, face, Light(45), raw=True), wanted)


def test_named_directions():
    assert light_from("left") == Light(60, 0, AMBIENT)
    assert light_from("above", 0.5) == Light(0, 60, 0.5)
    with pytest.raises(FaceFactorError, match="from 'top'; it comes from front, left, right"):
        light_from("top")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((181, 0), "azimuth is 181 degrees; it is from -180 to 180"),
        ((0, -91), "elevation is -91 degrees; it is from -90 to 90"),
        ((math.nan, 0), "azimuth is nan"),
        ((0, 0, -0.1), "ambient light is -0.1; it is 0 or more"),
        ((0, 0, math.inf), "ambient light is inf"),
        ((0, 0, math.nan), "ambient light is nan"),
    ],
)
def test_lights_that_are_none(given, message):
    with pytest.raises(FaceFactorError, match=message):
        Light(*given)


def test_a_light_travels_in_equal_steps():
    path = lights_between(Light(60, 0, 0.1), Light(-60, 30, 0.3), 5)
    assert [light.azimuth_deg for light in path] == pytest.approx([60, 30, 0, -30, -60])
    assert [light.elevation_deg for light in path] == pytest.approx([0, 7.5, 15, 22.5, 30])
    assert path[0] == Light(60, 0, 0.1) and path[2].ambient == pytest.approx(0.2)


def test_the_command_has_the_same_defaults_and_directions():
    given = inspect.signature(sweeps.relight).parameters
    assert given["ambient"].default == AMBIENT
    assert set(sweeps.Direction.__args__) == set(DIRECTIONS)


def test_models_without_the_factor_name_those_with_it(face):
    class Plain(Ball):
        spec = ModelSpec(
            "plain",
            "facecycle",
            SIDE,
            3,
            {"identity": FactorSpec((1,), "who", covers=("illumination",))},
        )

    with pytest.raises(
        FactorError, match=r"keeps illumination inside identity .*take weights of neurotensorial$"
    ):
        api.relight_face(Plain(), face, Light(0))
    with pytest.raises(FactorError, match="does not separate pose .*ipdfer or neurotensorial$"):
        check_separates(Ball(), "pose")


def test_light_of_photos_alone(face):
    """A model that has illumination, but no direction of it."""

    class Learnt(Ball):
        illumination_of = property()

    with pytest.raises(FactorError, match="no code for light from a direction"):
        lit_model(Learnt())
    assert np.array_equal(api.relight_face(Learnt(), face, face), face.photo)


def test_moving_towards_a_code():
    spec = Ball.spec
    own = Factors({"identity": torch.zeros(2, 1), "illumination": torch.ones(2, 9)}, {"hat": 1})
    moved = move_towards(own, "illumination", torch.full((1, 9), 3.0), 1.5, spec)
    assert moved["illumination"].tolist() == [[4.0] * 9] * 2
    assert moved.residual is own.residual and moved["identity"] is own["identity"]
    with pytest.raises(FactorError, match="does not separate expression"):
        move_towards(own, "expression", torch.zeros(1), 1, spec)
