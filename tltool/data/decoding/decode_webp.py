"""Decodes WebP in TensorFlow ops."""

from __future__ import annotations

import tensorflow as tf

from tltool.data.decoding import exif
from tltool.data.decoding.byte_ops import one_byte, over_white, patched, read_byte, with_few_pixels


def decode_webp(data: tf.Tensor, buffer: tf.Tensor) -> tf.Tensor:
    """Decode a WebP (scalar string, and as uint8 [length]): uint8 [H, W, 3] over white."""
    # DecodeImage instead of DecodeWebP: older servers can load the graph.
    small = with_few_pixels(data, *_size(buffer))
    image = tf.io.decode_image(_with_alpha_flag(small, buffer), expand_animations=False)
    return tf.cond(
        tf.equal(tf.shape(image)[-1], 4), lambda: over_white(image), lambda: image[..., :3]
    )


def _with_alpha_flag(data: tf.Tensor, buffer: tf.Tensor) -> tf.Tensor:
    """Set the alpha flag of an animation.

    TensorFlow 2.21 decodes animations to four channels, but allocates three when the header
    declares no alpha: it then writes past its buffer and the process crashes.
    """
    flags = read_byte(buffer, 20)
    animated = tf.equal(read_byte(buffer, 15), ord("X")) & tf.equal(flags // 2 % 2, 1)
    with_alpha = one_byte(tf.bitwise.bitwise_or(flags, 16))
    at = tf.constant(20, tf.int64)
    return tf.cond(animated, lambda: patched(data, at, with_alpha), lambda: data)


def _size(buffer: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Return height and width of extended and lossless files; lossy ones cannot be too large."""
    kind = read_byte(buffer, 15)
    extended = 1 + exif.read_uint(buffer, tf.constant([27, 24]), 3, big_endian=False)
    bits = exif.read_uint(buffer, 21, 4, big_endian=False)
    lossless = 1 + tf.stack([(bits // 2**14) % 2**14, bits % 2**14])
    simple = tf.where(tf.equal(kind, ord("L")), lossless, tf.ones_like(lossless))
    size = tf.where(tf.equal(kind, ord("X")), extended, simple)
    return size[0], size[1]
