"""The order of the 68 landmarks under a mirror."""

import numpy as np

from facefactor.geometry.landmarks import MIRRORED, mirror_landmarks


def test_mirroring_twice_is_nothing():
    points = np.random.default_rng(0).random((3, 68, 2)).astype(np.float32)
    np.testing.assert_allclose(mirror_landmarks(mirror_landmarks(points)), points, atol=1e-6)
    assert sorted(MIRRORED) == list(range(68))


def test_pairs_a_person_would_name():
    """Chin and nose line stay, eye corners, mouth corners and jaw ends change places."""
    stay = [8, 27, 28, 29, 30, 33, 51, 57, 62, 66]
    assert [i for i in range(68) if MIRRORED[i] == i] == stay
    for left, right in ((0, 16), (36, 45), (39, 42), (48, 54), (60, 64), (31, 35), (41, 46)):
        assert MIRRORED[left] == right and MIRRORED[right] == left
