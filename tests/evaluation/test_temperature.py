"""Temperature scaling, and when it is skipped."""

from __future__ import annotations

import numpy as np
import pytest

from tltool.evaluation.calibration.group_folds import group_folds
from tltool.evaluation.calibration.temperature import choose_temperature
from tltool.evaluation.metrics.probability_scores import log_loss
from tltool.training.temperature import fit_temperature


def synthetic_logits(seed: int, n: int, temperature: float) -> tuple[np.ndarray, np.ndarray]:
    """Return logits that are ``temperature`` times too large, and labels."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 1.5, (n, 4))
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = np.array([rng.choice(4, p=row) for row in probabilities])
    return (logits * temperature).astype(np.float32), labels


@pytest.mark.parametrize("true", [0.5, 3.0])
def test_the_true_temperature_is_fitted_and_used(true):
    found = choose_temperature(*synthetic_logits(0, 3000, true))
    assert found.value == pytest.approx(true, rel=0.1)
    assert not found.skipped
    assert found.log_loss_after < found.log_loss_before


def test_a_temperature_that_does_not_generalise_is_skipped():
    """With a dozen images of a calibrated model, the fitted temperature is noise."""
    skipped = [choose_temperature(*synthetic_logits(seed, 12, 1.0)) for seed in range(40)]
    skipped = [found for found in skipped if found.skipped]
    assert len(skipped) >= 15
    for found in skipped:
        assert found.value == 1.0 and found.fitted != 1.0
        assert found.log_loss_after >= found.log_loss_before or found.ece_rises
        assert found.to_json()["skipped"] is True
    assert "would increase the cross-validated log-loss from" in str(skipped[0].reason)


def gaussian_logits(
    seed: int, n: int, *, classes: int, margin: float, temperature: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return logits of Gaussian classes, ``temperature`` times too large, and labels.

    ``margin`` is the distance of the class means; with 10 classes the accuracy is 0.80 at 2.46,
    with 2 classes 0.99 at 3.29.
    """
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, n)
    logits = margin * (rng.normal(size=(n, classes)) + margin * np.eye(classes)[labels])
    return (logits * temperature).astype(np.float32), labels


def test_a_temperature_that_is_needed_is_used_with_few_images():
    found = [
        choose_temperature(*gaussian_logits(seed, 30, classes=10, margin=2.46, temperature=3.0))
        for seed in range(30)
    ]
    assert np.mean([one.skipped for one in found]) <= 0.1
    assert 1.5 < np.median([one.fitted for one in found]) < 3.5


def test_few_images_of_an_accurate_model_do_not_give_a_huge_temperature():
    """Without a prior, and with smoothed targets, the median was 2.5."""
    few = {"classes": 2, "margin": 3.29, "temperature": 1.0}
    fitted = [fit_temperature(*gaussian_logits(seed, 49, **few)) for seed in range(60)]
    assert 0.7 < np.median(fitted) < 1.3
    assert max(fitted) < 4


def test_log_losses_are_clipped_as_in_the_metrics():
    logits, labels = synthetic_logits(0, 300, 1.0)
    logits[:3] = 300 * np.eye(4)[(labels[:3] + 1) % 4]
    found = choose_temperature(logits, labels)
    probabilities = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    assert found.log_loss_before == pytest.approx(log_loss(probabilities, labels))
    assert found.to_json()["log_loss_clipped_before"] == 3
    assert 0.8 < found.fitted < 1.25  # three clipped images say nothing about the temperature


def test_with_prior_correction_the_temperature_is_that_of_the_balanced_logits():
    """Three times too large logits of a model that takes all classes as equally frequent."""
    rng = np.random.default_rng(0)
    frequencies = np.array([0.85, 0.05, 0.05, 0.05])
    labels = rng.choice(4, 800, p=frequencies)
    balanced = 1.5 * (rng.normal(size=(800, 4)) + 1.5 * np.eye(4)[labels])
    wide = (3 * balanced).astype(np.float32)
    found = choose_temperature(wide, labels, log_prior=np.log(4 * frequencies))
    assert found.value == pytest.approx(3, rel=0.15)
    assert found.ece_after < 0.05 < found.ece_before


def test_copies_in_one_group_are_not_cross_fitted_on_each_other():
    logits, labels = (np.repeat(array, 10, axis=0) for array in synthetic_logits(3, 12, 1.0))
    together = choose_temperature(logits, labels, groups=np.repeat(np.arange(12), 10))
    apart = choose_temperature(logits, labels)
    assert together.fitted == apart.fitted
    assert together.log_loss_after > apart.log_loss_after


@pytest.mark.parametrize("count", [3, 10])
def test_folds_keep_groups_together_and_are_of_similar_size(count):
    groups = np.random.default_rng(0).integers(0, 40, 400)
    folds = group_folds(groups, count)
    assert set(folds) == set(range(count))
    assert all(len(set(folds[groups == group])) == 1 for group in set(groups))
    assert np.ptp(np.bincount(folds)) <= 2 * np.bincount(groups).max()


def test_cross_fitted_metrics_are_not_optimistic():
    logits, labels = synthetic_logits(3, 60, 3.0)
    found = choose_temperature(logits, labels)
    own = np.exp(logits / found.value) / np.exp(logits / found.value).sum(axis=1, keepdims=True)
    assert found.log_loss_after > log_loss(own, labels)  # its own images are fitted better
    assert 0 < found.ece_after == found.to_json()["ece_after_cross_fitted"] < 1


def test_a_temperature_at_the_bound_of_the_search_is_skipped():
    """The logits are wrong, not just too large; it may even lower the log-loss."""
    logits, labels = synthetic_logits(0, 300, 1.0)
    wrong = labels.copy()
    wrong[::2] = (labels[::2] + 1) % 4
    found = choose_temperature(100 * logits, wrong)
    assert found.fitted > 19.9 and found.log_loss_after < found.log_loss_before
    assert found.value == 1.0 and found.skipped
    assert found.to_json()["reason"] == "T = 20 is at the bound of the search"


def test_a_temperature_that_raises_the_calibration_error_is_skipped():
    """Some confident errors need a temperature that makes all other predictions underconfident."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, 400)
    logits = 4 * np.eye(4)[labels] + rng.normal(0, 0.5, (400, 4))
    logits[:20] = 13 * np.eye(4)[(labels[:20] + 1) % 4]
    found = choose_temperature(logits.astype(np.float32), labels)
    assert found.log_loss_after < found.log_loss_before and 1 < found.fitted < 19
    assert found.ece_after > found.ece_before
    assert found.value == 1.0
    assert "would increase the cross-validated calibration error from" in str(found.reason)


def test_one_image_gives_no_temperature():
    found = choose_temperature(np.array([[3.0, 0.0]], np.float32), np.array([0]))
    assert found.value == 1.0


def test_the_temperature_of_a_calibrated_model_is_near_one():
    logits, labels = synthetic_logits(1, 50, 1.0)
    assert 0.3 < fit_temperature(logits, labels) < 3


def test_correct_predictions_alone_do_not_drive_the_temperature_to_zero():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 30)
    logits = np.where(np.eye(2, dtype=bool)[labels], 3, 0) + rng.normal(0, 0.3, (30, 2))
    found = choose_temperature(logits.astype(np.float32), labels)
    assert 0.5 < found.value < 2
