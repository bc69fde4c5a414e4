"""Intact image files of rare kinds that cannot be decoded, generated."""

from __future__ import annotations

import struct
from collections.abc import Callable

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from tests.data.odd_images import chunk, jpeg2000
from tests.data.odd_tiffs import write_tiff
from tests.data.samples import encode, see_through, tiles


def _floats(kind: str) -> bytes:
    return write_tiff(np.linspace(0, 1, 640).reshape(16, 40).astype(kind))


def _levels(kind: str, channels: int = 1) -> NDArray[np.number]:
    levels = np.arange(16 * 40 * channels).reshape(16, 40, channels).astype(kind)
    return levels if channels > 1 else levels[..., 0]


def _two_channels() -> bytes:
    data = bytearray(encode(tiles(), "JPEG", subsampling=0))
    at = data.index(b"\xff\xc0")
    del data[at + 13 : at + 16]  # the third channel
    struct.pack_into(">H", data, at + 2, 14)
    data[at + 9] = 2
    return bytes(data)


def _without_height() -> bytes:
    data = bytearray(encode(tiles(), "JPEG"))
    struct.pack_into(">H", data, data.index(b"\xff\xc0") + 5, 0)
    return bytes(data)


def _jpeg_in_bmp() -> bytes:
    data = bytearray(encode(tiles(), "BMP"))
    struct.pack_into("<I", data, 30, 4)
    return bytes(data)


def _gif_without_colours() -> bytes:
    data = bytearray(encode(tiles().quantize(16), "GIF"))
    del data[13 : 13 + 3 * 2 ** (data[10] % 8 + 1)]
    data[10] = 0
    return bytes(data)


def _bmp_of_10_bits() -> bytes:
    pixels, masks = bytes(4 * 8), struct.pack("<III", 0x3FF00000, 0xFFC00, 0x3FF)
    header = struct.pack("<IiiHHIIiiII", 40, 4, 2, 1, 32, 3, len(pixels), 0, 0, 0, 0)
    offset = 14 + len(header) + len(masks)
    start = b"BM" + struct.pack("<IHHI", offset + len(pixels), 0, 0, offset)
    return start + header + masks + pixels


def _apple_png() -> bytes:
    data = encode(see_through(tiles()), "PNG")
    broken = data.replace(b"IDATx", b"IDATy", 1)  # its pixels have no zlib header
    return data[:8] + chunk(b"CgBI", b"\x50\0\x20\x06") + broken[8:]


def _bands(kind: str, channels: int, *, separate: bool = False, **options: object) -> bytes:
    levels = _levels(kind, channels)
    stored, order = (levels.transpose(2, 0, 1), "separate") if separate else (levels, "contig")
    return write_tiff(stored, photometric="minisblack", planarconfig=order, **options)


def _packed(compression: str) -> bytes:
    return write_tiff(_levels("u1", 3), photometric="rgb", compression=compression)


UNSUPPORTED: dict[str, tuple[Callable[[], bytes], str]] = {
    "13 bands": (lambda: _bands("u2", 13), "13 channels"),
    "13 planes": (lambda: _bands("u2", 13, separate=True), "13 channels"),
    "16-bit grey with alpha": (
        lambda: _bands("u2", 2, extrasamples=["unassalpha"]),
        "rare layout",
    ),
    "half floats": (lambda: _floats("f2"), "floating-point"),
    "floats": (lambda: _floats("f4"), "floating-point"),
    "signed bytes": (lambda: write_tiff(_levels("i1"), photometric="minisblack"), "signed"),
    "signed": (lambda: write_tiff(_levels("i2"), photometric="minisblack"), "signed"),
    "32 bits": (lambda: write_tiff(_levels("u4")), "32 bits"),
    "complex": (lambda: _floats("c8"), "complex"),
    "10 bits": (lambda: write_tiff(_levels("u2") % 1024, bitspersample=10), "10 bits"),
    "planes in tiles": (
        lambda: write_tiff(
            _levels("u2", 3).transpose(2, 0, 1),
            photometric="rgb",
            planarconfig="separate",
            tile=(16, 16),
        ),
        "separate planes",
    ),
    "LERC": (lambda: _packed("lerc"), "compression"),
    "WebP in TIFF": (lambda: _packed("webp"), "compression"),
    "12-bit JPEG": (
        lambda: bytes(imagecodecs.jpeg8_encode(_levels("u2", 3) % 4096, bitspersample=12)),
        "12 bits",
    ),
    "JPEG-LS": (lambda: bytes(imagecodecs.jpegls_encode(_levels("u1", 3))), "JPEG-LS"),
    "two-channel JPEG": (_two_channels, "2 channels"),
    "JPEG of unknown height": (_without_height, "height"),
    "16-bit colour JPEG 2000": (lambda: jpeg2000(16, 3, "jp2").data, "16 bits"),
    "JPEG in BMP": (_jpeg_in_bmp, "inside a BMP"),
    "JPEG 2000 of 5 channels": (
        lambda: bytes(imagecodecs.jpeg2k_encode(_levels("u1", 5), reversible=True, level=0)),
        "5 channels",
    ),
    "GIF without colours": (_gif_without_colours, "no colour table"),
    "BMP of 10 bits": (_bmp_of_10_bits, "bitfields"),
    "Apple's PNG": (_apple_png, "CgBI"),
    "float PGM": (lambda: b"Pf\n4 4\n-1.0\n" + bytes(64), "floating-point"),
}
"""Intact files that cannot be decoded, with a part of the reason."""
