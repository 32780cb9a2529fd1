import cv2
import matplotlib.cbook
import numpy as np
import pytest
import torch

from facefactor.geometry.flow import warp
from facefactor.geometry.similarity import apply_affine, compose_affine, invert_affine
from facefactor.perception.align import (
    CROPS,
    Placement,
    align,
    brighten,
    crop_points,
    cut,
    feathered_mask,
    light_and_move,
    oval_mask,
    paste_back,
    place,
)

HOPPER_POINTS = np.array([[228, 182], [292, 176], [262, 217], [240, 254], [292, 249]], float)


@pytest.fixture(scope="module")
def portrait() -> np.ndarray:
    path = matplotlib.cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)
    return cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)


@pytest.fixture(scope="module")
def placed(portrait):
    return align(portrait, HOPPER_POINTS, "facecycle", 64)


def inside_crop(placement: Placement, shape) -> np.ndarray:
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    u = apply_affine(placement.to_crop, np.stack([columns, rows], -1))
    return (np.abs(u - (placement.size - 1) / 2) <= placement.size / 2).all(-1)


def shifted_flow(pixels: float, size: int = 64) -> torch.Tensor:
    """Everything inside moves `pixels` to the left: out(x) = in(x + pixels)."""
    return torch.tensor([2 * pixels / (size - 1), 0.0]).reshape(1, 2, 1, 1).expand(1, 2, 16, 16)


def test_arcface_template_is_the_published_one_at_112():
    np.testing.assert_allclose(crop_points("arcface", 112)[0], [38.2946, 51.6963])


def test_template_scales_about_the_pixel_corner():
    """Fraction 0.5 is the middle between the two central pixels at every size."""
    for size in (64, 128):
        assert crop_points("facecycle", size)[2, 0] == (size - 1) / 2


def test_unknown_crop_names_those_there_are():
    with pytest.raises(ValueError, match="arcface, facecycle"):
        crop_points("square", 64)


@pytest.mark.parametrize("crop", CROPS)
def test_points_land_on_the_template(crop):
    photo = np.zeros((300, 400, 3), np.uint8)
    wanted = crop_points(crop, 96)
    made = np.array([[0.8, -0.3, 30.0], [0.3, 0.8, 12.0]])
    _, placement = align(photo, apply_affine(made, wanted), crop, 96)
    np.testing.assert_allclose(placement.to_crop, invert_affine(made), atol=1e-9)


def test_a_crop_that_is_the_photo_is_returned_exactly(portrait):
    photo = portrait[:112, :112]
    face, _ = align(photo, crop_points("arcface", 112), "arcface", 112)
    assert face.shape == (1, 3, 112, 112)
    assert torch.equal((face[0] * 255).round().byte().permute(1, 2, 0), torch.from_numpy(photo))


@pytest.mark.parametrize("factor", [2, 3, 7])
def test_shrinking_is_the_mean_over_each_area(factor):
    """What "antialiased" means, written out: blocks of factor x factor pixels, averaged."""
    photo = np.random.default_rng(0).integers(0, 256, (16 * factor, 16 * factor, 3), np.uint8)
    shrink = np.array(
        [[1 / factor, 0, (1 / factor - 1) / 2], [0, 1 / factor, (1 / factor - 1) / 2]]
    )
    face = cut(photo, Placement(shrink, 16))[0].permute(1, 2, 0).numpy() * 255
    blocks = photo.reshape(16, factor, 16, factor, 3).mean((1, 3))
    np.testing.assert_allclose(face, blocks, atol=0.51)  # uint8 rounding


def test_a_crop_over_the_border_mirrors_the_photo():
    photo = np.random.default_rng(0).integers(0, 256, (20, 20, 3), np.uint8)
    left_out = np.array([[1.0, 0, 5], [0, 1, 0]])  # crop column 0 is photo column -5
    face = (cut(photo, Placement(left_out, 20))[0] * 255).round().byte().permute(1, 2, 0).numpy()
    assert np.array_equal(face[:, 5:], photo[:, :15])
    assert np.array_equal(face[:, :5], photo[:, 5:0:-1])


def test_stretch_maps_points_no_similarity_can():
    wanted = crop_points("arcface", 100)
    source = wanted * [0.5, 1.3] + 7
    placement = place(source, "arcface", 100, stretch=True)
    np.testing.assert_allclose(apply_affine(placement.to_crop, source), wanted, atol=1e-9)


@pytest.mark.parametrize("size", [8, 64, 113])
def test_mask_is_full_over_the_face_and_gone_at_the_border(size):
    mask = feathered_mask(size)
    assert mask.min() >= 0 and mask.max() <= 1
    border = np.ones_like(mask, bool)
    border[2:-2, 2:-2] = False
    assert (mask[border] == 0).all()
    if size >= 64:
        for crop in CROPS:
            points = np.rint(crop_points(crop, size)).astype(int)
            assert (mask[points[:, 1], points[:, 0]] == 1).all()
        np.testing.assert_allclose(mask, mask[::-1, ::-1], atol=1e-6)


@pytest.mark.parametrize("flow", [None, torch.zeros(1, 2, 16, 16)])
def test_an_edit_that_changes_nothing_returns_the_same_bytes(portrait, placed, flow):
    face, placement = placed
    redrawn = (face + 0.1 * torch.rand(face.shape)).clamp(0, 1)
    assert np.array_equal(paste_back(portrait, placement, redrawn, redrawn, flow), portrait)


@pytest.mark.parametrize("raw", [False, True])
@pytest.mark.parametrize("with_flow", [False, True])
@pytest.mark.parametrize("with_reconstruction", [False, True])
def test_outside_of_the_crop_no_byte_changes(portrait, placed, raw, with_flow, with_reconstruction):
    face, placement = placed
    before = portrait.copy()
    pasted = paste_back(
        portrait,
        placement,
        1 - face,
        face if with_reconstruction else None,
        shifted_flow(3) if with_flow else None,
        raw,
    )
    inside = inside_crop(placement, portrait.shape)
    assert np.array_equal(pasted[~inside], portrait[~inside])
    assert (pasted[inside] != portrait[inside]).mean() > 0.4
    assert np.array_equal(portrait, before), "the caller's photo was changed"


def test_a_difference_is_added_and_the_detail_stays(portrait, placed):
    """Brightening a constant redraw by 20 levels brightens every pixel of the face by 20."""
    _, placement = placed
    grey = torch.full((1, 3, 64, 64), 0.5)
    pasted = paste_back(portrait, placement, grey + 20 / 255, grey)
    face = inside_crop(Placement(placement.to_crop - [[0, 0, 16], [0, 0, 16]], 32), portrait.shape)
    dark = face & (portrait < 235).all(-1)
    assert np.array_equal(pasted[dark], portrait[dark] + 20)


def test_detail_goes_where_something_else_is_drawn():
    """Stripes far below the crop's resolution: gone under a redrawn patch, nowhere else."""
    photo = np.full((256, 256, 3), 128, np.uint8)
    photo[:, ::2] += 40
    placement = Placement(np.array([[0.25, 0, -0.375], [0, 0.25, -0.375]]), 64)
    before = torch.full((1, 3, 64, 64), 148 / 255)
    after = before.clone()
    after[..., 28:36, 28:36] = 30 / 255
    pasted = paste_back(photo, placement, after, before).astype(int)
    patch, aside = pasted[120:136, 120:136], pasted[120:136, 40:80]
    assert np.ptp(patch) <= 4 and abs(patch.mean() - 30) < 6  # as it is drawn
    assert np.array_equal(aside, photo[120:136, 40:80])


def test_a_flow_moves_the_photo_at_its_own_resolution():
    """Stripes one photo pixel wide, far below the crop's resolution, arrive shifted and sharp."""
    photo = np.zeros((256, 256, 3), np.uint8)
    photo[:, ::4] = 200  # period 4 photo pixels = one crop pixel
    placement = Placement(np.array([[0.25, 0, -0.375], [0, 0.25, -0.375]]), 64)
    face = cut(photo, placement)
    flow = shifted_flow(0.5)  # half a crop pixel = two photo pixels
    pasted = paste_back(photo, placement, face, face, flow)
    middle = slice(100, 156)
    expected = np.roll(photo, -2, axis=1)[middle, middle]
    np.testing.assert_allclose(pasted[middle, middle], expected, atol=2)


def test_flow_directions_and_units_agree_with_the_networks_warp():
    """x and y must not be exchanged nor turned the wrong way, also in a rotated crop."""
    rng = np.random.default_rng(0)
    photo = cv2.GaussianBlur(rng.integers(0, 256, (300, 300, 3), np.uint8), (0, 0), 8)
    photo = cv2.normalize(photo, None, 0, 255, cv2.NORM_MINMAX)
    turn = np.array([[0.6, 0.8], [-0.8, 0.6]]) * 0.4
    placement = Placement(np.column_stack([turn, [31.5, 31.5] - turn @ [150, 150]]), 64)
    face = cut(photo, placement)
    flow = torch.tensor([4 / 63, 10 / 63]).reshape(1, 2, 1, 1).expand(1, 2, 64, 64)
    pasted = paste_back(photo, placement, face, face, flow)
    moved = cut(pasted, placement)[0, :, 24:40, 24:40]
    # The left-over, face - warp(face), has taken the shift back.
    unchanged = face[0, :, 24:40, 24:40]
    assert (moved - unchanged).abs().mean() < 0.02
    warped = torch.roll(face, (-5, -2), (2, 3))
    pasted = paste_back(photo, placement, warped, face, flow)
    moved = cut(pasted, placement)[0, :, 24:40, 24:40]
    assert (moved - warped[0, :, 24:40, 24:40]).abs().mean() < 0.005


@pytest.mark.parametrize("side", [64, 128, 250])
def test_a_flow_finer_than_the_crop_is_the_same_motion(portrait, placed, side):
    """An affine motion is the same on any grid; only rounding differs."""
    face, placement = placed
    size = face.shape[-1]
    motions = []
    for count in (size, side):
        axis = torch.linspace(-1, 1, count)
        y, x = torch.meshgrid(axis, axis, indexing="ij")
        motions.append(torch.stack([0.02 * y + 0.03, 0.05 * x])[None])
    coarse, fine = (
        paste_back(portrait, placement, warp(face, flow), face, flow).astype(int)
        for flow in motions
    )
    within = np.s_[180:250, 220:300]  # where the mask is full: its fading differs a little
    assert np.abs(coarse - portrait)[within].max() > 30
    assert np.abs(coarse - fine)[within].mean() < 0.1 * np.abs(coarse - portrait)[within].mean()
    assert np.abs(coarse - fine).mean() < 0.2


def test_a_pure_flow_edit_leaves_nothing_to_add(portrait, placed):
    """Sharpness of the warped photo, not of the 64-pixel network."""
    face, placement = placed
    flow = shifted_flow(1.5)
    pasted = paste_back(portrait, placement, warp(face, flow), face, flow)
    raw = paste_back(portrait, placement, warp(face, flow), face, flow, raw=True)
    rows, columns = slice(180, 250), slice(220, 300)

    def sharpness(photo):
        return cv2.Laplacian(photo[rows, columns].astype(np.float32), cv2.CV_32F).std()

    assert sharpness(pasted) > 0.9 * sharpness(portrait)
    assert sharpness(raw) < 0.6 * sharpness(portrait)


def test_light_multiplies_the_photo_and_black_stays_black(portrait, placed):
    _, placement = placed
    photo = portrait // 2
    photo[217, 262] = 0
    still, twice = torch.zeros(1, 2, 64, 64), torch.full((1, 1, 64, 64), 2.0)
    lit = light_and_move(photo, placement, twice, still)
    middle = np.s_[210:225, 255:270]  # where the mask is full
    expected = 255 * (1 - (1 - photo[middle] / 255) ** 2)
    assert np.abs(lit[middle] - expected).max() <= 0.51
    half = light_and_move(photo, placement, twice / 4, still)
    assert np.abs(half[middle] - photo[middle] / 2).max() <= 0.51
    outside = ~inside_crop(placement, portrait.shape)
    assert np.array_equal(lit[outside], photo[outside])
    assert np.array_equal(light_and_move(photo, placement, twice / 2, still), photo)


def test_brightened_values_by_hand():
    values, gain = np.float32([0, 0.5, 0.5, 0.5, 1]), np.float32([3, 2, 1, 0.5, 3])
    np.testing.assert_allclose(brighten(255 * values, gain) / 255, [0, 0.75, 0.5, 0.25, 1])


def test_light_goes_along_with_what_it_is_on(portrait, placed):
    """First lit, then moved: one half twice as bright, everything moved by a pixel of the crop."""
    face, placement = placed
    gain = torch.ones(1, 1, 64, 64)
    gain[..., 32:] = 0.5
    still, flow = torch.zeros(1, 2, 64, 64), shifted_flow(2)
    lit = light_and_move(portrait, placement, gain, still)
    moved = light_and_move(portrait, placement, gain, flow)
    expected = paste_back(lit, placement, warp(face, flow), face, flow)
    apart = np.abs(moved.astype(int) - expected)  # bytes in between are rounded and cut
    assert apart.mean() < 0.1 and apart.max() < 10
    assert np.abs(moved.astype(int) - lit).max() > 30


def test_without_reconstruction_the_colours_are_matched(portrait, placed):
    face, placement = placed
    tinted = face * 0.5 + torch.tensor([0.3, 0.0, 0.1]).reshape(1, 3, 1, 1)
    mask = feathered_mask(64) == 1

    def colour(photo):
        return cut(photo, placement)[0].permute(1, 2, 0).numpy()[mask].mean(0)

    matched = paste_back(portrait, placement, tinted)
    stamped = paste_back(portrait, placement, tinted, raw=True)
    np.testing.assert_allclose(colour(matched), colour(portrait), atol=0.01)
    assert np.abs(colour(stamped) - colour(portrait)).max() > 0.05


def test_contrast_is_matched_and_pale_colours_stay_pale(portrait, placed):
    """Channels amplified each by its own gain would turn what is drawn beside the skin red."""
    face, placement = placed
    grey = face.mean(dim=1, keepdim=True)
    drawn = 0.5 * grey + 0.25 + 0.25 * (face - grey)
    after = cut(paste_back(portrait, placement, drawn), placement)
    mask = torch.from_numpy(feathered_mask(64) == 1)

    def spreads(faces):
        light = faces.mean(dim=1, keepdim=True)
        return light[0, 0][mask].std(), (faces - light)[0][:, mask].std(dim=1).norm()

    light, colours = spreads(after)
    wanted, full = spreads(face)
    assert float(light / wanted) == pytest.approx(1, abs=0.05)
    assert float(colours / full) == pytest.approx(0.25, abs=0.06)  # bytes are rounded and cut


def pale(faces: torch.Tensor) -> torch.Tensor:
    """Drawn with half of the colour, and a little green."""
    grey = faces.mean(dim=1, keepdim=True)
    tint = torch.tensor([-0.02, 0.04, -0.02]).view(1, 3, 1, 1)
    return grey + 0.5 * (faces - grey) + tint


def test_an_edit_has_the_colours_of_the_photo(portrait, placed):
    """What a network draws pale changes the photo as if drawn in the photo's own colours."""
    face, placement = placed
    other = face.clone()
    other[:, 0, 40:54, 20:44] += 0.15  # redder lips
    wanted = paste_back(portrait, placement, other, face).astype(float)
    after = paste_back(portrait, placement, pale(other), pale(face)).astype(float)
    assert np.abs(wanted - portrait).max() > 25
    assert np.abs(after - wanted).max() < 4
    same = paste_back(portrait, placement, pale(face), pale(face))
    np.testing.assert_array_equal(same, portrait)


def test_a_photo_without_colours_stays_so(portrait, placed):
    face, placement = placed
    grey = np.repeat(portrait.mean(axis=2, keepdims=True), 3, axis=2).astype(np.uint8)
    other = face.clone()
    other[:, 0, 40:54, 20:44] += 0.3
    for redrawn in (face, None):  # an edit, and another face in the place of this one
        after = paste_back(grey, placement, other, redrawn).astype(float)
        assert np.abs(after - grey).max() > 10
        assert np.ptp(after, axis=2).max() <= 2


def test_an_oval_leaves_what_is_behind_the_face(portrait, placed):
    """Of a square that is white beside its face nothing white gets in, nor into its colours."""
    face, placement = placed
    oval = oval_mask(64)
    inside, beside = torch.from_numpy(oval == 1), torch.from_numpy(oval == 0)
    x, y = CROPS["facecycle"].points[3]  # a corner of the mouth
    assert oval[int(y * 64), int(x * 64)] > 0.5 and 0.1 < inside.float().mean() < 0.4
    drawn = torch.where(beside, 1.0, face)
    after = paste_back(portrait, placement, drawn, oval=True)
    outside = beside.numpy() & (feathered_mask(64) > 0.3)
    assert outside.sum() > 50

    def seen(photo, where):
        return cut(photo, placement)[0].permute(1, 2, 0).numpy()[np.asarray(where)]

    np.testing.assert_allclose(seen(after, inside), seen(portrait, inside), atol=0.1)
    np.testing.assert_allclose(seen(after, outside), seen(portrait, outside), atol=0.02)
    square = paste_back(portrait, placement, drawn)
    assert np.abs(seen(square, outside) - seen(portrait, outside)).mean() > 0.05
    other = paste_back(portrait, placement, 1 - face, oval=True)
    assert np.abs(seen(other, inside) - seen(portrait, inside)).mean() > 0.05


def test_raw_is_the_networks_own_square(portrait, placed):
    _, placement = placed
    red = torch.tensor([1.0, 0.0, 0.0]).reshape(1, 3, 1, 1).expand(1, 3, 64, 64)
    pasted = paste_back(portrait, placement, red, raw=True)
    assert pasted[217, 262].tolist() == [255, 0, 0]


def test_grey_networks_are_pasted_too(portrait, placed):
    face, placement = placed
    grey = face.mean(1, keepdim=True)
    darker = paste_back(portrait, placement, (grey - 0.1).clamp(0, 1), grey)
    difference = portrait[217, 262].astype(int) - darker[217, 262]
    np.testing.assert_allclose(difference, 25.5, atol=1)


def test_a_crop_finer_than_the_photo_is_averaged_on_its_way_back():
    """A checkerboard of crop pixels under each photo pixel must paste as its mean, grey."""
    photo = np.full((40, 40, 3), 10, np.uint8)
    placement = Placement(np.array([[4.0, 0, 1.5], [0, 4.0, 1.5]]), 160)
    board = torch.from_numpy((np.indices((160, 160)).sum(0) % 2).astype(np.float32))
    pasted = paste_back(photo, placement, board.expand(1, 3, 160, 160), raw=True)
    np.testing.assert_allclose(pasted[15:25, 15:25], 127.5, atol=1)


def test_a_crop_outside_of_the_photo_changes_nothing(portrait, placed):
    face, placement = placed
    away = Placement(compose_affine([[1, 0, 5000], [0, 1, 0]], placement.to_crop), 64)
    assert np.array_equal(paste_back(portrait, away, 1 - face, face), portrait)


def test_a_crop_over_the_corner_is_pasted_where_there_is_photo(portrait, placed):
    face, placement = placed
    corner = compose_affine([[1, 0, 262], [0, 1, 217]], placement.to_crop)  # nose on pixel (0, 0)
    pasted = paste_back(portrait, Placement(corner, 64), 1 - face, face, shifted_flow(2))
    assert pasted.shape == portrait.shape
    assert not np.array_equal(pasted[:50, :50], portrait[:50, :50])
