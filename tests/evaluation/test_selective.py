"""The border of what is known, and what leaving images unanswered gives."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from tltool.evaluation.metrics.selective import (
    auroc,
    detection_metrics,
    selective_metrics,
    threshold_between,
    threshold_of,
)

lists = st.lists(st.sampled_from([0.0, 0.5, 1.0, 1.5, 2.0, 7.0]), min_size=2, max_size=30)


@given(lists, lists)
def test_the_area_under_the_curve_is_scikit_learns(known, others):
    expected = roc_auc_score([0] * len(known) + [1] * len(others), known + others)
    found = auroc(np.array(known, np.float32), np.array(others, np.float32))
    assert found["value"] == pytest.approx(expected)
    assert 0 <= found["low"] <= found["value"] <= found["high"] <= 1


def test_its_interval_holds_the_truth_nineteen_times_in_twenty():
    rng = np.random.default_rng(0)
    truth, hits = 0.9213, 0  # of two normal curves two standard deviations apart
    for _ in range(400):
        found = auroc(rng.normal(0, 1, 60), rng.normal(2, 1, 40))
        hits += found["low"] <= truth <= found["high"]
    assert 0.92 <= hits / 400 <= 0.98


@pytest.mark.parametrize("n", [25, 200])
def test_new_photos_stay_under_the_border_as_often_as_wanted(n):
    rng = np.random.default_rng(n)
    kept = [
        np.mean(rng.exponential(size=500) <= threshold_of(rng.exponential(size=n), 0.9))
        for _ in range(200)
    ]
    assert 0.89 <= np.mean(kept) <= 0.91 + 1 / n


def test_too_few_photos_keep_all_of_them():
    scores = np.array([3.0, 1.0, 2.0], np.float32)
    assert (scores <= threshold_of(scores, 0.95)).all()
    assert threshold_of(scores, 0.95) < 3.01


def test_other_photos_move_the_border_into_the_gap_and_never_below():
    known = np.linspace(0, 1, 101).astype(np.float32)
    assert threshold_between(known, known + 2, 0.9) == pytest.approx(1.5)
    assert threshold_between(known, known, 0.9) == pytest.approx(threshold_of(known, 0.9))
    assert threshold_between(known, known - 5, 0.9) >= threshold_of(known, 0.9)


def test_how_well_others_are_told():
    found = detection_metrics(np.array([0.1, 0.9, 1.1]), np.array([0.95, 1.2, 3.0, 4.0]))
    assert found["auroc"]["value"] == pytest.approx(11 / 12)
    assert found["refused"]["value"] == 0.75
    assert (found["n_known"], found["n_others"]) == (3, 4)


def test_risk_falls_with_coverage_when_the_doubtful_are_wrong():
    said = np.array([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3], [0.6, 0.4]], np.float32)
    labels = np.array([0, 0, 1, 1])
    found = selective_metrics(said, labels, np.array([0.2, 1.2, 0.3, 5.0], np.float32))
    curve = found["risk_coverage"]["confidence"]
    assert curve["coverage"] == [0.25, 0.5, 0.75, 1.0]
    assert curve["risk"] == pytest.approx([0, 0, 1 / 3, 1 / 2])
    assert curve["aurc"] == pytest.approx((1 / 3 + 1 / 2) / 4)
    assert found["risk_coverage"]["ood_score"]["risk"] == pytest.approx([0, 1 / 2, 1 / 3, 1 / 2])
    assert found["known"]["value"] == 0.5
    assert found["accuracy_of_known"]["value"] == 0.5


def test_photos_of_one_score_come_together():
    said = np.tile(np.array([[0.9, 0.1]], np.float32), (4, 1))
    found = selective_metrics(said, np.array([1, 0, 0, 0]), None)
    assert found["risk_coverage"]["confidence"]["risk"] == [0.25] * 4
    low, high = found["risk_coverage"]["confidence"]["aurc_interval"]
    assert low < 0.25 < high
    assert list(found) == ["risk_coverage"]


def test_the_area_under_the_risk_is_covered_as_often_as_said():
    rng, covered = np.random.default_rng(0), 0

    def drawn(n):
        sure = rng.uniform(0.5, 1, n)
        said = np.stack([sure, 1 - sure], axis=1)
        return selective_metrics(said, (rng.random(n) > sure).astype(int), None)

    truth = drawn(100_000)["risk_coverage"]["confidence"]["aurc"]
    for _ in range(100):
        low, high = drawn(150)["risk_coverage"]["confidence"]["aurc_interval"]
        covered += low <= truth <= high
    assert covered >= 88


def test_no_known_photo_has_no_accuracy():
    found = selective_metrics(np.array([[1.0, 0.0]]), np.array([0]), np.array([2.0]))
    assert found["accuracy_of_known"] is None


def test_a_long_curve_is_thinned_and_ends_at_full_coverage():
    rng = np.random.default_rng(0)
    said = rng.dirichlet([1, 1], 1000).astype(np.float32)
    curve = selective_metrics(said, rng.integers(0, 2, 1000), None)["risk_coverage"]["confidence"]
    assert len(curve["risk"]) == 100 and curve["coverage"][-1] == 1.0
