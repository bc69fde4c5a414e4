"""Reads the size of an image from the bytes of its format, without opening it.

Decoders allocate memory for the size in the header. So it is read here first, for every format that
is decoded; a file whose size is unknown is not decoded.
"""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Callable
from typing import NamedTuple

from tltool.data.decoding import tiff
from tltool.data.decoding.jpeg_scans import count_scans, jpeg_size

_PPM_SPACE = rb"(?:\s|#[^\r\n]*[\r\n])"
_PPM = re.compile(rb"P[1-6]" + _PPM_SPACE + rb"+(\d{1,9})" + _PPM_SPACE + rb"+(\d{1,9})")
_ISPE = re.compile(rb"ispe\x00{4}(.{4})(.{4})", re.DOTALL)  # ISO/IEC 23008-12, 6.5.3
DIB_HEADERS = (12, 40, 52, 56, 64, 108, 124)
_SEARCHED = 2**20  # bytes in which the header of HEIF and JPEG 2000 must be
_MAX_BLOCKS = 20_000  # before the first frame of a GIF
_PNG = b"\x89PNG\r\n\x1a\n"


class ImageSize(NamedTuple):
    """The size of an image as stored, in pixels.

    Attributes:
        width: of all its parts the largest.
        height: likewise.
        scans: how often a decoder visits all pixels; more than 1 for a progressive JPEG.
    """

    width: int
    height: int
    scans: int = 1

    @property
    def pixels(self) -> int:
        """The number of pixels."""
        return self.width * self.height


def read_size(data: bytes) -> ImageSize | None:
    """Return the size of an image; None if its format is unknown or its header is damaged.

    Args:
        data: the bytes of a file.

    Examples:
        >>> read_size(Path("photo.jpg").read_bytes())
        ImageSize(width=4032, height=3024, scans=1)
    """
    for matches, read in _FORMATS:
        if matches(data):
            try:
                size = read(data)
            except (struct.error, IndexError, ValueError, TypeError, OverflowError):
                return None
            return size if size.width > 0 and size.height > 0 else None
    return None


def _png(data: bytes) -> ImageSize:
    if data[12:16] != b"IHDR":
        raise ValueError("no header")
    return ImageSize(*struct.unpack_from(">II", data, 16))


def _jpeg(data: bytes) -> ImageSize:
    return ImageSize(*jpeg_size(data), count_scans(data))


def _gif(data: bytes) -> ImageSize:
    """Return the size of the screen, or of a first frame that is larger."""
    screen = struct.unpack_from("<HH", data, 6)
    at = 13 + (3 * 2 ** (data[10] % 8 + 1) if data[10] >= 128 else 0)
    at += _extensions(data, at)
    left, top, width, height = struct.unpack_from("<4H", data, at + 1)
    return ImageSize(max(screen[0], left + width), max(screen[1], top + height))


def _extensions(data: bytes, start: int) -> int:
    """Return the length of the extensions of a GIF that begin at ``start``."""
    at, within = start, False
    for _ in range(_MAX_BLOCKS):
        if within:
            within = data[at] > 0
            at += 1 + data[at]
        elif data[at] == 0x21:
            within = True
            at += 2
        else:
            return at - start
    raise ValueError("too many blocks")


def _bmp(data: bytes, at: int = 14) -> ImageSize:
    """Return the size in a BMP whose bitmap header is at ``at``."""
    (length,) = struct.unpack_from("<I", data, at)
    width, height = struct.unpack_from("<HH" if length == 12 else "<ii", data, at + 4)
    return ImageSize(width, abs(height))


def _webp(data: bytes) -> ImageSize:
    kind = data[12:16]
    if kind == b"VP8X":
        width, height = (int.from_bytes(data[at : at + 3], "little") + 1 for at in (24, 27))
        return ImageSize(width, height)
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        return ImageSize(bits % 2**14 + 1, (bits >> 14) % 2**14 + 1)
    if kind != b"VP8 ":
        raise ValueError("no pixels")
    width, height = struct.unpack_from("<HH", data, 26)
    return ImageSize(width % 2**14, height % 2**14)


def _tiff(data: bytes) -> ImageSize:
    return ImageSize(*tiff.size(tiff.first_tags(io.BytesIO(data))))


def _jpeg2000(data: bytes) -> ImageSize:
    """Return the largest size in box and codestream (ISO/IEC 15444-1, A.5.1 and I.5.3)."""
    at = data.index(b"\xff\x4f\xff\x51", 0, _SEARCHED)
    right, bottom, left, top = struct.unpack_from(">4I", data, at + 8)
    box = data.find(b"ihdr", 0, at)
    height, width = struct.unpack_from(">II", data, box + 4) if box >= 0 else (0, 0)
    return ImageSize(max(right - left, width), max(bottom - top, height))


def _heif(data: bytes) -> ImageSize:
    """Return the largest size of the images in a HEIC or AVIF file."""
    found = _ISPE.findall(data, 0, _SEARCHED)
    sizes = [[int.from_bytes(one, "big") for one in pair] for pair in found]
    return ImageSize(*max(sizes, key=lambda size: size[0] * size[1]))


def _icon(data: bytes) -> ImageSize:
    """Return the largest size of the images in an icon, each a PNG or a BMP without its start."""
    (count,) = struct.unpack_from("<H", data, 4)
    sizes = []
    for number in range(count):
        (at,) = struct.unpack_from("<I", data, 6 + 16 * number + 12)
        inner = data[at : at + 32]
        if inner.startswith(_PNG):
            sizes.append(_png(inner))
        else:  # its rows are followed by as many of a mask
            width, height, _ = _bmp(inner, 0)
            sizes.append(ImageSize(width, -(-height // 2)))
    return max(sizes, key=lambda size: size.pixels)


def _ppm(data: bytes) -> ImageSize:
    header = _PPM.match(data)
    if header is None:
        raise ValueError("no size")
    return ImageSize(int(header[1]), int(header[2]))


def _starts(*signatures: bytes) -> Callable[[bytes], bool]:
    return lambda data: data.startswith(signatures)


_FORMATS: tuple[tuple[Callable[[bytes], bool], Callable[[bytes], ImageSize]], ...] = (
    (_starts(b"\xff\xd8\xff"), _jpeg),
    (_starts(_PNG), _png),
    (_starts(b"GIF8"), _gif),
    (_starts(b"BM"), _bmp),
    (lambda data: data[:4] == b"RIFF" and data[8:12] == b"WEBP", _webp),
    (tiff.is_tiff, _tiff),
    (_starts(b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP  "), _jpeg2000),
    (lambda data: data[4:8] == b"ftyp", _heif),
    (_starts(b"\0\0\1\0"), _icon),
    (lambda data: _PPM.match(data) is not None, _ppm),
    (lambda data: int.from_bytes(data[:4], "little") in DIB_HEADERS, lambda data: _bmp(data, 0)),
)
