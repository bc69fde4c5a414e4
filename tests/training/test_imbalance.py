"""Weights of classes and images, against counting."""

from __future__ import annotations

import numpy as np
import pytest

from tltool.evaluation.metrics.calibration_error import expected_calibration_error
from tltool.evaluation.metrics.probability_scores import log_loss
from tltool.inference import softmax
from tltool.training.imbalance import image_weights, log_prior, loss_weights, mean_labels
from tltool.training.probe import fit_probe

NUMBERS = np.array([0] * 8 + [1] * 2 + [2] * 5)
ONE_HOT = np.eye(3, dtype=np.float32)[NUMBERS]


def test_weights_are_n_over_k_times_the_size_of_the_class():
    found = loss_weights("weights", NUMBERS, ONE_HOT)
    assert found.tolist() == pytest.approx([15 / (3 * 8), 15 / (3 * 2), 15 / (3 * 5)])
    assert (found[NUMBERS]).mean() == pytest.approx(1)


@pytest.mark.parametrize("kind", ["none", "focal", "balanced_sampling"])
def test_nothing_else_weights_classes(kind):
    assert loss_weights(kind, NUMBERS, ONE_HOT) is None


def test_equal_classes_need_no_weights():
    assert loss_weights("weights", NUMBERS[[0, 8]], ONE_HOT[[0, 8], :2]) is None


def test_image_weights_are_normalised_to_a_mean_of_one():
    labels = ONE_HOT * np.linspace(1, 3, 15, dtype=np.float32)[:, None]
    found = loss_weights("none", NUMBERS, labels)
    assert found.tolist() == pytest.approx([0.5, 0.5, 0.5])
    # with a mean of one they are weights all the same
    assert loss_weights("none", NUMBERS, labels / 2).tolist() == pytest.approx([1, 1, 1])


def test_classes_count_equally_with_image_weights_too():
    labels = ONE_HOT * np.linspace(1, 3, 15, dtype=np.float32)[:, None]
    found = loss_weights("weights", NUMBERS, labels)
    assert (labels * found).sum(axis=0).tolist() == pytest.approx([5, 5, 5])


def test_views_blended_before_the_draw_are_made_up_for():
    # every image is half its own class and half class 0, in one of two views
    mixed = (ONE_HOT + np.eye(3)[[0] * 15]) / 2
    order = np.random.default_rng(0).permutation(15)
    labels = mean_labels([np.arange(15), order], [ONE_HOT, mixed[order]])
    found = loss_weights("balanced_sampling", NUMBERS, labels)
    # drawn: each class a third of the time, and a quarter of what is drawn is of class 0
    share = np.array([1 / 3 + 2 / 3 / 4, 1 / 3 * 3 / 4, 1 / 3 * 3 / 4])
    assert found.tolist() == pytest.approx((1 / 3 / share).tolist())


def test_an_image_counts_by_its_class_weight_and_its_own():
    labels = ONE_HOT * 2
    found = image_weights(np.array([0.5, 1, 4], np.float32), labels)
    assert found.tolist() == pytest.approx([1.0] * 8 + [2.0] * 2 + [8.0] * 5)
    assert image_weights(None, labels) is None


@pytest.mark.parametrize("seed", range(3))
def test_prior_correction_lowers_the_calibration_error_at_the_natural_frequencies(seed):
    rng = np.random.default_rng(seed)

    def images(n: int) -> tuple[np.ndarray, np.ndarray]:
        labels = (rng.random(n) < 0.1).astype(np.int64)
        features = rng.normal(size=(n, 5)) * np.where(labels, 2.0, 1.0)[:, None]
        features[:, 0] += 1.2 * labels
        return features.astype(np.float32), labels

    (features, labels), (new, new_labels) = images(600), images(5000)
    one_hot = np.eye(2)[labels]
    weights = loss_weights("weights", labels, one_hot)
    assert weights is not None
    probe = fit_probe(
        features,
        labels,
        classes=2,
        c_values=[0.1],
        folds=3,
        weights=image_weights(weights, one_hot),
        seed=0,
    )
    logits = probe.logits(new)
    before, after = (softmax(each) for each in (logits, logits + log_prior(weights)))
    errors = [expected_calibration_error(each, new_labels) for each in (before, after)]
    assert errors[1] < 0.7 * errors[0]
    assert log_loss(after, new_labels) < 0.7 * log_loss(before, new_labels)
