"""Decodes the first frame of a GIF in TensorFlow ops."""

from __future__ import annotations

import tensorflow as tf

from tltool.data.decoding import exif
from tltool.data.decoding.byte_ops import one_byte, patched, read_byte, with_few_pixels


def decode_gif(data: tf.Tensor, buffer: tf.Tensor) -> tf.Tensor:
    """Decode the first frame of a GIF on its screen: uint8 [H, W, 3].

    TensorFlow takes the frame for the screen, and cuts off a frame that is not at the upper left.
    So the frame is decoded as if it were there, and then put into its place. Pixels of the screen
    outside of the frame are white, as transparent ones are. A screen smaller than its frame is
    enlarged, as browsers do.

    Args:
        data: scalar string, the bytes of a file.
        buffer: the same as uint8 [length].
    """
    control, frame = _blocks(buffer)
    screen = exif.read_uint(buffer, tf.constant([8, 6]), 2, big_endian=False)
    place = exif.read_uint(buffer, frame + tf.constant([3, 1], tf.int64), 2, big_endian=False)
    size = exif.read_uint(buffer, frame + tf.constant([7, 5], tf.int64), 2, big_endian=False)
    canvas = tf.maximum(screen, place + size)
    small = with_few_pixels(data, canvas[0], canvas[1])
    opaque = _over_white(small, buffer, control, frame)
    at_origin = patched(opaque, frame + 1, tf.constant(bytes(4)))
    image = tf.io.decode_image(at_origin, channels=3, expand_animations=False)
    return tf.cond(
        tf.reduce_all(tf.equal(canvas, size)),
        lambda: image,
        lambda: _on_white(image, tf.cast(place, tf.int32), tf.cast(canvas, tf.int32)),
    )


def _on_white(image: tf.Tensor, place: tf.Tensor, canvas: tf.Tensor) -> tf.Tensor:
    """Put an image [h, w, 3] at ``place`` on a white one of size ``canvas`` (height, width)."""
    behind = canvas - place - tf.shape(image)[:2]
    paddings = tf.concat([tf.stack([place, behind], axis=1), [[0, 0]]], axis=0)
    return tf.pad(image, paddings, constant_values=255)


def _over_white(
    data: tf.Tensor, buffer: tf.Tensor, control: tf.Tensor, frame: tf.Tensor
) -> tf.Tensor:
    """Make the transparent colour of the first frame an opaque white.

    TensorFlow decodes GIF without alpha and leaves transparent pixels black. Every pixel of the
    transparent palette entry is transparent, so changing that entry is exact.
    """
    flags = read_byte(buffer, control + 3)
    local = read_byte(buffer, frame + 9)
    palette = tf.where(local >= 128, frame + 10, tf.constant(13, tf.int64))
    entry = palette + 3 * read_byte(buffer, control + 6)

    def with_white() -> tf.Tensor:
        opaque = patched(data, control + 3, one_byte(flags - 1))
        return patched(opaque, entry, tf.constant(b"\xff\xff\xff"))

    inside = (control > 0) & (entry + 3 <= tf.size(buffer, out_type=tf.int64))
    return tf.cond(inside & tf.equal(flags % 2, 1), with_white, lambda: data)


def _blocks(buffer: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the offsets of the first frame's graphic control (0 without one) and of the frame."""
    screen = read_byte(buffer, 10)
    colours = tf.bitwise.left_shift(tf.constant(2, tf.int64), screen % 8)
    start = 13 + 3 * colours * tf.cast(screen >= 128, tf.int64)

    def step(at: tf.Tensor, control: tf.Tensor, data: tf.Tensor) -> list[tf.Tensor]:
        # A block (21 F9 is a graphic control) or one of its data chunks starts here.
        first = read_byte(buffer, at)
        is_control = ~data & tf.equal(read_byte(buffer, at + 1), 0xF9)
        following = at + tf.where(data, 1 + first, tf.constant(2, tf.int64))
        return [following, tf.where(is_control, at, control), ~data | (first > 0)]

    def not_done(at: tf.Tensor, control: tf.Tensor, data: tf.Tensor) -> tf.Tensor:
        is_extension = tf.equal(read_byte(buffer, at), 0x21)
        return (at < tf.size(buffer, out_type=tf.int64)) & (data | is_extension)

    initial = [start, tf.constant(0, tf.int64), tf.constant(False)]
    frame, control, _ = tf.while_loop(not_done, step, initial, maximum_iterations=512)
    return control, frame
