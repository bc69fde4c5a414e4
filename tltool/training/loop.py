"""The training loop: one phase of epochs over batches, on one device or many."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tltool.errors import GateError
from tltool.events import Observer
from tltool.training.best import BestModel, EarlyStopping
from tltool.training.loss import classification_loss
from tltool.training.optimizers import Group, make_optimizer, set_rate
from tltool.training.plan import Batch, PhaseData, PhasePlan, PhaseState, Row
from tltool.training.precision import Precision


@dataclass(repr=False)  # TensorFlow puts the repr into warnings, and this one holds all weights
class Trainer:
    """Trains ``network`` (inputs to logits) in one phase.

    Attributes:
        network: the part of the model that runs in this phase.
        groups: variables to train with their multiples of the learning rate.
        plan: settings.
        strategy: devices.
        precision: arithmetic.
        history: rows of all phases; this phase appends its own.
        changing: what the phase changes: the variables of ``groups``, and moving statistics.
    """

    network: keras.Model
    groups: Sequence[Group]
    plan: PhasePlan
    strategy: tf.distribute.Strategy
    precision: Precision
    history: list[Row]
    changing: Sequence[keras.Variable] = ()
    _shadow: list[tf.Variable] = field(default_factory=list)

    def run(
        self,
        data: PhaseData,
        *,
        best: BestModel,
        observer: Observer,
        before: PhaseState | None = None,
        keep: Callable[[PhaseState], None] = lambda _: None,
    ) -> None:
        """Run the phase, or the rest of it.

        Args:
            data: where the photos come from.
            best: hears of every epoch, and of nothing worse than it has.
            observer: told about everything on the way.
            before: how far an earlier process has come.
            keep: called after every epoch with what a later process needs to go on.
        """
        step_function = self._build()
        local = best.fresh(min_delta=self.plan.min_delta)
        done = self._resume(before, local) if before else 0
        for epoch in range(done + 1, self.plan.epochs + 1):
            started = time.perf_counter()
            _reseed(self.network, self.plan.seed, epoch)
            step = (epoch - 1) * self.plan.steps
            sums = self._epoch(step_function, data.batches(epoch), step, observer)
            with self._averaged_weights():
                measures = data.validate()
                best.offer(measures, phase=self.plan.name, epoch=epoch)
            row = self._row(epoch, sums, measures, time.perf_counter() - started)
            _check_finite(row)
            self.history.append(row)
            observer.on_epoch(epoch, self.plan.epochs, _numbers(row))
            self.plan.schedule.epoch_ended(measures["val_loss"])
            stale = local.stale_after(measures, self.plan.patience)
            finished = stale or epoch == self.plan.epochs
            keep(self._state(epoch, local, finished=finished))
            if finished:
                break

    def _state(self, epoch: int, local: EarlyStopping, *, finished: bool) -> PhaseState:
        numbers = {
            "schedule": self.plan.schedule.state(),
            "stopping": {"value": local.value, "stale": local.stale},
        }
        if finished:  # what follows starts from the best state
            return PhaseState(epoch, True, numbers, {})
        arrays = {f"{kind}/{n}": _value(v) for kind, vs in self._kinds() for n, v in enumerate(vs)}
        return PhaseState(epoch, False, numbers, arrays)

    def _kinds(self) -> list[tuple[str, Sequence[Any]]]:
        optimizers = [variable for one in self._optimizers for variable in one.variables]
        return [("weight", self.changing), ("average", self._shadow), ("optimizer", optimizers)]

    def _resume(self, before: PhaseState, local: EarlyStopping) -> int:
        for kind, variables in self._kinds():
            for number, variable in enumerate(variables):
                variable.assign(before.arrays[f"{kind}/{number}"])
        self.plan.schedule.resume(before.numbers["schedule"])
        local.value = before.numbers["stopping"]["value"]
        local.stale = before.numbers["stopping"]["stale"]
        return before.epoch

    def _epoch(
        self, step_function: Any, batches: Iterable[Batch], step: int, observer: Observer
    ) -> np.ndarray:
        """Return sums of (loss, hits, rows) over one epoch that starts with step ``step``."""
        totals = []
        with self.precision.active():
            for done, (inputs, labels) in enumerate(batches, start=1):
                rate = self.plan.schedule.rate(step)
                for group, optimizer in zip(self.groups, self._optimizers, strict=True):
                    set_rate(optimizer, rate * group.multiple)
                totals.append(step_function(inputs, labels))
                step += 1
                observer.on_progress(done, self.plan.steps, unit="steps")
        total: np.ndarray = np.sum([total.numpy() for total in totals], axis=0)
        return total

    def _build(self) -> Any:
        """Return the compiled training step: (inputs, labels) to sums float32 [3]."""
        with self.strategy.scope():
            self._optimizers = [
                make_optimizer(
                    self.plan.optimizer,
                    group,
                    weight_decay=self.plan.weight_decay,
                    loss_scale=self.precision.arithmetic == "float16",
                )
                for group in self.groups
            ]
            if self.plan.ema:
                self._shadow = [tf.Variable(v.value, trainable=False) for v in self._variables]
        if self.strategy.num_replicas_in_sync > 1:
            return self._distributed_step()
        return tf.function(self._step, autograph=False, reduce_retracing=True)

    @property
    def _variables(self) -> list[keras.Variable]:
        return [variable for group in self.groups for variable in group.variables]

    def _step(
        self, inputs: tf.Tensor, labels: tf.Tensor, rows: tf.Tensor | None = None
    ) -> tf.Tensor:
        """One step on one device; ``rows`` is the size of the whole batch over all devices."""
        labels = tf.cast(labels, tf.float32)
        rows = tf.cast(tf.shape(labels)[0] if rows is None else rows, tf.float32)
        variables = [variable.value for variable in self._variables]
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(variables)
            logits = self.network(tf.cast(inputs, tf.float32), training=True)
            losses = classification_loss(
                labels,
                logits,
                class_weights=self.plan.class_weights,
                smoothing=self.plan.smoothing,
                focal_gamma=self.plan.focal_gamma,
            )
            loss = tf.reduce_sum(losses) / rows
            scaled = self._optimizers[0].scale_loss(loss)
        self._apply(tape.gradient(scaled, variables))
        hits = tf.equal(tf.argmax(labels, -1), tf.argmax(logits, -1))
        size = tf.cast(tf.shape(labels)[0], tf.float32)
        return tf.stack([tf.reduce_sum(losses), tf.reduce_sum(tf.cast(hits, tf.float32)), size])

    def _apply(self, gradients: Sequence[tf.Tensor]) -> None:
        start = 0
        for group, optimizer in zip(self.groups, self._optimizers, strict=True):
            stop = start + len(group.variables)
            part = gradients[start:stop]
            if optimizer is not self._optimizers[0] and hasattr(optimizer, "dynamic_scale"):
                # the loss was scaled by the first optimiser; each undoes its own scale
                ratio = optimizer.dynamic_scale.value / self._optimizers[0].dynamic_scale.value
                part = [gradient * ratio for gradient in part]
            optimizer.apply(part, list(group.variables))
            start = stop
        for shadow, variable in zip(self._shadow, self._variables, strict=False):
            shadow.assign(self.plan.ema * shadow + (1 - self.plan.ema) * variable.value)

    def _distributed_step(self) -> Any:
        """Return the step over all replicas; a batch is divided as evenly as it goes."""
        replicas = self.strategy.num_replicas_in_sync

        @tf.function(autograph=False, reduce_retracing=True)
        def everywhere(inputs: Any, labels: Any, rows: tf.Tensor) -> tf.Tensor:
            sums = self.strategy.run(self._step, args=(inputs, labels, rows))
            return self.strategy.reduce(tf.distribute.ReduceOp.SUM, sums, axis=None)

        def step(inputs: Any, labels: Any) -> tf.Tensor:
            size = len(labels)
            parts, times = np.array_split(np.arange(size), replicas), 1
            if size < replicas:
                # no device can train on nothing: each gets the whole of so small a batch
                parts, times = [np.arange(size)] * replicas, replicas
            sums = everywhere(
                _spread(self.strategy, inputs, parts),
                _spread(self.strategy, labels, parts),
                tf.constant(size * times),
            )
            return sums / times

        return step

    def _averaged_weights(self) -> _SwappedWeights:
        return _SwappedWeights(self._variables if self._shadow else [], self._shadow)

    def _row(self, epoch: int, sums: np.ndarray, measures: dict[str, float], seconds: float) -> Row:
        loss, hits, rows = (float(value) for value in sums)
        return {
            "phase": self.plan.name,
            "epoch": epoch,
            "loss": loss / rows,
            "accuracy": hits / rows,
            **measures,
            "learning_rate": self.plan.schedule.rate(epoch * self.plan.steps - 1),
            "seconds": seconds,
            "images_per_second": rows / seconds,
        }


class _SwappedWeights:
    """Puts the averaged weights into the network while measuring, and the live ones back."""

    def __init__(self, live: Sequence[keras.Variable], averaged: Sequence[tf.Variable]) -> None:
        self._live, self._averaged = live, averaged

    def __enter__(self) -> None:
        self._kept = [keras.ops.convert_to_numpy(variable) for variable in self._live]
        for variable, value in zip(self._live, self._averaged, strict=True):
            variable.assign(value)

    def __exit__(self, *_: object) -> None:
        for variable, value in zip(self._live, self._kept, strict=True):
            variable.assign(value)


def _value(variable: Any) -> np.ndarray:
    return np.asarray(keras.ops.convert_to_numpy(variable))


def _spread(strategy: tf.distribute.Strategy, batch: Any, parts: Sequence[np.ndarray]) -> Any:
    """Return a per-replica value with the rows ``parts`` of a batch."""
    array = tf.convert_to_tensor(batch)
    return strategy.experimental_distribute_values_from_function(
        lambda context: tf.gather(array, parts[context.replica_id_in_sync_group])
    )


def _reseed(network: keras.Model, seed: int, epoch: int) -> None:
    """Make the dropout of an epoch a function of (seed, epoch, layer)."""
    generators = [
        layer.seed_generator
        for layer in network._flatten_layers()
        if getattr(layer, "seed_generator", None) is not None
    ]
    for number, generator in enumerate(generators):
        mixed = np.random.SeedSequence((seed, epoch, number)).generate_state(2, np.uint32)
        generator.state.assign(mixed.astype(generator.state.dtype))


def _check_finite(row: Row) -> None:
    if not np.isfinite([row["loss"], row["val_loss"]]).all():
        raise GateError(
            f"the loss is no longer a number in epoch {row['epoch']} of the {row['phase']} phase",
            hint=f"lower the rate: --set train.{row['phase']}.learning_rate=1e-5, "
            "or --set train.precision=float32",
        )


def _numbers(row: Row) -> dict[str, float]:
    return {key: value for key, value in row.items() if isinstance(value, float)}
