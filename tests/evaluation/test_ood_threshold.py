"""The OOD threshold: its coverage of in-distribution images, and how OOD images move it."""

from __future__ import annotations

import numpy as np
import pytest

from tltool.evaluation.calibration.ood_threshold import (
    threshold_between_scores,
    threshold_for_coverage,
)


@pytest.mark.parametrize("n", [25, 200])
def test_new_images_stay_below_the_threshold_with_the_target_coverage(n):
    rng = np.random.default_rng(n)
    covered = [
        np.mean(rng.exponential(size=500) <= threshold_for_coverage(rng.exponential(size=n), 0.9))
        for _ in range(200)
    ]
    assert 0.89 <= np.mean(covered) <= 0.91 + 1 / n


def test_with_too_few_images_the_threshold_is_above_all_of_them():
    scores = np.array([3.0, 1.0, 2.0], np.float32)
    assert (scores <= threshold_for_coverage(scores, 0.95)).all()
    assert threshold_for_coverage(scores, 0.95) < 3.01


def test_ood_images_move_the_threshold_into_the_gap_and_never_below_the_coverage():
    scores = np.linspace(0, 1, 101).astype(np.float32)
    least = threshold_for_coverage(scores, 0.9)
    assert threshold_between_scores(scores, scores + 2, 0.9) == pytest.approx(1.5)
    assert threshold_between_scores(scores, scores, 0.9) == pytest.approx(least)
    assert threshold_between_scores(scores, scores - 5, 0.9) >= least
