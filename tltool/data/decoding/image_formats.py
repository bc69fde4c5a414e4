"""Decodes JPEG, PNG, WebP, GIF and BMP to RGB in TensorFlow ops, without applying EXIF."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from typing import Any

import tensorflow as tf

from tltool.data.decoding import exif
from tltool.data.decoding.byte_ops import over_white, read_byte, with_few_pixels
from tltool.data.decoding.decode_bmp import decode_bmp
from tltool.data.decoding.decode_gif import decode_gif
from tltool.data.decoding.decode_jpeg import decode_scaled_jpeg
from tltool.data.decoding.decode_webp import decode_webp
from tltool.data.decoding.graph_tracing import traced_on_cpu, without_autograph

_UNKNOWN, _JPEG, _PNG, _WEBP, _GIF, _BMP = range(6)
_SIGNATURES = {
    _JPEG: b"\xff\xd8\xff",
    _PNG: b"\x89PNG\r\n\x1a\n",
    _GIF: b"GIF8",
    _BMP: b"BM",
}

FULL_SIZE = (2**31 - 1, 2**31 - 1)
"""A target that only the full size of a JPEG covers."""


@without_autograph
def decode_stored(
    data: tf.Tensor,
    target: tuple[int, int] = FULL_SIZE,
    *,
    one_side: bool = False,
    kind: int | None = None,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Decode one image without applying its EXIF orientation.

    A JPEG is decoded at the smallest of its scales that covers ``target``.

    Args:
        data: scalar string.
        target: height and width of the upright image.
        one_side: whether a JPEG covers the target if either of its sides does.
        kind: the format of all images, as ``only_kind`` returns it; None for any.

    Returns:
        uint8 [H, W, 3] as stored and its EXIF orientation, int64 scalar.
    """
    graph = _decode_graph() if kind is None else _decode_graph_of(kind)
    image, orientation = graph(data, tf.constant(target), tf.constant(one_side))
    return image, orientation


def only_kind(contents: Sequence[bytes]) -> int | None:
    """Return the format of all ``contents`` if the graph of that one alone is worth tracing.

    Returns:
        a number for ``decode_stored``; None if they differ, or the graph of all formats was traced
        before.
    """
    kinds = {_kind_of(data) for data in contents}
    return kinds.pop() if len(kinds) == 1 and not _decode_graph.cache_info().currsize else None


def _kind_of(data: bytes) -> int:
    """Return what ``_kind`` returns."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return _WEBP
    starts = (kind for kind, signature in _SIGNATURES.items() if data.startswith(signature))
    return next(starts, _UNKNOWN)


@lru_cache(maxsize=1)
def _decode_graph() -> Any:
    """Return the concrete function of ``decode_stored``, traced once.

    It is large, and tracing takes most of a second. As a separate function it is stored only once
    in a SavedModel.
    """
    return _traced(lambda data, target, one_side: _decode(_kind(data), data, target, one_side))


@lru_cache(maxsize=6)
def _decode_graph_of(kind: int) -> Any:
    """Return the same for images of one format, which is traced in a fraction of the time."""
    return _traced(partial(_decode, kind))


def _traced(decode: Callable[..., Any]) -> Any:
    return traced_on_cpu(
        decode,
        tf.TensorSpec([], tf.string, "data"),
        tf.TensorSpec([2], tf.int32, "target"),
        tf.TensorSpec([], tf.bool, "one_side"),
    )


def _decode(
    kind: tf.Tensor | int, data: tf.Tensor, target: tf.Tensor, one_side: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    buffer = exif.as_bytes(data)
    exif_at, transparent = _declared(kind, buffer)
    orientation = exif.tiff_orientation(buffer, exif_at)
    image = _case(
        kind,
        {
            _UNKNOWN: lambda: _decode_any(data),
            _JPEG: lambda: decode_scaled_jpeg(data, buffer, orientation, target, one_side),
            _PNG: lambda: _decode_png(data, buffer, transparent),
            _GIF: lambda: decode_gif(data, buffer),
            _BMP: lambda: decode_bmp(data, buffer),
            _WEBP: lambda: decode_webp(data, buffer),
        },
    )
    return tf.ensure_shape(image, [None, None, 3]), orientation


def _case(
    kind: tf.Tensor | int, cases: Mapping[int, Callable[[], Any]], default: Any = None
) -> Any:
    """Return what the function of ``kind`` returns: chosen now, or when the graph runs."""
    if isinstance(kind, int):
        return cases.get(kind, default)()
    return tf.switch_case(kind, dict(cases), default=default)


def _declared(kind: tf.Tensor | int, buffer: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Return where the EXIF block is, int64 scalar, and whether a PNG has transparent colours."""
    no, nowhere = tf.constant(False), tf.constant(exif.NOT_FOUND, tf.int64)
    result: tuple[tf.Tensor, tf.Tensor] = _case(
        kind,
        {
            _UNKNOWN: lambda: (nowhere, no),
            _JPEG: lambda: (exif.find_in_jpeg(buffer), no),
            _PNG: lambda: exif.png_chunks(buffer),
            _WEBP: lambda: (exif.find_in_webp(buffer), no),
        },
        default=lambda: (nowhere, no),
    )
    return result


def _kind(data: tf.Tensor) -> tf.Tensor:
    """Return the format by its first bytes: int32 scalar."""
    head = tf.strings.substr(data, 0, 12)  # may be shorter
    is_webp = tf.equal(tf.strings.substr(head, 0, 4), b"RIFF") & _ends_with(head, b"WEBP")
    matches = [(kind, _starts_with(head, start)) for kind, start in _SIGNATURES.items()]
    matches.append((_WEBP, is_webp))
    # At most one matches, so the sum is its number, or 0 for none.
    return tf.add_n([kind * tf.cast(matched, tf.int32) for kind, matched in matches])


def _starts_with(head: tf.Tensor, signature: bytes) -> tf.Tensor:
    return tf.equal(tf.strings.substr(head, 0, len(signature)), signature)


def _ends_with(head: tf.Tensor, signature: bytes) -> tf.Tensor:
    position = tf.maximum(tf.strings.length(head) - len(signature), 0)
    return tf.equal(tf.strings.substr(head, position, len(signature)), signature)


def _decode_any(data: tf.Tensor) -> tf.Tensor:
    """Decode an unknown format with TensorFlow, which raises the error."""
    image = tf.io.decode_image(data, expand_animations=False)
    return tf.tile(image[..., :1], [1, 1, 3])


def _decode_png(data: tf.Tensor, buffer: tf.Tensor, declared: tf.Tensor) -> tf.Tensor:
    size = exif.read_uint(buffer, tf.constant([16, 20]), 4, big_endian=True)
    colour_type = read_byte(buffer, 25)
    has_alpha = declared | tf.equal(colour_type, 4) | tf.equal(colour_type, 6)
    small = with_few_pixels(data, size[0], size[1])
    # Four channels only for a real alpha channel: below 8 bits TensorFlow adds a wrong one.
    return tf.cond(
        has_alpha,
        lambda: over_white(tf.io.decode_png(small, channels=4)),
        lambda: tf.io.decode_png(small, channels=3),
    )
