import numpy as np
import pytest

from facefactor.evaluation.probes import head_pose_probe


def poses(count, seed, noise=0.0):
    """Codes of 12 correlated values of different scale, and angles that are linear in them."""
    random = np.random.default_rng(7)
    mixing, weight = random.standard_normal((3, 12)), random.standard_normal((12, 3))
    sample = np.random.default_rng(seed)
    codes = sample.standard_normal((count, 3)) @ mixing + 0.3 * sample.standard_normal((count, 12))
    pose = 4 * codes @ weight + [10, -5, 2]
    return codes * np.logspace(-3, 3, 12) + 1, pose + noise * sample.standard_normal((count, 3))


def test_angles_linear_in_the_codes_are_found():
    result = head_pose_probe(*poses(800, 0), *poses(200, 1), "toy")
    spread = np.abs(poses(200, 1)[1]).mean()
    assert result["mean"] < 0.05 * spread
    assert [score.unit for score in result.scores] == ["°"] * 4


def test_sgd_ends_where_least_squares_does():
    train, target = poses(800, 0, noise=5)
    test, truth = poses(400, 1, noise=5)
    result = head_pose_probe(train, target, test, truth, "toy")
    design = np.column_stack([train, np.ones(800)])
    solved = np.linalg.lstsq(design, target, rcond=None)[0]
    error = np.abs(np.column_stack([test, np.ones(400)]) @ solved - truth).mean(axis=0)
    for name, expected in zip(("yaw", "pitch", "roll"), error, strict=True):
        assert result[name] == pytest.approx(expected, rel=0.004)
    assert result["mean"] == pytest.approx(np.mean([result[n] for n in ("yaw", "pitch", "roll")]))


def test_codes_that_know_nothing_give_the_mean_pose():
    random = np.random.default_rng(0)
    target, truth = random.normal(3, 20, (2, 600, 3))
    result = head_pose_probe(
        random.standard_normal((600, 4)), target, random.standard_normal((600, 4)), truth, "toy"
    )
    always_mean = np.abs(truth - target.mean(axis=0)).mean()
    assert result["mean"] == pytest.approx(always_mean, rel=0.03)


def test_head_pose_published_numbers_and_wrong_shapes():
    codes, pose = poses(40, 0)
    result = head_pose_probe(codes, pose, codes, pose, "aflw2000", model="facecycle")
    assert [score.published for score in result.scores] == [11.70, 12.76, 12.94, 12.47]
    with pytest.raises(ValueError, match=r"poses must be \(N, 3\)"):
        head_pose_probe(codes, pose[:, :2], codes, pose, "toy")
