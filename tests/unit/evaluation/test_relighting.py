"""Nearer to the true photo or not: by hand, and for ideal and useless relighting."""

import numpy as np
import pytest
import torch

from facefactor.evaluation.relighting import (
    Closeness,
    closeness,
    direction_lighting,
    embeddings_of,
    lit_by,
    photo_area,
    put_back,
    relighting_table,
    spread_edges,
)
from facefactor.geometry.lighting import shading
from facefactor.geometry.similarity import apply_affine
from facefactor.images import face_to_photo
from facefactor.perception.align import (
    Placement,
    align,
    crop_points,
    light_and_move,
    paste_back,
    place,
)

WHOLE = np.ones((4, 4), bool)


def grey(*values, size=4):
    return np.stack([np.full((size, size, 3), value, np.uint8) for value in values])


def same(count):
    return torch.eye(3)[torch.zeros(2, count, dtype=torch.int64)]


def test_psnr_and_distance_by_hand():
    codes = torch.tensor([[[1.0, 0.0], [0.6, 0.8]], [[1.0, 0.0], [0.0, 1.0]]])
    near = closeness(grey(100, 51), grey(100, 0), WHOLE, codes)
    assert near.psnr[0] == torch.inf
    assert near.psnr[1].item() == pytest.approx(13.9794, abs=1e-4)  # -20 log10(51 / 255)
    assert near.distance.tolist() == pytest.approx([0, 0.2])


def test_only_pixels_that_are_seen_count():
    faces, truth, seen = grey(0), grey(0), WHOLE.copy()
    faces[0, 0, 0], seen[0, 0] = 255, False
    assert closeness(faces, truth, seen, same(1)).psnr.item() == torch.inf
    faces[0, 0, 1] = 255  # one of fifteen
    found = closeness(faces, truth, seen, same(1)).psnr.item()
    assert found == pytest.approx(10 * np.log10(15), abs=1e-4)
    with pytest.raises(ValueError, match="no pixel is seen"):
        closeness(faces, truth, ~WHOLE, same(1))


def table(own, unrelit, groups=("a", "a", "b")):
    own, unrelit = (Closeness(*map(torch.tensor, pair)) for pair in (own, unrelit))
    return relighting_table(own, unrelit, groups, "made", "model")


def test_shares_by_hand():
    found = table(
        ([20.0, 10.0, 30.0], [0.1, 0.3, 0.5]),
        ([10.0, 20.0, 10.0], [0.2, 0.4, 0.4]),
    )
    assert found["PSNR"] == pytest.approx(20) and found["recogniser distance"] == pytest.approx(0.3)
    assert found["nearer in PSNR"] == pytest.approx(200 / 3)
    assert found["nearer in recogniser distance"] == pytest.approx(200 / 3)
    assert found["nearer in both"] == pytest.approx(100 / 3)
    assert found["a: nearer in PSNR"] == 50 and found["a: nearer in recogniser distance"] == 100
    assert found["b: nearer in both"] == 0 and found["b: PSNR"] == 30
    assert [score.n for score in found.scores] == [None] * 5 + [2] * 4 + [1] * 4


def test_ideal_and_useless():
    unrelit = ([10.0, 20.0, 10.0], [0.2, 0.4, 0.4])
    ideal = table(([torch.inf] * 3, [0.0] * 3), unrelit)
    assert ideal["nearer in both"] == ideal["b: nearer in PSNR"] == 100
    assert ideal.scores[0].value is None  # exact copies have no PSNR
    itself = table(unrelit, unrelit)
    assert {score.value for score in itself.scores if "nearer" in score.metric} == {0}


def test_groups_must_be_those_of_the_faces():
    with pytest.raises(ValueError, match="3 faces, 3 unrelit ones and 2 groups"):
        table(([1.0] * 3, [1.0] * 3), ([1.0] * 3, [1.0] * 3), groups=("a", "b"))


def test_put_back_is_what_the_edit_of_a_photo_gives():
    draw = torch.Generator().manual_seed(0)
    photo, edited, own = torch.rand(3, 1, 3, 32, 32, generator=draw)
    photo, edited, own = ((255 * x).round() / 255 for x in (photo, edited, own))
    found = face_to_photo(put_back(photo, edited, own))[0]
    placement = Placement(np.eye(2, 3), 32)
    expected = paste_back(face_to_photo(photo)[0], placement, edited, own)
    assert np.abs(found.astype(int) - expected).max() <= 1
    assert np.abs(found.astype(int) - face_to_photo(photo)[0]).max() > 50
    assert (found[0] == face_to_photo(photo)[0][0]).all()  # nothing at the border


def test_lit_by_is_what_the_relighting_of_a_photo_gives():
    draw = torch.Generator().manual_seed(0)
    photo = (255 * torch.rand(1, 3, 32, 32, generator=draw)).round() / 255
    gain = 2 * torch.rand(1, 1, 32, 32, generator=draw)
    found = face_to_photo(lit_by(photo, gain))[0]
    own = face_to_photo(photo)[0]
    still = torch.zeros(1, 2, 32, 32)
    expected = light_and_move(own, Placement(np.eye(2, 3), 32), gain, still)
    assert np.abs(found.astype(int) - expected).max() <= 1
    assert np.abs(found.astype(int) - own).max() > 50
    assert (found[0] == own[0]).all()  # nothing at the border


def test_where_a_crop_shows_its_photo():
    """A crop twice as fine as the photo (3 high, 2 wide), its corner one photo pixel outside."""
    placement = Placement(np.array([[2.0, 0, 2], [0, 2, 2]]), 10)
    area = photo_area(placement, height=3, width=2)
    assert area[:, 4].tolist() == [u / 2 - 1 >= -0.5 and u / 2 - 1 <= 2.5 for u in range(10)]
    assert area[4].tolist() == [u / 2 - 1 >= -0.5 and u / 2 - 1 <= 1.5 for u in range(10)]
    assert area[4].sum() == 5 and area[:, 4].sum() == 7


def test_beyond_the_photo_its_edge_is_repeated():
    faces = np.arange(36, dtype=np.uint8).reshape(1, 6, 6, 1).repeat(3, axis=3)
    area = np.zeros((6, 6), bool)
    area[1:4, 2:6] = True
    spread = spread_edges(faces, area)[0, :, :, 0]
    assert (spread[1:4, 2:] == faces[0, 1:4, 2:, 0]).all()
    assert spread[0].tolist() == [8, 8, 8, 9, 10, 11]
    assert (spread[4:] == [20, 20, 20, 21, 22, 23]).all()
    assert (spread_edges(faces, np.ones((6, 6), bool)) == faces).all()
    with pytest.raises(ValueError, match="no pixel of the crop"):
        spread_edges(faces, ~np.ones((6, 6), bool))


def test_the_recogniser_sees_the_face_in_its_own_crop():
    """Points of the one crop come to lie where the other has them."""
    face = np.zeros((1, 64, 64, 3), np.uint8)
    for x, y in crop_points("facecycle", 64)[:2]:  # the eyes
        face[0, round(y) - 2 : round(y) + 3, round(x) - 2 : round(x) + 3] = 255
    seen = []

    def embed(faces):
        seen.append(faces)
        return faces.mean(dim=(2, 3))

    codes = embeddings_of(face, "facecycle", embed, "arcface", 112)
    assert codes.shape == (1, 3) and seen[0].shape == (1, 3, 112, 112)
    wanted = place(crop_points("facecycle", 64), "arcface", 112)
    for x, y in apply_affine(wanted.to_crop, crop_points("facecycle", 64)[:2]):
        assert seen[0][0, 0, round(y), round(x)] > 0.9
    again, _ = align(face[0], crop_points("facecycle", 64), "arcface", 112)
    assert torch.equal(seen[0], again)


def test_light_from_a_direction_falls_on_what_faces_it():
    found = direction_lighting([(90.0, 0.0), (0.0, 90.0), (0.0, 0.0)])
    normals = torch.eye(3)[[0, 1, 2]].view(3, 3, 1)  # x to the right, y up, z to the camera
    lit = torch.stack([shading(normals, light.expand(3, 9))[:, 0, 0] for light in found])
    assert lit.argmax(dim=1).tolist() == [0, 1, 2]
    assert lit.diagonal().tolist() == pytest.approx([17 / 16] * 3, abs=0.01)
