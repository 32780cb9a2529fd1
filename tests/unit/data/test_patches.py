"""Faces for the recognition of expressions: registration, even light, patches."""

import cv2
import numpy as np
import pytest

from facefactor.data.patches import (
    INNER_LANDMARKS,
    _template,
    centre_patches,
    even_out,
    recrop,
    register,
    remove_plane,
    training_patches,
)
from facefactor.geometry.similarity import apply_affine, similarity_transform
from facefactor.perception.align import crop_points
from facefactor.perception.head_pose import MEAN_FACE


def smooth(size, seed=0, channels=3):
    """A picture without edges, so that resampling changes little."""
    noise = np.random.default_rng(seed).normal(size=(size, size, channels))
    blurred = cv2.GaussianBlur(noise, (0, 0), size / 10).reshape(size, size, channels)
    low, high = blurred.min(), blurred.max()
    return ((blurred - low) / (high - low) * 255).round().astype(np.uint8)


def landmarks_at(inner_px, size):
    """68 landmarks (1, 68, 2) in shares of the side with the 49 at these pixels; far off else."""
    points = np.full((1, 68, 2), 9.0, np.float32)
    points[0, INNER_LANDMARKS] = (np.asarray(inner_px) + 0.5) / size
    return points


PLANE = 3 * np.arange(7.0)[:, None] - 2 * np.arange(9.0) + 11


def test_a_plane_is_removed_whole():
    np.testing.assert_allclose(remove_plane(PLANE), 0, atol=1e-12)


def test_the_plane_is_that_of_least_squares():
    image = np.random.default_rng(0).normal(size=(7, 9))
    rows, columns = np.mgrid[:7, :9]
    design = np.column_stack([rows.ravel(), columns.ravel(), np.ones(63)])
    fit, *_ = np.linalg.lstsq(design, image.ravel(), rcond=None)
    expected = image - (design @ fit).reshape(7, 9)
    np.testing.assert_allclose(remove_plane(image), expected, atol=1e-12)
    np.testing.assert_allclose(remove_plane(image + PLANE), expected, atol=1e-12)


def test_a_patch_has_mean_0_and_variance_1_and_no_plane():
    patch = even_out(smooth(60, channels=1)[..., 0]).astype(np.float64)
    assert abs(patch.mean()) < 1e-6 and patch.var() == pytest.approx(1, abs=1e-5)
    np.testing.assert_allclose(remove_plane(patch), patch, atol=1e-5)


def test_values_are_spread_evenly():
    """A skewed histogram in random places becomes flat: uniform values of variance 1 end at the
    root of 3, and every quarter of the way there is as full."""
    random = np.random.default_rng(0)
    skewed = (255 * random.random((60, 60)) ** 2).astype(np.uint8)
    before, _ = np.histogram(skewed, bins=4)
    assert before.max() > 3 * before.min()
    found = even_out(skewed)
    assert np.abs(found).max() < 3**0.5 + 0.15
    after, _ = np.histogram(found, bins=4, range=(-(3**0.5), 3**0.5))
    assert after.max() < 1.15 * after.min()


def test_only_the_order_of_grey_values_counts():
    few = smooth(60, channels=1)[..., 0] // 17  # 0 to 15
    np.testing.assert_array_equal(even_out(few), even_out(few**2))
    np.testing.assert_array_equal(even_out(few), even_out(5 * few + 40))
    assert np.abs(even_out(few) - even_out(15 - few)).max() > 1


def test_a_patch_of_one_grey_is_0():
    np.testing.assert_array_equal(even_out(np.full((60, 60), 90, np.uint8)), 0)


def test_the_five_patches_are_the_centre_and_the_corners():
    face = smooth(64, channels=1)[..., 0]
    patches = training_patches(face[None])
    assert patches.shape == (1, 5, 60, 60) and patches.dtype == np.float32
    windows = [face[2:62, 2:62], face[:60, :60], face[:60, 4:], face[4:, :60], face[4:, 4:]]
    for patch, window in zip(patches[0], windows, strict=True):
        np.testing.assert_array_equal(patch, even_out(window))
    np.testing.assert_array_equal(centre_patches(face[None]), patches[:, 0])


def test_patches_of_a_mirror_image_are_mirror_images_of_patches():
    face = smooth(64, channels=1)[..., 0]
    mirrored = training_patches(face[None, :, ::-1])[0]
    expected = training_patches(face[None])[0][[0, 2, 1, 4, 3], :, ::-1]
    np.testing.assert_allclose(mirrored, expected, atol=1e-4)


def test_no_faces_no_patches():
    none = np.empty((0, 64, 64), np.uint8)
    assert training_patches(none).shape == (0, 5, 60, 60)
    assert centre_patches(none).shape == (0, 60, 60)


def test_the_49_landmarks_leave_out_the_jaw_and_the_inner_corners_of_the_lips():
    assert len(INNER_LANDMARKS) == 49 and INNER_LANDMARKS[0] == 17
    assert not {60, 64} & set(INNER_LANDMARKS)


def test_a_face_that_lies_right_is_only_made_grey():
    face = smooth(64)
    found = register(face[None], landmarks_at(_template(), 64))
    np.testing.assert_array_equal(found, cv2.cvtColor(face, cv2.COLOR_RGB2GRAY)[None])


def test_the_square_lies_within_the_crops_that_faces_come_in():
    """Brows and lips inside, eyes level and above the middle; of the mean face three rows at most
    are mirrored, two of which the patch in the centre leaves out."""
    template = _template()
    eyes = template[[INNER_LANDMARKS.index(36), INNER_LANDMARKS.index(45)]]
    assert eyes[0, 1] == eyes[1, 1] < 31.5
    assert eyes[:, 0].mean() == pytest.approx(31.5) and eyes[0, 0] < eyes[1, 0]
    assert template.min() > 2 and template.max() < 60
    unit = eyes[1, 0] - eyes[0, 0]  # the outer eye corners are 1 apart
    chin = eyes[0, 1] + unit * float(MEAN_FACE[36, 1] - MEAN_FACE[8, 1])
    assert 63 < chin < 68
    mean_face = MEAN_FACE.numpy()[:, :2] * [1, -1] * unit
    nose = MEAN_FACE[30, :2].numpy() * [1, -1] * unit
    five = [mean_face[36:42].mean(0), mean_face[42:48].mean(0), nose, *mean_face[[48, 54]]]
    shift = eyes[0] - mean_face[36]
    for crop in ("arcface", "facecycle"):
        to_square = similarity_transform(crop_points(crop, 1), np.array(five) + shift)
        corners = apply_affine(to_square, [[-0.5, -0.5], [0.5, 0.5]])
        assert corners[0].max() < -0.5 and corners[1].min() > 63.5 - 3


def test_turned_and_enlarged_faces_are_registered_alike():
    """A photo turned by a quarter, or twice as large, with its landmarks: the same face."""
    photo = smooth(128)
    inner = _template() * 1.3 + 20
    expected = register(photo[None], landmarks_at(inner, 128)).astype(float)
    turned = np.column_stack([127 - inner[:, 1], inner[:, 0]])  # clockwise
    found = register(np.rot90(photo, -1)[None], landmarks_at(turned, 128))
    np.testing.assert_allclose(found, expected, atol=1)
    large = cv2.resize(photo, (256, 256), interpolation=cv2.INTER_LINEAR)
    found = register(large[None], landmarks_at((inner + 0.5) * 2 - 0.5, 256))
    np.testing.assert_allclose(found, expected, atol=4)
    askew = register(photo[None], landmarks_at(inner + 12, 128))
    assert np.abs(askew - expected).max() > 20


def test_recrop():
    face = smooth(64)
    np.testing.assert_array_equal(recrop(face, "arcface", "arcface", 64), face)
    spots = np.zeros((112, 112, 3), np.uint8)
    for x, y in crop_points("arcface", 112):
        cv2.circle(spots, (round(x), round(y)), 3, (255, 255, 255), -1)
    moved = recrop(spots, "arcface", "facecycle", 96)
    assert moved.shape == (96, 96, 3)
    for x, y in crop_points("facecycle", 96):
        assert moved[round(y), round(x)].min() > 100
