"""Batches of decoded images from the files of a catalog, read and decoded in parallel."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from tltool.data.catalog import Item
from tltool.data.decode import DecodeSpec, decode_and_resize
from tltool.data.formats import as_written
from tltool.data.transcode import FORMATS, read_image_bytes

# The trunk is far slower than decoding: two batches ahead overlap fully and keep memory small.
_BATCHES_AHEAD = 2


def image_dataset(
    items: Sequence[Item],
    spec: DecodeSpec,
    *,
    batch_size: int,
    order: NDArray[np.int64] | None = None,
) -> tf.data.Dataset:
    """Read, decode and resize images in a fixed order.

    Args:
        items: the images; audited ones are read faster, because their format is known.
        spec: the size to bring them to.
        batch_size: images in a batch; the last batch may be smaller.
        order: positions in ``items``, int64 [M], in the order wanted; by default all of them.

    Returns:
        batches of (position in ``items`` int64 [B], images float32 [B, height, width, 3] in
        0..255), the images bit-identical to those of ``decode_and_resize``.

    Raises:
        tf.errors.InvalidArgumentError: while iterating, if a file no longer decodes.
    """
    read = _Reader(items)
    positions = np.arange(len(items)) if order is None else np.asarray(order)

    @as_written
    def load(index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return index, decode_and_resize(read(index), spec)

    dataset = tf.data.Dataset.from_tensor_slices(positions.astype(np.int64))
    dataset = dataset.map(load, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    return dataset.batch(batch_size).prefetch(_BATCHES_AHEAD)


class _Reader:
    """Reads the bytes of the item at a position, in the graph where its format allows."""

    def __init__(self, items: Sequence[Item]) -> None:
        self._paths = np.array([os.fsencode(item.path) for item in items], dtype=object)
        self._native = np.array([item.format in FORMATS.values() for item in items], dtype=bool)

    def __call__(self, index: tf.Tensor) -> tf.Tensor:
        path = tf.gather(tf.constant(self._paths, tf.string), index)
        if self._native.all():
            return tf.io.read_file(path)
        return tf.cond(
            tf.gather(tf.constant(self._native), index),
            lambda: tf.io.read_file(path),
            lambda: _transcoded(path),
        )


def _transcoded(path: tf.Tensor) -> tf.Tensor:
    data = tf.numpy_function(_read, [path], tf.string, stateful=False)
    return tf.ensure_shape(data, [])


def _read(path: bytes) -> bytes:
    return read_image_bytes(Path(os.fsdecode(path)))
