import numpy as np
import pytest
from scipy.optimize import minimize

from facefactor.geometry.similarity import (
    affine_transform,
    apply_affine,
    compose_affine,
    invert_affine,
    similarity_transform,
)


def points(count: int = 5, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, 2)) * 40 + 300


def test_similarity_of_a_hand_worked_quarter_turn():
    """(0,0)->(5,5), (1,0)->(5,7): twice as large, turned from +x to +y."""
    transform = similarity_transform([[0, 0], [1, 0]], [[5, 5], [5, 7]])
    np.testing.assert_allclose(transform, [[0, -2, 5], [2, 0, 5]], atol=1e-12)


def test_similarity_recovers_the_transform_that_made_the_points():
    angle, scale = 0.7, 1.9
    linear = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    made = np.column_stack([linear, [13.0, -4.0]])
    found = similarity_transform(points(), apply_affine(made, points()))
    np.testing.assert_allclose(found, made, atol=1e-9)


def test_similarity_is_the_minimum_a_search_finds():
    source, target = points() - 300, points(seed=1) - 300

    def squared_error(p):
        moved = apply_affine([[p[0], -p[1], p[2]], [p[1], p[0], p[3]]], source)
        return ((moved - target) ** 2).sum()

    best = minimize(squared_error, [1.0, 0, 0, 0]).fun
    residual = apply_affine(similarity_transform(source, target), source) - target
    assert (residual**2).sum() == pytest.approx(best, rel=1e-6)


def test_similarity_never_mirrors():
    mirrored = points() * [-1, 1]
    linear = similarity_transform(points(), mirrored)[:, :2]
    assert np.linalg.det(linear) >= 0


def test_affine_recovers_a_stretch_and_shear():
    made = np.array([[1.2, 0.3, -7.0], [0.1, 0.6, 20.0]])
    found = affine_transform(points(), apply_affine(made, points()))
    np.testing.assert_allclose(found, made, atol=1e-9)


def test_affine_residual_is_orthogonal_to_the_source():
    """The normal equations, written out."""
    source, target = points(), points(seed=1)
    residual = apply_affine(affine_transform(source, target), source) - target
    design = np.column_stack([source, np.ones(5)])
    np.testing.assert_allclose(design.T @ residual, 0, atol=1e-7)


def test_inverse_and_composition_undo_one_another():
    transform = affine_transform(points(), points(seed=1))
    identity = [[1, 0, 0], [0, 1, 0]]
    np.testing.assert_allclose(
        compose_affine(transform, invert_affine(transform)), identity, atol=1e-9
    )


def test_composition_applies_first_then_then():
    double, shift = [[2, 0, 0], [0, 2, 0]], [[1, 0, 3], [0, 1, 0]]
    np.testing.assert_allclose(apply_affine(compose_affine(double, shift), [[1, 1]]), [[5, 2]])


@pytest.mark.parametrize(
    ("fit", "source", "said"),
    [
        (similarity_transform, np.ones((5, 2)), "two different"),
        (similarity_transform, np.ones((1, 2)), "2 points or more"),
        (similarity_transform, np.full((5, 2), np.nan), "NaN"),
        (similarity_transform, np.ones((5, 3)), r"\(K, 2\)"),
        (affine_transform, np.outer(np.arange(5), [1, 2]), "one line"),
        (affine_transform, np.ones((2, 2)), "3 points or more"),
    ],
)
def test_points_that_fix_nothing_are_refused(fit, source, said):
    with pytest.raises(ValueError, match=said):
        fit(source, np.zeros_like(source))


def test_a_flattening_map_has_no_inverse():
    with pytest.raises(ValueError, match="no inverse"):
        invert_affine([[1, 2, 0], [2, 4, 0]])
