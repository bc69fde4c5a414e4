"""Converts image formats that TensorFlow cannot decode to PNG, with Pillow."""

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
"""Pillow's limit: the pixels of an RGB buffer of 512 MiB."""

# Pillow's name -> ours. MPO, which many phones write, is a JPEG followed by a second one.
FORMATS = {"JPEG": "jpeg", "MPO": "jpeg", "PNG": "png", "GIF": "gif", "WEBP": "webp"}
# The formats Pillow may open; none that starts another program, as PostScript does.
_OPENED = (
    "JPEG", "PNG", "GIF", "WEBP", "BMP", "DIB", "TIFF", "JPEG2000", "AVIF", "ICO", "PPM",
)  # fmt: skip
_SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF8")
# Signatures of formats that Pillow opens; if it cannot open such a file, the file is damaged.
_KNOWN_STARTS = re.compile(
    rb"(II[*+]\x00|MM\x00[*+]|\x00{3}\x0cjP  |\xff\x4f\xff\x51|\x00\x00\x01\x00|P[1-6]\s"
    rb"|....ftypavi[fs]|BM.{4}\x00{4})",
    re.DOTALL,
)
_LOADED_FROM_THE_START = frozenset({b"\xff\xd8", b"\x89P", b"GI", b"BM"})
_HEIC_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1"})

# tltool checks the number of pixels and reports damage itself, so Pillow's warnings are redundant.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")


class DamagedError(DataError):
    """An image file is truncated or corrupted."""


def read_image_bytes(path: Path) -> bytes:
    """Read an image file as bytes that ``tltool.data.decoding.decode`` decodes.

    JPEG, PNG, GIF, WebP and uncompressed BMP are returned unchanged and unchecked; BMP with
    compression or a small palette, TIFF, JPEG 2000, AVIF, ICO and PPM are converted to an upright
    PNG.

    Raises:
        DamagedError: the file is truncated or corrupted.
        DataError: it cannot be read, is not an image, or has more than ``MAX_PIXELS``.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None
    return data if decodes_as_stored(data) else transcode(data, name=str(path))


def open_image(file: BinaryIO) -> Image.Image:
    """Open an image with Pillow; safe in several threads.

    Pillow loads the plugins of rare formats on first use; while one thread does so, another may
    wrongly get the error that its file is not an image.

    Raises:
        Exception: as ``PIL.Image.open``.
    """
    start = file.read(2)
    file.seek(0)
    if start not in _LOADED_FROM_THE_START:
        Image.init()
    return Image.open(file, formats=_OPENED)


def decodes_as_stored(data: bytes) -> bool:
    """Return whether the TensorFlow decoder reads these bytes without transcoding."""
    if data[:2] == b"BM":
        return _is_uncompressed_bmp(data)
    return data.startswith(_SIGNATURES) or (data[:4] == b"RIFF" and data[8:12] == b"WEBP")


def _is_uncompressed_bmp(data: bytes) -> bool:
    """Return whether a BMP has the common header and 8, 24 or 32 uncompressed bits per pixel."""
    if len(data) < 54:
        return False
    (header,) = struct.unpack_from("<I", data, 14)
    bits, compression = struct.unpack_from("<HI", data, 28)
    return header >= 40 and compression == 0 and bits in (8, 24, 32)


def transcode(data: bytes, *, name: str) -> bytes:
    """Convert an image that Pillow reads to PNG bytes, upright; keeps alpha and 16 bits.

    Args:
        data: the bytes of an image file.
        name: the file's name, for the error.

    Raises:
        DamagedError: it is truncated or corrupted.
        DataError: not an image, an unsupported format, or too many pixels.
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
    except Exception as error:  # Pillow's parsers raise many kinds of error on damaged files
        raise DamagedError(f"{name} is damaged or truncated: {error}") from None


def not_an_image(data: bytes, name: str) -> DataError:
    """Return the error for bytes that Pillow does not recognise; the first 64 are enough."""
    if decodes_as_stored(data) or _KNOWN_STARTS.match(data):
        return DamagedError(
            f"{name} is damaged or truncated: its header is corrupted or not supported"
        )
    if data[4:8] == b"ftyp" and data[8:12] in _HEIC_BRANDS:
        return DataError(
            f"{name} is a HEIC image, which is not supported",
            hint="convert it to JPEG, or set the phone's camera to 'Most Compatible'",
        )
    return DataError(f"{name} is not an image")


def _check_pixels(image: Image.Image, name: str) -> None:
    if image.width * image.height > MAX_PIXELS:
        raise DataError(f"{name} has too many pixels to decode: {image.width} x {image.height}")


def _for_png(image: Image.Image, name: str) -> Image.Image:
    """Return the image in a mode that PNG stores, without loss where possible."""
    if image.mode in ("1", "L", "LA", "RGB", "RGBA") or image.mode.startswith("I;16"):
        return image
    if image.mode in ("F", "I"):
        raise DataError(
            f"{name} has pixels of type {image.mode}, whose range of values is not defined"
        )
    return image.convert("RGBA" if image.has_transparency_data else "RGB")
