"""Parses the blocks of a GIF file, without decoding its pixels."""

from __future__ import annotations

_TRAILER = b";"
_EXTENSION, _IMAGE = 0x21, 0x2C


def first_frame(data: bytes) -> bytes:
    """Return a GIF cut after its first frame; bytes of other formats unchanged.

    TensorFlow's decoder uses the first frame, but reads all of them into memory.

    Args:
        data: the bytes of a file.

    Reference:
        CompuServe, "Graphics Interchange Format, version 89a", 1990.
    """
    if data[:4] != b"GIF8":
        return data
    try:
        end = _end_of_first_frame(data)
    except IndexError:  # truncated: the decoder raises the error
        return data
    return data if end is None else data[:end] + _TRAILER


def is_truncated(data: bytes) -> bool:
    """Return whether a GIF ends inside a block; a missing trailer alone is accepted."""
    try:
        at = 13 + _palette(data[10])
        while at < len(data) and data[at] in (_EXTENSION, _IMAGE):
            if data[at] == _IMAGE:
                at += 9 + _palette(data[at + 9])
            at = _end_of_chunks(data, at + 2)
    except IndexError:
        return True
    return at > len(data)


def has_colour_table(data: bytes) -> bool:
    """Return whether the first frame of a GIF has colours, its own or those of the file.

    True if the file ends before that frame.
    """
    try:
        at = 13 + _palette(data[10])
        while data[at] == _EXTENSION:
            at = _end_of_chunks(data, at + 2)
        return data[10] >= 128 or data[at] != _IMAGE or data[at + 9] >= 128
    except IndexError:
        return True


def _end_of_first_frame(data: bytes) -> int | None:
    """Return where the first frame ends; None if the file is corrupted before it.

    Raises:
        IndexError: the file ends too early.
    """
    at = 13 + _palette(data[10])
    while data[at] == _EXTENSION:
        at = _end_of_chunks(data, at + 2)
    if data[at] != _IMAGE:
        return None
    return _end_of_chunks(data, at + 10 + _palette(data[at + 9]) + 1)


def _palette(flags: int) -> int:
    """Return the size in bytes of the colour table described by a byte of flags."""
    return 3 * 2 ** (flags % 8 + 1) if flags >= 128 else 0


def _end_of_chunks(data: bytes, at: int) -> int:
    """Return where a sequence of chunks ends; each starts with its length, the last is empty."""
    while data[at]:
        at += 1 + data[at]
    return at + 1
