"""Optimizers, losses, metrics and callbacks of Keras: what they do, and what is refused."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tltool.errors import UsageError
from tltool.training.keras_losses import row_loss
from tltool.training.keras_objects import KerasObjects
from tltool.training.learning_rate_schedule import Schedule
from tltool.training.loss import phase_loss
from tltool.training.optimizers import Group, make_optimizer
from tltool.training.phase_plan import PhasePlan

LOGITS = np.random.default_rng(0).normal(0, 2, (5, 3)).astype(np.float32)
LABELS = np.eye(3, dtype=np.float32)[[0, 1, 2, 0, 1]]
WEIGHTS = np.array([1, 0.5, 2, 1, 3], np.float32)[:, np.newaxis]


def losses(loss: Any, weights: Any = WEIGHTS, **settings: Any) -> np.ndarray:
    plan = PhasePlan(
        **{
            "name": "head", "epochs": 1, "steps": 1, "schedule": Schedule("constant", 0.1, 1, 0),
            "optimizer": "sgd", "weight_decay": 0.0, "smoothing": 0.0, "class_weights": None,
            "focal_gamma": 0.0, "ema": 0.0, "patience": 1, "min_delta": 0.0, "seed": 0,
            "loss": row_loss(loss), **settings,
        }
    )  # fmt: skip
    labels, logits = tf.constant(LABELS * weights), tf.constant(LOGITS)
    return np.asarray(tf.function(lambda: phase_loss(plan, labels, logits))())


def own_cross_entropy(labels, probabilities):
    return -tf.reduce_sum(labels * tf.math.log(probabilities), axis=-1)


@pytest.mark.parametrize(
    "loss",
    [
        "categorical_crossentropy",
        keras.losses.CategoricalCrossentropy(from_logits=True),
        own_cross_entropy,
    ],
    ids=["name", "object of logits", "function"],
)
@pytest.mark.parametrize(
    "settings",
    [
        {"smoothing": 0.1, "weights": np.ones((5, 1), np.float32)},
        {"smoothing": 0.1, "class_weights": np.array([1, 2, 0.5], np.float32)},
    ],
    ids=["smoothing", "class weights"],
)
def test_the_cross_entropy_of_keras_is_that_of_the_recipe(loss, settings):
    np.testing.assert_allclose(losses(loss, **settings), losses(None, **settings), rtol=1e-4)


def test_a_mean_over_the_batch_counts_for_each_row():
    mean = losses(lambda labels, outputs: tf.reduce_mean(own_cross_entropy(labels, outputs)))
    assert mean / WEIGHTS[:, 0] == pytest.approx((losses(None) / WEIGHTS[:, 0]).mean(), rel=1e-5)


def test_the_settings_of_an_optimizer_are_copied_for_each_group():
    template = keras.optimizers.SGD(0.3, momentum=0.5, nesterov=True, weight_decay=0.1)
    chosen = KerasObjects(template).own_optimizer
    kernels = [keras.Variable(np.ones((2, 2))) for _ in range(2)]
    made = [make_optimizer(chosen, Group([one]), weight_decay=9.0) for one in kernels]
    assert made[0] is not made[1] and not template.built
    assert [(one.momentum, one.nesterov, one.weight_decay) for one in made] == [
        (0.5, True, 0.1)
    ] * 2
    assert [float(one.learning_rate) for one in made] == [0, 0]


def test_metrics_start_anew_and_get_what_they_expect():
    metrics = KerasObjects(
        metrics=[
            "accuracy", "f1_score", "SparseCategoricalAccuracy", own_cross_entropy,
            keras.metrics.CategoricalCrossentropy(from_logits=True, name="log_loss"),
        ]
    ).keras_metrics  # fmt: skip
    probabilities = np.array(tf.nn.softmax(LOGITS))
    labels = LABELS.argmax(axis=1)
    first = metrics(labels, probabilities)
    assert metrics(labels, probabilities) == first
    accuracy = (LOGITS.argmax(axis=1) == labels).mean()
    assert first["accuracy"] == first["SparseCategoricalAccuracy"] == pytest.approx(accuracy)
    assert first["log_loss"] == pytest.approx(first["own_cross_entropy"], rel=1e-4)
    columns = metrics.of_epoch(labels, probabilities)
    assert [columns[f"val_f1_score_{n}"] for n in range(3)] == first["f1_score"]


class OnTest(keras.callbacks.Callback):
    def on_test_end(self, logs=None):
        pass


REFUSED = {
    "optimizer= is of type int": {"optimizer": 3},
    "no optimizer 'adm'": {"optimizer": "adm"},
    "Ftrl cannot be used": {"optimizer": "ftrl"},
    "has use_ema=True": {"optimizer": keras.optimizers.Adam(use_ema=True)},
    "has clipnorm=1.0": {"optimizer": keras.optimizers.SGD(clipnorm=1.0)},
    "has a learning rate schedule": {
        "optimizer": keras.optimizers.SGD(keras.optimizers.schedules.CosineDecay(0.1, 9))
    },
    "no loss 'crossentropy'": {"loss": "crossentropy"},
    "loss= is of type int": {"loss": 3},
    "takes class numbers": {"loss": keras.losses.SparseCategoricalCrossentropy()},
    "no metric 'f2_score'": {"metrics": ["f2_score"]},
    "metrics= is a single name": {"metrics": "auc"},
    "two metrics have the name 'auc'": {"metrics": ["auc", "auc"]},
    "callbacks= is no list": {"callbacks": OnTest()},
    "an entry of type str": {"callbacks": ["EarlyStopping"]},
    "has the hook on_test_end": {"callbacks": [OnTest()]},
    "ReduceLROnPlateau has no effect": {"callbacks": [keras.callbacks.ReduceLROnPlateau()]},
    "augment= is of type str": {"augment": "flip"},
}


@pytest.mark.parametrize("message", REFUSED)
def test_what_cannot_take_part_is_refused_at_once(message):
    with pytest.raises(UsageError, match=message) as refused:
        KerasObjects(**REFUSED[message])
    assert refused.value.hint


def test_a_learning_rate_that_is_not_used_is_named():
    assert not [*KerasObjects(keras.optimizers.Adam()).notes]
    notes = [*KerasObjects(keras.optimizers.Adam(1e-5)).notes]
    assert "the learning rate 1e-05 of the optimizer is not used" in notes[0]
