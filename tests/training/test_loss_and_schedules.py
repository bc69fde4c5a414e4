"""Loss, learning rates, optimisers: against formulas written out again."""

from __future__ import annotations

import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from tltool.training.learning_rate_schedule import Schedule
from tltool.training.loss import classification_loss
from tltool.training.optimizers import Group, make_optimizer


def loss_by_hand(labels, logits, weights, smoothing, gamma):
    """One row and one class after the other, in float64."""
    found = []
    for row, scores in zip(labels.astype(np.float64), logits.astype(np.float64), strict=True):
        p = np.exp(scores - scores.max())
        p /= p.sum()
        share = sum(w * y for w, y in zip(weights, row, strict=True))
        total = 0.0
        for w, y, q in zip(weights, row, p, strict=True):
            target = (1 - smoothing) * w * y + smoothing * share / len(row)
            total -= target * (1 - q) ** gamma * math.log(q)
        found.append(total)
    return found


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weights", [None, (0.5, 1, 4)])
def test_the_loss_of_soft_labels_is_the_formula(weights, smoothing, gamma):
    rng = np.random.default_rng(0)
    labels = rng.dirichlet((0.4, 0.4, 0.4), 50).astype(np.float32)
    logits = rng.normal(0, 5, (50, 3)).astype(np.float32)
    found = classification_loss(
        tf.constant(labels),
        tf.constant(logits),
        class_weights=None if weights is None else np.array(weights, np.float32),
        smoothing=smoothing,
        focal_gamma=gamma,
    )
    by_hand = loss_by_hand(labels, logits, weights or (1, 1, 1), smoothing, gamma)
    np.testing.assert_allclose(found, by_hand, rtol=1e-4, atol=1e-5)


def plain(labels, logits, weights=None, smoothing=0.0, gamma=0.0):
    return classification_loss(
        tf.constant(labels, tf.float32),
        tf.constant(logits, tf.float32),
        class_weights=None if weights is None else np.array(weights, np.float32),
        smoothing=smoothing,
        focal_gamma=gamma,
    ).numpy()


def test_the_focal_loss_is_that_of_keras():
    rng = np.random.default_rng(1)
    labels = rng.dirichlet((1, 1, 1), 20).astype(np.float32)
    logits = rng.normal(0, 2, (20, 3)).astype(np.float32)
    theirs = keras.losses.CategoricalFocalCrossentropy(
        alpha=1.0, gamma=1.5, from_logits=True, label_smoothing=0.1, reduction=None
    )(labels, logits)
    np.testing.assert_allclose(plain(labels, logits, None, 0.1, 1.5), theirs, rtol=1e-4)


def test_smoothing_does_not_make_a_small_class_likely_in_images_of_a_large_one():
    # the least loss of an image is at its target: the smoothed label, whatever the weights
    target = np.array([0.95, 0.05])
    at_target = plain([[1, 0]], [np.log(target)], (0.505, 50.5), 0.1)[0]
    for moved in ([0.9, 0.1], [0.97, 0.03], [0.5, 0.5]):
        assert plain([[1, 0]], [np.log(moved)], (0.505, 50.5), 0.1)[0] > at_target


def test_smoothed_labels_have_the_weight_of_their_image():
    labels, logits = np.array([[1, 0], [3, 0], [0, 0]]), [[0.3, -1.0]] * 3
    loss = plain(labels, logits, None, 0.1)
    np.testing.assert_allclose(loss, [loss[0], 3 * loss[0], 0], rtol=1e-6)


def test_a_blend_counts_as_its_parts_each_with_its_own_weight():
    logits, weights = [[0.3, -1.0, 0.2]], (0.5, 1, 4)
    for gamma in (0.0, 2.0):
        first = plain([[1, 0, 0]], logits, weights, gamma=gamma)
        second = plain([[0, 0, 1]], logits, weights, gamma=gamma)
        blend = plain([[0.7, 0, 0.3]], logits, weights, gamma=gamma)
        np.testing.assert_allclose(blend, 0.7 * first + 0.3 * second, rtol=1e-5)


@pytest.mark.parametrize("gamma", [0.0, 0.3, 2.0])
def test_a_confident_image_has_a_finite_gradient(gamma):
    logits = tf.constant([[200.0, -200.0]])
    with tf.GradientTape() as tape:
        tape.watch(logits)
        loss = classification_loss(
            tf.constant([[0.9, 0.1]]), logits, class_weights=None, smoothing=0, focal_gamma=gamma
        )
    assert np.isfinite(tape.gradient(loss, logits)).all()


def test_the_loss_of_huge_logits_is_finite_and_in_float32():
    found = classification_loss(
        tf.constant([[0.0, 1.0]]),
        tf.constant([[3e4, -3e4]], tf.float16),
        class_weights=np.ones(2, np.float32),
        smoothing=0.0,
        focal_gamma=0.0,
    )
    assert found.dtype == tf.float32
    assert found.numpy()[0] == pytest.approx(6e4, rel=1e-3)


def rates(schedule: Schedule, steps: int) -> list[float]:
    return [schedule.rate(step) for step in range(steps)]


def test_cosine_rises_in_the_warm_up_and_falls_to_zero():
    found = rates(Schedule("cosine", peak=0.1, steps=20, warmup=4), 21)
    assert found[:5] == pytest.approx([0.02, 0.04, 0.06, 0.08, 0.1])
    expected = [0.05 * (1 + math.cos(math.pi * (step - 4) / 16)) for step in range(4, 21)]
    assert found[4:] == pytest.approx(expected)
    assert found[20] == pytest.approx(0, abs=1e-12)
    assert found[4:] == sorted(found[4:], reverse=True)


def test_constant_stays():
    assert rates(Schedule("constant", peak=0.3, steps=5, warmup=0), 9) == [0.3] * 9


def test_a_warm_up_longer_than_the_phase_never_reaches_the_peak():
    found = rates(Schedule("cosine", peak=1, steps=3, warmup=10), 3)
    assert found == sorted(found)
    assert max(found) < 1


def test_the_rate_is_divided_by_ten_on_a_plateau():
    schedule = Schedule("plateau", peak=1.0, steps=0, warmup=0, patience=2)
    found = []
    for loss in (1.0, 0.9, 0.9, 0.95, 0.8, 0.9, 0.9, 0.9, 0.9):
        schedule.epoch_ended(loss)
        found.append(schedule.rate(5))
    assert found == pytest.approx([1, 1, 1, 0.1, 0.1, 0.1, 0.01, 0.01, 0.001])


def test_the_rate_is_multiplied_every_so_many_steps():
    schedule = Schedule("step", peak=1.0, steps=9, warmup=2, decay=0.5, every=3)
    expected = [1 / 3, 2 / 3, 1, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25]
    assert rates(schedule, 9) == pytest.approx(expected)


def test_one_cycle_rises_to_its_peak_and_falls_to_almost_zero():
    found = rates(Schedule("one_cycle", peak=0.5, steps=101, warmup=50), 101)
    assert found[0] == pytest.approx(0.5 / 25)
    assert found[15] == pytest.approx(0.5 * (1 + 1 / 25) / 2)
    assert found[30] == max(found) == pytest.approx(0.5)
    assert found[65] == pytest.approx(0.25, rel=1e-4)
    assert found[100] == pytest.approx(0.5 / 25 / 1e4)
    assert found[:31] == sorted(found[:31])
    assert found[30:] == sorted(found[30:], reverse=True)


def test_other_schedules_do_not_react_to_a_plateau():
    schedule = Schedule("constant", peak=1.0, steps=0, warmup=0, patience=1)
    for _ in range(5):
        schedule.epoch_ended(1.0)
    assert schedule.rate(0) == 1.0


def step_once(kind: str, *, gradient: float, rate: float, weight_decay: float) -> list[float]:
    """Return kernel and bias, both 1 at first, after one step."""
    kernel, bias = keras.Variable(np.ones((1, 1))), keras.Variable(np.ones(1))
    group = Group([kernel, bias])
    optimizer = make_optimizer(kind, group, weight_decay=weight_decay)
    optimizer.learning_rate.assign(rate)
    optimizer.apply([tf.fill((1, 1), gradient), tf.fill((1,), gradient)], list(group.variables))
    return [float(np.asarray(v.value).ravel()[0]) for v in (kernel, bias)]


@pytest.mark.parametrize("kind", ["adamw", "sgd", "rmsprop", "lion"])
def test_weight_decay_is_decoupled_and_spares_biases(kind):
    kernel, bias = step_once(kind, gradient=0.0, rate=0.1, weight_decay=0.5)
    assert kernel == pytest.approx(1 - 0.1 * 0.5)
    assert bias == 1.0


def test_sgd_steps_against_the_gradient():
    assert step_once("sgd", gradient=2.0, rate=0.1, weight_decay=0) == pytest.approx([0.8, 0.8])


@pytest.mark.parametrize("kind", ["adam", "adamw", "lion"])
def test_adam_and_lion_step_by_the_rate(kind):
    found = step_once(kind, gradient=2.0, rate=0.1, weight_decay=0)
    assert found == pytest.approx([0.9, 0.9], abs=1e-5)


def test_adam_has_no_weight_decay():
    assert step_once("adam", gradient=0.0, rate=0.1, weight_decay=0.5) == [1.0, 1.0]
