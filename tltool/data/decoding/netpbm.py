"""Decodes PBM, PGM and PPM with NumPy: Pillow takes ten seconds for 32 MB of their texts.

Reference:
    https://netpbm.sourceforge.net/doc/ppm.html, and pgm.html and pbm.html beside it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
from PIL import Image

_SPACE = rb"(?:\s|#[^\r\n]*[\r\n])"
_HEADER = re.compile(
    rb"P(?:([14])" + (_SPACE + rb"+(\d{1,9})") * 2 + rb"|"
    rb"([2356])" + (_SPACE + rb"+(\d{1,9})") * 2 + _SPACE + rb"+(\d{1,5}))\s"
)  # fmt: skip
_COMMENT = re.compile(rb"#[^\r\n]*")
_SPACES = b" \t\n\r\v\f"
_LONG_NUMBER = re.compile(rb"\d{11}")
_BLOCK = 2**20  # bytes of text; the interpreter does nothing else while NumPy reads a block


def read_netpbm(data: bytes) -> Image.Image:
    """Decode a PBM, PGM or PPM, raw or as text, with values of any range.

    Args:
        data: the bytes of a file; the size in its header has been checked.

    Returns:
        L or RGB of 8 bits, or grey of 16 bits if its largest value is above 255; the largest value
        is white.

    Raises:
        ValueError: it is damaged or truncated.
    """
    header = _HEADER.match(data)
    if header is None:
        raise ValueError("its header is damaged")
    kind = int(header[1] or header[4])
    width, height = int(header[2] or header[5]), int(header[3] or header[6])
    top = int(header[7] or 1)
    if not 0 < top < 2**16:
        raise ValueError(f"its largest value is {top}")
    channels = 3 if kind in (3, 6) else 1
    body = memoryview(data)[header.end() :]
    if kind == 4:
        stored = _bits(body, width, height)
    else:
        count = width * height * channels
        stored = _text(bytes(body), count, kind, top) if kind < 4 else _raw(body, count, top)
    if kind in (1, 4):
        stored = 1 - stored  # 1 is black
    full = 65535 if top > 255 and channels == 1 else 255
    values = np.rint(np.arange(top + 1) / top * full).astype(np.uint16 if full > 255 else np.uint8)
    shape = (height, width, 3) if channels == 3 else (height, width)
    return Image.fromarray(values[np.minimum(stored, top)].reshape(shape))


def _raw(body: memoryview, count: int, top: int) -> np.ndarray:
    kind = np.dtype(np.uint8 if top < 256 else ">u2")
    return np.frombuffer(_enough(body, count * kind.itemsize), kind)


def _bits(body: memoryview, width: int, height: int) -> np.ndarray:
    row = -(-width // 8)
    packed = np.frombuffer(_enough(body, row * height), np.uint8).reshape(height, row)
    return np.unpackbits(packed, axis=1, count=width)


def _enough(body: memoryview, size: int) -> memoryview:
    if len(body) < size:
        raise ValueError("not enough image data")
    return body[:size]


def _text(body: bytes, count: int, kind: int, top: int) -> np.ndarray:
    """Return the first ``count`` numbers of a text, at most ``top``."""
    if b"#" in body:
        body = _COMMENT.sub(b" ", body)
    stored = np.empty(count, np.uint16)
    filled = 0
    for block in _blocks(body):
        numbers = _digits(block) if kind == 1 else _numbers(block)
        numbers = numbers[: count - filled]
        if len(numbers) and numbers.max() > top:
            raise ValueError("a value is too large")
        stored[filled : filled + len(numbers)] = numbers
        filled += len(numbers)
        if filled == count:
            return stored
    raise ValueError("not enough image data")


def _blocks(body: bytes) -> Iterator[bytes]:
    """Yield parts of a text that end between two numbers."""
    begin = 0
    while begin < len(body):
        end = begin + _BLOCK
        while end < len(body) and body[end] not in _SPACES and end - begin < _BLOCK + 20:
            end += 1
        yield body[begin:end]
        begin = end


def _digits(block: bytes) -> np.ndarray:
    """Return the bits of a PBM, which need no spaces between them."""
    digits = np.frombuffer(block.translate(None, _SPACES), np.uint8) - ord("0")
    if len(digits) and digits.max() > 1:
        raise ValueError("a character is neither 0 nor 1")
    return digits


def _numbers(block: bytes) -> np.ndarray:
    if block.translate(None, _SPACES + b"0123456789") or _LONG_NUMBER.search(block):
        raise ValueError("its text contains something other than numbers")
    return np.fromstring(block, np.int64, sep=" ") if block.strip() else np.empty(0, np.int64)
