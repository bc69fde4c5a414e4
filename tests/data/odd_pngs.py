"""PNG files of every colour type, depth and interlacing, generated, with the pixels that they hold.

Reference:
    W3C, "Portable Network Graphics (PNG) Specification", third edition.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from tests.data.odd_images import Odd, chunk

_GREY, _RGB, _PALETTE, _GREY_ALPHA, _RGB_ALPHA = 0, 2, 3, 4, 6
_DEPTHS = {
    _GREY: (1, 2, 4, 8, 16),
    _RGB: (8, 16),
    _PALETTE: (1, 2, 4, 8),
    _GREY_ALPHA: (8, 16),
    _RGB_ALPHA: (8, 16),
}
_CHANNELS = {_GREY: 1, _RGB: 3, _PALETTE: 1, _GREY_ALPHA: 2, _RGB_ALPHA: 4}
# The seven passes of Adam7: first column, first row, and the steps of both.
_PASSES = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2)]
_PASSES.append((0, 1, 1, 2))


def pngs() -> Iterator[Odd]:
    """Yield a PNG of each kind, opaque and with transparent colours."""
    rng = np.random.default_rng(0)
    for kind, depths in _DEPTHS.items():
        for depth in depths:
            levels = rng.integers(0, 2**depth, (13, 21, _CHANNELS[kind]))
            for transparent in (False, True) if kind in (_GREY, _RGB, _PALETTE) else (False,):
                extra, pixels = _shown(kind, depth, levels, transparent=transparent)
                for interlaced in (False, True):
                    data = _png(kind, depth, levels, extra, interlaced=interlaced)
                    name = f"png type {kind} {depth} bits"
                    name += f"{' transparent' * transparent}{' interlaced' * interlaced}"
                    yield Odd(name, data, pixels, 2)


def _png(
    kind: int, depth: int, levels: NDArray[np.int64], extra: bytes, *, interlaced: bool
) -> bytes:
    height, width = levels.shape[:2]
    passes = _PASSES if interlaced else [(0, 0, 1, 1)]
    parts = [levels[top::down, left::right] for left, top, right, down in passes]
    rows = b"".join(_rows(part, depth) for part in parts)
    header = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, interlaced)
    chunks = chunk(b"IHDR", header) + extra + chunk(b"IDAT", zlib.compress(rows))
    return b"\x89PNG\r\n\x1a\n" + chunks + chunk(b"IEND", b"")


def _rows(levels: NDArray[np.int64], depth: int) -> bytes:
    """Return the rows of an image, each after the number of its filter, which is 0."""
    flat = levels.reshape(len(levels), -1)
    if depth == 16:
        return b"".join(b"\0" + row.astype(">u2").tobytes() for row in flat)
    bits = (flat[..., np.newaxis] >> np.arange(depth - 1, -1, -1)) & 1
    packed = np.packbits(bits.reshape(len(flat), -1).astype(np.uint8), axis=1)
    return b"".join(b"\0" + row.tobytes() for row in packed)


def _shown(
    kind: int, depth: int, levels: NDArray[np.int64], *, transparent: bool
) -> tuple[bytes, NDArray[np.float64]]:
    """Return the chunks of colours, and the image over white."""
    top = 2**depth - 1
    if kind == _PALETTE:
        return _shown_palette(top + 1, levels[..., 0], transparent=transparent)
    colours = 1 if kind in (_GREY, _GREY_ALPHA) else 3
    shown = np.repeat(levels[..., :colours] / top * 255, 3 // colours, -1)
    alpha = levels[..., colours:] / top if kind in (_GREY_ALPHA, _RGB_ALPHA) else np.ones(1)
    if not transparent:
        return b"", shown * alpha + 255 * (1 - alpha)
    key = levels[3, 4]
    shown[(levels == key).all(-1)] = 255
    return chunk(b"tRNS", key.astype(">u2").tobytes()), shown


def _shown_palette(
    count: int, levels: NDArray[np.int64], *, transparent: bool
) -> tuple[bytes, NDArray[np.float64]]:
    rng = np.random.default_rng(count)
    palette = rng.integers(0, 256, (count, 3)).astype(np.uint8)
    alpha = np.full((count, 1), 255, np.uint8)
    alpha[: count // 2] = rng.integers(0, 256, (count // 2, 1)) if transparent else 255
    extra = chunk(b"PLTE", palette.tobytes())
    if transparent:
        extra += chunk(b"tRNS", alpha[: count // 2].tobytes())
    opacity = alpha[levels] / 255
    return extra, palette[levels] * opacity + 255 * (1 - opacity)
