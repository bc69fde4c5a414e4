"""Out-of-distribution detection by pooled features."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tltool.evaluation.metrics.ood_detection import auroc
from tltool.training.ood import MAX_IMAGES, OutlierDetector, fit_detector, why_no_detector


def clouds(seed: int, n: int, *, shift: float = 0.0, size: int = 64) -> np.ndarray:
    """Return ``n`` features of each of two classes, moved away from both by ``shift``."""
    rng = np.random.default_rng(seed)
    points = rng.normal(2, np.linspace(0.2, 1.5, size), (2, n, size))
    points[1, :, 0] += 2
    points[..., 1:9] += shift
    return points.reshape(2 * n, size).astype(np.float32)


LABELS = np.repeat([0, 1], 20)


@pytest.fixture(scope="module", name="detector")
def _detector() -> OutlierDetector:
    found = fit_detector(clouds(0, 20), LABELS)  # fewer images than features
    assert found is not None
    return found


def test_out_of_distribution_features_score_higher(detector):
    known, ood = (detector.scores(clouds(1, 100, shift=s)) for s in (0, 4))
    assert auroc(known, ood)["value"] > 0.99


def test_a_direction_of_large_variance_counts_less(detector):
    base = np.full((1, 64), 2, np.float32)
    narrow, wide = base.copy(), base.copy()
    narrow[0, 1], wide[0, -1] = 5, 5
    assert detector.scores(narrow) > detector.scores(wide) > detector.scores(base)


def test_the_graph_gives_the_same_scores_and_feature_maps_are_averaged(detector):
    points = clouds(2, 8)
    graph = tf.function(detector.tensor_scores)(tf.constant(points))
    np.testing.assert_allclose(graph, detector.scores(points), rtol=1e-5)
    maps = np.stack([points - 1, points + 1], axis=1)[:, :, np.newaxis]
    np.testing.assert_allclose(detector.scores(maps), detector.scores(points), rtol=1e-4)


def test_the_threshold_is_one(detector):
    points = clouds(3, 8)
    moved = detector.with_threshold(2.0).with_threshold(1.5)
    np.testing.assert_allclose(moved.scores(points), detector.scores(points) / 3, rtol=1e-6)


def test_a_stored_detector_gives_the_same_scores(detector):
    again = OutlierDetector.from_arrays(detector.to_arrays())
    assert again is not None
    np.testing.assert_array_equal(again.scores(clouds(4, 5)), detector.scores(clouds(4, 5)))
    assert OutlierDetector.from_arrays({}) is None


def test_constant_features_do_no_harm():
    points = clouds(5, 20)
    points[:, 10:] = 0.5
    found = fit_detector(points, LABELS)
    assert found is not None
    assert np.isfinite(found.scores(points)).all()


@pytest.mark.parametrize(
    ("pooled", "labels", "why"),
    [
        (clouds(6, 1), np.array([0, 1]), "one image per class"),
        (np.ones((40, 64), np.float32), LABELS, "have the same features"),
        (np.full((40, 64), np.nan, np.float32), LABELS, "not finite"),
    ],
)
def test_features_without_variance_give_no_detector_and_a_reason(pooled, labels, why):
    assert fit_detector(pooled, labels) is None
    assert why in why_no_detector(pooled, labels)


def test_a_rare_class_among_very_many_images_is_in_distribution():
    rng, n = np.random.default_rng(8), 12_001
    even = np.linspace(0, n - 1, MAX_IMAGES).astype(int)
    rare = np.setdiff1d(np.arange(n), even)[50]  # even steps pass over it
    points = rng.normal([5, 0, 0, 0], 1, (n, 4)).astype(np.float32)
    points[rare] = [0, 9, 0, 0]
    labels = (np.arange(n) == rare).astype(np.int64)
    found = fit_detector(points, labels)
    assert found is not None and len(found.means) == 2
    assert found.scores(points[[rare]]) < 0.1


def test_features_of_a_diverged_network_are_handled():
    huge = clouds(7, 20) * np.float32(1e25)
    found = fit_detector(huge, LABELS)
    assert found is not None
    assert np.isfinite(found.scores(huge)).all()
    huge[0, 0] = np.inf
    assert fit_detector(huge, LABELS) is None
