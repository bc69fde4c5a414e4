"""Division of a batch: into parts that are processed one after another, and among devices."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import tensorflow as tf


def split_rows(size: int, *, largest: int | None, devices: int) -> list[slice]:
    """Return consecutive parts of a batch, of nearly equal size.

    Args:
        size: rows of the batch.
        largest: most rows of a part; None for one part.
        devices: number of devices. Each gets at least one row of a part, so parts may be larger
            than ``largest`` if that is less than the number of devices.

    Examples:
        >>> split_rows(10, largest=4, devices=1)
        [slice(0, 4, None), slice(4, 7, None), slice(7, 10, None)]
    """
    count = min(-(-size // (largest or size)), max(1, size // devices))
    return equal_parts(size, count)


def equal_parts(size: int, count: int) -> list[slice]:
    """Return ``count`` consecutive parts of ``size`` rows; the first ones have one row more."""
    ends = [number * (size // count) + min(number, size % count) for number in range(count + 1)]
    return [slice(start, stop) for start, stop in pairwise(ends)]


def device_parts(size: int, *, largest: int | None, devices: int) -> list[list[slice]]:
    """Return the parts of a batch, and of each the rows of each device.

    A batch smaller than the number of devices is one part, on which each of them trains.
    """
    if size < devices:
        return [[slice(0, size)] * devices]
    return [
        shifted(equal_parts(part.stop - part.start, devices), -part.start)
        for part in split_rows(size, largest=largest, devices=devices)
    ]


def own_rows(size: int, *, devices: int, own: range) -> np.ndarray:
    """Return the rows of a batch that the devices ``own`` of all ``devices`` train on, int64 [R].

    Examples:
        >>> own_rows(5, devices=2, own=range(1, 2))
        array([3, 4])
    """
    pieces = device_parts(size, largest=None, devices=devices)[0]
    return np.unique(np.concatenate([np.arange(pieces[n].start, pieces[n].stop) for n in own]))


def rows_of(batch: Any, part: slice) -> tf.Tensor:
    """Return some rows of a batch, an array or a tensor, in the memory that holds the batch."""
    with tf.device(getattr(batch, "device", None) or "CPU:0"):
        return tf.convert_to_tensor(batch[part])


def shifted(pieces: list[slice], by: int) -> list[slice]:
    """Return slices that start and end ``by`` rows earlier."""
    return [slice(piece.start - by, piece.stop - by) for piece in pieces]


def spread(strategy: tf.distribute.Strategy, batch: Any, parts: list[slice]) -> Any:
    """Return a per-replica value: the first part of the batch for the first device, and so on."""
    return strategy.experimental_distribute_values_from_function(
        lambda context: rows_of(batch, parts[context.replica_id_in_sync_group])
    )
