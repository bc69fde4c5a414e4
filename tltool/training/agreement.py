"""Decisions that all workers of a run must make alike, and what must be the same on all of them.

Where one process trains, nothing here does anything.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from typing import TypeVar, cast

import numpy as np
import tensorflow as tf

T = TypeVar("T")


def has_peers(strategy: tf.distribute.Strategy) -> bool:
    """Whether several processes train together."""
    return isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)


def own_devices(strategy: tf.distribute.Strategy) -> range:
    """Return the numbers of the devices of this process among all that train."""
    count = strategy.num_replicas_in_sync
    if not has_peers(strategy):
        return range(count)
    resolver = strategy.cluster_resolver
    here = count // resolver.cluster_spec().num_tasks("worker")
    return range(resolver.task_id * here, (resolver.task_id + 1) * here)


def agree(strategy: tf.distribute.Strategy, value: T) -> T:
    """Return the value of the first worker, a JSON document, on all workers."""
    if not has_peers(strategy):
        return value
    data = np.frombuffer(json.dumps(value).encode(), np.uint8).astype(np.int32)
    first = own_devices(strategy).start == 0
    size = int(_sums(strategy, np.array([len(data)] if first else [0], np.int32))[0])
    data = from_first(strategy, data if first else np.zeros(size, np.int32))
    return cast("T", json.loads(data.astype(np.uint8).tobytes()))


def from_first(strategy: tf.distribute.Strategy, value: np.ndarray) -> np.ndarray:
    """Return the array of the first worker, int32 or float32, on all workers."""
    if not has_peers(strategy):
        return value
    first = own_devices(strategy).start == 0
    return _sums(strategy, value if first else np.zeros_like(value))


def same_everywhere(strategy: tf.distribute.Strategy, value: object) -> bool:
    """Whether a JSON document is the same on all workers; the answer is the same on all, too."""
    differs = agree(strategy, value) != value
    if not has_peers(strategy):
        return True
    return not int(_sums(strategy, np.array([differs], np.int32))[0])


def mean_over_devices(
    strategy: tf.distribute.Strategy, values: Sequence[Sequence[np.ndarray]]
) -> list[np.ndarray]:
    """Return the mean over the devices of all workers, for each variable.

    Args:
        strategy: devices.
        values: of each variable, float32, the values on the devices of this process.
    """
    if not has_peers(strategy):
        return [np.mean(one, axis=0) for one in values]
    count = strategy.num_replicas_in_sync
    return [_sums(strategy, np.sum(one, axis=0)) / np.float32(count) for one in values]


def _sums(strategy: tf.distribute.Strategy, values: np.ndarray) -> np.ndarray:
    """Return the sum of an array, int32 or float32, over the workers."""
    first = own_devices(strategy).start

    def of_device(context: tf.distribute.ValueContext) -> tf.Tensor:
        here = context.replica_id_in_sync_group == first
        return tf.constant(values if here else np.zeros_like(values))

    spread = strategy.experimental_distribute_values_from_function(of_device)
    summed = strategy.experimental_local_results(_compiled(strategy)(spread))
    return np.asarray(summed[0])


@lru_cache(maxsize=1)
def _compiled(strategy: tf.distribute.Strategy) -> tf.types.experimental.PolymorphicFunction:
    def summed(value: tf.Tensor) -> tf.Tensor:
        context = tf.distribute.get_replica_context()
        return context.all_reduce(tf.distribute.ReduceOp.SUM, tf.identity(value))

    return tf.function(
        lambda value: strategy.run(summed, args=(value,)), autograph=False, reduce_retracing=True
    )
