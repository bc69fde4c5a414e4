"""What averaging over changed copies gave, and how sure that is."""

from __future__ import annotations

import numpy as np
import pytest

from tltool.evaluation.metrics.tta_gain import gain_of_copies

LABELS = np.arange(40) % 2


def test_a_gain_has_an_interval_around_it():
    plain = np.where(np.eye(2)[LABELS] > 0, 0.6, 0.4)
    plain[:6] = plain[:6, ::-1]  # six images wrong
    averaged = np.where(np.eye(2)[LABELS] > 0, 0.7, 0.3)
    found = gain_of_copies(plain, averaged, LABELS)
    assert found["accuracy_gain"]["value"] == pytest.approx(6 / 40)
    for gain in found.values():
        assert 0 < gain["low"] < gain["value"] < gain["high"]


def test_no_photo_that_changes_is_no_proof_that_none_will():
    plain = np.where(np.eye(2)[LABELS] > 0, 0.9, 0.1)
    found = gain_of_copies(plain, plain, LABELS)
    assert found["accuracy_gain"] == {"value": 0.0, "low": -0.075, "high": 0.075}
    assert found["log_loss_gain"] == {"value": 0.0, "low": None, "high": None}
