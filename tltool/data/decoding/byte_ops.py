"""TensorFlow ops that the decoders of several image formats share."""

from __future__ import annotations

import tensorflow as tf

from tltool.data.decoding import exif

MAX_PIXELS = 178_956_970
"""Larger images are rejected before decoding: a 50 KB PNG can have 400 million pixels (1.6 GB)."""


def check_pixels(height: tf.Tensor, width: tf.Tensor) -> tf.Operation:
    """Return an assertion that an image has at most ``MAX_PIXELS``."""
    pixels = tf.cast(height, tf.int64) * tf.cast(width, tf.int64)
    return tf.debugging.assert_less_equal(
        pixels, tf.constant(MAX_PIXELS, tf.int64), message="too many pixels to decode"
    )


def over_white(image: tf.Tensor) -> tf.Tensor:
    """Blend an image uint8 [H, W, 4] over white: uint8 [H, W, 3]."""
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
