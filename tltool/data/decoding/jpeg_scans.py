"""Counts the scans of a JPEG, each of which makes a decoder visit every block of the image."""

from __future__ import annotations

import re
import struct

from tltool.data.decoding.rare_formats import jpeg_frame

MAX_SCANS = 500
"""Usual programs write 10, or 18 for CMYK; libjpeg-turbo's own tests stop at 500."""

_MAX_SEGMENTS = 20_000
# FF 00 is data, FF 01 and FF D0 to D7 have no meaning between two segments
_MARKER = re.compile(rb"\xff([\x02-\xcf\xd8-\xfe])")
_START_OF_IMAGE, _END_OF_IMAGE, _SCAN = 0xD8, 0xD9, 0xDA
_SEQUENTIAL = {0xC0, 0xC1, 0xC9}
_FRAMES = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}


def jpeg_size(data: bytes) -> tuple[int, int]:
    """Return width and height in the frame header of a JPEG, in pixels.

    Raises:
        ValueError: it has none, or is truncated before it.
    """
    at = 2
    for _ in range(_MAX_SEGMENTS):
        found = _MARKER.search(data, at)
        if found is None or len(data) < found.end() + 7:
            break
        at = found.end()
        if found[1][0] in _FRAMES:
            height, width = struct.unpack_from(">HH", data, at + 3)
            return width, height
        at += max(int.from_bytes(data[at : at + 2], "big"), 2)
    raise ValueError("no frame header")


def count_scans(data: bytes) -> int:
    """Return the number of scans of a JPEG, at most ``MAX_SCANS`` + 1.

    Like libjpeg, it searches the next marker after every segment, also inside compressed data, and
    stops at the end of the image. A file with more segments than any program writes has
    ``MAX_SCANS`` + 1.

    Args:
        data: the bytes of a file that starts with FF D8.

    Reference:
        ITU-T T.81, B.1.1 and B.2.

    Examples:
        >>> count_scans(Path("progressive.jpg").read_bytes())
        10
    """
    at, scans, interleaved = 2, 0, _may_be_interleaved(data)
    for _ in range(_MAX_SEGMENTS):
        found = _MARKER.search(data, at)
        if found is None or found[1][0] in (_START_OF_IMAGE, _END_OF_IMAGE):
            return scans
        at = found.end()
        if found[1][0] == _SCAN:
            scans += 1
            if scans > MAX_SCANS or (interleaved and data[at + 2 : at + 3] == interleaved):
                return scans
        at += max(int.from_bytes(data[at : at + 2], "big"), 2)
    return MAX_SCANS + 1


def _may_be_interleaved(data: bytes) -> bytes:
    """Return the number of channels of a sequential JPEG as one byte, empty for other ones.

    If its first scan has all channels, libjpeg reads no other scan.
    """
    frame = jpeg_frame(data)
    return bytes([frame.channels]) if frame is not None and frame.marker in _SEQUENTIAL else b""
