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


def test_without_any_change_the_rule_of_three_gives_the_interval():
    without_tta = np.where(np.eye(2)[LABELS] > 0, 0.9, 0.1)
    found = tta_gain(without_tta, without_tta, LABELS)
    assert found["accuracy_gain"] == {"value": 0.0, "low": -0.075, "high": 0.075}
    assert found["log_loss_gain"] == {"value": 0.0, "low": None, "high": None}
