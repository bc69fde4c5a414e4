"""Dynamic loss scaling, so that small gradients do not underflow in float16."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

_FIRST_FACTOR = 2.0**15
_GROWTH_STEPS = 2000


class LossScale:
    """The factor on the loss of float16 networks (Micikevicius et al. 2018, arXiv:1710.03740).

    The gradients of the scaled loss are divided by the factor. If one of them is not finite, the
    step must be skipped and the factor is halved; after 2,000 finite steps it is doubled. One
    object serves all groups of variables and all devices, so that a step is applied as a whole or
    not at all. All factors are powers of two, so scaling does not round.

    Create it in the scope of the distribution strategy.

    Examples:
        >>> scale = LossScale()
        >>> gradients, finite = scale.unscaled(tape.gradient(scale.scaled(loss), variables))
    """

    def __init__(self) -> None:
        self._factor = tf.Variable(_FIRST_FACTOR, trainable=False)
        self._finite_steps = tf.Variable(tf.zeros((), tf.int64), trainable=False)
        self._skipped = tf.Variable(tf.zeros((), tf.int64), trainable=False)

    @property
    def variables(self) -> list[tf.Variable]:
        """The state: the factor, float32, and the finite steps since it changed, int64."""
        return [self._factor, self._finite_steps]

    def take_skipped(self) -> int:
        """Return the number of steps skipped since the last call."""
        skipped = int(self._skipped.numpy())
        self._skipped.assign(0)
        return skipped

    def scaled(self, loss: tf.Tensor) -> tf.Tensor:
        """Return the loss, a float32 scalar, times the factor."""
        return loss * self._factor

    def unscaled(self, gradients: Sequence[tf.Tensor]) -> tuple[list[tf.Tensor], tf.Tensor]:
        """Return gradients divided by the factor, and whether all of them are finite."""
        divided = [gradient / self._factor for gradient in gradients]
        finite = [tf.reduce_all(tf.math.is_finite(gradient)) for gradient in gradients]
        return divided, tf.reduce_all(finite)

    def update(self, finite: tf.Tensor) -> None:
        """Adjust the factor after a step whose gradients were ``finite``, bool scalar."""
        steps = self._finite_steps + 1
        grows = tf.logical_and(finite, steps >= _GROWTH_STEPS)
        kept = tf.logical_and(finite, tf.logical_not(grows))
        change = tf.where(grows, 2.0, tf.where(finite, 1.0, 0.5))
        self._factor.assign(self._factor * change)
        self._finite_steps.assign(tf.where(kept, steps, tf.zeros_like(steps)))
        self._skipped.assign_add(tf.where(finite, tf.zeros_like(steps), tf.ones_like(steps)))
