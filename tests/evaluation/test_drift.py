"""Drift of every kind is found, and without drift there are few false alarms."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tltool.evaluation.drift import binned
from tltool.evaluation.drift.accuracy_estimate import estimate_accuracy
from tltool.evaluation.drift.drift_tests import ALPHA, Sample, class_changes, find_drift
from tltool.evaluation.drift.monitor_result import describe_false_alarms
from tltool.evaluation.metrics.confidence_intervals import wilson_interval
from tltool.training.reference import Reference, as_features

CLASSES, FEATURES = 4, 32
CENTRES = np.random.default_rng(99).normal(0, 1.0, (CLASSES + 1, FEATURES))


def draw(seed, n, *, prior=None, noise=1.0, shift=0.0, new_class=0.0):
    """Return features, confidences, classes, labels and OOD scores of a made-up classifier."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(CLASSES, n, p=prior)
    labels = np.where(rng.random(n) < new_class, CLASSES, labels)
    features = CENTRES[labels] + rng.normal(0, noise, (n, FEATURES)) + shift
    logits = features @ CENTRES[:CLASSES].T / 12 - (CENTRES[:CLASSES] ** 2).sum(1) / 24
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    predicted = probabilities.argmax(axis=1)
    nearest = np.min(((features[:, None] - CENTRES[:CLASSES]) ** 2).sum(2), axis=1)
    scores = (np.sqrt(nearest) / 7.0).astype(np.float32)
    confidence = probabilities.max(axis=1).astype(np.float32)
    return predicted, confidence, predicted == labels, scores, as_features(features)


def reference(seed, n=200, **how):
    return Reference(*draw(seed, n, **how))


def sample(seed, n=100, **how):
    predicted, confidence, _, scores, features = draw(seed, n, **how)
    return Sample(predicted, confidence, scores, features)


def found(seed, *, n=100, **how):
    drift = find_drift(
        reference(seed, n=2 * n), sample(1000 + seed, n, **how), classes=CLASSES, permutations=99
    )
    return [test.name for test in drift.tests if test.found]


def test_without_drift_at_most_five_percent_of_samples_give_an_alarm():
    repeats = 200  # benchmarks/drift.py draws more
    alarms = sum(bool(found(seed, n=40)) for seed in range(repeats))
    assert wilson_interval(alarms, repeats)[0] <= ALPHA, alarms


@pytest.mark.parametrize(
    ("how", "by"),
    [
        ({"prior": [0.7, 0.1, 0.1, 0.1]}, "classes"),
        ({"noise": 1.6}, "ood_scores"),
        ({"shift": 0.35}, "features"),
        ({"new_class": 0.3}, "features"),
    ],
)
def test_drift_is_found_in_a_hundred_images(how, by):
    names = [found(seed, **how) for seed in range(5)]
    assert sum(by in one for one in names) == 5, names


def test_the_size_of_drift_is_zero_unless_it_is_found():
    none = find_drift(reference(1), sample(2), classes=CLASSES, permutations=199)
    much = find_drift(
        reference(1), sample(2, prior=[1, 0, 0, 0]), classes=CLASSES, permutations=199
    )
    assert (none.found, none.size) == (False, 0.0)
    assert much.found
    assert 0.4 < much.size <= 1


def test_the_classes_that_changed_are_named_first():
    changes = class_changes(reference(3), sample(4, prior=[0.7, 0.1, 0.1, 0.1]), list("abcd"))
    assert changes[0].name == "a"
    assert changes[0].found
    assert changes[0].now > changes[0].before


def test_the_estimated_accuracy_covers_the_true_one():
    covered = 0
    for seed in range(20):
        _, confidence, correct, *_ = draw(500 + seed, 1000, noise=1.3)
        estimate = estimate_accuracy(reference(seed, noise=1.3), confidence)
        covered += estimate.low <= correct.mean() <= estimate.high
    assert covered >= 17


def test_an_estimate_from_no_error_is_not_certain():
    one = reference(1)
    perfect = Reference(one.predicted, one.confidence, np.ones(len(one), bool))
    estimate = estimate_accuracy(perfect, one.confidence)
    assert estimate.value == 1.0
    assert estimate.low < 0.99


def test_confidence_in_every_image_is_no_certainty():
    estimate = estimate_accuracy(reference(1), np.ones(50, np.float32))
    assert estimate.value == 1.0
    assert estimate.low < 0.95


def test_a_model_without_features_and_ood_detector_has_two_tests():
    one = reference(1)
    bare = Reference(one.predicted, one.confidence, one.correct)
    tests = find_drift(bare, sample(2), classes=CLASSES, permutations=99).tests
    assert [test.name for test in tests] == ["classes", "confidence"]


def test_random_tables_of_many_classes_are_drawn_in_chunks(monkeypatch):
    whole = find_drift(reference(1), sample(2), classes=CLASSES, permutations=99)
    monkeypatch.setattr(binned, "_CHUNK", 7 * CLASSES)
    chunked = find_drift(reference(1), sample(2), classes=CLASSES, permutations=99)
    assert chunked.tests == whole.tests


def test_after_a_refit_no_rate_of_false_alarms_is_promised():
    refitted = replace(reference(1), before_refit=True)
    drift = find_drift(refitted, sample(2), classes=CLASSES, permutations=19)
    assert drift.to_json()["false_alarm_rate"] is None
    assert "is not known" in describe_false_alarms(drift)
    assert Reference.from_arrays(refitted.to_arrays()).before_refit
