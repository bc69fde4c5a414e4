"""The blocks of a GIF file, without its pixels."""

from __future__ import annotations

_TRAILER = b";"
_EXTENSION, _IMAGE = 0x21, 0x2C


def first_frame(data: bytes) -> bytes:
    """Return a GIF without what follows its first frame; other bytes as they are.

    TensorFlow's decoder shows the first frame and reads all of them into memory before.

    Args:
        data: the bytes of a file.

    Reference:
        CompuServe, "Graphics Interchange Format, version 89a", 1990.
    """
    if data[:4] != b"GIF8":
        return data
    try:
        end = _end_of_first_frame(data)
    except IndexError:  # truncated: the decoder will say so
        return data
    return data if end is None else data[:end] + _TRAILER


def breaks_off(data: bytes) -> bool:
    """Tell whether a GIF ends within a frame or another block; one without a trailer is whole."""
    try:
        at = 13 + _palette(data[10])
        while at < len(data) and data[at] in (_EXTENSION, _IMAGE):
            if data[at] == _IMAGE:
                at += 9 + _palette(data[at + 9])
            at = _after_chunks(data, at + 2)
    except IndexError:
        return True
    return at > len(data)


def _end_of_first_frame(data: bytes) -> int | None:
    """Return where the first frame ends; None where the file is damaged before it.

    Raises:
        IndexError: the file ends too early.
    """
    at = 13 + _palette(data[10])
    while data[at] == _EXTENSION:
        at = _after_chunks(data, at + 2)
    if data[at] != _IMAGE:
        return None
    return _after_chunks(data, at + 10 + _palette(data[at + 9]) + 1)


def _palette(flags: int) -> int:
    """Return the bytes of the colour table that a byte of flags announces."""
    return 3 * 2 ** (flags % 8 + 1) if flags >= 128 else 0


def _after_chunks(data: bytes, at: int) -> int:
    """Return where a row of chunks ends, each with its length before it, the last one empty."""
    while data[at]:
        at += 1 + data[at]
    return at + 1
