"""Bounds the time and the memory that decoding one image takes, before it is decoded."""

from __future__ import annotations

import io
import struct

from tltool.data.decoding.gif import first_frame
from tltool.data.decoding.image_size import DIB_HEADERS, ImageSize, read_size
from tltool.data.decoding.jpeg_scans import MAX_SCANS
from tltool.data.decoding.unreadable import unreadable
from tltool.errors import DataError

FULL_SCANS = 18
"""Scans that an image with as many pixels as allowed may have: those of a progressive CMYK JPEG."""

_LARGE = 2**24  # bytes
_RUN_LENGTH_BYTES, _RUN_LENGTH_PIXELS = 2**22, 2**24  # of a BMP, which Pillow decodes in Python
_RUN_LENGTH = (1, 2)  # compressions of a BMP
_PER_PIXEL = 8  # bytes, with transparency
_PNG = b"\x89PNG\r\n\x1a\n"
_TEXTS = (b"zTXt", b"iTXt")


def check_size(data: bytes, *, name: str, max_pixels: int) -> ImageSize:
    """Return the size of an image that can be decoded in bounded time and memory.

    Args:
        data: the bytes of a file.
        name: the file's name, for the error.
        max_pixels: of an image.

    Raises:
        DataError: it has too many pixels, too many scans for its pixels, or takes too long.
        ImageError: its size is unknown, because it is damaged or of another type.
    """
    size = read_size(data)
    if size is None:
        raise unreadable(io.BytesIO(data), name)
    if size.pixels > max_pixels:
        raise DataError(
            f"{name} has too many pixels to decode: {size.width} x {size.height}, more than "
            f"{max_pixels:,}"
        )
    if size.scans > MAX_SCANS or size.scans * size.pixels > FULL_SCANS * max_pixels:
        scans = f"more than {MAX_SCANS}" if size.scans > MAX_SCANS else str(size.scans)
        raise DataError(
            f"{name} takes too long to decode: a progressive JPEG of {size.width} x {size.height} "
            f"pixels in {scans} scans",
            hint="save it again as a usual JPEG",
        )
    if _has_run_lengths(data) and (
        len(data) > _RUN_LENGTH_BYTES or size.pixels > _RUN_LENGTH_PIXELS
    ):
        raise DataError(
            f"{name} takes too long to decode: a BMP with run-length compression of {size.width} x "
            f"{size.height} pixels in {len(data):,} bytes",
            hint="save it again as PNG",
        )
    return size


def _has_run_lengths(data: bytes) -> bool:
    """Return whether an image is a BMP with run-length compression, with or without file header."""
    start = 14 if data[:2] == b"BM" else 0
    if start == 0 and int.from_bytes(data[:4], "little") not in DIB_HEADERS:
        return False
    return int.from_bytes(data[start + 16 : start + 20], "little") in _RUN_LENGTH


def decoded_bytes(data: bytes) -> int:
    """Return how many bytes decoding a large image takes; 0 for smaller ones and unknown formats.

    A JPEG is decoded at a reduced size, row by row; of a progressive one all coefficients are kept.
    """
    size = read_size(data)
    if size is None:
        return 0
    is_jpeg = data[:2] == b"\xff\xd8"
    per_pixel = _PER_PIXEL if not is_jpeg else 3 if size.scans == 1 else 9
    needed = size.pixels * per_pixel
    return needed if needed > _LARGE else 0


def without_unused_parts(data: bytes) -> bytes:
    """Return an image without the parts that a decoder reads into memory, but does not show.

    Of a GIF only the first frame is kept, and of a PNG no compressed texts: 8 KB of them can
    become 8 MB. Bytes without such parts are returned as they are.

    Reference:
        ISO/IEC 15948 (PNG), 11.3.3.
    """
    if data[:4] == b"GIF8":
        first = first_frame(data)
        return data if len(first) >= len(data) else first
    if data.startswith(_PNG) and any(text in data for text in _TEXTS):
        return _without_texts(data)
    return data


def _without_texts(data: bytes) -> bytes:
    kept, begin, at = [], 0, len(_PNG)
    while at + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        end = at + 12 + length
        if kind in _TEXTS:
            kept.append(data[begin:at])
            begin = end
        at = end
    return b"".join([*kept, data[begin:]]) if kept else data
