"""The decode contract: image bytes to upright RGB, in TensorFlow ops only.

The very same functions run in training, in ``predict`` and inside the exported graph, so what
the model was trained on is what it is served.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, cast, get_args

import tensorflow as tf

from tltool.data import exif

Resize = Literal["squash", "crop", "pad"]

MAX_PIXELS = 178_956_970
"""A 50 KB PNG can claim 400 million pixels and take 1.6 GB: over this, it is refused unread."""

# AutoGraph finds nothing to convert here, and looking for it takes a second.
as_written = tf.autograph.experimental.do_not_convert

_JPEG_RATIOS = (1, 2, 4, 8)
_UNKNOWN, _JPEG, _PNG, _GIF, _BMP, _WEBP = range(6)


@dataclass(frozen=True)
class DecodeSpec:
    """To what size images are brought, and how a different aspect ratio is met.

    ``squash`` stretches, ``crop`` takes the largest centred box of the target's aspect ratio,
    ``pad`` fits the whole image in and fills the rest with black.
    """

    height: int
    width: int
    resize: Resize = "squash"

    def __post_init__(self) -> None:
        if self.height < 1 or self.width < 1 or self.resize not in get_args(Resize):
            raise ValueError(f"not a decode spec: {self}")

    def to_json(self) -> dict[str, Any]:
        """Return the spec as a JSON-ready dict."""
        return asdict(self)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> DecodeSpec:
        """Return the spec that ``to_json`` wrote."""
        return cls(
            height=int(document["height"]),
            width=int(document["width"]),
            resize=cast(Resize, document["resize"]),
        )


@as_written
def decode_image(data: tf.Tensor) -> tf.Tensor:
    """Decode one image at full size, upright, with transparency over white.

    JPEG (also CMYK and YCCK), PNG (any colour type and depth), GIF (first frame), WebP (first
    frame) and BMP of 8, 24 or 32 uncompressed bits.

    Args:
        data: scalar string, the bytes of a file.

    Returns:
        uint8 [H, W, 3], RGB.

    Raises:
        tf.errors.InvalidArgumentError: damaged, truncated, not an image, or too many pixels.
    """
    image, orientation = decode_with_orientation(data)
    return exif.turn_upright(image, orientation)


@as_written
def decode_with_orientation(
    data: tf.Tensor, jpeg_ratio: Callable[[tf.Tensor, tf.Tensor], tf.Tensor] | None = None
) -> tuple[tf.Tensor, tf.Tensor]:
    """Decode one image as stored.

    Args:
        data: scalar string.
        jpeg_ratio: from the stored shape (int32 [3]) and the orientation of a JPEG file, the
            index into 1, 1/2, 1/4, 1/8 at which to decode it; None decodes at full size.

    Returns:
        uint8 [H, W, 3] as stored and its EXIF orientation, int64 scalar.
    """
    buffer = exif.as_bytes(data)
    image, orientation = tf.switch_case(
        _kind(data),
        {
            _UNKNOWN: lambda: (_decode_any(data), _upright()),
            _JPEG: lambda: _decode_jpeg(data, buffer, jpeg_ratio),
            _PNG: lambda: _decode_png(data, buffer),
            _GIF: lambda: _decode_gif(data, buffer),
            _BMP: lambda: _decode_bmp(data, buffer),
            _WEBP: lambda: _decode_webp(data, buffer),
        },
    )
    return tf.ensure_shape(image, [None, None, 3]), orientation


@as_written
def decode_and_resize(data: tf.Tensor, spec: DecodeSpec) -> tf.Tensor:
    """Decode one image upright and bring it to the size of ``spec``, antialiased.

    A JPEG much larger than the target is decoded at 1/2, 1/4 or 1/8, whichever still covers it.

    Args:
        data: scalar string, the bytes of a file.
        spec: the target size.

    Returns:
        float32 [spec.height, spec.width, 3], RGB in 0..255.

    Raises:
        tf.errors.InvalidArgumentError: as in ``decode_image``.
    """
    stored, orientation = decode_with_orientation(
        data, lambda shape, turned: _jpeg_ratio(shape, turned, spec)
    )
    return _resize(exif.turn_upright(stored, orientation), spec)


@as_written
def decode_batch(data: tf.Tensor, spec: DecodeSpec) -> tuple[tf.Tensor, tf.Tensor]:
    """Decode a batch in which one bad item never fails the others; also inside a SavedModel.

    TensorFlow ops cannot catch an error, but a data set can: each item is a data set of its own
    that ignores errors and falls back to zeros.

    Args:
        data: string [N], N may be unknown and 0.
        spec: the target size.

    Returns:
        images float32 [N, spec.height, spec.width, 3], zeros where bad, and ok bool [N].
    """
    with tf.device("/CPU:0"):
        count = tf.size(data, out_type=tf.int64)
        items = tf.data.Dataset.from_tensor_slices(data).interleave(
            as_written(lambda item: _decode_or_zeros(item, spec)),
            cycle_length=16,
            block_length=1,
            num_parallel_calls=tf.data.AUTOTUNE,
            deterministic=True,
        )
        # One row of zeros more, because a batch of nothing would be no batch at all.
        padded = items.concatenate(_zeros(spec)).batch(count + 1)
        images, ok = padded.get_single_element()
        images = tf.ensure_shape(images[:-1], [None, spec.height, spec.width, 3])
        return images, tf.ensure_shape(ok[:-1], [None])


def _decode_or_zeros(item: tf.Tensor, spec: DecodeSpec) -> tf.data.Dataset:
    decoded = tf.data.Dataset.from_tensors(item).map(
        as_written(lambda data: (decode_and_resize(data, spec), True))
    )
    return decoded.ignore_errors(log_warning=False).concatenate(_zeros(spec)).take(1)


def _zeros(spec: DecodeSpec) -> tf.data.Dataset:
    # Filled when it runs: as a constant it would weigh a megabyte in every exported graph.
    shape = (spec.height, spec.width, 3)
    return tf.data.Dataset.from_tensors(False).map(
        as_written(lambda ok: (tf.fill(shape, tf.cast(ok, tf.float32)), ok))
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


def _upright() -> tf.Tensor:
    return tf.constant(1, tf.int64)


def _check_pixels(height: tf.Tensor, width: tf.Tensor) -> tf.Operation:
    pixels = tf.cast(height, tf.int64) * tf.cast(width, tf.int64)
    return tf.debugging.assert_less_equal(
        pixels, tf.constant(MAX_PIXELS, tf.int64), message="too many pixels to decode"
    )


def _decode_any(data: tf.Tensor) -> tf.Tensor:
    """Let TensorFlow say what is wrong with bytes of no known format."""
    return tf.image.grayscale_to_rgb(tf.io.decode_image(data, expand_animations=False)[..., :1])


def _decode_jpeg(
    data: tf.Tensor,
    buffer: tf.Tensor,
    choose_ratio: Callable[[tf.Tensor, tf.Tensor], tf.Tensor] | None,
) -> tuple[tf.Tensor, tf.Tensor]:
    shape = tf.io.extract_jpeg_shape(data)
    orientation = exif.jpeg_orientation(buffer)
    with tf.control_dependencies([_check_pixels(shape[0], shape[1])]):
        if choose_ratio is None:
            return _jpeg_at(data, 1), orientation
        branches = [lambda ratio=ratio: _jpeg_at(data, ratio) for ratio in _JPEG_RATIOS]
        return tf.switch_case(choose_ratio(shape, orientation), branches), orientation


def _jpeg_at(data: tf.Tensor, ratio: int) -> tf.Tensor:
    # The default DCT is the fast one, 5 grey levels off and different between libjpeg builds.
    return tf.io.decode_jpeg(data, channels=3, ratio=ratio, dct_method="INTEGER_ACCURATE")


def _jpeg_ratio(shape: tf.Tensor, orientation: tf.Tensor, spec: DecodeSpec) -> tf.Tensor:
    """Return the index of the smallest scale at which a JPEG still covers the target."""
    height = tf.where(orientation >= 5, shape[1], shape[0])
    width = tf.where(orientation >= 5, shape[0], shape[1])
    # ceil(size / ratio) is what libjpeg makes of it.
    ratios = tf.constant(_JPEG_RATIOS[1:])
    tall = -(-height // ratios) >= spec.height
    wide = -(-width // ratios) >= spec.width
    # When padding, the side that limits the scale decides; it is covered if either side is.
    covers = (tall | wide) if spec.resize == "pad" else (tall & wide)
    return tf.reduce_sum(tf.cast(covers, tf.int32))


def _decode_png(data: tf.Tensor, buffer: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    size = exif.read_uint(buffer, tf.constant([16, 20]), 4, big_endian=True)
    colour_type = exif.read_uint(buffer, 25, 1, big_endian=True)
    declared, exif_at = exif.png_chunks(buffer)
    has_alpha = declared | tf.equal(colour_type, 4) | tf.equal(colour_type, 6)
    with tf.control_dependencies([_check_pixels(size[0], size[1])]):
        # Four channels only for real alpha: below 8 bits TensorFlow makes up one of 1 to 15.
        image = tf.cond(
            has_alpha,
            lambda: _over_white(tf.io.decode_png(data, channels=4)),
            lambda: tf.io.decode_png(data, channels=3),
        )
    return image, exif.png_orientation(buffer, exif_at)


def _over_white(image: tf.Tensor) -> tf.Tensor:
    """Lay an image uint8 [H, W, 4] over white: uint8 [H, W, 3]."""
    colour = tf.cast(image[..., :3], tf.float32)
    alpha = tf.cast(image[..., 3:], tf.float32)
    return tf.cast(tf.round((colour * alpha + 255.0 * (255.0 - alpha)) / 255.0), tf.uint8)


def _decode_gif(data: tf.Tensor, buffer: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    size = exif.read_uint(buffer, tf.constant([6, 8]), 2, big_endian=False)
    with tf.control_dependencies([_check_pixels(size[0], size[1])]):
        return tf.io.decode_image(data, channels=3, expand_animations=False), _upright()


def _decode_webp(data: tf.Tensor, buffer: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    # Through DecodeImage, not DecodeWebP: an older server still loads the graph.
    with tf.control_dependencies([_check_pixels(*_webp_size(buffer))]):
        image = tf.io.decode_image(_safe_webp(data, buffer), expand_animations=False)
    image = tf.cond(
        tf.equal(tf.shape(image)[-1], 4), lambda: _over_white(image), lambda: image[..., :3]
    )
    return image, exif.webp_orientation(buffer)


def _safe_webp(data: tf.Tensor, buffer: tf.Tensor) -> tf.Tensor:
    """Declare an animation transparent, whatever its header says.

    TensorFlow 2.21 decodes animations to four channels, but makes room for three when the
    header declares no alpha: it then writes behind its buffer and the process dies.
    """
    flags = exif.read_uint(buffer, 20, 1, big_endian=False)
    extended = tf.equal(exif.read_uint(buffer, 15, 1, big_endian=False), ord("X"))
    animated = extended & tf.equal(flags // 2 % 2, 1)
    with_alpha = tf.gather([bytes([n]) for n in range(256)], tf.bitwise.bitwise_or(flags, 16))

    def patched() -> tf.Tensor:
        return tf.strings.join(
            [tf.strings.substr(data, 0, 20), with_alpha, tf.strings.substr(data, 21, -1)]
        )

    return tf.cond(animated, patched, lambda: data)


def _webp_size(buffer: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Return height and width of the extended and the lossless kind; lossy ones are below it."""
    kind = exif.read_uint(buffer, 15, 1, big_endian=False)
    extended = 1 + exif.read_uint(buffer, tf.constant([27, 24]), 3, big_endian=False)
    bits = exif.read_uint(buffer, 21, 4, big_endian=False)
    lossless = 1 + tf.stack([(bits // 2**14) % 2**14, bits % 2**14])
    simple = tf.where(tf.equal(kind, ord("L")), lossless, tf.ones_like(lossless))
    size = tf.where(tf.equal(kind, ord("X")), extended, simple)
    return size[0], size[1]


def _decode_bmp(data: tf.Tensor, buffer: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
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
    image = tf.cond(
        tf.equal(bits, 8),
        lambda: _look_up(pixels, _bmp_palette(buffer, header)),
        lambda: pixels[..., :3],  # the fourth byte of a plain BMP is padding, not alpha
    )
    return image, _upright()


def _bmp_palette(buffer: tf.Tensor, header: tf.Tensor) -> tf.Tensor:
    """Return the palette of an 8-bit BMP: uint8 [256, 3], RGB."""
    at = 14 + header + 4 * tf.range(256, dtype=tf.int64)
    stored = exif.read_uint(buffer, at[:, tf.newaxis] + [2, 1, 0], 1, big_endian=False)
    return tf.cast(stored, tf.uint8)


def _look_up(pixels: tf.Tensor, palette: tf.Tensor) -> tf.Tensor:
    return tf.gather(palette, tf.cast(pixels[..., 0], tf.int32))


def _resize(image: tf.Tensor, spec: DecodeSpec) -> tf.Tensor:
    """Bring uint8 [H, W, 3] to float32 [spec.height, spec.width, 3]."""
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


def _times(size: tf.Tensor, numerator: tf.Tensor | int, denominator: tf.Tensor | int) -> tf.Tensor:
    """Return round(size * numerator / denominator), at least 1: int32 scalar."""
    exact = tf.cast(size, tf.float64) * tf.cast(numerator, tf.float64)
    return tf.maximum(tf.cast(tf.round(exact / tf.cast(denominator, tf.float64)), tf.int32), 1)


def _crop_to_aspect(image: tf.Tensor, spec: DecodeSpec) -> tf.Tensor:
    height, width = _size(image)
    box_height = tf.minimum(height, _times(width, spec.height, spec.width))
    box_width = tf.minimum(width, _times(height, spec.width, spec.height))
    top, left = (height - box_height) // 2, (width - box_width) // 2
    return image[top : top + box_height, left : left + box_width]


def _fit_inside(image: tf.Tensor, spec: DecodeSpec) -> tf.Tensor:
    height, width = _size(image)
    new_height = tf.minimum(spec.height, _times(height, spec.width, width))
    new_width = tf.minimum(spec.width, _times(width, spec.height, height))
    resized = _antialiased(image, tf.stack([new_height, new_width]))
    top, left = (spec.height - new_height) // 2, (spec.width - new_width) // 2
    return tf.image.pad_to_bounding_box(resized, top, left, spec.height, spec.width)
