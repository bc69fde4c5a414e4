"""Bytes that the decoder understands: files of other formats become PNG, once, through Pillow."""

from __future__ import annotations

import io
import re
import struct
import warnings
from pathlib import Path
from typing import BinaryIO

from PIL import Image, ImageOps, UnidentifiedImageError

from tltool.errors import DataError

MAX_PIXELS = 178_956_970
"""Pillow's own limit: what a single 512 MiB RGB buffer holds."""

# The name by Pillow -> ours. MPO is what many phones write: a JPEG with a second one behind it.
FORMATS = {"JPEG": "jpeg", "MPO": "jpeg", "PNG": "png", "GIF": "gif", "WEBP": "webp"}
# What Pillow may open: none that would start another program, as PostScript does.
_OPENED = (
    "JPEG", "PNG", "GIF", "WEBP", "BMP", "DIB", "TIFF", "JPEG2000", "AVIF", "ICO", "PPM",
)  # fmt: skip
_SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF8")
# First bytes of what Pillow has to open; where it cannot, such a file is broken.
_KNOWN_STARTS = re.compile(
    rb"(II[*+]\x00|MM\x00[*+]|\x00{3}\x0cjP  |\xff\x4f\xff\x51|\x00\x00\x01\x00|P[1-6]\s"
    rb"|....ftypavi[fs]|BM.{4}\x00{4})",
    re.DOTALL,
)
_LOADED_FROM_THE_START = frozenset({b"\xff\xd8", b"\x89P", b"GI", b"BM"})
_HEIC_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1"})

# Pixels are counted here before anything is decoded, and damage is told by tltool itself; Pillow's
# warnings would only stand in between.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")


class DamagedError(DataError):
    """An image file that is truncated or broken inside."""


def read_image_bytes(path: Path) -> bytes:
    """Read an image file as bytes that ``tltool.data.decoding.decode`` decodes.

    JPEG, PNG, GIF, WebP and plain BMP come as they are stored; BMP with a compression or a
    small palette, TIFF, JPEG 2000, AVIF, ICO and PPM are turned into an upright PNG.
    Damage in a file that is passed on is found by the decoder, not here.

    Raises:
        DamagedError: the file is truncated or damaged.
        DataError: it cannot be read, is not an image, or has more than ``MAX_PIXELS``.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None
    return data if decodes_as_stored(data) else transcode(data, name=str(path))


def open_image(file: BinaryIO) -> Image.Image:
    """Open an image through Pillow, safely in several threads.

    Pillow loads its rarer formats when one is first met, and while one thread does so, another
    may be told that its file is no image.

    Raises:
        Exception: as ``PIL.Image.open``.
    """
    start = file.read(2)
    file.seek(0)
    if start not in _LOADED_FROM_THE_START:
        Image.init()
    return Image.open(file, formats=_OPENED)


def decodes_as_stored(data: bytes) -> bool:
    """Tell whether the TensorFlow decoder takes these bytes as they are."""
    if data[:2] == b"BM":
        return _is_plain_bmp(data)
    return data.startswith(_SIGNATURES) or (data[:4] == b"RIFF" and data[8:12] == b"WEBP")


def _is_plain_bmp(data: bytes) -> bool:
    """Tell whether a BMP has the common header and 8, 24 or 32 uncompressed bits a pixel."""
    if len(data) < 54:
        return False
    (header,) = struct.unpack_from("<I", data, 14)
    bits, compression = struct.unpack_from("<HI", data, 28)
    return header >= 40 and compression == 0 and bits in (8, 24, 32)


def transcode(data: bytes, *, name: str) -> bytes:
    """Turn any image that Pillow reads into PNG bytes, upright; alpha and 16 bits are kept.

    Args:
        data: the bytes of an image file.
        name: the file's name, for the error.

    Raises:
        DamagedError: it is truncated or damaged.
        DataError: not an image, a format that is not supported, or too many pixels.
    """
    try:
        with open_image(io.BytesIO(data)) as image:
            _check_pixels(image, name)
            upright = ImageOps.exif_transpose(image)
            output = io.BytesIO()
            _for_png(upright, name).save(output, "PNG", compress_level=1)
            return output.getvalue()
    except Image.DecompressionBombError:
        raise DataError(f"{name} has too many pixels to be decoded safely") from None
    except UnidentifiedImageError:
        raise not_an_image(data, name) from None
    except (MemoryError, DataError):
        raise
    except Exception as error:  # Pillow's parsers raise whatever they like on damage
        raise DamagedError(f"{name} is damaged or truncated: {error}") from None


def not_an_image(data: bytes, name: str) -> DataError:
    """Return the error for bytes that Pillow does not recognise; the first 64 are enough."""
    if decodes_as_stored(data) or _KNOWN_STARTS.match(data):
        return DamagedError(
            f"{name} is damaged or truncated: its header is broken or of a rare kind"
        )
    if data[4:8] == b"ftyp" and data[8:12] in _HEIC_BRANDS:
        return DataError(
            f"{name} is a HEIC image, which is not supported",
            hint="export it as JPEG, or have the phone store 'most compatible' images",
        )
    return DataError(f"{name} is not an image")


def _check_pixels(image: Image.Image, name: str) -> None:
    if image.width * image.height > MAX_PIXELS:
        raise DataError(f"{name} has {image.width} x {image.height} pixels, too many to decode")


def _for_png(image: Image.Image, name: str) -> Image.Image:
    """Return the image in a mode that PNG stores without loss where there is one."""
    if image.mode in ("1", "L", "LA", "RGB", "RGBA") or image.mode.startswith("I;16"):
        return image
    if image.mode in ("F", "I"):
        raise DataError(
            f"{name} holds pixels of type {image.mode}, which have no defined brightness"
        )
    return image.convert("RGBA" if image.has_transparency_data else "RGB")
