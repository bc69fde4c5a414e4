"""Odd but intact image files, generated, with the pixels that they hold."""

from __future__ import annotations

import base64
import io
import struct
import zlib
from typing import NamedTuple

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tests.data.samples import by_pillow, encode, tiles

Pixels = NDArray[np.float64]
# Pillow cannot write JPEG with arithmetic coding; this was written by cjpeg of libjpeg-turbo.
_ARITHMETIC = (
    "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAMCAgMCAgMDAwMEAwMEBQgFBQQEBQoHBwYIDAoMDAsKCwsNDhIQDQ4R"
    "DgsLEBYQERMUFRUVDA8XGBYUGBIUFRT/yQALCAAQABABAREA/8wABgAQEAX/2gAIAQEAAD8A/wDn4Y1mM4u5JXEK"
    "GDK6kBFyX/gp/wBhcnc0YP/Z"
)


class Odd(NamedTuple):
    """A file, and what it holds: float64 [H, W, 3] in 0..255, upright, over white.

    ``pixels`` is None for a file that cannot be decoded and must be called unsupported.
    """

    name: str
    data: bytes
    pixels: Pixels | None
    tolerance: float = 1.0


def rgb(image: Image.Image) -> Pixels:
    return np.asarray(image.convert("RGB")).astype(np.float64)


def grey(levels: NDArray[np.number], top: int) -> Pixels:
    return np.repeat(levels[..., np.newaxis] / top * 255, 3, -1)


def gif_on_screen(
    screen: tuple[int, int], place: tuple[int, int], *, transparent: bool = False
) -> Odd:
    """Return a GIF of a frame of 48 x 32 pixels at ``place`` (left, top) of a screen."""
    frame = tiles(48, 32).quantize(16)
    options = {"transparency": frame.getpixel((0, 0))} if transparent else {}
    data = bytearray(encode(frame, "GIF", interlace=0, **options))
    struct.pack_into("<HH", data, 6, *screen)
    struct.pack_into("<HH", data, data.index(b"\x2c\0\0\0\0") + 1, *place)
    left, top = place
    canvas = np.full((max(screen[1], top + 32), max(screen[0], left + 48), 3), 255.0)
    drawn = rgb(frame)
    if transparent:
        drawn[np.asarray(frame) == frame.getpixel((0, 0))] = 255
    canvas[top : top + 32, left : left + 48] = drawn
    return Odd(f"gif {screen} {place}{' transparent' * transparent}", bytes(data), canvas)


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def late_orientation(chunk_size: int) -> Odd:
    """Return a PNG with its EXIF orientation behind pixels in chunks of ``chunk_size``."""
    image = tiles()
    pixels = np.asarray(image)
    packed = zlib.compress(b"".join(b"\0" + row.tobytes() for row in pixels), 0)
    parts = [packed[at : at + chunk_size] for at in range(0, len(packed), chunk_size)]
    exif = Image.Exif()
    exif[0x0112] = 6
    data = b"\x89PNG\r\n\x1a\n" + b"".join(
        [
            chunk(b"IHDR", struct.pack(">IIBBBBB", *image.size, 8, 2, 0, 0, 0)),
            *(chunk(b"IDAT", part) for part in parts),
            chunk(b"eXIf", exif.tobytes().removeprefix(b"Exif\0\0")),
            chunk(b"IEND", b""),
        ]
    )
    return Odd(f"png {len(parts)} chunks", data, rgb(image.rotate(-90, expand=True)))


def with_bytes_behind(mode: str, extra: bytes) -> Odd:
    image = tiles(33, 20).convert(mode)
    data = encode(image, "BMP") + extra
    return Odd(f"bmp {mode} and {len(extra)} bytes", data, rgb(image))


def arithmetic_jpeg() -> Odd:
    levels = np.add.outer(np.arange(16) * 8, np.arange(16) * 7)
    return Odd("jpeg arithmetic", base64.b64decode(_ARITHMETIC), grey(levels, 255), 6)


def plain_cmyk_jpeg() -> Odd:
    """Return a CMYK JPEG without Adobe's segment, which viewers show as if it had one."""
    data = encode(tiles().convert("CMYK"), "JPEG", quality=95)
    at = data.index(b"\xff\xee")
    return Odd("jpeg cmyk without marker", data[:at] + data[at + 16 :], by_pillow(data) * 1.0, 2)


def mpo() -> Odd:
    data = encode(tiles(), "MPO", save_all=True, append_images=[tiles(seed=3)], quality=100)
    return Odd("mpo", data, rgb(Image.open(io.BytesIO(data))), 2)


def apng() -> Odd:
    data = encode(tiles(), "PNG", save_all=True, append_images=[tiles(seed=3)])
    return Odd("apng", data, rgb(tiles()))


def native() -> list[Odd]:
    """Return odd files that the decoder reads as they are stored, also in an exported model."""
    return [
        gif_on_screen((96, 64), (20, 10)),
        gif_on_screen((96, 64), (0, 0), transparent=True),
        gif_on_screen((96, 64), (48, 32), transparent=True),
        gif_on_screen((10, 12), (20, 10)),
        late_orientation(2**20),
        late_orientation(60),
        with_bytes_behind("RGB", b"\0\0"),
        with_bytes_behind("RGB", b"profile" * 99),
        with_bytes_behind("P", b"\0\0"),
        with_bytes_behind("L", b"\0" * 5),
        arithmetic_jpeg(),
        plain_cmyk_jpeg(),
        mpo(),
        apng(),
    ]


def jpeg2000(bits: int, channels: int, codec: str) -> Odd:
    rng = np.random.default_rng(bits)
    levels = rng.integers(0, 2**bits, (24, 40, channels)).astype("u1" if bits <= 8 else "u2")
    levels[:8], levels[8:12] = 2**bits - 1, 0
    if channels == 1:
        levels = levels[..., 0]
    data = imagecodecs.jpeg2k_encode(
        levels, bitspersample=bits, codecformat=codec, reversible=True, level=0
    )
    pixels = imagecodecs.jpeg2k_decode(data).astype(np.float64) / (2**bits - 1) * 255
    shown = pixels if channels == 3 else np.repeat(pixels[..., np.newaxis], 3, -1)
    supported = bits <= 8 or channels == 1
    return Odd(f"{codec} {bits} bits {channels}", data, shown if supported else None)


def pgm(magic: bytes, top: int) -> Odd:
    colour = magic in (b"P3", b"P6")
    shape = (9, 14, 3) if colour else (9, 14)
    levels = np.random.default_rng(top).integers(0, top + 1, shape)
    levels[0], levels[1] = top, 0
    if magic in (b"P5", b"P6"):
        body = levels.astype("u1" if top < 256 else ">u2").tobytes()
    else:
        body = b" ".join(str(level).encode() for level in levels.ravel().tolist())
    shown = levels / top * 255 if colour else grey(levels, top)
    return Odd(f"{magic.decode()} to {top}", magic + b"\n14 9\n%d\n" % top + body, shown)


def pbm(magic: bytes) -> Odd:
    bits = np.random.default_rng(0).integers(0, 2, (9, 14))
    text = "".join(map(str, bits.ravel())).encode() + b"\n# the end"
    body = text if magic == b"P1" else np.packbits(bits, axis=1).tobytes()
    return Odd(magic.decode(), magic + b" # 1 is black\n14\n9\n" + body, grey(1 - bits, 1))


def lossless_jpeg() -> Odd:
    image = tiles()
    return Odd(
        "jpeg lossless", imagecodecs.jpeg8_encode(np.asarray(image), lossless=True), rgb(image)
    )


def converted() -> list[Odd]:
    """Return odd files other than TIFF that are converted before the decoder reads them."""
    return [
        lossless_jpeg(),
        *(pbm(magic) for magic in (b"P1", b"P4")),
        *(
            jpeg2000(bits, n, codec)
            for bits in (1, 4, 8, 12, 16)
            for n in (1, 3)
            for codec in ("jp2", "j2k")
        ),
        *(
            pgm(m, top)
            for m in (b"P2", b"P3", b"P5", b"P6")
            for top in (1, 100, 255, 1023, 40_000, 65_535)
        ),
    ]
