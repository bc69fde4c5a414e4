"""Tracing of TensorFlow functions without AutoGraph."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

# AutoGraph has nothing to convert here, and its analysis takes a second.
without_autograph = tf.autograph.experimental.do_not_convert


def traced_on_cpu(function: Callable[..., Any], *signature: tf.TensorSpec) -> Any:
    """Return the concrete function of ``function`` for tensors of ``signature``, run on the CPU."""

    def on_cpu(*arguments: tf.Tensor) -> Any:
        with tf.device("/CPU:0"):
            return function(*arguments)

    with tf.init_scope():  # so that it does not belong to a graph that is being traced
        return tf.function(on_cpu, signature, autograph=False).get_concrete_function()
