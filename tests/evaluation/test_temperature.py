"""Temperature scaling, and when it is left alone."""

from __future__ import annotations

import numpy as np
import pytest

from tltool.evaluation.calibration.temperature import choose_temperature, fit_temperature
from tltool.evaluation.metrics.classification import log_loss


def drawn(seed: int, n: int, temperature: float) -> tuple[np.ndarray, np.ndarray]:
    """Return logits that are ``temperature`` times too large, and labels."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 1.5, (n, 4))
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = np.array([rng.choice(4, p=row) for row in shares])
    return (logits * temperature).astype(np.float32), labels


@pytest.mark.parametrize("true", [0.5, 3.0])
def test_the_right_temperature_is_found_and_taken(true):
    found = choose_temperature(*drawn(0, 3000, true))
    assert found.value == pytest.approx(true, rel=0.1)
    assert not found.refused
    assert found.log_loss_after < found.log_loss_before


def test_a_temperature_that_would_harm_other_photos_is_refused():
    """With a dozen images of a calibrated model, what fits them best is chance."""
    refused = [choose_temperature(*drawn(seed, 12, 1.0)) for seed in range(40)]
    refused = [found for found in refused if found.refused]
    assert len(refused) >= 15
    for found in refused:
        assert found.value == 1.0 and found.fitted != 1.0
        worse = found.log_loss_after >= found.log_loss_before
        assert worse or found.ece_after > found.ece_before
        assert found.to_json()["refused"] is True
    reasons = " ".join(str(found.reason) for found in refused)
    assert "cross-validated log-loss from" in reasons
    assert "cross-validated calibration error from" in reasons


def test_figures_of_photos_that_a_temperature_was_not_fitted_on():
    logits, labels = drawn(3, 60, 3.0)
    found = choose_temperature(logits, labels)
    own = np.exp(logits / found.value) / np.exp(logits / found.value).sum(axis=1, keepdims=True)
    assert found.log_loss_after > log_loss(own, labels)  # its own images are fitted better
    assert 0 < found.ece_after == found.to_json()["ece_after_cross_fitted"] < 1


def test_a_temperature_at_the_bound_of_the_search_is_refused():
    """It says that the logits are wrong, not only too large; it may even lower the log-loss."""
    logits, labels = drawn(0, 300, 1.0)
    wrong = labels.copy()
    wrong[::2] = (labels[::2] + 1) % 4
    found = choose_temperature(100 * logits, wrong)
    assert found.fitted > 19.9 and found.log_loss_after < found.log_loss_before
    assert found.value == 1.0 and found.refused
    assert found.to_json()["reason"] == "T = 20 is at the bound of the search"


def test_a_temperature_that_raises_the_calibration_error_is_refused():
    """One giant loss asks for a temperature that makes all the other images too unsure."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, 400)
    logits = 4 * np.eye(4)[labels] + rng.normal(0, 0.5, (400, 4))
    logits[:4] = 200 * np.eye(4)[(labels[:4] + 1) % 4]
    found = choose_temperature(logits.astype(np.float32), labels)
    assert found.log_loss_after < found.log_loss_before and 1 < found.fitted < 19
    assert found.ece_after > found.ece_before
    assert found.value == 1.0
    assert "would increase the cross-validated calibration error from" in str(found.reason)


def test_one_photo_is_no_ground_for_a_temperature():
    found = choose_temperature(np.array([[3.0, 0.0]], np.float32), np.array([0]))
    assert found.value == 1.0


def test_it_never_raises_the_log_loss_of_what_it_was_fitted_on():
    logits, labels = drawn(1, 50, 1.0)
    assert 0.3 < fit_temperature(logits, labels) < 3


def test_photos_that_are_all_named_right_make_no_model_certain():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 30)
    logits = np.where(np.eye(2, dtype=bool)[labels], 3, 0) + rng.normal(0, 0.3, (30, 2))
    found = choose_temperature(logits.astype(np.float32), labels)
    assert 0.5 < found.value < 2
