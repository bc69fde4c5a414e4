"""Small image files that take a decoder long, or much memory, or claim to."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from functools import cache

from PIL import Image

SIGNATURE = b"\x89PNG\r\n\x1a\n"
MEBIBYTE = 2**20


def chunk(kind: bytes, data: bytes = b"") -> bytes:
    """Return a chunk of a PNG."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(
    width: int,
    height: int,
    *,
    depth: int = 8,
    colour: int = 2,
    interlaced: bool = False,
    before: bytes = b"",
    behind: bytes = b"",
) -> bytes:
    """Return a PNG of one colour; ``before`` and ``behind`` are chunks beside its pixels."""
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    packer, parts = zlib.compressobj(9), []
    line = b"\0" + b"\x80" * (-(-width * channels * depth // 8))
    for _ in range(0 if interlaced else height):
        parts.append(packer.compress(line))
    if interlaced:  # seven passes; their lines are shorter, and all bytes are zero
        parts.append(packer.compress(bytes(2 * width * height * channels * depth // 8)))
    parts.append(packer.flush())
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, int(interlaced))
    palette = chunk(b"PLTE", bytes(768)) if colour == 3 else b""
    body = before + palette + chunk(b"IDAT", b"".join(parts)) + behind
    return SIGNATURE + chunk(b"IHDR", header) + body + chunk(b"IEND")


def claimed_png(width: int, height: int) -> bytes:
    """Return a PNG of a few bytes that claims a size."""
    header = struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
    return SIGNATURE + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND")


def compressed_text(size: int, kind: bytes = b"zTXt") -> bytes:
    """Return a chunk with a text that takes ``size`` bytes in memory."""
    start = b"a\0\0" if kind == b"zTXt" else b"a\0\1\0\0\0"
    return chunk(kind, start + zlib.compress(b"a" * size, 9))


def saved(kind: str, size: tuple[int, int], mode: str = "RGB", **options: object) -> bytes:
    """Return a grey image that Pillow has written."""
    buffer = io.BytesIO()
    Image.new(mode, size, 0 if mode in ("L", "P") else (128, 90, 60, 128)[: len(mode)]).save(
        buffer, kind, **options
    )
    return buffer.getvalue()


def scans(
    count: int, size: tuple[int, int], *, progressive: bool = True, rest: bytes = b""
) -> bytes:
    """Return a JPEG with ``count`` empty scans more than a usual one."""
    data = saved("JPEG", size, "RGB", progressive=progressive)
    spectrum = b"\x01\x3f\x00" if progressive else b"\x00\x3f\x00"
    empty = b"\xff\xda\x00\x08\x01\x01\x00" + spectrum
    return data[:-2] + empty * count + rest + b"\xff\xd9"


def gif(frames: int, size: tuple[int, int]) -> bytes:
    """Return a GIF whose frames are all the same."""
    one = saved("GIF", size, "P")
    start = one.index(b"\x2c\0\0\0\0")
    return one[:start] + one[start:-1] * frames + b";"


def bmp_claim(width: int, height: int, *, bits: int = 24, compression: int = 0) -> bytes:
    """Return a BMP without pixels."""
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, compression, 0, 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 54, 0, 0, 54) + header


def tiff_claim(width: int, height: int, *, compression: int = 8) -> bytes:
    """Return a TIFF whose only strip has a few bytes."""
    pixels = zlib.compress(bytes(1000))
    tags = [
        (256, 4, width), (257, 4, height), (258, 3, 8), (259, 3, compression), (262, 3, 1),
        (273, 4, 8), (277, 3, 1), (278, 4, height), (279, 4, len(pixels)),
    ]  # fmt: skip
    entries = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags)
    head = b"II*\0" + struct.pack("<I", 8 + len(pixels))
    return head + pixels + struct.pack("<H", len(tags)) + entries + bytes(4)


def icon(width: int, height: int) -> bytes:
    """Return an icon that claims 16 x 16 pixels and holds a large PNG."""
    inner = png(width, height, colour=6)
    return b"\0\0\1\0\1\0" + struct.pack("<BBBBHHII", 16, 16, 0, 0, 1, 32, len(inner), 22) + inner


def heif_claim(width: int, height: int, brand: bytes) -> bytes:
    """Return the start of a HEIC or AVIF file that claims a size."""
    size = b"ispe\0\0\0\0" + struct.pack(">II", width, height)
    return struct.pack(">I", 20) + b"ftyp" + brand + bytes(4) + brand + b"\0\0\0\x14" + size


def jpeg2000_claim(width: int, height: int) -> bytes:
    """Return the start of a JPEG 2000 codestream."""
    size = struct.pack(">HHIIIIIIIIH", 41, 0, width, height, 0, 0, width, height, 0, 0, 1)
    return b"\xff\x4f\xff\x51" + size + b"\7\1\1" + b"\xff\xd9"


def webp_claim(kind: bytes, body: bytes) -> bytes:
    """Return a WebP with one chunk."""
    return (
        b"RIFF"
        + struct.pack("<I", len(body) + 12)
        + b"WEBP"
        + kind
        + struct.pack("<I", len(body))
        + body
    )


Build = Callable[[], bytes]
SIDE = (7950, 8050)  # just below 64 megapixels

LARGE: dict[str, Build] = {
    "png rgba, 64 megapixels": lambda: png(*SIDE, colour=6),
    "png rgba of 16 bits, 64 megapixels": lambda: png(*SIDE, colour=6, depth=16),
    "png rgb with 16 bits, 64 megapixels": lambda: png(*SIDE, depth=16),
    "png grey and alpha, 64 megapixels": lambda: png(*SIDE, colour=4),
    "png interlaced, 30 megapixels": lambda: png(5500, 5500, interlaced=True),
    "jpeg progressive, 64 megapixels": lambda: saved("JPEG", SIDE, progressive=True),
    "jpeg of 17 more scans, 49 megapixels": lambda: scans(7, (7000, 7000)),
    "gif of one frame, 64 megapixels": lambda: saved("GIF", SIDE, "P"),
    "gif of 40 frames of 16 megapixels": lambda: gif(40, (4000, 4000)),
    "bmp of 8 bits, 30 megapixels": lambda: saved("BMP", (5500, 5500), "L"),
    "tiff deflate, 64 megapixels": lambda: saved(
        "TIFF", SIDE, "L", compression="tiff_adobe_deflate"
    ),
    "tiff deflate rgba, 40 megapixels": lambda: saved(
        "TIFF", (6300, 6300), "RGBA", compression="tiff_adobe_deflate"
    ),
    "webp lossless, 16 megapixels": lambda: saved("WEBP", (4000, 4000), lossless=True, method=0),
    "icon with a png of 36 megapixels": lambda: icon(6000, 6000),
    "pgm of 16 megapixels, as text": lambda: b"P2 4000 4000 255\n" + b"9 " * 16_000_000,
    "pbm of 30 megapixels, as text": lambda: b"P1 5500 5500\n" + b"0" * 5500**2,
    "pgm of 7 bits, 30 megapixels": lambda: b"P5 5500 5500 127\n" + b"9" * 5500**2,
    "bmp with run lengths in 4 MB": lambda: (
        bmp_claim(2000, 1000, bits=8, compression=1) + bytes(1024) + b"\1\2" * 2_000_000
    ),
}
"""Within the limit of pixels: decoded, in bounded time and memory."""

REFUSED: dict[str, Build] = {
    "png 65 megapixels": lambda: claimed_png(8000, 8200),
    "png 400 megapixels": lambda: claimed_png(20_000, 20_000),
    "png 2^31 x 2^31": lambda: claimed_png(2**31 - 1, 2**31 - 1),
    "png 2^32 - 1 wide": lambda: claimed_png(2**32 - 1, 1),
    "png of no size": lambda: claimed_png(0, 0),
    "png 400 megapixels behind an 80 MB text": lambda: (
        SIGNATURE
        + chunk(b"IHDR", struct.pack(">IIBBBBB", 20_000, 20_000, 8, 6, 0, 0, 0))
        + compressed_text(80 * MEBIBYTE)
        + chunk(b"IDAT")
        + chunk(b"IEND")
    ),
    "png with its text before the header": lambda: (
        SIGNATURE + compressed_text(80 * MEBIBYTE) + png(20, 20)[8:]
    ),
    "png cut inside its header": lambda: claimed_png(8000, 8200)[:20],
    "jpeg of 100 scans, 20 megapixels": lambda: scans(100, (5000, 4000)),
    "jpeg of 501 scans": lambda: scans(500, (64, 64)),
    "jpeg of 2,000 scans": lambda: scans(2000, (2000, 2000)),
    "jpeg of 24,000 scans": lambda: scans(24_000, (1000, 1000)),
    "jpeg of 3,000,000 scans": lambda: scans(3_000_000, (16, 16)),
    "jpeg scans behind fill bytes": lambda: scans(
        0, (1000, 1000), rest=(b"\xff" * 9 + b"\xda\0\x08\1\1\0\1\x3f\0") * 600
    ),
    "jpeg scans behind comments": lambda: scans(
        0, (1000, 1000), rest=(b"\xff\xfe\0\2\xff\xda\0\x08\1\1\0\1\x3f\0") * 600
    ),
    "jpeg scans behind rubbish": lambda: scans(
        0, (1000, 1000), rest=(b"abc\xff\0\xff\xda\0\x08\1\1\0\1\x3f\0") * 600
    ),
    "jpeg 65535 x 65535": lambda: saved("JPEG", (64, 64)).replace(
        struct.pack(">HH", 64, 64), struct.pack(">HH", 65535, 65535)
    ),
    "jpeg without a frame": lambda: b"\xff\xd8\xff\xe0\0\x10JFIF" + bytes(11) + b"\xff\xd9",
    "jpeg of fill bytes": lambda: b"\xff\xd8" + b"\xff" * (8 * MEBIBYTE),
    "jpeg of empty segments": lambda: b"\xff\xd8" + b"\xff\xfe\0\2" * (2 * MEBIBYTE),
    "gif 65535 x 65535": lambda: gif(1, (16, 16)).replace(
        struct.pack("<HH", 16, 16), struct.pack("<HH", 65535, 65535)
    ),
    "gif with a frame larger than its screen": lambda: b"\x2c\0\0\0\0".join(
        [
            (whole := gif(1, (16, 16))).partition(b"\x2c\0\0\0\0")[0],
            struct.pack("<HH", 65535, 65535) + whole.partition(b"\x2c\0\0\0\0")[2][4:],
        ]
    ),
    "gif of extensions only": lambda: b"GIF89a\1\0\1\0\0\0\0" + b"\x21\xfe\1a\0" * MEBIBYTE,
    "bmp 30,000 x 30,000": lambda: bmp_claim(30_000, 30_000),
    "bmp 2^31 - 1 pixels wide": lambda: bmp_claim(2**31 - 1, 1),
    "bmp from the top, 2^31 high": lambda: bmp_claim(4, -(2**31)),
    "bmp of negative width": lambda: bmp_claim(-30_000, 30_000),
    "bmp with run lengths, 30,000 x 30,000": lambda: bmp_claim(
        30_000, 30_000, bits=8, compression=1
    ),
    "bmp with run lengths in 16 MB": lambda: (
        bmp_claim(2800, 2800, bits=8, compression=1) + b"\1\2" * (8 * MEBIBYTE)
    ),
    "bmp with run lengths, empty rows": lambda: (
        bmp_claim(8000, 7900, bits=8, compression=1) + b"\1\1\0\0" * 7900
    ),
    "tiff 60,000 x 60,000": lambda: tiff_claim(60_000, 60_000),
    "tiff 2^32 - 1 wide": lambda: tiff_claim(2**32 - 1, 1),
    "tiff without a size": lambda: b"II*\0\x08\0\0\0\0\0" + bytes(4),
    "webp 16384 x 16384, extended": lambda: webp_claim(b"VP8X", bytes(4) + b"\xff\x3f\0" * 2),
    "webp 2^24 x 2^24, extended": lambda: webp_claim(b"VP8X", bytes(4) + b"\xff" * 6),
    "webp 16384 x 16384, lossless": lambda: webp_claim(b"VP8L", b"\x2f\xff\xff\xff\x0f"),
    "webp 16383 x 16383, lossy": lambda: webp_claim(b"VP8 ", b"\0\0\0\x9d\1\x2a\xff\x3f\xff\x3f"),
    "webp of no pixels": lambda: webp_claim(b"ICCP", bytes(9)),
    "jpeg 2000 60,000 x 60,000": lambda: jpeg2000_claim(60_000, 60_000),
    "jpeg 2000 of negative size": lambda: jpeg2000_claim(0, 0),
    "heic 30,000 x 30,000": lambda: heif_claim(30_000, 30_000, b"heic"),
    "avif 30,000 x 30,000": lambda: heif_claim(30_000, 30_000, b"avif"),
    "avif without a size": lambda: b"\0\0\0\x14ftypavif" + bytes(8),
    "icon with a png of 100 megapixels": lambda: icon(10_000, 10_000),
    "icon of 65,535 images": lambda: b"\0\0\1\0\xff\xff" + b"\x10\x10\0\0\1\0\x20\0" * 2,
    "ppm 40,000 x 40,000": lambda: b"P6 40000 40000 255\n",
    "ppm of 10^9 pixels, as text": lambda: b"P3 # a\n 1000000 1000 255\n1 1 1",
    "ppm of numbers without an end": lambda: b"P6 " + b"9" * MEBIBYTE,
    "dib 30,000 x 30,000": lambda: bmp_claim(30_000, 30_000)[14:],
    "a million letters": lambda: b"A" * MEBIBYTE,
    "zeros": lambda: bytes(MEBIBYTE),
}
"""Refused by their header, without decoding."""

SMALL: dict[str, Build] = {
    "png with an 80 MB text": lambda: png(20, 20, before=compressed_text(80 * MEBIBYTE)),
    "png with 500 texts of 7 MB": lambda: png(20, 20, before=compressed_text(7 * MEBIBYTE) * 500),
    "png with 500 texts of 7 MB behind its pixels": lambda: png(
        20, 20, behind=compressed_text(7 * MEBIBYTE) * 500
    ),
    "png with 500 international texts of 7 MB": lambda: png(
        20, 20, before=compressed_text(7 * MEBIBYTE, b"iTXt") * 500
    ),
    "png with a colour profile of 80 MB": lambda: png(
        20, 20, before=chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(80 * MEBIBYTE), 9))
    ),
    "png of a million empty chunks": lambda: png(20, 20, before=chunk(b"teXt") * MEBIBYTE),
    "gif of 100,000 frames": lambda: gif(100_000, (16, 16)),
    "png of one row": lambda: png(60_000_000, 1, colour=0),
    "png of one column": lambda: png(1, 6_000_000, colour=0),
    "jpeg with scans behind its end": lambda: saved("JPEG", (64, 64)) + scans(600, (64, 64)),
}
"""Few pixels, and much beside them: decoded or refused."""


@cache
def photo() -> bytes:
    """Return an ordinary image."""
    return saved("PNG", (64, 48))
