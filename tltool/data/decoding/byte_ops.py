"""TensorFlow ops that the decoders of several image formats share."""

from __future__ import annotations

import tensorflow as tf

from tltool.data.decoding import exif

MAX_PIXELS = 178_956_970
"""Larger images are rejected before decoding: a 50 KB PNG can have 400 million pixels (1.6 GB)."""
_STRIP = 2**20  # pixels


def checked(data: tf.Tensor, condition: tf.Tensor, *, name: str) -> tf.Tensor:
    """Return the string ``data``; decoding fails unless ``condition``.

    An assertion would be a stateful op, and under op determinism TensorFlow runs functions with
    stateful ops one at a time, so that images would not be decoded in parallel.

    Args:
        data: scalar string.
        condition: bool scalar.
        name: of the op, which is in the message of the error.

    Raises:
        tf.errors.InvalidArgumentError: when the graph runs.
    """
    return tf.gather(data[tf.newaxis], tf.cast(~condition, tf.int32), name=name)


def with_few_pixels(data: tf.Tensor, height: tf.Tensor, width: tf.Tensor) -> tf.Tensor:
    """Return the string ``data``; decoding fails with more than ``MAX_PIXELS``."""
    pixels = tf.cast(height, tf.int64) * tf.cast(width, tf.int64)
    return checked(data, pixels <= MAX_PIXELS, name="too_many_pixels_to_decode")


def over_white(image: tf.Tensor) -> tf.Tensor:
    """Blend an image uint8 [H, W, 4] over white: uint8 [H, W, 3].

    In strips: as floating-point numbers, all pixels at once would take eight times the image.
    """
    height, width = tf.unstack(tf.shape(image)[:2])
    rows = tf.maximum(_STRIP // tf.maximum(width, 1), 1)
    strips = -(-height // rows)

    def blend(number: tf.Tensor, done: tf.TensorArray) -> tuple[tf.Tensor, tf.TensorArray]:
        strip = image[number * rows : (number + 1) * rows]
        return number + 1, done.write(number, _strip_over_white(strip))

    _, blended = tf.while_loop(
        lambda number, _: number < strips,
        blend,
        (0, tf.TensorArray(tf.uint8, strips, infer_shape=False, element_shape=[None, None, 3])),
        parallel_iterations=1,
    )
    return tf.ensure_shape(blended.concat(), [None, None, 3])


def _strip_over_white(image: tf.Tensor) -> tf.Tensor:
    colour = tf.cast(image[..., :3], tf.float32)
    alpha = tf.cast(image[..., 3:], tf.float32)
    return tf.cast(tf.round((colour * alpha + 255.0 * (255.0 - alpha)) / 255.0), tf.uint8)


def read_byte(buffer: tf.Tensor, at: tf.Tensor | int) -> tf.Tensor:
    """Read the bytes at offsets ``at`` of uint8 [length]: int64 of the shape of ``at``."""
    return exif.read_uint(buffer, at, 1, big_endian=False)


def one_byte(value: tf.Tensor) -> tf.Tensor:
    """Return a number 0 to 255 as a string of one byte."""
    return tf.gather([bytes([each]) for each in range(256)], value)


def patched(data: tf.Tensor, at: tf.Tensor, patch: tf.Tensor) -> tf.Tensor:
    """Return the string ``data`` with the bytes from ``at`` on replaced by ``patch``."""
    behind = at + tf.cast(tf.strings.length(patch), tf.int64)
    rest = tf.strings.substr(data, behind, tf.constant(2**31 - 1, tf.int64))
    return tf.strings.join([tf.strings.substr(data, tf.zeros_like(at), at), patch, rest])
