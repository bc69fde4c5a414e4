"""Decodes JPEG in TensorFlow ops."""

from __future__ import annotations

import tensorflow as tf

from tltool.data.decoding.byte_ops import check_pixels
from tltool.data.decoding.graph_tracing import without_autograph

JPEG_RATIOS = (1, 2, 4, 8)
"""JPEG can be decoded at 1/1, 1/2, 1/4 or 1/8 of its size."""


def decode_scaled_jpeg(
    data: tf.Tensor, orientation: tf.Tensor, target: tf.Tensor, one_side: tf.Tensor
) -> tf.Tensor:
    """Decode a JPEG at the smallest scale that covers the target, as stored: uint8 [H, W, 3].

    Args:
        data: scalar string.
        orientation: EXIF value, int64 scalar.
        target: height and width of the upright image, int32 [2].
        one_side: bool scalar, whether it is enough that one side covers the target.
    """
    shape = tf.io.extract_jpeg_shape(data)
    with tf.control_dependencies([check_pixels(shape[0], shape[1])]):
        branches = [lambda ratio=ratio: _jpeg_at(data, ratio) for ratio in JPEG_RATIOS]
        upright = tf.where(orientation >= 5, tf.reverse(shape[:2], [0]), shape[:2])
        return tf.switch_case(_ratio_index(upright, target, one_side), branches)


def _ratio_index(shape: tf.Tensor, target: tf.Tensor, one_side: tf.Tensor) -> tf.Tensor:
    """Return the index of the smallest scale at which a JPEG still covers the target."""
    # libjpeg rounds up: ceil(size / ratio).
    scaled = -(-shape[tf.newaxis] // tf.constant(JPEG_RATIOS[1:])[:, tf.newaxis])
    covers = scaled >= target
    both, either = tf.reduce_all(covers, axis=1), tf.reduce_any(covers, axis=1)
    return tf.reduce_sum(tf.cast(tf.where(one_side, either, both), tf.int32))


@without_autograph
def decode_jpeg(data: tf.Tensor) -> tf.Tensor:
    """Decode a JPEG at full size, as stored: uint8 [H, W, 3]."""
    return _jpeg_at(data, 1)


def _jpeg_at(data: tf.Tensor, ratio: int) -> tf.Tensor:
    # The default DCT is fast, but off by 5 grey levels and different between libjpeg builds.
    return tf.io.decode_jpeg(data, channels=3, ratio=ratio, dct_method="INTEGER_ACCURATE")
