"""One step of training changes the weights as the formulas say."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.conftest import unless_thorough
from tltool.events import SilentObserver
from tltool.training.early_stopping import BestModel
from tltool.training.learning_rate_schedule import Schedule
from tltool.training.loss import classification_loss
from tltool.training.optimizers import Group
from tltool.training.phase_plan import PhaseData, PhasePlan
from tltool.training.precision import Precision
from tltool.training.training_loop import Trainer
from tltool.training.training_step import AveragedWeights, TrainingStep

RATE = 0.5
RNG = np.random.default_rng(0)
INPUTS = RNG.normal(0, 1, (6, 4)).astype(np.float32)
LABELS = np.eye(3, dtype=np.float32)[[0, 1, 2, 0, 1, 2]]
NETWORK = keras.Sequential([keras.Input((4,)), keras.layers.Dense(5), keras.layers.Dense(3)])
START = [RNG.normal(0, 1, v.shape).astype(np.float32) for v in NETWORK.variables]


def plan(**changes: Any) -> PhasePlan:
    settings = {
        "name": "head", "epochs": 9, "steps": 1, "schedule": Schedule("constant", RATE, 9, 0),
        "optimizer": "sgd", "weight_decay": 0.0, "smoothing": 0.0, "class_weights": None,
        "focal_gamma": 0.0, "ema": 0.0, "patience": 9, "min_delta": 0.0, "seed": 0,
    }  # fmt: skip
    return PhasePlan(**{**settings, **changes})


def stepped(
    *, groups: list[Group] | None = None, epochs: tuple[int, ...] = (1,), **changes: Any
) -> list[np.ndarray]:
    """Return the weights after one step in each of ``epochs``."""
    for variable, value in zip(NETWORK.variables, START, strict=True):
        variable.assign(value)
    scaled = changes.pop("loss_scale", False)
    made = groups or [Group(NETWORK.trainable_variables)]
    step = TrainingStep(
        NETWORK, made, plan(**changes), tf.distribute.get_strategy(), loss_scale=scaled
    )
    for epoch in epochs:
        step.set_rate(RATE, epoch)
        step(INPUTS, LABELS)
    return [np.array(variable.value) for variable in NETWORK.variables]


def gradients() -> list[np.ndarray]:
    """Return the gradient of the mean cross-entropy at the start."""
    for variable, value in zip(NETWORK.variables, START, strict=True):
        variable.assign(value)
    with tf.GradientTape() as tape:
        logits = NETWORK(INPUTS)
        settings = {"class_weights": None, "smoothing": 0.0, "focal_gamma": 0.0}
        loss = tf.reduce_mean(classification_loss(LABELS, logits, **settings))
    found = tape.gradient(loss, [variable.value for variable in NETWORK.trainable_variables])
    return [gradient.numpy() for gradient in found]


def length(arrays: list[np.ndarray]) -> float:
    return float(np.sqrt(sum((array**2).sum() for array in arrays)))


def moved(after: list[np.ndarray]) -> list[np.ndarray]:
    return [a - b for a, b in zip(after, START, strict=True)]


def test_a_step_goes_against_the_gradient():
    for change, gradient in zip(moved(stepped()), gradients(), strict=True):
        np.testing.assert_allclose(change, -RATE * gradient, atol=1e-6)


def test_l2_adds_twice_the_kernel_to_its_gradient_and_spares_biases():
    pairs = zip(moved(stepped(l2=0.1)), gradients(), START, strict=True)
    for change, gradient, value in pairs:
        penalty = 2 * 0.1 * value if value.ndim > 1 else 0.0
        np.testing.assert_allclose(change, -RATE * (gradient + penalty), atol=1e-6)


@pytest.mark.parametrize("loss_scale", [False, True])
def test_a_long_gradient_is_shortened_as_a_whole(loss_scale):
    wanted = 0.1 * length(gradients())
    found = moved(stepped(clip_norm=wanted, loss_scale=loss_scale))
    assert length(found) == pytest.approx(RATE * wanted, rel=1e-5)
    for change, gradient in zip(found, gradients(), strict=True):
        np.testing.assert_allclose(change, -RATE * 0.1 * gradient, atol=1e-6)


def test_a_short_gradient_is_left_alone():
    for found, plain in zip(stepped(clip_norm=1e3), stepped(), strict=True):
        np.testing.assert_array_equal(found, plain)


def test_max_norm_bounds_what_goes_into_each_unit():
    free, bound = stepped(), stepped(max_norm=1.78)
    for one, other in zip(free, bound, strict=True):
        if one.ndim == 1:
            np.testing.assert_array_equal(one, other)
            continue
        norms = np.linalg.norm(one, axis=0)
        assert norms.max() > 1.78 > norms.min()
        np.testing.assert_allclose(other, one * np.minimum(1, 1.78 / norms), rtol=1e-5)


@pytest.mark.parametrize("size", unless_thorough([1, 2, 4, 5], 2))
@pytest.mark.parametrize(
    "settings",
    [
        {"optimizer": "adamw", "weight_decay": 0.1, "ema": 0.9},
        {"l2": 0.1, "max_norm": 1.78, "class_weights": np.array([1, 2, 3], np.float32)},
        {"clip_norm": 0.05, "smoothing": 0.1, "loss_scale": True},
    ],
    ids=lambda settings: "-".join(settings),
)
def test_parts_of_a_batch_give_the_step_of_the_whole_batch(size, settings):
    whole = stepped(epochs=(1, 2), **settings)
    parts = stepped(epochs=(1, 2), micro_batch=size, **settings)
    assert not any(np.array_equal(a, b) for a, b in zip(whole, START, strict=True))
    for one, other in zip(parts, whole, strict=True):
        np.testing.assert_allclose(one, other, atol=2e-6)


def test_the_sums_of_parts_are_those_of_the_batch():
    for variable, value in zip(NETWORK.variables, START, strict=True):
        variable.assign(value)
    groups = [Group(NETWORK.trainable_variables)]
    whole, parts = (
        TrainingStep(
            NETWORK, groups, plan(micro_batch=size), tf.distribute.get_strategy(), loss_scale=False
        )
        for size in (None, 4)
    )
    whole.set_rate(0.0, 1)
    parts.set_rate(0.0, 1)
    np.testing.assert_allclose(parts(INPUTS, LABELS), whole(INPUTS, LABELS), rtol=1e-6)


def two_groups() -> list[Group]:
    first, second = NETWORK.layers
    return [Group(second.trainable_variables), Group(first.trainable_variables, 0.5)]


@pytest.mark.parametrize("optimizer", unless_thorough(["sgd", "adamw", "rmsprop", "lion"], "adamw"))
def test_a_lower_stage_is_not_trained_before_it_is_unfrozen(optimizer):
    settings = {"optimizer": optimizer, "weight_decay": 0.1, "max_norm": 1.0, "unfreeze_every": 2}
    early = stepped(groups=two_groups(), epochs=(1, 2), **settings)
    later = stepped(groups=two_groups(), epochs=(1, 2, 3), **settings)
    for number, value in enumerate(START):
        lower = number < 2
        assert np.array_equal(early[number], value) == lower
        assert not np.array_equal(later[number], value)


def start_with_a_huge_feature() -> tuple[list[np.ndarray], np.ndarray]:
    """Return weights and inputs of which only the gradient of the first kernel overflows."""
    for variable, value in zip(NETWORK.variables, START, strict=True):
        variable.assign(value)
    kernel, huge = START[0].copy(), INPUTS.copy()
    kernel[0], huge[:, 0] = 0, 1e37
    NETWORK.variables[0].assign(kernel)
    return [np.array(variable.value) for variable in NETWORK.variables], huge


def test_an_overflow_in_one_group_skips_the_step_of_all_groups():
    before, huge = start_with_a_huge_feature()
    step = TrainingStep(
        NETWORK, two_groups(), plan(), tf.distribute.get_strategy(), loss_scale=True
    )
    step.set_rate(RATE, 1)
    assert np.isfinite(step(huge, LABELS)).all()
    for variable, value in zip(NETWORK.variables, before, strict=True):
        np.testing.assert_array_equal(variable.value, value)
    step(INPUTS, LABELS)
    for variable, value in zip(NETWORK.variables, before, strict=True):
        assert not np.array_equal(variable.value, value)


@pytest.mark.parametrize("overflows", [1, 2])
def test_a_warning_counts_the_steps_that_overflowed_if_most_did(overflows):
    messages: list[str] = []

    class Recorder(SilentObserver):
        def on_message(self, text: str, *, level: str = "info") -> None:
            messages.append(f"{level}: {text}")

    _, huge = start_with_a_huge_feature()
    batches = [(huge, LABELS)] * overflows + [(INPUTS, LABELS)] * (3 - overflows)
    measures = {"val_loss": 1.0, "val_accuracy": 0.5}
    trainer = Trainer(
        NETWORK, two_groups(), plan(epochs=1, steps=3), tf.distribute.get_strategy(),
        Precision("float16", "mixed_float16", rewrite=False), [],
    )  # fmt: skip
    data = PhaseData(lambda _: batches, lambda: measures)
    trainer.run(data, best=BestModel(NETWORK.variables, "val_loss"), observer=Recorder())
    expected = ["warning: epoch 1: gradients overflowed in float16 in 2 of 3 steps, which were "]
    assert [message[: len(expected[0])] for message in messages] == expected * (overflows > 1)


def test_without_thawing_all_groups_train_from_the_first_epoch():
    for value, found in zip(START, stepped(groups=two_groups()), strict=True):
        assert not np.array_equal(found, value)


def test_the_average_of_the_weights_is_swapped_in_and_out():
    stepped()
    groups = [Group(NETWORK.trainable_variables)]
    for variable, value in zip(NETWORK.variables, START, strict=True):
        variable.assign(value)
    step = TrainingStep(
        NETWORK, groups, plan(ema=0.75), tf.distribute.get_strategy(), loss_scale=False
    )
    step.set_rate(RATE, 1)
    step(INPUTS, LABELS)
    live = [np.array(variable.value) for variable in NETWORK.variables]
    with AveragedWeights(step):
        for variable, now, before in zip(NETWORK.variables, live, START, strict=True):
            np.testing.assert_allclose(variable.value, 0.75 * before + 0.25 * now, atol=1e-6)
    for variable, now in zip(NETWORK.variables, live, strict=True):
        np.testing.assert_array_equal(variable.value, now)
