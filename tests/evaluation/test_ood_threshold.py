"""The OOD threshold: its coverage of in-distribution images, and how OOD images move it."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
import pytest

from tltool.evaluation.calibration.ood_threshold import (
    describe_threshold,
    images_for_confidence,
    threshold_between_scores,
    threshold_for_coverage,
)


@pytest.mark.parametrize("n", [25, 200])
def test_new_images_stay_below_the_threshold_with_the_target_coverage(n):
    rng = np.random.default_rng(n)
    covered = []
    for _ in range(200):
        threshold = threshold_for_coverage(rng.exponential(size=n), 0.9)
        covered.append(np.mean(rng.exponential(size=500) <= threshold.value))
    assert 0.89 <= np.mean(covered) <= 0.91 + 1 / n


def test_with_too_few_images_the_threshold_is_above_all_of_them():
    scores = np.array([3.0, 1.0, 2.0], np.float32)
    threshold = threshold_for_coverage(scores, 0.95)
    assert (scores <= threshold.value).all() and threshold.value < 3.01
    assert threshold.accepted == pytest.approx((0.292, 0.992), abs=1e-3)  # Beta(3, 1)


def test_ood_images_move_the_threshold_into_the_gap_and_never_below_the_coverage():
    scores = np.linspace(0, 1, 101).astype(np.float32)
    least = threshold_for_coverage(scores, 0.9)
    between = threshold_between_scores(scores, scores + 2, 0.9)
    assert between.value == pytest.approx(1.5)
    assert between.accepted[0] == least.accepted[0] and between.accepted[1] > 0.99
    assert threshold_between_scores(scores, scores, 0.9) == least
    assert threshold_between_scores(scores, scores - 5, 0.9).value >= least.value


def test_the_range_of_49_images_is_that_of_the_beta_distribution():
    threshold = threshold_for_coverage(np.arange(49.0), 0.95)
    assert threshold.accepted == pytest.approx((0.891, 0.995), abs=1e-3)  # Beta(48, 2)
    text = describe_threshold(threshold)
    assert text.startswith("OOD threshold from 49 images: between 89.1 and 99.5 % of new images")


@pytest.mark.parametrize(("groups", "size", "icc"), [(49, 1, 0.0), (40, 5, 0.5), (20, 10, 0.9)])
def test_the_range_holds_the_share_of_new_images_that_are_accepted(groups, size, icc):
    """With groups too, whose images have correlated scores; 0.93 is 0.95 less simulation noise."""
    group, inside, shares = np.repeat(np.arange(groups), size), [], []
    for seed in range(300):
        rng = np.random.default_rng(seed)
        shared = np.sqrt(icc) * rng.normal(size=groups)[group]
        scores = np.exp(shared + np.sqrt(1 - icc) * rng.normal(size=len(group)))
        threshold = threshold_for_coverage(scores, 0.9, groups=group)
        share = NormalDist().cdf(np.log(threshold.value))
        shares.append(share)
        inside.append(threshold.accepted[0] <= share <= threshold.accepted[1])
    assert np.mean(shares) >= 0.89
    assert np.mean(inside) >= 0.92


def test_a_tolerance_limit_accepts_enough_with_its_confidence():
    limits = [
        threshold_for_coverage(np.random.default_rng(seed).random(100), 0.9, confidence=0.9)
        for seed in range(300)
    ]
    assert 0.87 <= np.mean([limit.value >= 0.9 for limit in limits]) <= 0.97
    assert all(limit.confidence >= 0.9 for limit in limits)
    plain = threshold_for_coverage(np.random.default_rng(0).random(100), 0.9)
    assert plain.value < limits[0].value and plain.confidence < 0.7


def test_too_few_images_for_a_tolerance_limit_have_a_lower_confidence():
    assert images_for_confidence(0.95, 0.9) == 45
    enough, few = (
        threshold_for_coverage(np.arange(float(n)), 0.95, confidence=0.9) for n in (45, 44)
    )
    assert enough.confidence >= 0.9 > few.confidence
