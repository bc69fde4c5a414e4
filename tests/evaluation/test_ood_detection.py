"""Out-of-distribution detection: AUROC with its interval, and the share detected."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from tltool.evaluation.metrics.ood_detection import auroc, ood_detection_metrics

lists = st.lists(st.sampled_from([0.0, 0.5, 1.0, 1.5, 2.0, 7.0]), min_size=2, max_size=30)


@given(lists, lists)
def test_the_auroc_is_that_of_scikit_learn(in_distribution, ood):
    labels = [0] * len(in_distribution) + [1] * len(ood)
    expected = roc_auc_score(labels, in_distribution + ood)
    found = auroc(np.array(in_distribution, np.float32), np.array(ood, np.float32))
    assert found["value"] == pytest.approx(expected)
    assert 0 <= found["low"] <= found["value"] <= found["high"] <= 1


def test_its_interval_has_the_nominal_coverage():
    rng = np.random.default_rng(0)
    truth, hits = 0.9213, 0  # of two normal distributions two standard deviations apart
    for _ in range(400):
        found = auroc(rng.normal(0, 1, 60), rng.normal(2, 1, 40))
        hits += found["low"] <= truth <= found["high"]
    assert 0.92 <= hits / 400 <= 0.98


def test_the_share_of_ood_images_above_the_threshold():
    found = ood_detection_metrics(np.array([0.1, 0.9, 1.1]), np.array([0.95, 1.2, 3.0, 4.0]))
    assert found["auroc"]["value"] == pytest.approx(11 / 12)
    assert found["detected"]["value"] == 0.75
    assert (found["n_in_distribution"], found["n_ood"]) == (3, 4)
