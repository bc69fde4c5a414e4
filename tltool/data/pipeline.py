"""Decoded images from the files of a catalog, read and decoded in parallel."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import tensorflow as tf

from tltool.data.catalog import Item
from tltool.data.decoding.decode import decode_and_resize
from tltool.data.decoding.decode_spec import DecodeSpec
from tltool.data.decoding.graph_tracing import without_autograph
from tltool.data.decoding.transcode import FORMATS, read_image_bytes


class ImageFiles(NamedTuple):
    """Files as tensors, so that one traced pipeline reads any files.

    Attributes:
        paths: string [N].
        native: bool [N], whether the decoder reads the bytes without transcoding.
    """

    paths: tf.Tensor
    native: tf.Tensor


def image_files(items: Sequence[Item]) -> ImageFiles:
    """Return the files of ``items``; audited ones are read faster, as their format is known."""
    return ImageFiles(
        tf.constant([os.fsencode(item.path) for item in items], tf.string, [len(items)]),
        tf.constant([item.format in FORMATS.values() for item in items], tf.bool, [len(items)]),
    )


def image_dataset(files: ImageFiles, spec: DecodeSpec, *, order: tf.Tensor) -> tf.data.Dataset:
    """Read, decode and resize images in ``order``; also works inside a ``tf.function``.

    Args:
        files: the images.
        spec: the target size.
        order: positions in ``files``, int64 [M].

    Returns:
        (position in ``files`` int64, image float32 [height, width, 3] in 0..255) one by one; the
        images are bit-identical to those of ``decode_and_resize``.

    Raises:
        tf.errors.InvalidArgumentError: while iterating, if a file cannot be decoded.
    """

    @without_autograph
    def load(index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        path = tf.gather(files.paths, index)
        data = tf.cond(
            tf.gather(files.native, index),
            lambda: tf.io.read_file(path),
            lambda: _transcoded(path),
        )
        return index, decode_and_resize(data, spec)

    positions = tf.data.Dataset.from_tensor_slices(order)
    return positions.map(load, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)


def fixed_options() -> tf.data.Options:
    """Return options without autotuning, for a ``tf.data.Dataset`` of fixed parallelism.

    TensorFlow 2.21's autotuning thread can miss the end of the data and then blocks the closing of
    the iterator for seconds (measured: 3 to 19 s after an epoch of 10 s). Optimising the graph at
    every start costs 0.2 s and has no benefit here.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    options.experimental_optimization.apply_default_optimizations = False
    return options


def _transcoded(path: tf.Tensor) -> tf.Tensor:
    data = tf.numpy_function(_read, [path], tf.string, stateful=False)
    return tf.ensure_shape(data, [])


def _read(path: bytes) -> bytes:
    return read_image_bytes(Path(os.fsdecode(path)))
