"""The log-loss after temperature scaling, by which epochs are compared."""

import numpy as np
import pytest

from tltool.training.temperature import calibrated_log_losses, fit_temperature
from tltool.training.validation import loss_and_accuracy


def calibrated_log_loss(logits, labels):
    return calibrated_log_losses(logits, labels).mean()


def separated(gap: float, scale: float, n: int = 400, seed: int = 0):
    """Logits of three classes that separate them by ``gap``, all multiplied by ``scale``."""
    random = np.random.default_rng(seed)
    labels = np.arange(n) % 3
    return scale * (gap * np.eye(3)[labels] + random.normal(size=(n, 3))), labels


def test_it_does_not_depend_on_the_scale_of_the_logits() -> None:
    losses = [calibrated_log_loss(*separated(1.5, scale)) for scale in (0.7, 1, 1.5)]
    assert losses == pytest.approx([losses[0]] * 3, rel=2e-3)


def test_larger_logits_that_separate_better_are_better_although_their_log_loss_is_worse() -> None:
    early, late = separated(1.0, 1.0), separated(1.3, 8.0)
    before, after = loss_and_accuracy(*early), loss_and_accuracy(*late)
    assert after["val_accuracy"] > before["val_accuracy"]
    assert after["val_loss"] > before["val_loss"]
    assert after["val_calibrated_loss"] < before["val_calibrated_loss"]


def test_it_is_the_log_loss_at_the_fitted_temperature_and_never_above_it() -> None:
    logits, labels = separated(1.5, 3.0)
    scaled = logits / fit_temperature(logits, labels)
    expected = np.log(np.exp(scaled).sum(axis=1)) - scaled[np.arange(len(labels)), labels]
    assert calibrated_log_loss(logits, labels) == pytest.approx(expected.mean())
    assert calibrated_log_loss(logits, labels) <= loss_and_accuracy(logits, labels)["val_loss"]


def test_logits_that_are_not_finite_give_no_number() -> None:
    logits, labels = separated(1.5, 1.0)
    logits[3, 1] = np.inf
    assert np.isnan(calibrated_log_loss(logits, labels))
