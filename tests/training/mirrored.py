"""Training on logical CPU devices, in a process of its own: TensorFlow makes them at its start.

``python -c`` programs of tests/training/test_devices.py call these functions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tltool.events import SilentObserver
from tltool.training.batch_parts import equal_parts
from tltool.training.dropout_seeds import reseed
from tltool.training.early_stopping import BestModel
from tltool.training.learning_rate_schedule import Schedule
from tltool.training.lr_range_test import range_test
from tltool.training.optimizers import Group
from tltool.training.phase_plan import PhaseData, PhasePlan, PhaseState
from tltool.training.precision import FLOAT32, Precision, choose_precision
from tltool.training.training_loop import Trainer
from tltool.training.training_step import TrainingStep

ROWS, BATCH = 17, 8  # the last batch has one image
RNG = np.random.default_rng(0)
IMAGES = RNG.normal(0, 1, (ROWS, 8, 8, 3)).astype(np.float32)
LABELS = np.eye(3, dtype=np.float32)[RNG.integers(0, 3, ROWS)]
MIXED = (0.7 * LABELS + 0.3 * LABELS[::-1]).astype(np.float32)
Share = tuple[int, int]
PLAN = PhasePlan(
    name="head", epochs=2, steps=3, schedule=Schedule("constant", 0.05, 6, 0), optimizer="sgd",
    weight_decay=1e-3, smoothing=0.1, class_weights=np.array([1, 2, 0.5], np.float32),
    focal_gamma=1.5, ema=0.5, patience=9, min_delta=0.0, seed=0,
)  # fmt: skip


def logical_devices(count: int) -> tf.distribute.Strategy:
    """Return a strategy over ``count`` devices of this process."""
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(
        cpu, [tf.config.LogicalDeviceConfiguration()] * count
    )
    strategy = tf.distribute.MirroredStrategy([f"cpu:{number}" for number in range(count)])
    assert strategy.num_replicas_in_sync == count
    return strategy


def small_network(norm: str | None = None, dropout: float = 0.0) -> keras.Model:
    """Return a convolution, a norm (frozen, batch or sync_batch), dropout and a dense layer."""
    layers: list[Any] = [keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3, activation="relu")]
    if norm:
        batch_norm = keras.layers.BatchNormalization(
            momentum=0.5, synchronized=norm == "sync_batch"
        )
        batch_norm.trainable = norm != "frozen"
        layers.append(batch_norm)
    layers.append(keras.layers.GlobalAveragePooling2D())
    if dropout:
        layers.append(keras.layers.Dropout(dropout, seed=1))
    return keras.Sequential([*layers, keras.layers.Dense(3, dtype="float32")])


def batches(labels: np.ndarray, share: Share = (0, 1)) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the images in order, or of each batch the share that one of several devices gets."""
    device, count = share
    for start in range(0, ROWS, BATCH):
        images, some = IMAGES[start : start + BATCH], labels[start : start + BATCH]
        part = slice(None) if len(some) < count else equal_parts(len(some), count)[device]
        yield images[part], some[part]


class Run:
    """Trains a small network on devices.

    Attributes:
        model: the network; after ``train`` it has the weights of the last step.
        history: rows of the epochs.
        states: what a later process would resume from, by epoch.
    """

    def __init__(
        self,
        strategy: tf.distribute.Strategy,
        *,
        norm: str | None = None,
        dropout: float = 0.0,
        mixed: bool = False,
        share: Share = (0, 1),
        precision: str = "float32",
        **plan: Any,
    ) -> None:
        self.strategy, self.history, self.states = strategy, [], []
        self._labels, self._share = MIXED if mixed else LABELS, share
        self._precision: Precision = choose_precision(precision, gpu=False)
        self._plan = replace(PLAN, **plan)
        keras.utils.set_random_seed(0)
        with strategy.scope(), self._precision.building():
            self.model = small_network(norm, dropout)

    def train(self, before: PhaseState | None = None) -> Run:
        """Train all epochs, or those after ``before``."""
        variables = self.model.trainable_variables
        trainer = Trainer(
            self.model, [Group(variables[:2]), Group(variables[2:], 0.5)], self._plan,
            self.strategy, self._precision, self.history, self.float_variables(),
        )  # fmt: skip
        self.best = BestModel(self.float_variables(), "val_loss")
        trainer.run(
            PhaseData(lambda _: batches(self._labels, self._share), self._validate),
            best=self.best,
            observer=SilentObserver(),
            before=before,
            keep=self.states.append,
        )
        return self

    def float_variables(self) -> list[keras.Variable]:
        """Return weights and moving statistics."""
        return [one for one in self.model.variables if one.dtype == "float32"]

    def values(self) -> list[np.ndarray]:
        """Return the values of these variables."""
        return [keras.ops.convert_to_numpy(variable) for variable in self.float_variables()]

    def weights(self) -> list[np.ndarray]:
        """Return the values now, and those of the best epoch (averaged, if the plan says so)."""
        now = self.values()
        self.best.restore()
        return [*now, *self.values()]

    def measures(self) -> np.ndarray:
        """Return loss, accuracy and validation loss of each epoch."""
        return np.array(
            [[row[k] for k in ("loss", "accuracy", "val_loss")] for row in self.history]
        )

    def _validate(self) -> dict[str, float]:
        logits = self.model(IMAGES, training=False)
        losses = keras.losses.categorical_crossentropy(LABELS, logits, from_logits=True)
        return {"val_loss": float(np.mean(losses)), "val_accuracy": 0.5}


def differences(count: int, options: dict[str, Any]) -> dict[str, Any]:
    """Return by how much ``count`` devices differ from one, and how long each trained."""
    several = logical_devices(count)
    one, other = (Run(s, **options).train() for s in (tf.distribute.get_strategy(), several))
    epochs = [len(run.history) for run in (one, other)]
    return {
        "epochs": epochs,
        "measures": float(np.abs(one.measures() - other.measures()).max()),
        "weights": _largest_difference(one.weights(), other.weights()),
    }


def resumed(count: int, options: dict[str, Any]) -> bool:
    """Whether a run that continues after its first epoch ends like one that was not interrupted."""
    strategy = logical_devices(count)
    whole = Run(strategy, **options).train()
    later = Run(strategy, **options).train(before=whole.states[0])
    return _equal([whole.measures()[1:], *whole.values()], [later.measures(), *later.values()])


def statistics_of_devices(count: int) -> float:
    """Return by how much moving statistics differ from the mean of those of each device alone."""
    options = {"norm": "batch", "schedule": Schedule("constant", 1e-9, 6, 0), "ema": 0.0}
    several = Run(logical_devices(count), **options).train()
    alone = [
        Run(tf.distribute.get_strategy(), share=(device, count), **options).train()
        for device in range(count)
    ]
    expected = [
        np.mean(values, axis=0) for values in zip(*(run.values() for run in alone), strict=True)
    ]
    pairs = zip(several.values(), expected, strict=True)
    return max(float(np.abs(a - b).max()) for a, b in pairs)


def range_tests(count: int) -> dict[str, Any]:
    """Compare the learning rate range test on ``count`` devices with that on one."""
    found, restored = [], True
    for strategy in (tf.distribute.get_strategy(), logical_devices(count)):
        run = Run(strategy, norm="sync_batch")
        before = run.values()
        groups = [Group(run.model.trainable_variables)]
        data = PhaseData(lambda _: batches(LABELS), dict)
        found.append(
            range_test(
                run.model, groups, PLAN, data,
                strategy=strategy, precision=FLOAT32, observer=SilentObserver(), steps=9,
            )
        )  # fmt: skip
        restored &= all(_equal(copy, before) for copy in _copies_of(strategy, run))
    losses = np.array([one.losses[:5] for one in found])  # later ones diverge, and differences grow
    return {"restored": restored, "losses": float(np.abs(losses[0] - losses[1]).max())}


def overflow(count: int) -> dict[str, Any]:
    """Train in float16 on a batch whose last image overflows, then on one that does not."""
    strategy = logical_devices(count)
    run = Run(strategy, norm="batch", precision="float16")
    groups = [Group(run.model.trainable_variables[:2]), Group(run.model.trainable_variables[2:])]
    step = TrainingStep(run.model, groups, PLAN, strategy, loss_scale=True)
    step.set_rate(0.05, 1)
    before, factors = run.values(), [float(step.optimizer_variables[-2].numpy())]
    averages = [one.numpy() for one in step.averages]
    images = IMAGES[:BATCH].copy()
    images[-1] = np.inf
    step(images, LABELS[:BATCH])
    unchanged = all(_equal(copy, before) for copy in _copies_of(strategy, run))
    averaged = _equal(averages, [one.numpy() for one in step.averages])
    factors.append(float(step.optimizer_variables[-2].numpy()))
    step(IMAGES[:BATCH], LABELS[:BATCH])
    copies = _copies_of(strategy, run)
    return {
        "unchanged": unchanged and averaged,
        "trained": [bool((a != b).any()) for a, b in zip(copies[0], before, strict=True)],
        "finite": all(np.isfinite(one).all() for copy in copies for one in copy),
        "factors": factors,
    }


def _equal(some: list[np.ndarray], others: list[np.ndarray]) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(some, others, strict=True))


def _largest_difference(some: list[np.ndarray], others: list[np.ndarray]) -> float:
    return max(float(np.abs(a - b).max()) for a, b in zip(some, others, strict=True))


def _copies_of(strategy: tf.distribute.Strategy, run: Run) -> list[list[np.ndarray]]:
    """Return the values of all variables on each device."""
    copies = [strategy.experimental_local_results(one.value) for one in run.float_variables()]
    return [[one.numpy() for one in device] for device in zip(*copies, strict=True)]


def masks(count: int, layers: dict[str, Callable[[], Any]]) -> dict[str, list[bool]]:
    """Return per layer: whether the first device draws as one alone, and the others differently."""
    strategy = logical_devices(count)
    (alone,), each = _masked(tf.distribute.get_strategy(), layers), _masked(strategy, layers)
    return {
        name: [
            np.array_equal(each[0][name], alone[name]),
            all(not np.array_equal(a[name], b[name]) for a, b in pairwise(each)),
        ]
        for name in layers
    }


def _masked(
    strategy: tf.distribute.Strategy, layers: dict[str, Callable[[], Any]]
) -> list[dict[str, np.ndarray]]:
    """Return on each device what the layers make of the same images."""
    inputs = keras.Input((8, 8, 3))
    with strategy.scope():
        model = keras.Model(inputs, {name: make()(inputs) for name, make in layers.items()})
    reseed(model, strategy, seed=0, epoch=1)
    outputs = strategy.run(tf.function(lambda: model(tf.constant(IMAGES), training=True)))
    copies = {n: strategy.experimental_local_results(one) for n, one in outputs.items()}
    devices = range(strategy.num_replicas_in_sync)
    return [{name: each[device].numpy() for name, each in copies.items()} for device in devices]
