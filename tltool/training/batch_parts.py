"""Division of a batch: into parts that are processed one after another, and among devices."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import tensorflow as tf


def split_rows(size: int, *, largest: int | None, devices: int) -> list[slice]:
    """Return consecutive parts of a batch, of nearly equal size.

    Args:
        size: rows of the batch.
        largest: most rows of a part; None for one part.
        devices: number of devices. Each gets at least one row of a part, so parts may be larger
            than ``largest`` if that is less than the number of devices.

    Example:
        >>> split_rows(10, largest=4, devices=1)
        [slice(0, 4, None), slice(4, 7, None), slice(7, 10, None)]
    """
    count = min(-(-size // (largest or size)), max(1, size // devices))
    return equal_parts(size, count)


def equal_parts(size: int, count: int) -> list[slice]:
    """Return ``count`` consecutive parts of ``size`` rows; the first ones have one row more."""
    ends = [number * (size // count) + min(number, size % count) for number in range(count + 1)]
    return [slice(start, stop) for start, stop in pairwise(ends)]


def rows_of(batch: Any, part: slice) -> tf.Tensor:
    """Return some rows of a batch, an array or a tensor, in the memory that holds the batch."""
    with tf.device(getattr(batch, "device", None) or "CPU:0"):
        return tf.convert_to_tensor(batch[part])


def spread(strategy: tf.distribute.Strategy, batch: Any, parts: list[slice]) -> Any:
    """Return a per-replica value: the first part of the batch for the first device, and so on."""
    return strategy.experimental_distribute_values_from_function(
        lambda context: rows_of(batch, parts[context.replica_id_in_sync_group])
    )
