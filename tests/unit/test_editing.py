"""Edits on a made-up model: a face is an identity (2 numbers) plus an expression (3 numbers)."""

import pytest
import torch
from torch import Tensor

from facefactor.editing import FactorError, check_factor, interpolate, set_strength, transfer
from facefactor.factors import FactorName, Factors, FactorSpec, ModelSpec

SPEC = ModelSpec(
    name="madeup",
    crop="arcface",
    image_size=8,
    channels=3,
    factors={
        "identity": FactorSpec((2,), "who", owns=("portrait",)),
        "expression": FactorSpec((3,), "what the face does", covers=("pose",)),
    },
)


class MadeUp:
    """Enough of a FaceModel for editing: its neutral expression is not zero."""

    spec = SPEC

    def encode(self, faces: Tensor) -> Factors:
        raise NotImplementedError

    def decode(self, factors: Factors) -> Tensor:
        raise NotImplementedError

    def neutral(self, name: FactorName) -> Tensor:
        if name != "expression":
            raise ValueError(f"madeup has no neutral {name}")
        return torch.tensor([1.0, 1.0, 1.0])


def faces(count: int, value: float) -> Factors:
    steps = torch.arange(count).float()[:, None] + value
    return Factors(
        {"identity": steps.expand(-1, 2), "expression": steps.expand(-1, 3) * 10},
        {"portrait": steps[:, :, None, None], "background": steps * 100},
    )


def test_expression_moves_and_nothing_else() -> None:
    target, source = faces(2, 0), faces(2, 5)
    moved = transfer(target, source, ["expression"], SPEC)
    assert torch.equal(moved["expression"], source["expression"])
    assert torch.equal(moved["identity"], target["identity"])
    for entry in ("portrait", "background"):
        assert torch.equal(moved.residual[entry], target.residual[entry])


def test_identity_takes_the_residual_it_owns_along() -> None:
    target, source = faces(1, 0), faces(1, 5)
    moved = transfer(target, source, ["identity"], SPEC)
    assert torch.equal(moved.residual["portrait"], source.residual["portrait"])
    assert torch.equal(moved.residual["background"], target.residual["background"])


def test_an_owned_entry_the_source_lacks_does_not_stay_the_targets() -> None:
    moved = transfer(faces(1, 0), Factors(faces(1, 5).codes), ["identity"], SPEC)
    assert set(moved.residual) == {"background"}


def test_one_face_goes_with_many_on_either_side() -> None:
    film, photo = faces(3, 0), faces(1, 7)
    one_for_all = transfer(film, photo, ["expression"], SPEC)
    assert one_for_all["expression"][:, 0].tolist() == [70, 70, 70]
    assert one_for_all["identity"][:, 0].tolist() == [0, 1, 2]
    all_for_one = transfer(photo, film, ["expression"], SPEC)
    assert all_for_one["expression"][:, 0].tolist() == [0, 10, 20]
    assert all_for_one["identity"][:, 0].tolist() == [7, 7, 7]
    assert all_for_one.residual["portrait"].flatten().tolist() == [7, 7, 7]


def test_faces_that_do_not_pair() -> None:
    with pytest.raises(FactorError, match="2 and 3 faces do not pair"):
        transfer(faces(2, 0), faces(3, 0), ["expression"], SPEC)


def test_transfer_from_itself_changes_nothing() -> None:
    target = faces(2, 3)
    same = transfer(target, target, ["identity", "expression"], SPEC)
    for name in SPEC.factors:
        assert torch.equal(same[name], target[name])
    for entry in target.residual:
        assert torch.equal(same.residual[entry], target.residual[entry])


def test_strength_scales_about_the_neutral_code() -> None:
    face = faces(2, 0.5)  # expressions 5 and 15, neutral 1
    for strength, expected in [(0, [1, 1]), (1, [5, 15]), (0.5, [3, 8]), (2, [9, 29])]:
        edited = set_strength(face, MadeUp(), "expression", strength)
        assert edited["expression"][:, 0].tolist() == pytest.approx(expected)
        assert torch.equal(edited["identity"], face["identity"])
        assert edited.residual is face.residual
    with pytest.raises(ValueError, match="no neutral identity"):
        set_strength(face, MadeUp(), "identity", 0)


def test_interpolation_is_straight_and_extrapolates() -> None:
    start, end = faces(1, 1), faces(1, 2)
    path = interpolate(start, end, ["expression"], [0, 0.25, 1, 1.5, -1], SPEC)
    assert path["expression"][:, 0].tolist() == pytest.approx([10, 12.5, 20, 25, 0])
    assert path["identity"].tolist() == [[1, 1]] * 5
    assert path.residual["portrait"].flatten().tolist() == [1] * 5
    assert torch.equal(path["expression"][0], start["expression"][0])
    assert torch.equal(path["expression"][2], end["expression"][0])


def test_interpolating_an_identity_drops_what_it_owns() -> None:
    path = interpolate(faces(1, 1), faces(1, 2), ["identity"], [0, 1], SPEC)
    assert set(path.residual) == {"background"}
    assert path.residual["background"].shape == (2, 1)


def test_interpolation_is_between_two_faces() -> None:
    with pytest.raises(FactorError, match="one face and one face, not 1 and 3"):
        interpolate(faces(1, 0), faces(3, 0), ["expression"], [0], SPEC)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("pose", "^madeup keeps pose inside expression; ask for expression$"),
        ("illumination", "does not separate illumination; ask for one of identity, expression$"),
    ],
)
def test_a_factor_the_model_does_not_have(name: FactorName, message: str) -> None:
    face = faces(1, 0)
    with pytest.raises(FactorError, match=message):
        check_factor(SPEC, name)
    with pytest.raises(FactorError, match=message):
        transfer(face, face, [name], SPEC)
    with pytest.raises(FactorError, match=message):
        interpolate(face, face, [name], [0], SPEC)
    with pytest.raises(FactorError, match=message):
        set_strength(face, MadeUp(), name, 1)
    check_factor(SPEC, "identity")


def test_factors_of_some_faces_in_any_order_and_again() -> None:
    codes = torch.arange(6.0).view(3, 2)
    factors = Factors({"identity": codes}, {"portrait": 10 * codes})
    chosen = factors.of(torch.tensor([2, 0, 2]))
    assert chosen["identity"].tolist() == [[4.0, 5.0], [0.0, 1.0], [4.0, 5.0]]
    assert chosen.residual["portrait"].tolist() == [[40.0, 50.0], [0.0, 10.0], [40.0, 50.0]]
