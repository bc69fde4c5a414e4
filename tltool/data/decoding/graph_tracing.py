"""Tracing of TensorFlow functions without AutoGraph."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import tensorflow as tf

# AutoGraph has nothing to convert here, and its analysis takes a second.
without_autograph = tf.autograph.experimental.do_not_convert


def traced_on_cpu(function: Callable[..., Any], *signature: tf.TensorSpec) -> Any:
    """Return the concrete function of ``function`` for tensors of ``signature``, run on the CPU."""

    def on_cpu(*arguments: tf.Tensor) -> Any:
        with tf.device("/CPU:0"):
            return function(*arguments)

    # init_scope: so that it does not belong to a graph that is being traced
    with tf.init_scope(), _branches_as_functions():
        return tf.function(on_cpu, signature, autograph=False).get_concrete_function()


@contextmanager
def _branches_as_functions() -> Iterator[None]:
    """Trace conditionals so that only the branch taken is visited when they run.

    By default TensorFlow lowers every branch into one flat graph, of which the untaken part is
    visited for each image as well, and is optimised for each function that calls it. The kernels
    that run, and so the results, are the same.
    """
    # TensorFlow has no public setting for it
    from tensorflow.python.ops import control_flow_util_v2 as control_flow

    name = "_DISABLE_LOWER_USING_SWITCH_MERGE"
    before = getattr(control_flow, name, False)
    setattr(control_flow, name, True)
    try:
        yield
    finally:
        setattr(control_flow, name, before)
