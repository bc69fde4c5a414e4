"""Decodes JPEG in TensorFlow ops."""

from __future__ import annotations

import tensorflow as tf

from tltool.data.decoding.byte_ops import with_few_pixels
from tltool.data.decoding.exif import NOT_FOUND, find_segment
from tltool.data.decoding.graph_tracing import without_autograph

# The start of a JPEG and Adobe's segment for CMYK that is not converted to YCCK.
_ADOBE = b"\xff\xd8\xff\xee\0\x0eAdobe\0\x64\0\0\0\0\0"
JPEG_RATIOS = (1, 2, 4, 8)
"""JPEG can be decoded at 1/1, 1/2, 1/4 or 1/8 of its size."""


def decode_scaled_jpeg(
    data: tf.Tensor,
    buffer: tf.Tensor,
    orientation: tf.Tensor,
    target: tf.Tensor,
    one_side: tf.Tensor,
) -> tf.Tensor:
    """Decode a JPEG at the smallest scale that covers the target, as stored: uint8 [H, W, 3].

    Args:
        data: scalar string.
        buffer: the same as uint8 [length].
        orientation: EXIF value, int64 scalar.
        target: height and width of the upright image, int32 [2].
        one_side: bool scalar, whether it is enough that one side covers the target.
    """
    shape = tf.io.extract_jpeg_shape(data)
    small = with_few_pixels(data, shape[0], shape[1])
    marked = tf.cond(
        tf.equal(shape[2], 4), lambda: _with_adobe_marker(small, buffer), lambda: small
    )
    branches = [lambda ratio=ratio: _jpeg_at(marked, ratio) for ratio in JPEG_RATIOS]
    upright = tf.where(orientation >= 5, tf.reverse(shape[:2], [0]), shape[:2])
    return tf.switch_case(_ratio_index(upright, target, one_side), branches)


def _with_adobe_marker(data: tf.Tensor, buffer: tf.Tensor) -> tf.Tensor:
    """Return a CMYK JPEG with Adobe's marker: without it TensorFlow shows the negative.

    Viewers and other decoders take the values of every CMYK JPEG as inverted, as Adobe writes them.
    """
    rest = tf.strings.substr(data, 2, tf.size(buffer))
    return tf.cond(
        tf.equal(find_segment(buffer, 0xFFEE, "Adob"), NOT_FOUND),
        lambda: tf.strings.join([_ADOBE, rest]),
        lambda: data,
    )


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


@without_autograph
def decode_thumbnail(data: tf.Tensor | bytes) -> tf.Tensor:
    """Decode a JPEG at an eighth of its size, as stored: uint8 [H / 8, W / 8, 3]."""
    return _jpeg_at(data, JPEG_RATIOS[-1])


def _jpeg_at(data: tf.Tensor, ratio: int) -> tf.Tensor:
    # The default DCT is fast, but off by 5 grey levels and different between libjpeg builds.
    return tf.io.decode_jpeg(data, channels=3, ratio=ratio, dct_method="INTEGER_ACCURATE")
