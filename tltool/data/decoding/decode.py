"""Decodes image bytes to upright, resized RGB, in TensorFlow ops only.

The same functions run in training, in ``predict`` and inside the exported graph, so that there is
no skew between training and serving.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from typing import Any

import numpy as np
import tensorflow as tf

from tltool.data.decoding import exif
from tltool.data.decoding.decode_spec import DecodeSpec
from tltool.data.decoding.decoding_budget import IN_THIS_PROCESS
from tltool.data.decoding.graph_tracing import traced_on_cpu, without_autograph
from tltool.data.decoding.image_formats import decode_stored, only_kind
from tltool.runs.environment import cores

_THREADS = 16  # at most, as in ``decode_batch``


@without_autograph
def decode_image(data: tf.Tensor) -> tf.Tensor:
    """Decode one image at full size, upright, with transparency blended over white.

    JPEG (also CMYK and YCCK), PNG (any colour type and depth), GIF (first frame), WebP (first
    frame) and BMP of 8, 24 or 32 uncompressed bits.

    Args:
        data: scalar string, the bytes of a file.

    Returns:
        uint8 [H, W, 3], RGB.

    Raises:
        tf.errors.InvalidArgumentError: corrupted, truncated, not an image, or too many pixels.
    """
    image, orientation = decode_stored(data)
    return exif.turn_upright(image, orientation)


@without_autograph
def decode_and_resize(data: tf.Tensor, spec: DecodeSpec) -> tf.Tensor:
    """Decode one image upright and resize it to ``spec``, antialiased.

    A JPEG much larger than the target is decoded at the smallest of 1/2, 1/4 or 1/8 that covers it.

    Args:
        data: scalar string, the bytes of a file.
        spec: the target size.

    Returns:
        float32 [spec.height, spec.width, 3], RGB in 0..255.

    Raises:
        tf.errors.InvalidArgumentError: as in ``decode_image``.
    """
    image: tf.Tensor = _resizer(spec, None)(data)
    return image


@lru_cache(maxsize=8)
def _resizer(spec: DecodeSpec, kind: int | None) -> Any:
    """Return the concrete function of ``decode_and_resize`` for one size, traced once.

    Args:
        spec: the target size.
        kind: as ``decode_stored`` takes it.
    """

    def resized(data: tf.Tensor) -> tf.Tensor:
        # With padding, one side limits the scale, so it is enough that either side is covered.
        stored, orientation = decode_stored(
            data, (spec.height, spec.width), one_side=spec.resize == "pad", kind=kind
        )
        return _resize(exif.turn_upright(stored, orientation), spec)

    return traced_on_cpu(resized, tf.TensorSpec([], tf.string, "data"))


@without_autograph
def decode_batch(data: tf.Tensor, spec: DecodeSpec) -> tuple[tf.Tensor, tf.Tensor]:
    """Decode a batch; a bad item does not fail the others. Also works inside a SavedModel.

    TensorFlow ops cannot catch an error, but a ``tf.data.Dataset`` can: each item is a dataset that
    ignores errors and falls back to zeros.

    Args:
        data: string [N], N may be unknown and 0.
        spec: the target size.

    Returns:
        images float32 [N, spec.height, spec.width, 3], zeros where bad, and ok bool [N].
    """
    with tf.device("/CPU:0"):
        images, ok = _batch_decoder(spec)(data)
    return images, ok


def decode_contents(contents: Sequence[bytes], spec: DecodeSpec) -> tuple[tf.Tensor, np.ndarray]:
    """Decode images eagerly, in threads: what ``decode_batch`` returns, in less CPU time.

    TensorFlow optimises the graph of the decoder once; for ``decode_batch`` it does so twice. If
    nothing else was decoded before, and all images are of one format, only that one is traced.

    Args:
        contents: N encoded images.
        spec: the target size.

    Returns:
        images float32 [N, spec.height, spec.width, 3], zeros where bad, and ok bool [N].

    Examples:
        ``images, ok = decode_contents([path.read_bytes()], DecodeSpec(224, 224))``
    """
    with tf.device("/CPU:0"):
        if not contents:
            return tf.zeros((0, spec.height, spec.width, 3)), np.zeros(0, np.bool_)
        decode = partial(_decode_or_none, resizer=_resizer(spec, only_kind(contents)))
        # The first call initialises the graph; in parallel, every thread would do that.
        first, rest = decode(contents[0]), contents[1:]
        with ThreadPoolExecutor(min(cores(), _THREADS, max(1, len(rest)))) as pool:
            decoded = [first, *pool.map(decode, rest)]
        ok = np.array([image is not None for image in decoded])
        zeros = tf.zeros((spec.height, spec.width, 3))
        return tf.stack([zeros if image is None else image for image in decoded]), ok


def _decode_or_none(data: bytes, resizer: Any) -> tf.Tensor | None:
    try:
        # a device scope belongs to one thread
        with IN_THIS_PROCESS.hold(data), tf.device("/CPU:0"):
            return resizer(tf.constant(data, tf.string))
    except tf.errors.OpError:
        return None


@lru_cache(maxsize=8)
def _batch_decoder(spec: DecodeSpec) -> Any:
    """Return the concrete function of ``decode_batch`` for one size, traced once."""
    return traced_on_cpu(
        lambda data: _decode_each(data, spec), tf.TensorSpec([None], tf.string, "data")
    )


def _decode_each(data: tf.Tensor, spec: DecodeSpec) -> tuple[tf.Tensor, tf.Tensor]:
    count = tf.size(data, out_type=tf.int64)
    items = tf.data.Dataset.from_tensor_slices(data).interleave(
        without_autograph(lambda item: _decode_or_zeros(item, spec)),
        cycle_length=16,
        block_length=1,
        num_parallel_calls=tf.data.AUTOTUNE,
        deterministic=True,
    )
    # One extra row of zeros: a dataset without elements would yield no batch.
    padded = items.concatenate(_zeros(spec)).batch(count + 1)
    images, ok = padded.get_single_element()
    images = tf.ensure_shape(images[:-1], [None, spec.height, spec.width, 3])
    return images, tf.ensure_shape(ok[:-1], [None])


def _decode_or_zeros(item: tf.Tensor, spec: DecodeSpec) -> tf.data.Dataset:
    decoded = tf.data.Dataset.from_tensors(item).map(
        without_autograph(lambda data: (decode_and_resize(data, spec), True))
    )
    return decoded.ignore_errors(log_warning=False).concatenate(_zeros(spec)).take(1)


def _zeros(spec: DecodeSpec) -> tf.data.Dataset:
    # Filled at run time: a constant would add a megabyte to every exported graph.
    shape = (spec.height, spec.width, 3)
    return tf.data.Dataset.from_tensors(False).map(
        without_autograph(lambda ok: (tf.fill(shape, tf.cast(ok, tf.float32)), ok))
    )


def _resize(image: tf.Tensor, spec: DecodeSpec) -> tf.Tensor:
    """Resize uint8 [H, W, 3] to float32 [spec.height, spec.width, 3]."""
    if spec.resize == "crop":
        image = _crop_to_aspect(image, spec)
    if spec.resize == "pad":
        resized = _fit_inside(image, spec)
    else:
        resized = _antialiased(image, [spec.height, spec.width])
    return tf.ensure_shape(resized, [spec.height, spec.width, 3])


def _antialiased(image: tf.Tensor, size: tf.Tensor | list[int]) -> tf.Tensor:
    return tf.image.resize(image, size, method="bilinear", antialias=True)


def _size(image: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    shape = tf.shape(image)
    return shape[0], shape[1]


def scaled_size(
    size: tf.Tensor, numerator: tf.Tensor | int, denominator: tf.Tensor | int
) -> tf.Tensor:
    """Return round(size * numerator / denominator), at least 1: int32 scalar."""
    exact = tf.cast(size, tf.float64) * tf.cast(numerator, tf.float64)
    return tf.maximum(tf.cast(tf.round(exact / tf.cast(denominator, tf.float64)), tf.int32), 1)


def _crop_to_aspect(image: tf.Tensor, spec: DecodeSpec) -> tf.Tensor:
    height, width = _size(image)
    box_height = tf.minimum(height, scaled_size(width, spec.height, spec.width))
    box_width = tf.minimum(width, scaled_size(height, spec.width, spec.height))
    top, left = (height - box_height) // 2, (width - box_width) // 2
    return image[top : top + box_height, left : left + box_width]


def _fit_inside(image: tf.Tensor, spec: DecodeSpec) -> tf.Tensor:
    height, width = _size(image)
    new_height = tf.minimum(spec.height, scaled_size(height, spec.width, width))
    new_width = tf.minimum(spec.width, scaled_size(width, spec.height, height))
    resized = _antialiased(image, tf.stack([new_height, new_width]))
    top, left = (spec.height - new_height) // 2, (spec.width - new_width) // 2
    bottom, right = spec.height - new_height - top, spec.width - new_width - left
    return tf.pad(resized, [[top, bottom], [left, right], [0, 0]])
