"""The formats of the decode contract, each in TensorFlow ops: bytes to RGB as stored."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import tensorflow as tf

from tltool.data.decoding import exif

MAX_PIXELS = 178_956_970
"""A 50 KB PNG can claim 400 million pixels and take 1.6 GB: over this, it is refused unread."""

JPEG_RATIOS = (1, 2, 4, 8)
"""JPEG is decoded at 1 over one of these."""

# AutoGraph finds nothing to convert here, and looking for it takes a second.
as_written = tf.autograph.experimental.do_not_convert

_UNKNOWN, _JPEG, _PNG, _WEBP, _GIF, _BMP = range(6)


FULL_SIZE = (2**31 - 1, 2**31 - 1)
"""A target that no smaller scale of a JPEG covers."""


@as_written
def decode_stored(
    data: tf.Tensor, target: tuple[int, int] = FULL_SIZE, *, one_side: bool = False
) -> tuple[tf.Tensor, tf.Tensor]:
    """Decode one image as stored; a JPEG at the smallest of its scales that covers ``target``.

    Args:
        data: scalar string.
        target: height and width wanted of the upright image.
        one_side: whether a JPEG covers the target when one of its sides does.

    Returns:
        uint8 [H, W, 3] as stored and its EXIF orientation, int64 scalar.
    """
    image, orientation = _decode_graph()(data, tf.constant(target), tf.constant(one_side))
    return image, orientation


@lru_cache(maxsize=1)
def _decode_graph() -> Any:
    """Return the concrete function behind ``decode_stored``.

    It is large, and tracing it takes most of a second. As a function of its own a SavedModel
    stores it once, whatever calls it.
    """
    return traced_on_cpu(
        _decode,
        tf.TensorSpec([], tf.string, "data"),
        tf.TensorSpec([2], tf.int32, "target"),
        tf.TensorSpec([], tf.bool, "one_side"),
    )


def traced_on_cpu(function: Callable[..., Any], *signature: tf.TensorSpec) -> Any:
    """Return the concrete function of ``function`` for tensors of ``signature``, run on the CPU."""

    def on_cpu(*arguments: tf.Tensor) -> Any:
        with tf.device("/CPU:0"):
            return function(*arguments)

    with tf.init_scope():  # a graph that is being traced around the first call must not own it
        return tf.function(on_cpu, signature, autograph=False).get_concrete_function()


def _decode(data: tf.Tensor, target: tf.Tensor, one_side: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    buffer, kind = exif.as_bytes(data), _kind(data)
    exif_at, transparent = _declared(kind, buffer)
    orientation = exif.tiff_orientation(buffer, exif_at)
    image = tf.switch_case(
        kind,
        {
            _UNKNOWN: lambda: _decode_any(data),
            _JPEG: lambda: _decode_scaled_jpeg(data, orientation, target, one_side),
            _PNG: lambda: _decode_png(data, buffer, transparent),
            _GIF: lambda: _decode_gif(data, buffer),
            _BMP: lambda: _decode_bmp(data, buffer),
            _WEBP: lambda: _decode_webp(data, buffer),
        },
    )
    return tf.ensure_shape(image, [None, None, 3]), orientation


def _declared(kind: tf.Tensor, buffer: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Return where the EXIF block is, int64 scalar, and whether a PNG has transparent colours."""
    no, nowhere = tf.constant(False), tf.constant(exif.NOT_FOUND, tf.int64)
    return tf.switch_case(
        kind,
        {
            _UNKNOWN: lambda: (nowhere, no),
            _JPEG: lambda: (exif.find_in_jpeg(buffer), no),
            _PNG: lambda: exif.png_chunks(buffer),
            _WEBP: lambda: (exif.find_in_webp(buffer), no),
        },
        default=lambda: (nowhere, no),
    )


def _kind(data: tf.Tensor) -> tf.Tensor:
    """Return the format by its first bytes: int32 scalar."""
    head = tf.strings.substr(data, 0, 12)  # shorter data give a shorter head
    is_webp = tf.equal(tf.strings.substr(head, 0, 4), b"RIFF") & _ends_with(head, b"WEBP")
    signs = [
        (_JPEG, _starts_with(head, b"\xff\xd8\xff")),
        (_PNG, _starts_with(head, b"\x89PNG\r\n\x1a\n")),
        (_GIF, _starts_with(head, b"GIF8")),
        (_BMP, _starts_with(head, b"BM")),
        (_WEBP, is_webp),
    ]
    # At most one is true, so that the sum is its number, and 0 for none.
    return tf.add_n([kind * tf.cast(found, tf.int32) for kind, found in signs])


def _starts_with(head: tf.Tensor, sign: bytes) -> tf.Tensor:
    return tf.equal(tf.strings.substr(head, 0, len(sign)), sign)


def _ends_with(head: tf.Tensor, sign: bytes) -> tf.Tensor:
    position = tf.maximum(tf.strings.length(head) - len(sign), 0)
    return tf.equal(tf.strings.substr(head, position, len(sign)), sign)


def _check_pixels(height: tf.Tensor, width: tf.Tensor) -> tf.Operation:
    pixels = tf.cast(height, tf.int64) * tf.cast(width, tf.int64)
    return tf.debugging.assert_less_equal(
        pixels, tf.constant(MAX_PIXELS, tf.int64), message="too many pixels to decode"
    )


def _decode_any(data: tf.Tensor) -> tf.Tensor:
    """Let TensorFlow say what is wrong with bytes of no known format."""
    return tf.image.grayscale_to_rgb(tf.io.decode_image(data, expand_animations=False)[..., :1])


def _decode_scaled_jpeg(
    data: tf.Tensor, orientation: tf.Tensor, target: tf.Tensor, one_side: tf.Tensor
) -> tf.Tensor:
    shape = tf.io.extract_jpeg_shape(data)
    with tf.control_dependencies([_check_pixels(shape[0], shape[1])]):
        branches = [lambda ratio=ratio: _jpeg_at(data, ratio) for ratio in JPEG_RATIOS]
        upright = tf.where(orientation >= 5, tf.reverse(shape[:2], [0]), shape[:2])
        return tf.switch_case(_jpeg_ratio(upright, target, one_side), branches)


def _jpeg_ratio(shape: tf.Tensor, target: tf.Tensor, one_side: tf.Tensor) -> tf.Tensor:
    """Return the index of the smallest scale at which a JPEG still covers the target."""
    # ceil(size / ratio) is what libjpeg makes of it.
    scaled = -(-shape[tf.newaxis] // tf.constant(JPEG_RATIOS[1:])[:, tf.newaxis])
    covers = scaled >= target
    both, either = tf.reduce_all(covers, axis=1), tf.reduce_any(covers, axis=1)
    return tf.reduce_sum(tf.cast(tf.where(one_side, either, both), tf.int32))


@as_written
def decode_jpeg(data: tf.Tensor) -> tf.Tensor:
    """Decode a JPEG at full size, as stored: uint8 [H, W, 3]."""
    return _jpeg_at(data, 1)


def _jpeg_at(data: tf.Tensor, ratio: int) -> tf.Tensor:
    # The default DCT is the fast one, 5 grey levels off and different between libjpeg builds.
    return tf.io.decode_jpeg(data, channels=3, ratio=ratio, dct_method="INTEGER_ACCURATE")


def _decode_png(data: tf.Tensor, buffer: tf.Tensor, declared: tf.Tensor) -> tf.Tensor:
    size = exif.read_uint(buffer, tf.constant([16, 20]), 4, big_endian=True)
    colour_type = _byte(buffer, 25)
    has_alpha = declared | tf.equal(colour_type, 4) | tf.equal(colour_type, 6)
    with tf.control_dependencies([_check_pixels(size[0], size[1])]):
        # Four channels only for real alpha: below 8 bits TensorFlow makes up one of 1 to 15.
        return tf.cond(
            has_alpha,
            lambda: _over_white(tf.io.decode_png(data, channels=4)),
            lambda: tf.io.decode_png(data, channels=3),
        )


def _over_white(image: tf.Tensor) -> tf.Tensor:
    """Lay an image uint8 [H, W, 4] over white: uint8 [H, W, 3]."""
    colour = tf.cast(image[..., :3], tf.float32)
    alpha = tf.cast(image[..., 3:], tf.float32)
    return tf.cast(tf.round((colour * alpha + 255.0 * (255.0 - alpha)) / 255.0), tf.uint8)


def _decode_gif(data: tf.Tensor, buffer: tf.Tensor) -> tf.Tensor:
    size = exif.read_uint(buffer, tf.constant([6, 8]), 2, big_endian=False)
    with tf.control_dependencies([_check_pixels(size[0], size[1])]):
        white = _gif_over_white(data, buffer)
        return tf.io.decode_image(white, channels=3, expand_animations=False)


def _gif_over_white(data: tf.Tensor, buffer: tf.Tensor) -> tf.Tensor:
    """Make the transparent colour of the first frame an opaque white.

    TensorFlow decodes GIF without alpha and leaves transparent pixels black. Every pixel of the
    transparent palette entry is transparent, so painting that entry is exact.
    """
    control, frame = _gif_blocks(buffer)
    flags = _byte(buffer, control + 3)
    local = _byte(buffer, frame + 9)
    palette = tf.where(local >= 128, frame + 10, tf.constant(13, tf.int64))
    entry = palette + 3 * _byte(buffer, control + 6)

    def painted() -> tf.Tensor:
        opaque = _patched(data, control + 3, _as_string(flags - 1))
        return _patched(opaque, entry, tf.constant(b"\xff\xff\xff"))

    inside = (control > 0) & (entry + 3 <= tf.size(buffer, out_type=tf.int64))
    return tf.cond(inside & tf.equal(flags % 2, 1), painted, lambda: data)


def _gif_blocks(buffer: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the offsets of the first frame's graphic control (0 without one) and of the frame."""
    screen = _byte(buffer, 10)
    colours = tf.bitwise.left_shift(tf.constant(2, tf.int64), screen % 8)
    start = 13 + 3 * colours * tf.cast(screen >= 128, tf.int64)

    def step(at: tf.Tensor, control: tf.Tensor, data: tf.Tensor) -> list[tf.Tensor]:
        # Either a block starts here (21 F9 is a graphic control), or one of its data chunks.
        first = _byte(buffer, at)
        is_control = ~data & tf.equal(_byte(buffer, at + 1), 0xF9)
        following = at + tf.where(data, 1 + first, tf.constant(2, tf.int64))
        return [following, tf.where(is_control, at, control), ~data | (first > 0)]

    def goes_on(at: tf.Tensor, control: tf.Tensor, data: tf.Tensor) -> tf.Tensor:
        is_extension = tf.equal(_byte(buffer, at), 0x21)
        return (at < tf.size(buffer, out_type=tf.int64)) & (data | is_extension)

    initial = [start, tf.constant(0, tf.int64), tf.constant(False)]
    frame, control, _ = tf.while_loop(goes_on, step, initial, maximum_iterations=512)
    return control, frame


def _byte(buffer: tf.Tensor, at: tf.Tensor | int) -> tf.Tensor:
    return exif.read_uint(buffer, at, 1, big_endian=False)


def _as_string(byte: tf.Tensor) -> tf.Tensor:
    """Turn a number 0 to 255 into a string of that one byte."""
    return tf.gather([bytes([value]) for value in range(256)], byte)


def _patched(data: tf.Tensor, at: tf.Tensor, patch: tf.Tensor) -> tf.Tensor:
    """Return the string ``data`` with the bytes from ``at`` on replaced by ``patch``."""
    behind = at + tf.cast(tf.strings.length(patch), tf.int64)
    rest = tf.strings.substr(data, behind, tf.constant(2**31 - 1, tf.int64))
    return tf.strings.join([tf.strings.substr(data, tf.zeros_like(at), at), patch, rest])


def _decode_webp(data: tf.Tensor, buffer: tf.Tensor) -> tf.Tensor:
    # Through DecodeImage, not DecodeWebP: an older server still loads the graph.
    with tf.control_dependencies([_check_pixels(*_webp_size(buffer))]):
        image = tf.io.decode_image(_safe_webp(data, buffer), expand_animations=False)
    return tf.cond(
        tf.equal(tf.shape(image)[-1], 4), lambda: _over_white(image), lambda: image[..., :3]
    )


def _safe_webp(data: tf.Tensor, buffer: tf.Tensor) -> tf.Tensor:
    """Declare an animation transparent, whatever its header says.

    TensorFlow 2.21 decodes animations to four channels, but makes room for three when the
    header declares no alpha: it then writes behind its buffer and the process dies.
    """
    flags = _byte(buffer, 20)
    animated = tf.equal(_byte(buffer, 15), ord("X")) & tf.equal(flags // 2 % 2, 1)
    with_alpha = _as_string(tf.bitwise.bitwise_or(flags, 16))
    at = tf.constant(20, tf.int64)
    return tf.cond(animated, lambda: _patched(data, at, with_alpha), lambda: data)


def _webp_size(buffer: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Return height and width of the extended and the lossless kind; lossy ones are below it."""
    kind = _byte(buffer, 15)
    extended = 1 + exif.read_uint(buffer, tf.constant([27, 24]), 3, big_endian=False)
    bits = exif.read_uint(buffer, 21, 4, big_endian=False)
    lossless = 1 + tf.stack([(bits // 2**14) % 2**14, bits % 2**14])
    simple = tf.where(tf.equal(kind, ord("L")), lossless, tf.ones_like(lossless))
    size = tf.where(tf.equal(kind, ord("X")), extended, simple)
    return size[0], size[1]


def _decode_bmp(data: tf.Tensor, buffer: tf.Tensor) -> tf.Tensor:
    header = exif.read_uint(buffer, 14, 4, big_endian=False)
    bits = exif.read_uint(buffer, 28, 2, big_endian=False)
    compression = exif.read_uint(buffer, 30, 4, big_endian=False)
    size = tf.bitcast(
        tf.cast(exif.read_uint(buffer, tf.constant([22, 18]), 4, big_endian=False), tf.uint32),
        tf.int32,
    )
    plain = (header >= 40) & tf.equal(compression, 0) & tf.reduce_any(tf.equal(bits, [8, 24, 32]))
    checks = [
        tf.debugging.Assert(plain, ["a BMP with compression or a small palette"]),
        _check_pixels(tf.abs(size[0]), size[1]),  # a negative height stores the top row first
    ]
    with tf.control_dependencies(checks):
        pixels = tf.io.decode_bmp(data)
    return tf.cond(
        tf.equal(bits, 8),
        lambda: _look_up(pixels, _bmp_palette(buffer, header)),
        lambda: pixels[..., :3],  # the fourth byte of a plain BMP is padding, not alpha
    )


def _bmp_palette(buffer: tf.Tensor, header: tf.Tensor) -> tf.Tensor:
    """Return the palette of an 8-bit BMP: uint8 [256, 3], RGB."""
    at = 14 + header + 4 * tf.range(256, dtype=tf.int64)
    stored = exif.read_uint(buffer, at[:, tf.newaxis] + [2, 1, 0], 1, big_endian=False)
    return tf.cast(stored, tf.uint8)


def _look_up(pixels: tf.Tensor, palette: tf.Tensor) -> tf.Tensor:
    return tf.gather(palette, tf.cast(pixels[..., 0], tf.int32))
