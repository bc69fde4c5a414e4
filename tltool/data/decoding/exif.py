"""Reads and applies the EXIF orientation in TensorFlow ops, also in the exported graph."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

# Limits the loop for files that consist of fill bytes; real files have a handful of blocks.
_MAX_BLOCKS = 128
_MAX_CHUNKS = 4096  # of a PNG, where pixels in chunks of one length count as one
_MAX_ALIKE = 2**16  # chunks that are compared at once
_MAX_ENTRIES = 512
_ORIENTATION = 0x0112
# The first 8 bytes of a JPEG segment as big-endian numbers: marker, length, name.
_SEGMENT_HEAD = np.array(
    [
        [256, 1, 0, 0, 0, 0, 0, 0],
        [0, 0, 256, 1, 0, 0, 0, 0],
        [0, 0, 0, 0, 256**3, 256**2, 256, 1],
    ],
    np.int64,
)
NOT_FOUND = -1
"""The offset of a block that a file does not have."""


def as_bytes(data: tf.Tensor) -> tf.Tensor:
    """Return a scalar string as uint8 [length]."""
    return tf.io.decode_raw(data, tf.uint8)


def read_uint(
    buffer: tf.Tensor, at: tf.Tensor | int, size: int, *, big_endian: tf.Tensor | bool
) -> tf.Tensor:
    """Read unsigned integers of ``size`` bytes at offsets ``at`` of uint8 [length].

    Offsets outside the buffer read its nearest byte instead of failing: an image with a broken EXIF
    block is still usable.

    Returns:
        int64 of the shape of ``at``.
    """
    # Few ops: this is used some forty times, and a larger graph loads more slowly.
    last = tf.size(buffer, out_type=tf.int64) - 1
    if size == 1:
        offsets = tf.maximum(tf.minimum(tf.cast(at, tf.int64), last), 0)
        return tf.cast(tf.gather(buffer, offsets), tf.int64)
    offsets = tf.expand_dims(tf.cast(at, tf.int64), -1) + np.arange(size)
    offsets = tf.maximum(tf.minimum(offsets, last), 0)
    values = tf.cast(tf.gather(buffer, offsets), tf.int64)
    little = np.array([256**place for place in range(size)], np.int64)
    if isinstance(big_endian, bool):
        weights = little[::-1] if big_endian else little
    else:
        weights = tf.where(big_endian, little[::-1], little)
    return tf.reduce_sum(values * weights, axis=-1)


def png_chunks(buffer: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Scan the chunks of a PNG file.

    Returns:
        the offset of the data of its ``eXIf`` chunk: int64 scalar, -1 without one, and whether
        it declares transparent colours (``tRNS``): bool scalar.
    """
    size = tf.size(buffer, out_type=tf.int64)

    def step(at: tf.Tensor, transparent: tf.Tensor, exif: tf.Tensor) -> list[tf.Tensor]:
        length = read_uint(buffer, at, 4, big_endian=True)
        kind = read_uint(buffer, at + 4, 4, big_endian=True)
        transparent |= tf.equal(kind, _four("tRNS"))
        exif = tf.where(tf.equal(kind, _four("eXIf")), at + 8, exif)
        # The pixels are in chunks of one length: a large file has thousands.
        is_data = tf.equal(kind, _four("IDAT"))
        most = tf.where(is_data, (size - at) // (12 + length), tf.ones_like(at))
        most = tf.clip_by_value(most, 1, _MAX_ALIKE)
        heads = read_uint(buffer, at + (12 + length) * tf.range(most), 8, big_endian=True)
        alike = tf.reduce_sum(tf.math.cumprod(tf.cast(tf.equal(heads, heads[0]), tf.int64)))
        return [at + (12 + length) * alike, transparent, exif]

    start = [tf.constant(8, tf.int64), tf.constant(False), tf.constant(NOT_FOUND, tf.int64)]
    _, transparent, exif = tf.while_loop(
        lambda at, *_: at + 12 <= size, step, start, maximum_iterations=_MAX_CHUNKS
    )
    return exif, transparent


def turn_upright(image: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
    """Undo an EXIF orientation (int64 scalar, 1 to 8) of an image [H, W, C]."""
    return tf.cond(
        tf.equal(orientation, 1),
        lambda: image,
        lambda: _turn(image, tf.cast(orientation, tf.int32)),
    )


def _turn(image: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
    transposed = tf.cond(orientation >= 5, lambda: tf.transpose(image, [1, 0, 2]), lambda: image)
    down = tf.reduce_any(tf.equal(orientation, [3, 4, 7, 8]))
    across = tf.reduce_any(tf.equal(orientation, [2, 3, 6, 7]))
    flipped = tf.cond(down, lambda: tf.reverse(transposed, [0]), lambda: transposed)
    return tf.cond(across, lambda: tf.reverse(flipped, [1]), lambda: flipped)


def _four(name: str) -> tf.Tensor:
    return tf.constant(int.from_bytes(name.encode(), "big"), tf.int64)


def find_in_jpeg(buffer: tf.Tensor) -> tf.Tensor:
    """Return the offset of the TIFF block in the first Exif APP1 segment of a JPEG file, or -1."""
    segment = find_segment(buffer, 0xFFE1, "Exif")
    return tf.where(tf.equal(segment, NOT_FOUND), segment, segment + 10)


def find_segment(buffer: tf.Tensor, marker_sought: int, name_sought: str) -> tf.Tensor:
    """Return the offset of a segment before the pixels of a JPEG file, or -1.

    Args:
        buffer: uint8 [length], a file.
        marker_sought: such as 0xFFE1.
        name_sought: the first four characters of its content.

    Returns:
        int64 scalar.
    """
    size = tf.size(buffer, out_type=tf.int64)

    def step(at: tf.Tensor, found: tf.Tensor) -> list[tf.Tensor]:
        # One read of marker, length and name: this loop dominates the cost.
        head = tf.cast(tf.gather(buffer, at + tf.range(8, dtype=tf.int64)), tf.int64)
        marker, length, name = tf.unstack(tf.linalg.matvec(_SEGMENT_HEAD, head))
        is_sought = tf.equal(marker, marker_sought) & tf.equal(name, _four(name_sought))
        # 0xFFDA starts the compressed data; no more segments follow.
        ends = (marker < 0xFF01) | tf.equal(marker, 0xFFDA)
        skipped = tf.where(
            tf.equal(marker, 0xFFFF), tf.ones_like(length), 2 + tf.maximum(length, 2)
        )
        return [tf.where(ends, size, at + skipped), tf.where(is_sought, at, found)]

    start = [tf.constant(2, tf.int64), tf.constant(NOT_FOUND, tf.int64)]
    return tf.while_loop(
        lambda at, found: (at + 18 <= size) & tf.equal(found, NOT_FOUND),
        step,
        start,
        maximum_iterations=_MAX_BLOCKS,
    )[1]


def find_in_webp(buffer: tf.Tensor) -> tf.Tensor:
    """Return the offset of the TIFF block in the EXIF chunk of a WebP file, or -1."""
    size = tf.size(buffer, out_type=tf.int64)

    def step(at: tf.Tensor, tiff_at: tf.Tensor) -> list[tf.Tensor]:
        is_exif = tf.equal(read_uint(buffer, at, 4, big_endian=True), _four("EXIF"))
        length = read_uint(buffer, at + 4, 4, big_endian=False)
        # Some writers put JPEG's "Exif\0\0" before the TIFF block.
        prefix = tf.equal(read_uint(buffer, at + 8, 4, big_endian=True), _four("Exif"))
        tiff = tf.where(prefix, at + 14, at + 8)
        return [at + 8 + length + length % 2, tf.where(is_exif, tiff, tiff_at)]

    start = [tf.constant(12, tf.int64), tf.constant(NOT_FOUND, tf.int64)]
    not_done = lambda at, tiff_at: (at + 8 <= size) & tf.equal(tiff_at, NOT_FOUND)  # noqa: E731
    return tf.while_loop(not_done, step, start, maximum_iterations=_MAX_BLOCKS)[1]


def tiff_orientation(buffer: tf.Tensor, start: tf.Tensor) -> tf.Tensor:
    """Return the orientation tag of the TIFF block at ``start``; 1 if missing or out of range.

    Args:
        buffer: uint8 [length], a file.
        start: int64 scalar, ``NOT_FOUND`` without such a block.

    Returns:
        int64 scalar, 1 to 8.
    """
    return tf.cond(
        tf.equal(start, NOT_FOUND),
        lambda: tf.constant(1, tf.int64),
        lambda: _read_orientation(buffer, start),
    )


def _read_orientation(buffer: tf.Tensor, start: tf.Tensor) -> tf.Tensor:
    big = tf.equal(read_uint(buffer, start, 2, big_endian=True), 0x4D4D)  # "MM", else "II"
    directory = start + read_uint(buffer, start + 4, 4, big_endian=big)
    room = tf.maximum(tf.size(buffer, out_type=tf.int64) - directory - 2, 0) // 12
    count = tf.minimum(read_uint(buffer, directory, 2, big_endian=big), room)
    entries = directory + 2 + 12 * tf.range(tf.minimum(count, _MAX_ENTRIES))
    is_long = tf.equal(read_uint(buffer, entries + 2, 2, big_endian=big), 4)
    value = tf.where(
        is_long,
        read_uint(buffer, entries + 8, 4, big_endian=big),
        read_uint(buffer, entries + 8, 2, big_endian=big),
    )
    is_orientation = tf.equal(read_uint(buffer, entries, 2, big_endian=big), _ORIENTATION)
    valid = is_orientation & (value >= 1) & (value <= 8)
    return tf.reduce_max(tf.concat([[tf.constant(1, tf.int64)], tf.where(valid, value, 1)], 0))
