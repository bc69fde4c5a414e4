"""Encoded sample images and what Pillow makes of them: the reference of the decode contract."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps


def tiles(width: int = 80, height: int = 60, seed: int = 0) -> Image.Image:
    """Return an RGB image of random coloured tiles of 10 pixels: no two corners alike."""
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
    image.save(output, kind, **options)  # type: ignore[arg-type]
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
    """Return a JPEG whose Adobe marker says YCCK: read back by Pillow, whatever it shows."""
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


def by_pillow(data: bytes) -> NDArray[np.int64]:
    """Return what Pillow decodes: first frame, upright, over white; int64 [H, W, 3]."""
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.asarray(image.convert("RGB")).astype(np.int64)
