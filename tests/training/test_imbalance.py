"""Weights of classes and images, against counting."""

from __future__ import annotations

import numpy as np
import pytest

from tltool.training.imbalance import image_weights, loss_weights, mean_labels

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
