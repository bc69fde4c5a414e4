"""A phase recovers from a loss that is not finite, and from a batch that memory has no room for."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.conftest import unless_thorough
from tltool.errors import GateError
from tltool.events import SilentObserver
from tltool.features.out_of_memory import MicroBatches, micro_batches
from tltool.training.device_wait import DeviceWait
from tltool.training.early_stopping import BestModel
from tltool.training.learning_rate_schedule import Schedule
from tltool.training.optimizers import Group
from tltool.training.phase_plan import PhaseData, PhasePlan, PhaseState
from tltool.training.precision import FLOAT32
from tltool.training.time_budget import NO_LIMIT, TimeBudget
from tltool.training.training_loop import Trainer

RNG = np.random.default_rng(0)
INPUTS = RNG.normal(0, 1, (20, 4)).astype(np.float32)
LABELS = np.eye(3, dtype=np.float32)[RNG.integers(0, 3, 20)]


class Memory(keras.layers.Layer):
    """Passes a batch on, if it has at most ``rows`` rows."""

    rows = 99

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        def check(batch: np.ndarray) -> np.int32:
            if len(batch) > self.rows:
                raise MemoryError("OOM when allocating tensor")
            return np.int32(0)

        with tf.control_dependencies([tf.numpy_function(check, [inputs], tf.int32)]):
            return tf.identity(inputs)


class Messages(SilentObserver):
    def __init__(self) -> None:
        self.warnings: list[str] = []

    def on_message(self, text: str, *, level: str = "info") -> None:
        self.warnings += [text] if level == "warning" else []


class Run:
    """One phase of four epochs.

    Args:
        broken: epochs of which the first batch has an infinite value, once for each mention.
        before: state to begin with.
        began_as: phase of the best model before.
        settings: of the plan.
    """

    def __init__(
        self,
        *,
        broken: tuple[int, ...] = (),
        before: PhaseState | None = None,
        budget: TimeBudget = NO_LIMIT,
        began_as: str = "start",
        **settings: Any,
    ) -> None:
        keras.utils.set_random_seed(0)
        self.network = keras.Sequential([
            keras.Input((4,)), keras.layers.Dense(5, "relu"), Memory(), keras.layers.Dense(3),
        ])  # fmt: skip
        self.plan = PhasePlan(**{
            "name": "head", "epochs": 4, "steps": 3, "schedule": Schedule("cosine", 0.1, 12, 2),
            "optimizer": "adamw", "weight_decay": 1e-3, "smoothing": 0.0, "class_weights": None,
            "focal_gamma": 0.0, "ema": 0.5, "patience": 9, "min_delta": 0.0, "seed": 0, **settings,
        })  # fmt: skip
        self.history: list[dict[str, Any]] = []
        self.states: list[PhaseState] = []
        self.messages = Messages()
        self._broken = Counter(broken)
        self.micro_batches = MicroBatches()
        best = BestModel(self.network.weights, "val_loss")
        best.phase = began_as
        trainer = Trainer(
            self.network, [Group(self.network.trainable_variables)], self.plan,
            tf.distribute.get_strategy(), FLOAT32, self.history,
        )  # fmt: skip
        with micro_batches(self.micro_batches):
            self.stopped = trainer.run(
                PhaseData(self._batches, self._validate),
                best=best,
                observer=self.messages,
                before=before,
                keep=self.states.append,
                budget=budget,
            )
        best.restore()
        self.weights = [keras.ops.convert_to_numpy(v) for v in self.network.weights]

    def _batches(self, epoch: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        inputs = INPUTS.copy()
        if self._broken[epoch]:
            self._broken[epoch] -= 1
            inputs[0] = np.inf
        for start in range(0, 20, 8):
            yield inputs[start : start + 8], LABELS[start : start + 8]

    def _validate(self) -> dict[str, float]:
        logits = self.network(INPUTS[:2])
        loss = tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(LABELS[:2], logits))
        return {"val_loss": float(loss), "val_accuracy": 0.5}

    def rows(self) -> list[tuple[float, ...]]:
        keys = ("epoch", "loss", "val_loss", "learning_rate")
        return [tuple(float(row[key]) for key in keys) for row in self.history]


def assert_same(one: Run, other: Run) -> None:
    for a, b in zip(one.weights, other.weights, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.thorough
def test_a_diverged_epoch_is_repeated_with_half_the_rate_and_the_run_can_be_resumed():
    recovered, undisturbed = Run(broken=(3,)), Run()
    assert recovered.rows()[:2] == undisturbed.rows()[:2]
    rates = [row[3] for row in undisturbed.rows()]
    assert [row[3] for row in recovered.rows()] == [*rates[:2], rates[2] / 2, rates[3] / 2]
    assert recovered.messages.warnings == [
        "the loss is not finite in epoch 3 of the head phase: it is repeated from the last good "
        "state with half the learning rate"
    ]
    assert_same(recovered, Run(broken=(3,)))  # bit-identical when it happens again
    for state in recovered.states[:-1]:  # killed after any epoch
        left = (3,) if state.epoch < 3 else ()
        resumed = Run(broken=left, before=state)
        assert resumed.rows() == recovered.rows()[state.epoch :]
        assert resumed.states[-1].numbers == recovered.states[-1].numbers


def test_the_rate_is_halved_twice_and_then_the_run_ends():
    twice = Run(broken=(2, 4))
    assert twice.states[-1].numbers["diverged"] == [2, 4]
    assert twice.rows()[-1][3] == Run().rows()[-1][3] / 4
    with pytest.raises(GateError, match="not finite in epoch 4 of the head phase, also with a"):
        Run(broken=(2, 2, 4))


@pytest.mark.parametrize(
    "settings", unless_thorough([{}, {"micro_batch": 6}, {"l2": 0.01, "clip_norm": 0.5}], {})
)
def test_a_batch_without_room_is_trained_in_parts(monkeypatch, settings):
    undisturbed = Run(**settings)
    monkeypatch.setattr(Memory, "rows", 3)
    fitted = Run(**settings)
    assert fitted.micro_batches.rows["head"] <= 3
    np.testing.assert_allclose(fitted.rows(), undisturbed.rows(), rtol=1e-4)
    for a, b in zip(fitted.weights, undisturbed.weights, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)


def test_three_halvings_are_the_most(monkeypatch):
    monkeypatch.setattr(Memory, "rows", 0)
    with pytest.raises(tf.errors.ResourceExhaustedError):
        Run()


def test_without_time_a_probe_suffices_and_else_one_epoch_is_trained():
    over = TimeBudget(ends=time.perf_counter())
    assert Run(budget=over, began_as="probe").history == []
    one = Run(budget=over)
    assert (one.stopped, len(one.history)) == (1, 1)
    assert one.states[-1].finished
    assert one.rows() == Run().rows()[:1]


def test_a_run_is_ended_where_another_one_was():
    ended = Run(budget=TimeBudget(until=("head", 2)))
    assert (ended.stopped, ended.rows()) == (2, Run().rows()[:2])
    assert Run(budget=TimeBudget(until=("finetune", 2))).stopped is None


class Device:
    """A device that computes each step in ``seconds`` while the program goes on."""

    def __init__(self, seconds: float) -> None:
        self._seconds, self._free = seconds, 0.0

    def step(self) -> Any:
        self._free = max(self._free, time.perf_counter()) + self._seconds
        return _Result(self._free)


class _Result:
    def __init__(self, ready: float) -> None:
        self._ready = ready

    def numpy(self) -> None:
        time.sleep(max(0.0, self._ready - time.perf_counter()))


@pytest.mark.parametrize(
    ("decode", "compute", "low", "high"), [(0.03, 0.01, 0.4, 0.9), (0.001, 0.03, 0.0, 0.25)]
)
def test_waiting_is_that_of_the_device_and_not_of_the_program(decode, compute, low, high):
    device, meter = Device(compute), DeviceWait()
    for _ in range(12):
        time.sleep(decode)
        result = meter.step(device.step)
    result.numpy()
    assert low <= meter.share <= high


def test_one_step_says_nothing_about_waiting():
    meter = DeviceWait()
    meter.step(Device(0.0).step)
    assert meter.share is None
