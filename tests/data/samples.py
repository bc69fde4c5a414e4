"""Encoded sample images, and Pillow as the reference decoder."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps


def tiles(width: int = 80, height: int = 60, seed: int = 0) -> Image.Image:
    """Return an RGB image of random coloured tiles of 10 pixels: with different corners."""
    rng = np.random.default_rng(seed)
    grid = rng.integers(0, 256, (-(-height // 10), -(-width // 10), 3), dtype=np.uint8)
    return Image.fromarray(np.kron(grid, np.ones((10, 10, 1), np.uint8))[:height, :width])


def see_through(image: Image.Image) -> Image.Image:
    """Return the image with its green channel as alpha too."""
    image = image.copy()
    image.putalpha(image.getchannel("G"))
    return image


def encode(image: Image.Image, kind: str, **options: object) -> bytes:
    output = io.BytesIO()
    image.save(output, kind, **options)
    return output.getvalue()


def with_orientation(
    image: Image.Image, kind: str, orientation: int, *, big_endian: bool = False
) -> bytes:
    exif = Image.Exif()
    exif[0x010F] = "a maker"  # the orientation is not the first entry
    exif[0x0112] = orientation
    exif.endian = ">" if big_endian else "<"
    options = {"lossless": True} if kind == "WEBP" else {}
    return encode(image, kind, exif=exif.tobytes(), **options)


def ycck_jpeg() -> bytes:
    """Return a JPEG with a YCCK Adobe marker; its content does not matter."""
    data = bytearray(encode(tiles().convert("CMYK"), "JPEG", quality=95))
    data[data.index(b"Adobe") + 11] = 2
    return bytes(data)


def top_down_bmp() -> bytes:
    data = bytearray(encode(tiles(), "BMP"))
    data[22:26] = struct.pack("<i", -60)
    return bytes(data)


def animation(image: Image.Image, kind: str) -> bytes:
    turned = [image.rotate(180), image, image.rotate(180)]
    return encode(image, kind, save_all=True, append_images=turned, lossless=True)


SAMPLES: dict[str, Callable[[], bytes]] = {
    "jpeg": lambda: encode(tiles(), "JPEG"),
    "jpeg progressive": lambda: encode(tiles(), "JPEG", progressive=True),
    "jpeg grey": lambda: encode(tiles().convert("L"), "JPEG"),
    "jpeg cmyk": lambda: encode(tiles().convert("CMYK"), "JPEG"),
    "jpeg ycck": ycck_jpeg,
    "png": lambda: encode(tiles(), "PNG"),
    "png grey": lambda: encode(tiles().convert("L"), "PNG"),
    "png grey alpha": lambda: encode(see_through(tiles()).convert("LA"), "PNG"),
    "png alpha": lambda: encode(see_through(tiles()), "PNG"),
    "png 1 bit": lambda: encode(tiles().convert("1"), "PNG"),
    "png palette": lambda: encode(tiles().quantize(200), "PNG"),
    "png palette 4 bit": lambda: encode(tiles().quantize(16), "PNG"),
    "png palette 1 bit": lambda: encode(tiles().quantize(2), "PNG"),
    "png palette transparent": lambda: encode(tiles().quantize(16), "PNG", transparency=2),
    "png grey transparent": lambda: encode(
        tiles().convert("L"), "PNG", transparency=tiles().convert("L").getpixel((0, 0))
    ),
    "gif": lambda: encode(tiles().quantize(64), "GIF"),
    "gif transparent": lambda: encode(tiles().quantize(16), "GIF", transparency=3),
    "gif transparent 2": lambda: encode(
        see_through(tiles()),
        "GIF",
        save_all=True,
        append_images=[tiles(seed=1)],
        comment=b"x" * 700,
    ),
    "gif animated": lambda: animation(tiles().quantize(64), "GIF"),
    "bmp": lambda: encode(tiles(), "BMP"),
    "bmp palette": lambda: encode(tiles().quantize(16), "BMP"),
    "bmp grey": lambda: encode(tiles().convert("L"), "BMP"),
    "bmp 32 bit": lambda: encode(see_through(tiles()), "BMP"),
    "bmp top down": top_down_bmp,
    "webp": lambda: encode(tiles(), "WEBP"),
    "webp lossless": lambda: encode(tiles(), "WEBP", lossless=True),
    "webp alpha": lambda: encode(see_through(tiles()), "WEBP", lossless=True, exact=True),
    "webp lossy alpha": lambda: encode(see_through(tiles()), "WEBP"),
    "webp animated": lambda: animation(tiles(), "WEBP"),
    "webp animated alpha": lambda: animation(see_through(tiles()), "WEBP"),
}


EXTENSIONS = {"jpeg": ".jpg", "png": ".png", "gif": ".gif", "bmp": ".bmp", "webp": ".webp"}


def deep_rgb_png(width: int = 80, height: int = 60) -> bytes:
    """Return a PNG of 16 bits for each of red, green and blue, which Pillow cannot write."""
    levels = np.random.default_rng(0).integers(0, 2**16, (height, width, 3)).astype(">u2")
    rows = b"".join(b"\0" + row.tobytes() for row in levels)
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0))]
    chunks += [(b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )


def good_files() -> dict[str, bytes]:
    """Return a file of every format and mode that must be accepted."""
    files = {f"{name}{EXTENSIONS[name.split()[0]]}": make() for name, make in SAMPLES.items()}
    for orientation in range(1, 9):
        files[f"turned {orientation}.jpg"] = with_orientation(tiles(seed=9), "JPEG", orientation)
    levels = (np.arange(64 * 64).reshape(64, 64) * 16).astype(np.uint16)
    files["grey 16.png"] = encode(Image.fromarray(levels), "PNG")
    files["grey 16.tif"] = encode(Image.fromarray(levels), "TIFF")
    files["colour 16.png"] = deep_rgb_png()
    files["pa.tif"] = encode(see_through(tiles()).convert("PA"), "TIFF")
    for mode in ("RGB", "L", "LA", "RGBA", "P", "1", "CMYK"):
        image = see_through(tiles()).convert("RGBA").convert(mode)
        files[f"{mode}.tif"] = encode(image, "TIFF")
    return files


def noise() -> Image.Image:
    """Return an RGB image of noise, 80 x 60 pixels, in which every missing part is noticed."""
    levels = np.random.default_rng(1).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    return Image.fromarray(levels)


def other_formats() -> dict[str, bytes]:
    """Return a file of every format that Pillow converts, and of every TIFF compression."""
    one_bit = noise().convert("1")
    files = {
        f"{packed}.tif": encode(noise(), "TIFF", compression=packed)
        for packed in ("tiff_lzw", "tiff_deflate", "jpeg", "packbits", "lzma")
    }
    return files | {
        "group4.tif": encode(one_bit, "TIFF", compression="group4"),
        "a.jp2": encode(noise(), "JPEG2000"),
        "small.jp2": encode(noise(), "JPEG2000", irreversible=True, quality_layers=[20]),
        "a.j2k": encode(noise(), "JPEG2000", no_jp2=True),
        "a.avif": encode(noise(), "AVIF"),
        "alpha.avif": encode(see_through(tiles()), "AVIF"),
        "a.ico": encode(tiles(), "ICO"),
        "bmp.ico": encode(tiles(), "ICO", bitmap_format="bmp"),
        "a.ppm": encode(noise(), "PPM"),
        "a.pgm": encode(noise().convert("L"), "PPM"),
        "a.pbm": encode(one_bit, "PPM"),
        "one bit.bmp": encode(one_bit, "BMP"),
        "a.dib": encode(noise(), "DIB"),
    }


def by_pillow(data: bytes) -> NDArray[np.int64]:
    """Return what Pillow decodes: first frame, upright, over white; int64 [H, W, 3]."""
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    if image.mode.startswith("I;16"):  # Pillow would cut it off at 255
        image = Image.fromarray(np.round(np.asarray(image) / 257).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.asarray(image.convert("RGB")).astype(np.int64)
