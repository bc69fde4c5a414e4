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
from tltool.data.decoding.transcode import read_image_bytes
from tltool.data.item_columns import as_columns
from tltool.runs.environment import available_memory, cores

# A photo of 24 megapixels takes 72 MB decoded, and 288 MB as the float32 input of the resizing.
_BYTES_PER_CALL = 256 * 2**20
_MEMORY_SHARE = 0.5  # of the free memory, for all calls together


class ImageFiles(NamedTuple):
    """Files as tensors, so that one traced pipeline reads any files.

    Attributes:
        paths: string [N].
        digests: string [N], SHA-256 (hex) of their bytes in the audit; empty without one.
    """

    paths: tf.Tensor
    digests: tf.Tensor


def image_files(items: Sequence[Item]) -> ImageFiles:
    """Return the files of ``items``; those of audited ones are held against their digests."""
    columns = as_columns(items)
    return ImageFiles(
        tf.constant([os.fsencode(text) for text in columns.path_texts], tf.string, [len(items)]),
        tf.constant(columns.digests(), tf.string, [len(items)]),
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
        tf.errors.UnknownError: while iterating, if a file is gone, or different since the audit.
    """

    @without_autograph
    def load(index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        data = file_content(tf.gather(files.paths, index), tf.gather(files.digests, index))
        return index, decode_and_resize(data, spec)

    positions = tf.data.Dataset.from_tensor_slices(order)
    return positions.map(load, num_parallel_calls=parallel_calls(), deterministic=True)


def parallel_calls() -> int:
    """Return how many images are decoded or augmented at once: one per core, as memory allows.

    Without autotuning, ``tf.data.AUTOTUNE`` stands for at most 16 calls.
    """
    fitting = int(available_memory() * _MEMORY_SHARE) // _BYTES_PER_CALL
    return max(1, min(cores(), fitting))


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


def file_content(path: tf.Tensor, digest: tf.Tensor | str = "") -> tf.Tensor:
    """Return the bytes of an image file that the decoder reads; also inside a ``tf.function``.

    Unlike ``tf.io.read_file`` this does not wait for ever at a pipe.

    Args:
        path: scalar string.
        digest: SHA-256 (hex) of the bytes in the audit, scalar string; empty without one.
    """
    data = tf.numpy_function(_read, [path, digest], tf.string, stateful=False)
    return tf.ensure_shape(data, [])


def _read(path: bytes, digest: bytes) -> bytes:
    return read_image_bytes(Path(os.fsdecode(path)), sha256=digest.decode())
