"""Decodes BMP with 8, 24 or 32 uncompressed bits in TensorFlow ops."""

from __future__ import annotations

import tensorflow as tf

from tltool.data.decoding import exif
from tltool.data.decoding.byte_ops import checked, with_few_pixels


def decode_bmp(data: tf.Tensor, buffer: tf.Tensor) -> tf.Tensor:
    """Decode a BMP (scalar string, and as uint8 [length]): uint8 [H, W, 3]."""
    header = exif.read_uint(buffer, 14, 4, big_endian=False)
    bits = exif.read_uint(buffer, 28, 2, big_endian=False)
    compression = exif.read_uint(buffer, 30, 4, big_endian=False)
    size = tf.bitcast(
        tf.cast(exif.read_uint(buffer, tf.constant([22, 18]), 4, big_endian=False), tf.uint32),
        tf.int32,
    )
    plain = (header >= 40) & tf.equal(compression, 0) & tf.reduce_any(tf.equal(bits, [8, 24, 32]))
    plain_data = checked(data, plain, name="bmp_with_compression_or_a_small_palette")
    # negative height: the top row is stored first
    small = with_few_pixels(plain_data, tf.abs(size[0]), size[1])
    pixels = tf.io.decode_bmp(_without_trailing_bytes(small, buffer, bits, size))
    return tf.cond(
        tf.equal(bits, 8),
        lambda: _look_up(pixels, _palette(buffer, header)),
        lambda: pixels[..., :3],  # the fourth byte of an uncompressed BMP is padding, not alpha
    )


def _without_trailing_bytes(
    data: tf.Tensor, buffer: tf.Tensor, bits: tf.Tensor, size: tf.Tensor
) -> tf.Tensor:
    """Return a BMP that ends with its pixels.

    TensorFlow rejects a longer one; but some programs add padding or a colour profile.
    """
    height, width = tf.unstack(tf.cast(size, tf.int64))
    row = (bits * width + 31) // 32 * 4
    end = exif.read_uint(buffer, 10, 4, big_endian=False) + row * tf.abs(height)
    length = tf.size(buffer, out_type=tf.int64)
    return tf.strings.substr(data, tf.zeros_like(length), tf.clip_by_value(end, 0, length))


def _palette(buffer: tf.Tensor, header: tf.Tensor) -> tf.Tensor:
    """Return the palette of an 8-bit BMP: uint8 [256, 3], RGB."""
    at = 14 + header + 4 * tf.range(256, dtype=tf.int64)
    stored = exif.read_uint(buffer, at[:, tf.newaxis] + [2, 1, 0], 1, big_endian=False)
    return tf.cast(stored, tf.uint8)


def _look_up(pixels: tf.Tensor, palette: tf.Tensor) -> tf.Tensor:
    return tf.gather(palette, tf.cast(pixels[..., 0], tf.int32))
