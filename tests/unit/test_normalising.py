"""The normalised face in a photo and in a film, and the way to it, with a model worked by hand."""

import numpy as np
import pytest
import torch
from torch import Tensor

from facefactor import api
from facefactor.abilities import normalising_model
from facefactor.api.edits import remove
from facefactor.editing import FactorError
from facefactor.errors import FaceFactorError
from facefactor.face_normalising import morph, normalise_faces, write_morph
from facefactor.factors import Factors, FactorSpec, ModelSpec
from facefactor.images import face_to_photo, read_photo
from facefactor.perception.align import paste_back
from facefactor.photo_edits import PhotoFace
from facefactor.videos import read_frames
from tests.made_faces import made_face, noise, use_finder
from tests.small_networks import save_ipdfer, save_nfgan

SIDE, SQUARE = 96, 60
DARK = 0 * noise(SIDE, SIDE)


class Dimmer:
    """A face's code is its mean colour; normalised it is one colour, half as bright."""

    spec = ModelSpec("dimmer", "facecycle", 16, 3, {"identity": FactorSpec((3,), "who")})

    def encode(self, faces: Tensor) -> Factors:
        return Factors({"identity": faces.mean(dim=(2, 3))})

    def decode(self, factors: Factors) -> Tensor:
        return (factors["identity"] / 2)[..., None, None].expand(-1, -1, 16, 16)

    def normalise(self, faces: Tensor) -> Tensor:
        return self.decode(self.encode(faces))

    def neutral(self, name: str) -> Tensor:
        raise ValueError(name)


@pytest.fixture
def finder(monkeypatch):
    use_finder(monkeypatch, SQUARE)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("normalising")


@pytest.fixture(scope="module")
def nfgan(folder):
    return api.load(save_nfgan(folder / "nfgan.safetensors"))


@pytest.fixture(scope="module")
def grey(folder):
    return api.load(save_nfgan(folder / "grey.safetensors", "small-grey"))


@pytest.fixture(scope="module")
def ipdfer(folder):
    return api.load(save_ipdfer(folder / "ipdfer.safetensors"))


@pytest.fixture(scope="module")
def face():
    return made_face(noise(), 70, tilt_deg=10)


@pytest.mark.parametrize("model", ["nfgan", "grey"])
def test_the_square_of_the_network_takes_the_face_s_place(model, face, request):
    model = request.getfixturevalue(model)
    with torch.inference_mode():
        square, placement = face.cut(model.spec)
        drawn = model.normalise(square)
    edited = api.normalize_face(model, face)
    assert np.array_equal(edited, paste_back(face.photo, placement, drawn, oval=True))
    changed = (edited != face.photo).any(axis=2)
    assert changed[45:75, 35:65].mean() > 0.9
    assert not changed[:10].any() and not changed[-10:].any()
    assert np.array_equal(api.normalize_face(model, face, raw=True), face_to_photo(drawn)[0])


def test_grey_weights_draw_grey_squares(grey, nfgan, face):
    raw = api.normalize_face(grey, face, raw=True)
    assert raw.shape == (64, 64, 3) and raw.std() > 1
    assert (raw == raw[..., :1]).all()
    coloured = api.normalize_face(nfgan, face, raw=True)
    assert not (coloured == coloured[..., :1]).all()


def test_different_faces_are_normalised_differently(nfgan, face):
    other = made_face(255 - noise(), 70)
    drawn = [api.normalize_face(nfgan, each, raw=True).astype(int) for each in (face, other)]
    assert np.abs(drawn[0] - drawn[1]).mean() > 2


def test_several_faces_of_one_photo():
    photo = np.concatenate([noise(80, 80), 255 - noise(80, 80)], axis=1)
    both = []
    for left in (0, 80):
        found = made_face(photo[:, left : left + 80], 60).found
        moved = type(found)(found.box, found.points + np.float32([left, 0]), 1.0)
        both.append(PhotoFace("two.png", photo, moved))
    model = Dimmer()
    alone = [normalise_faces(model, [each]) for each in both]
    together = normalise_faces(model, both)
    assert np.array_equal(together[:, :80], alone[0][:, :80])
    assert np.array_equal(together[:, 80:], alone[1][:, 80:])
    assert np.array_equal(alone[0][:, 80:], photo[:, 80:])
    squares = normalise_faces(model, both, raw=True)
    assert squares.shape == (16, 32, 3)
    assert np.array_equal(squares[:, 16:], normalise_faces(model, both[1:], raw=True))


def test_the_way_goes_straight_from_z_to_the_code_of_the_normalised_face():
    """A flat face of 160: z is 160, x~ = Dec(z) = 80, z~ = 80, Dec(z~) = 40; half-way Dec(120)."""
    flat = made_face(np.full((90, 90, 3), 160, np.uint8), 60)
    named = morph(Dimmer(), [flat], 3, raw=True)
    assert [name for name, _ in named] == ["photo", "0.00", "0.50", "1.00"]
    assert [photo.shape for _, photo in named] == [(16, 16, 3)] * 4
    assert [int(photo[8, 8, 0]) for _, photo in named] == [160, 80, 60, 40]


def test_the_way_begins_with_the_photo_and_its_normalised_face(nfgan, face):
    named = dict(morph(nfgan, [face], 2))
    assert np.array_equal(named["photo"], face.photo)
    assert np.array_equal(named["0.00"], api.normalize_face(nfgan, face))
    with torch.inference_mode():
        square, placement = face.cut(nfgan.spec)
        twice = nfgan.normalise(nfgan.normalise(square))
    assert np.array_equal(named["1.00"], paste_back(face.photo, placement, twice, oval=True))


def test_a_film_of_the_way_dwells_on_the_photo(tmp_path):
    shade = np.broadcast_to(np.linspace(120, 240, 90)[:, None], (90, 90, 3)).astype(np.uint8)
    face = made_face(shade, 60)
    write_morph(tmp_path / "way.mp4", Dimmer(), [face], 3)
    moved = [np.abs(frame.astype(int) - shade) for frame in read_frames(tmp_path / "way.mp4")]
    assert len(moved) == 4 + 3
    assert max(change.mean() for change in moved[:4]) < 1  # the codec is lossy
    assert min(change[30:60, 30:60].mean() for change in moved[4:]) > 3  # inside the face's oval
    write_morph(tmp_path / "way.png", Dimmer(), [face], 3)
    height, width, _ = read_photo(tmp_path / "way.png").shape
    assert height > 160 and width > 3.5 * 160


def test_models_that_draw_no_normalised_faces_name_those_that_do(ipdfer, nfgan, face):
    message = "ipdfer draws no normalised faces .*identity, expression, pose.*weights of nfgan$"
    for ask in (
        lambda: normalising_model(ipdfer),
        lambda: api.normalize_face(ipdfer, face),
        lambda: morph(ipdfer, [face], 2),
    ):
        with pytest.raises(FaceFactorError, match=message):
            ask()
    assert normalising_model(nfgan) is nfgan


def test_a_layer_called_normalise_draws_no_faces():
    class Scaled(torch.nn.Module):
        spec = Dimmer.spec

        def __init__(self) -> None:
            super().__init__()
            self.normalise = torch.nn.Identity()

    with pytest.raises(FaceFactorError, match="dimmer draws no normalised faces"):
        normalising_model(Scaled())


def test_what_a_normalising_model_cannot_take_off_points_to_normalize(nfgan, ipdfer, face):
    with pytest.raises(FactorError, match=r"not separate expression: .*\(facefactor normalize\)"):
        api.neutral_face(nfgan, face)
    with pytest.raises(FactorError, match=r"not separate pose: .*\(facefactor normalize\)"):
        api.frontalize_face(nfgan, face)
    with pytest.raises(FactorError, match="ipdfer does not separate illumination; ask for one of"):
        remove(ipdfer, "illumination")
    assert api.neutral_face(ipdfer, face).shape == face.photo.shape
