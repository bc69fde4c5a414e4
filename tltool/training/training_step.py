"""One training step: forward pass, gradients, update; on one device or several."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tltool.training.loss import classification_loss
from tltool.training.optimizers import Group, make_optimizer, set_rate
from tltool.training.phase_plan import PhasePlan


class TrainingStep:
    """Compiled step of a phase: (inputs, labels) to sums of loss, hits and rows, float32 [3].

    Args:
        network: inputs to logits.
        groups: variables to train, with their factors on the learning rate.
        plan: settings of the phase.
        strategy: devices.
        loss_scale: whether the loss is scaled so that small gradients do not underflow in float16.
    """

    def __init__(
        self,
        network: keras.Model,
        groups: Sequence[Group],
        plan: PhasePlan,
        strategy: tf.distribute.Strategy,
        *,
        loss_scale: bool,
    ) -> None:
        self.variables = [variable for group in groups for variable in group.variables]
        self._network, self._groups, self._plan = network, groups, plan
        self._strategy, self._replicas = strategy, strategy.num_replicas_in_sync
        self._kernels = [variable for variable in self.variables if len(variable.shape) > 1]
        with strategy.scope():
            self._optimizers = [
                make_optimizer(
                    plan.optimizer, group, weight_decay=plan.weight_decay, loss_scale=loss_scale
                )
                for group in groups
            ]
            copies = self.variables if plan.ema else []
            self.averages = [tf.Variable(v.value, trainable=False) for v in copies]
        compiled = self._on_all_replicas if self._replicas > 1 else self._step
        self._compiled = tf.function(compiled, autograph=False, reduce_retracing=True)

    @property
    def optimizer_variables(self) -> list[Any]:
        """State variables of all optimisers."""
        return [variable for one in self._optimizers for variable in one.variables]

    def set_rate(self, rate: float, epoch: int) -> None:
        """Set the learning rate of the next step; groups frozen in ``epoch`` (from 1) get zero."""
        unfrozen = len(self._groups)
        if self._plan.unfreeze_every:
            unfrozen = 1 + (epoch - 1) // self._plan.unfreeze_every
        pairs = zip(self._groups, self._optimizers, strict=True)
        for depth, (group, optimizer) in enumerate(pairs):
            set_rate(optimizer, rate * group.multiple if depth < unfrozen else 0.0)

    def __call__(self, inputs: Any, labels: Any) -> tf.Tensor:
        """Train on one batch; several devices divide it as evenly as possible."""
        if self._replicas == 1:
            return self._compiled(inputs, labels)
        size = len(labels)
        parts, times = np.array_split(np.arange(size), self._replicas), 1
        if size < self._replicas:
            # a batch smaller than the number of devices is trained on by each of them
            parts, times = [np.arange(size)] * self._replicas, self._replicas
        sums = self._compiled(
            _spread(self._strategy, inputs, parts),
            _spread(self._strategy, labels, parts),
            tf.constant(size * times),
        )
        return sums / times

    def _on_all_replicas(self, inputs: Any, labels: Any, rows: tf.Tensor) -> tf.Tensor:
        sums = self._strategy.run(self._step, args=(inputs, labels, rows))
        return self._strategy.reduce(tf.distribute.ReduceOp.SUM, sums, axis=None)

    def _step(
        self, inputs: tf.Tensor, labels: tf.Tensor, rows: tf.Tensor | None = None
    ) -> tf.Tensor:
        """One step on one device; ``rows`` is the size of the whole batch over all devices."""
        labels = tf.cast(labels, tf.float32)
        rows = tf.cast(tf.shape(labels)[0] if rows is None else rows, tf.float32)
        variables = [variable.value for variable in self.variables]
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(variables)
            logits = self._network(tf.cast(inputs, tf.float32), training=True)
            losses = classification_loss(
                labels,
                logits,
                class_weights=self._plan.class_weights,
                smoothing=self._plan.smoothing,
                focal_gamma=self._plan.focal_gamma,
            )
            loss = tf.reduce_sum(losses) / rows
            if self._plan.l2:
                squares = [tf.reduce_sum(tf.square(kernel.value)) for kernel in self._kernels]
                loss += self._plan.l2 * tf.add_n(squares) / self._replicas
            scaled = self._optimizers[0].scale_loss(loss)
        gradients = tape.gradient(scaled, variables)
        self._apply(gradients if self._plan.clip_norm is None else self._clipped(gradients))
        hits = tf.equal(tf.argmax(labels, -1), tf.argmax(logits, -1))
        size = tf.cast(tf.shape(labels)[0], tf.float32)
        return tf.stack([tf.reduce_sum(losses), tf.reduce_sum(tf.cast(hits, tf.float32)), size])

    def _clipped(self, gradients: list[tf.Tensor]) -> list[tf.Tensor]:
        """Return gradients clipped by global norm (Pascanu et al. 2013, arXiv:1211.5063)."""
        if self._replicas > 1:  # gradients of the whole batch; the optimiser sums them once more
            context = tf.distribute.get_replica_context()
            summed = context.all_reduce(tf.distribute.ReduceOp.SUM, gradients)
            gradients = [gradient / self._replicas for gradient in summed]
        length = tf.linalg.global_norm(gradients) * self._replicas
        longest = self._optimizers[0].scale_loss(tf.constant(self._plan.clip_norm, tf.float32))
        return [gradient * tf.minimum(1.0, longest / length) for gradient in gradients]

    def _apply(self, gradients: Sequence[tf.Tensor]) -> None:
        start = 0
        for group, optimizer in zip(self._groups, self._optimizers, strict=True):
            stop = start + len(group.variables)
            part = gradients[start:stop]
            if optimizer is not self._optimizers[0] and hasattr(optimizer, "dynamic_scale"):
                # the loss was scaled by the first optimiser; each divides by its own scale
                ratio = optimizer.dynamic_scale.value / self._optimizers[0].dynamic_scale.value
                part = [gradient * ratio for gradient in part]
            optimizer.apply(part, list(group.variables))
            if self._plan.max_norm is not None:
                self._limit_norm(group.variables, optimizer.learning_rate > 0)
            start = stop
        for average, variable in zip(self.averages, self.variables, strict=False):
            average.assign(self._plan.ema * average + (1 - self._plan.ema) * variable.value)

    def _limit_norm(self, variables: Sequence[keras.Variable], trained: tf.Tensor) -> None:
        """Apply the max-norm constraint to kernels, unless the group is still frozen."""
        for variable in variables:
            if len(variable.shape) > 1:
                axes = list(range(len(variable.shape) - 1))
                limited = keras.constraints.MaxNorm(self._plan.max_norm, axis=axes)(variable.value)
                variable.assign(tf.where(trained, limited, variable.value))


class AveragedWeights:
    """Context in which the network has the averaged weights; afterwards the trained ones return."""

    def __init__(self, step: TrainingStep) -> None:
        self._live, self._averaged = step.variables if step.averages else [], step.averages

    def __enter__(self) -> None:
        self._kept = [keras.ops.convert_to_numpy(variable) for variable in self._live]
        for variable, value in zip(self._live, self._averaged, strict=True):
            variable.assign(value)

    def __exit__(self, *_: object) -> None:
        for variable, value in zip(self._live, self._kept, strict=True):
            variable.assign(value)


def _spread(strategy: tf.distribute.Strategy, batch: Any, parts: Sequence[np.ndarray]) -> Any:
    """Return a per-replica value with ``parts`` of the rows of a batch."""
    array = tf.convert_to_tensor(batch)
    return strategy.experimental_distribute_values_from_function(
        lambda context: tf.gather(array, parts[context.replica_id_in_sync_group])
    )
