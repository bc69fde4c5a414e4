"""Selective prediction: the risk-coverage curve and the metrics below the OOD threshold."""

from __future__ import annotations

import numpy as np
import pytest

from tltool.evaluation.metrics.selective_prediction import selective_metrics


def test_the_risk_falls_with_coverage_if_the_least_confident_are_wrong():
    probabilities = np.array([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3], [0.6, 0.4]], np.float32)
    labels = np.array([0, 0, 1, 1])
    found = selective_metrics(probabilities, labels, np.array([0.2, 1.2, 0.3, 5.0], np.float32))
    curve = found["risk_coverage"]["confidence"]
    assert curve["coverage"] == [0.25, 0.5, 0.75, 1.0]
    assert curve["risk"] == pytest.approx([0, 0, 1 / 3, 1 / 2])
    assert curve["aurc"] == pytest.approx((1 / 3 + 1 / 2) / 4)
    assert found["risk_coverage"]["ood_score"]["risk"] == pytest.approx([0, 1 / 2, 1 / 3, 1 / 2])
    assert found["coverage"]["value"] == 0.5
    assert found["selective_accuracy"]["value"] == 0.5


def test_images_of_equal_score_are_covered_together():
    probabilities = np.tile(np.array([[0.9, 0.1]], np.float32), (4, 1))
    found = selective_metrics(probabilities, np.array([1, 0, 0, 0]), None)
    assert found["risk_coverage"]["confidence"]["risk"] == [0.25] * 4
    low, high = found["risk_coverage"]["confidence"]["aurc_interval"]
    assert low < 0.25 < high
    assert list(found) == ["risk_coverage"]


def test_the_interval_of_the_aurc_has_the_nominal_coverage():
    rng, covered = np.random.default_rng(0), 0

    def drawn(n):
        confidence = rng.uniform(0.5, 1, n)
        probabilities = np.stack([confidence, 1 - confidence], axis=1)
        return selective_metrics(probabilities, (rng.random(n) > confidence).astype(int), None)

    truth = drawn(100_000)["risk_coverage"]["confidence"]["aurc"]
    for _ in range(100):
        low, high = drawn(150)["risk_coverage"]["confidence"]["aurc_interval"]
        covered += low <= truth <= high
    assert covered >= 88


def test_without_any_image_below_the_threshold_there_is_no_accuracy():
    found = selective_metrics(np.array([[1.0, 0.0]]), np.array([0]), np.array([2.0]))
    assert found["selective_accuracy"] is None


def test_a_long_curve_is_thinned_and_ends_at_full_coverage():
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet([1, 1], 1000).astype(np.float32)
    curve = selective_metrics(probabilities, rng.integers(0, 2, 1000), None)["risk_coverage"][
        "confidence"
    ]
    assert len(curve["risk"]) == 100 and curve["coverage"][-1] == 1.0
