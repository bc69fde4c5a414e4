"""Out-of-fold predictions: no image has a part in its own prediction."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.conftest import unless_thorough
from tltool.training.cross_validated_probe import OutOfFold, cross_validate_probe
from tltool.training.probe import fit_probe

HOW: dict[str, Any] = {"c_values": (0.01, 0.1, 1.0), "folds": 3, "weights": None, "seed": 0}


def predicted(features: np.ndarray, labels: np.ndarray, groups: np.ndarray) -> OutOfFold:
    classes = int(labels.max()) + 1
    found = cross_validate_probe(features, labels, groups, classes=classes, **HOW)
    assert found is not None
    return found


def accuracy(found: OutOfFold, labels: np.ndarray) -> float:
    return float((found.logits.argmax(axis=1) == labels).mean())


def test_separable_classes_are_predicted_and_noise_is_not() -> None:
    rng = np.random.default_rng(0)
    labels, groups = np.arange(120) % 3, np.arange(120)
    noise = rng.normal(size=(120, 20)).astype(np.float32)
    signal = noise + 4 * np.eye(20, dtype=np.float32)[labels]
    found = predicted(signal, labels, groups)
    assert found.folds == 5 and found.logits.dtype == np.float32
    assert accuracy(found, labels) > 0.9
    assert accuracy(predicted(noise, labels, groups), labels) < 0.5  # chance is 1/3


def test_images_of_one_group_do_not_predict_each_other() -> None:
    # copies of 30 random images with random labels: only a copy predicts the label
    rng = np.random.default_rng(1)
    features = np.repeat(rng.normal(size=(30, 20)), 4, axis=0).astype(np.float32)
    labels = np.repeat(np.arange(30) % 2, 4)
    groups = np.repeat(np.arange(30), 4)
    assert accuracy(predicted(features, labels, groups), labels) < 0.75
    assert accuracy(predicted(features, labels, np.arange(120)), labels) > 0.9


def test_the_scaling_of_a_fold_does_not_see_its_images() -> None:
    # one image is far away: a scaling that saw it would flatten all others
    rng = np.random.default_rng(2)
    labels = np.arange(60) % 2
    features = rng.normal(size=(60, 5)).astype(np.float32)
    features[:, 0] += 3 * labels
    before = predicted(features, labels, np.arange(60))
    fold_of_first = features.copy()
    fold_of_first[0] *= 1e4
    after = predicted(fold_of_first, labels, np.arange(60))
    same = np.isclose(before.logits, after.logits, atol=1e-5).all(axis=1)
    assert same.sum() >= 11  # the other images of the fold of the first one
    assert not same[0]


def test_a_class_of_few_groups_lowers_the_folds_and_one_of_a_single_group_gives_none() -> None:
    features = np.random.default_rng(0).normal(size=(40, 4)).astype(np.float32)
    labels = np.array([0] * 37 + [1] * 3)
    assert predicted(features, labels, np.arange(40)).folds == 3
    groups = np.append(np.arange(37), [90, 90, 90])
    assert cross_validate_probe(features, labels, groups, classes=2, **HOW) is None


@pytest.mark.parametrize("count", unless_thorough([10, 20], 10))
def test_the_estimate_is_unbiased_for_new_images(count: int) -> None:
    # the mean of the estimates is the mean accuracy on new images
    estimates, truths = [], []
    for seed in range(count):
        rng = np.random.default_rng(seed)
        centres = rng.normal(0, 0.5, (2, 10))

        def draw(n: int, rng: Any = rng, centres: Any = centres) -> tuple[np.ndarray, np.ndarray]:
            labels = np.arange(n) % 2
            return (centres[labels] + rng.normal(size=(n, 10))).astype(np.float32), labels

        features, labels = draw(40)
        estimates.append(accuracy(predicted(features, labels, np.arange(40)), labels))
        probe = fit_probe(features[:32], labels[:32], classes=2, **HOW)
        new, truth = draw(2000)
        truths.append(float((probe.logits(new).argmax(axis=1) == truth).mean()))
    difference = np.array(estimates) - np.array(truths)
    error = difference.std() / np.sqrt(len(difference))
    assert abs(difference.mean()) < 3 * error + 0.01
