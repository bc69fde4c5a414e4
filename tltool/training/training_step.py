"""One training step: forward pass, gradients, update; on one device or several."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from tltool.training.agreement import has_peers, mean_over_devices, own_devices
from tltool.training.batch_parts import device_parts, rows_of, shifted, spread
from tltool.training.dropout_seeds import separate_devices
from tltool.training.loss import phase_loss
from tltool.training.loss_scale import LossScale
from tltool.training.optimizers import Group, make_optimizer
from tltool.training.phase_plan import PhasePlan


class TrainingStep:
    """Compiled step of a phase: (inputs, labels) to sums of loss, hits and rows, float32 [3].

    With ``plan.micro_batch`` a larger batch is processed in parts, one after another; their
    gradients are added, and the weights are updated once. Several devices divide each part.

    Args:
        network: inputs to logits.
        groups: variables to train, with their factors on the learning rate.
        plan: settings of the phase.
        strategy: devices.
        loss_scale: whether the loss is scaled so that small gradients do not underflow in float16.
            A step is then skipped on all devices if a gradient is not finite on one of them.
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
        self._statistics = _updated_statistics(network)
        with strategy.scope():
            self._optimizers = [
                make_optimizer(
                    plan.optimizer,
                    group,
                    weight_decay=plan.weight_decay,
                    momentum=plan.momentum,
                    nesterov=plan.nesterov,
                )
                for group in groups
            ]
            self._loss_scale = LossScale() if loss_scale else None
            self.averages = _copies(self.variables if plan.ema else [])
            self._sums = _copies(self.variables if plan.micro_batch else [], zero=True)
            self._kept = _copies(self._statistics if loss_scale else [])
        separate_devices(network, strategy)
        self._train_whole = _compiled(self._whole, jit=plan.jit_compile)
        self._add_part = _compiled(self._part, jit=plan.jit_compile)
        self._train_on_sums = _compiled(self._on_sums, jit=plan.jit_compile)
        self._keep_statistics = _compiled(lambda: self._run(self._keep))

    @property
    def optimizer_variables(self) -> list[Any]:
        """State variables of all optimisers and of the loss scale."""
        scale = self._loss_scale.variables if self._loss_scale else []
        return [*(variable for one in self._optimizers for variable in one.variables), *scale]

    def take_skipped(self) -> int:
        """Return the number of steps skipped for an overflow since the last call."""
        return self._loss_scale.take_skipped() if self._loss_scale else 0

    def set_rate(self, rate: float, epoch: int) -> None:
        """Set the learning rate of the next step; groups frozen in ``epoch`` (from 1) get zero."""
        unfrozen = len(self._groups)
        if self._plan.unfreeze_every:
            unfrozen = 1 + (epoch - 1) // self._plan.unfreeze_every
        pairs = zip(self._groups, self._optimizers, strict=True)
        for depth, (group, optimizer) in enumerate(pairs):
            optimizer.learning_rate.assign(rate * group.multiple if depth < unfrozen else 0.0)

    def average_statistics(self) -> None:
        """Replace moving statistics that devices computed apart by their mean over the devices.

        The mean of moving averages is the moving average of means, so once an epoch is enough.
        """
        if self._replicas == 1:
            return
        local = self._strategy.experimental_local_results
        values = [[one.numpy() for one in local(variable.value)] for variable in self._statistics]
        means = mean_over_devices(self._strategy, values)
        for variable, mean in zip(self._statistics, means, strict=True):
            variable.assign(mean)

    def __call__(self, inputs: Any, labels: Any, size: int | None = None) -> tf.Tensor:
        """Train on one batch; several devices divide it as evenly as possible.

        Where several workers train, the rows are those of this one; ``size`` is that of the batch.
        """
        size = len(labels) if size is None else size
        parts = device_parts(size, largest=self._plan.micro_batch, devices=self._replicas)
        if has_peers(self._strategy):  # whose rows begin with those of their first device
            first = parts[0][own_devices(self._strategy).start].start
            parts = [shifted(pieces, first) for pieces in parts]
        if self._kept:
            self._keep_statistics()
        if len(parts) == 1:
            return self._train_one_part(inputs, labels, parts[0], size)
        sums = []
        of_batch = tf.constant(size), tf.constant(len(parts) * self._replicas, tf.float32)
        for pieces in parts:
            some = self._on_devices(inputs, pieces), self._on_devices(labels, pieces)
            sums.append(self._add_part(*some, *of_batch))
        self._train_on_sums()
        return tf.add_n(sums)

    def _train_one_part(
        self, inputs: Any, labels: Any, pieces: list[slice], size: int
    ) -> tf.Tensor:
        if self._replicas == 1:
            return self._train_whole(inputs, labels)
        # a batch smaller than the number of devices is trained on by each of them
        times = self._replicas if size < self._replicas else 1
        some = self._on_devices(inputs, pieces), self._on_devices(labels, pieces)
        return self._train_whole(*some, tf.constant(size * times)) / times

    def _on_devices(self, batch: Any, pieces: list[slice]) -> Any:
        if self._replicas == 1:
            return rows_of(batch, pieces[0])
        return spread(self._strategy, batch, pieces)

    def _whole(self, inputs: Any, labels: Any, rows: tf.Tensor | None = None) -> tf.Tensor:
        """One step; ``rows`` is the size of the whole batch over all devices."""
        sums, gradients = self._run(self._gradients, inputs, labels, rows, self._replicas)
        self._update(gradients)
        return self._total(sums)

    def _part(self, inputs: Any, labels: Any, rows: tf.Tensor, shares: tf.Tensor) -> tf.Tensor:
        """Add the gradients of one part of a batch to ``_sums``."""
        sums, gradients = self._run(self._gradients, inputs, labels, rows, shares)
        self._run(self._add, gradients)
        return self._total(sums)

    def _on_sums(self) -> None:
        """Update the weights with the gradients in ``_sums``, and set these to zero."""
        self._update(self._run(self._take))

    def _run(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call a function on each device."""
        if self._replicas == 1:
            return function(*arguments)
        return self._strategy.run(function, args=arguments)

    def _total(self, sums: Any) -> tf.Tensor:
        if self._replicas == 1:
            return sums
        return self._strategy.reduce(tf.distribute.ReduceOp.SUM, sums, axis=None)

    def _gradients(
        self, inputs: tf.Tensor, labels: tf.Tensor, rows: tf.Tensor | None, shares: Any
    ) -> tuple[tf.Tensor, list[tf.Tensor]]:
        """Return sums, and gradients of which the sum over all shares is that of the batch.

        Args:
            inputs: of one share of the batch, on one device.
            labels: of the same, float32 [B, C].
            rows: size of the whole batch; None if this is all of it.
            shares: into how many the batch is divided, over parts and devices.
        """
        labels = tf.cast(labels, tf.float32)
        rows = tf.cast(tf.shape(labels)[0] if rows is None else rows, tf.float32)
        variables = [variable.value for variable in self.variables]
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(variables)
            logits = self._network(tf.cast(inputs, tf.float32), training=True)
            losses = phase_loss(self._plan, labels, logits)
            loss = tf.reduce_sum(losses) / rows
            if self._plan.l2:
                squares = [tf.reduce_sum(tf.square(kernel.value)) for kernel in self._kernels]
                loss += self._plan.l2 * tf.add_n(squares) / shares
            scaled = self._loss_scale.scaled(loss) if self._loss_scale else loss
        gradients = tape.gradient(scaled, variables)
        hits = tf.equal(tf.argmax(labels, -1), tf.argmax(logits, -1))
        size = tf.cast(tf.shape(labels)[0], tf.float32)
        sums = [tf.reduce_sum(losses), tf.reduce_sum(tf.cast(hits, tf.float32)), size]
        return tf.stack(sums), gradients

    def _add(self, gradients: Sequence[tf.Tensor]) -> None:
        for total, gradient in zip(self._sums, gradients, strict=True):
            total.assign_add(gradient)

    def _take(self) -> list[tf.Tensor]:
        gradients = [tf.identity(total) for total in self._sums]
        for total in self._sums:
            total.assign(tf.zeros_like(total))
        return gradients

    def _update(self, gradients: Any) -> None:
        """Update the weights on all devices, unless a gradient overflowed on one of them."""
        if self._replicas > 1 and (self._loss_scale or self._plan.clip_norm is not None):
            gradients = self._run(self._summed, gradients)
        if self._loss_scale is None:
            self._run(self._apply, gradients)
            return
        gradients, finite = self._run(self._loss_scale.unscaled, gradients)
        everywhere = self._strategy.experimental_local_results(finite)[0]
        tf.cond(
            everywhere,
            lambda: self._run(self._apply, gradients),
            lambda: self._run(self._restore),
        )
        self._loss_scale.update(everywhere)

    def _summed(self, gradients: list[tf.Tensor]) -> list[tf.Tensor]:
        """Return gradients of the whole batch; divided, because the optimiser sums them again."""
        context = tf.distribute.get_replica_context()
        summed = context.all_reduce(tf.distribute.ReduceOp.SUM, gradients)
        return [gradient / self._replicas for gradient in summed]

    def _apply(self, gradients: list[tf.Tensor]) -> None:
        start = 0
        if self._plan.clip_norm is not None:
            gradients = self._clipped(gradients)
        for group, optimizer in zip(self._groups, self._optimizers, strict=True):
            stop = start + len(group.variables)
            optimizer.apply(gradients[start:stop], list(group.variables))
            if self._plan.max_norm is not None:
                self._limit_norm(group.variables, optimizer.learning_rate > 0)
            start = stop
        for average, variable in zip(self.averages, self.variables, strict=False):
            average.assign(self._plan.ema * average + (1 - self._plan.ema) * variable.value)

    def _clipped(self, gradients: list[tf.Tensor]) -> list[tf.Tensor]:
        """Return gradients clipped by global norm (Pascanu et al. 2013, arXiv:1211.5063)."""
        length = tf.linalg.global_norm(gradients) * self._replicas
        longest = tf.constant(self._plan.clip_norm, tf.float32)
        return [gradient * tf.minimum(1.0, longest / length) for gradient in gradients]

    def _limit_norm(self, variables: Sequence[keras.Variable], trained: tf.Tensor) -> None:
        """Apply the max-norm constraint to kernels, unless the group is still frozen."""
        for variable in variables:
            if len(variable.shape) > 1:
                axes = list(range(len(variable.shape) - 1))
                limited = keras.constraints.MaxNorm(self._plan.max_norm, axis=axes)(variable.value)
                variable.assign(tf.where(trained, limited, variable.value))

    def _keep(self) -> None:
        """Copy the moving statistics as they are before a step."""
        for kept, variable in zip(self._kept, self._statistics, strict=True):
            kept.assign(variable.value)

    def _restore(self) -> None:
        """Undo what a skipped step has done to moving statistics."""
        for kept, variable in zip(self._kept, self._statistics, strict=True):
            variable.assign(kept)


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


def _compiled(function: Callable[..., Any], *, jit: bool = False) -> Any:
    # None, not False: that would forbid XLA where the caller of tltool switched it on
    return tf.function(function, autograph=False, reduce_retracing=True, jit_compile=jit or None)


def _copies(variables: Sequence[keras.Variable], *, zero: bool = False) -> list[tf.Variable]:
    """Return a variable with the value of each, or with zeros of its shape."""
    values = [tf.zeros_like(one.value) if zero else one.value for one in variables]
    return [tf.Variable(value, trainable=False) for value in values]


def _updated_statistics(network: keras.Model) -> list[keras.Variable]:
    """Return the moving statistics that training updates: of batch normalisation not frozen."""
    norms = [
        layer
        for layer in network._flatten_layers()
        if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable
    ]
    return [value for norm in norms for value in (norm.moving_mean, norm.moving_variance)]
