"""Says why an intact file of a known image format cannot be decoded: variants that are rare."""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence
from typing import NamedTuple

from tltool.data.decoding.gif import has_colour_table

_NO_LENGTH = {0x01, *range(0xD0, 0xD9)}  # JPEG markers without a segment
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # SOF0 to SOF15
_COMMON = {0xC0, 0xC1, 0xC2, 0xC9, 0xCA}  # the last two with arithmetic coding
_HIERARCHICAL = {0xC5, 0xC6, 0xC7, 0xCD, 0xCE, 0xCF}
_JPEG_LS = 0xF7
_BMP_JPEG, _BMP_PNG = 4, 5
_SIGNED = 0x80
_CHANNELS = (1, 3, 4)  # of a JPEG
_FILL = re.compile(rb"\xff*")  # bytes that may stand before the marker of a JPEG segment
_MAX_SEGMENTS = 20_000  # of a JPEG; real files have a few hundred


class JpegFrame(NamedTuple):
    """The frame header of a JPEG (ITU-T T.81, B.2.2).

    Attributes:
        marker: the second byte of its SOF marker.
        bits: per channel.
        height: in pixels.
        channels: number of them.
    """

    marker: int
    bits: int
    height: int
    channels: int

    @property
    def is_common(self) -> bool:
        """Whether it is sequential or progressive with 8 bits; the decoder reads no other ones."""
        return self.marker in _COMMON and self.bits == 8 and self.height > 0


def jpeg_frame(data: bytes) -> JpegFrame | None:
    """Return the first frame header of a JPEG; None if there is none before its pixels.

    Args:
        data: the bytes of a file that starts with FF D8.
    """
    at = 2
    for _ in range(_MAX_SEGMENTS):
        at = max(at, _FILL.match(data, at).end() - 1)  # type: ignore[union-attr]
        if at + 4 > len(data) or data[at] != 0xFF:
            return None
        marker = data[at + 1]
        if marker in _NO_LENGTH:
            at += 2
        elif marker in _FRAMES or marker == _JPEG_LS:
            if at + 10 > len(data):
                return None
            bits, height, _, channels = struct.unpack_from(">BHHB", data, at + 4)
            return JpegFrame(marker, bits, height, channels)
        else:
            at += 2 + struct.unpack_from(">H", data, at + 2)[0]
    return None


def unsupported_variant(data: bytes) -> str | None:
    """Return why an intact image file cannot be decoded; None if no reason is known.

    Args:
        data: the start of a file that Pillow cannot decode, not of a TIFF.

    Returns:
        a phrase for "it has …", such as ``"12 bits per channel"``.
    """
    if data[:3] == b"\xff\xd8\xff":
        return _unsupported_jpeg(data)
    if data[:2] == b"BM" and len(data) >= 34:
        return _unsupported_bmp(data)
    if data[:8] == b"\x89PNG\r\n\x1a\n" and data[12:16] == b"CgBI":
        return "Apple's own PNG compression (CgBI)"
    if data[:4] == b"GIF8" and not has_colour_table(data):
        return "no colour table"
    channels = len(jpeg2000_bits(data))
    return f"{channels} channels in JPEG 2000 compression" if channels > 4 else None


def _unsupported_jpeg(data: bytes) -> str | None:
    frame = jpeg_frame(data)
    if frame is None:
        return None
    if frame.marker == _JPEG_LS:
        return "JPEG-LS compression"
    if frame.bits != 8:
        return f"{frame.bits} bits per channel in JPEG compression"
    if frame.height == 0:
        return "its height only after its pixels (DNL)"
    if frame.channels not in _CHANNELS:
        return f"{frame.channels} channels in JPEG compression"
    if frame.marker in _HIERARCHICAL:
        return "hierarchical JPEG compression"
    return None


def _unsupported_bmp(data: bytes) -> str | None:
    (header,) = struct.unpack_from("<I", data, 14)
    (compression,) = struct.unpack_from("<I", data, 30)
    if header >= 40 and compression in (_BMP_JPEG, _BMP_PNG):
        return "JPEG or PNG data inside a BMP"
    return None


def jpeg2000_bits(data: bytes) -> tuple[int, ...]:
    """Return the bits of each channel of a JPEG 2000; empty if unknown.

    Reference:
        ISO/IEC 15444-1, A.5.1: image and tile size.
    """
    is_jpeg2000 = data.startswith((b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP  "))
    at = data.find(b"\xff\x4f\xff\x51") if is_jpeg2000 else -1
    if at < 0 or at + 42 > len(data):
        return ()
    (channels,) = struct.unpack_from(">H", data, at + 40)
    depths = data[at + 42 : at + 42 + 3 * channels : 3]
    return tuple((depth & ~_SIGNED) + 1 for depth in depths)


def full_range_factor(bits: Sequence[int]) -> float:
    """Return the factor with which values of ``bits`` below 8, shifted to 8 bits, reach 255."""
    if not bits or len(set(bits)) > 1 or bits[0] >= 8:
        return 1
    return 255 / (256 - (1 << (8 - bits[0])))
