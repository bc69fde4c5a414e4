"""Temperature scaling, and when it is skipped."""

from __future__ import annotations

import numpy as np
import pytest

from tltool.evaluation.calibration.temperature import choose_temperature, fit_temperature
from tltool.evaluation.metrics.probability_scores import log_loss


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
        worse = found.log_loss_after >= found.log_loss_before
        assert worse or found.ece_after > found.ece_before
        assert found.to_json()["skipped"] is True
    reasons = " ".join(str(found.reason) for found in skipped)
    assert "cross-validated log-loss from" in reasons
    assert "cross-validated calibration error from" in reasons


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
    """A few giant losses need a temperature that makes all other predictions underconfident."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, 400)
    logits = 4 * np.eye(4)[labels] + rng.normal(0, 0.5, (400, 4))
    logits[:4] = 200 * np.eye(4)[(labels[:4] + 1) % 4]
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
