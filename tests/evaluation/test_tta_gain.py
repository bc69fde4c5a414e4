"""The gain of test-time augmentation and its confidence interval."""

from __future__ import annotations

import numpy as np
import pytest

from tltool.evaluation.metrics.tta_gain import tta_gain

LABELS = np.arange(40) % 2


def test_a_gain_has_an_interval_around_it():
    without_tta = np.where(np.eye(2)[LABELS] > 0, 0.6, 0.4)
    without_tta[:6] = without_tta[:6, ::-1]  # six images are misclassified
    with_tta = np.where(np.eye(2)[LABELS] > 0, 0.7, 0.3)
    found = tta_gain(without_tta, with_tta, LABELS)
    assert found["accuracy_gain"]["value"] == pytest.approx(6 / 40)
    for gain in found.values():
        assert 0 < gain["low"] < gain["value"] < gain["high"]


def test_without_any_change_the_intervals_still_have_a_width():
    without_tta = np.where(np.eye(2)[LABELS] > 0, 0.9, 0.1)
    found = tta_gain(without_tta, without_tta, LABELS)
    accuracy, log_loss = found["accuracy_gain"], found["log_loss_gain"]
    assert accuracy["value"] == log_loss["value"] == 0
    assert accuracy["high"] == -accuracy["low"] == pytest.approx(2.77 / 42, rel=0.01)
    assert log_loss["high"] == -log_loss["low"] > 0.1


@pytest.mark.parametrize(("n", "sharpness", "scale"), [(30, 4.0, 2.5), (153, 1.5, 1.0)])
def test_the_intervals_cover_the_true_gains(n: int, sharpness: float, scale: float):
    rng = np.random.default_rng(0)
    true = tta_gain(*predictions(rng, 200_000, sharpness, scale))
    covered = {"accuracy_gain": 0, "log_loss_gain": 0}
    for _ in range(150):
        found = tta_gain(*predictions(rng, n, sharpness, scale))
        for name in covered:
            covered[name] += found[name]["low"] <= true[name]["value"] <= found[name]["high"]
    assert min(covered.values()) >= 0.93 * 150


def predictions(
    rng: np.random.Generator, n: int, sharpness: float, scale: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return probabilities of one view and of the mean of two, and the labels."""
    labels = rng.integers(0, 2, n)
    evidence = rng.normal(0, 2**0.5, n) + sharpness * (2 * labels - 1)
    views = [1 / (1 + np.exp(-scale * (evidence + rng.normal(0, 1, n)))) for _ in range(2)]
    one, mean = views[0], (views[0] + views[1]) / 2
    return np.stack([1 - one, one], axis=1), np.stack([1 - mean, mean], axis=1), labels
