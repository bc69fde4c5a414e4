"""Loss, learning rates, optimisers: against formulas written out again."""

from __future__ import annotations

import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from tltool.training.loss import balanced_weights, weighted_cross_entropy
from tltool.training.optimizers import Group, make_optimizer, set_rate
from tltool.training.schedules import Schedule


def loss_by_hand(labels, logits, weights, smoothing):
    labels, logits = labels.astype(np.float64), logits.astype(np.float64)
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    smooth = labels * (1 - smoothing) + smoothing / labels.shape[1]
    return -(weights * smooth * log_p).sum(axis=1)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weights", [(1, 1, 1), (0.5, 1, 4)])
def test_the_loss_of_soft_labels_is_the_formula(weights, smoothing):
    rng = np.random.default_rng(0)
    labels = rng.dirichlet((0.4, 0.4, 0.4), 50).astype(np.float32)
    logits = rng.normal(0, 5, (50, 3)).astype(np.float32)
    weights = np.array(weights, np.float32)
    found = weighted_cross_entropy(
        tf.constant(labels), tf.constant(logits), class_weights=weights, smoothing=smoothing
    )
    np.testing.assert_allclose(
        found, loss_by_hand(labels, logits, weights, smoothing), rtol=1e-5, atol=1e-6
    )


def test_the_loss_of_huge_logits_is_finite_and_in_float32():
    logits = tf.constant([[3e4, -3e4]], tf.float16)
    found = weighted_cross_entropy(
        tf.constant([[0.0, 1.0]]), logits, class_weights=tf.ones(2), smoothing=0.0
    )
    assert found.dtype == tf.float32
    assert found.numpy()[0] == pytest.approx(6e4, rel=1e-3)


def test_balanced_weights_make_every_class_count_the_same():
    labels = np.array([0] * 8 + [1] * 2 + [2] * 5)
    weights = balanced_weights(labels, 3)
    assert [weights[c] * (labels == c).sum() for c in range(3)] == pytest.approx([5, 5, 5])
    assert weights[labels].mean() == pytest.approx(1)


def test_balanced_weights_of_a_class_without_photos_are_finite():
    assert np.isfinite(balanced_weights(np.array([0, 0, 2]), 3)).all()


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


def test_other_schedules_do_not_react_to_a_plateau():
    schedule = Schedule("constant", peak=1.0, steps=0, warmup=0, patience=1)
    for _ in range(5):
        schedule.epoch_ended(1.0)
    assert schedule.rate(0) == 1.0


def step_once(kind: str, *, gradient: float, rate: float, weight_decay: float) -> list[float]:
    """Return kernel and bias, both 1 at first, after one step."""
    kernel, bias = keras.Variable(np.ones((1, 1))), keras.Variable(np.ones(1))
    group = Group([kernel, bias])
    optimizer = make_optimizer(kind, group, weight_decay=weight_decay, loss_scale=False)
    set_rate(optimizer, rate)
    optimizer.apply([tf.fill((1, 1), gradient), tf.fill((1,), gradient)], list(group.variables))
    return [float(np.asarray(v.value).ravel()[0]) for v in (kernel, bias)]


@pytest.mark.parametrize("kind", ["adamw", "sgd"])
def test_weight_decay_is_decoupled_and_spares_biases(kind):
    kernel, bias = step_once(kind, gradient=0.0, rate=0.1, weight_decay=0.5)
    assert kernel == pytest.approx(1 - 0.1 * 0.5)
    assert bias == 1.0


def test_sgd_steps_against_the_gradient():
    assert step_once("sgd", gradient=2.0, rate=0.1, weight_decay=0) == pytest.approx([0.8, 0.8])


def test_adamw_steps_by_the_rate():
    found = step_once("adamw", gradient=2.0, rate=0.1, weight_decay=0)
    assert found == pytest.approx([0.9, 0.9], abs=1e-5)
