"""Decodes many files in parallel, for the scan of a data set."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from tltool.data.decoding.decode_jpeg import decode_jpeg
from tltool.data.decoding.graph_tracing import without_autograph
from tltool.data.duplicates import perceptual_hash
from tltool.data.pipeline import file_content, fixed_options

CHUNK = 128
"""Files that are opened, and then decoded, together."""
FilePaths = tuple[NDArray[np.int64], list[bytes]]
"""Positions of files and their paths."""
Decode = Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]
FROM_HEADER = 0
"""The orientation of an image whose EXIF block was not read by its decoder."""


@without_autograph
def decode_for_scan(data: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Decode a JPEG at full size, without its orientation."""
    return decode_jpeg(data), tf.constant(FROM_HEADER, tf.int64)


@functools.cache  # tracing takes as long as decoding a hundred images
def _loader(decode: Decode) -> Callable[..., Any]:
    @tf.function(
        input_signature=[tf.TensorSpec([], tf.int64), tf.TensorSpec([], tf.string)], autograph=False
    )
    def load(index: tf.Tensor, path: tf.Tensor) -> tuple[tf.Tensor, ...]:
        image, orientation = decode(file_content(path))
        side = [perceptual_hash.HASH_SIDE, perceptual_hash.HASH_SIDE]
        small = tf.image.resize(image, side, method="area")
        levels = tf.stack([tf.reduce_min(image), tf.reduce_max(image)])
        return index, tf.shape(image), orientation, small, levels

    result: Callable[..., Any] = without_autograph(load.get_concrete_function())
    return result


def scan_pipeline(chunks: Iterator[FilePaths], decode: Decode) -> tf.data.Dataset:
    """Decode files in batches.

    A batch has positions [B], stored shapes [B, 3], EXIF orientations [B], thumbnails before
    their orientation is applied [B, 32, 32, 3], and the darkest and brightest values [B, 2].
    Files that cannot be decoded are omitted.
    """
    signature = (tf.TensorSpec([None], tf.int64), tf.TensorSpec([None], tf.string))
    files = tf.data.Dataset.from_generator(lambda: chunks, output_signature=signature)
    calls = (
        min(os.cpu_count() or 1, 16) + 1
    )  # one more, because the reading of headers waits for the disk
    decoded = (
        files.prefetch(1)
        .unbatch()
        .map(_loader(decode), num_parallel_calls=calls, deterministic=False)
    )
    batches = decoded.ignore_errors(log_warning=False).batch(CHUNK).prefetch(1)
    return batches.with_options(fixed_options())
