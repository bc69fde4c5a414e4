"""Converts image formats that TensorFlow cannot decode to PNG, with Pillow."""

from __future__ import annotations

import io
import logging
import struct
import warnings
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from tltool.data.decoding import heif, tiff
from tltool.data.decoding.bounded_work import check_size, without_unused_parts
from tltool.data.decoding.image_file import read_image_file
from tltool.data.decoding.netpbm import read_netpbm
from tltool.data.decoding.rare_formats import full_range_factor, jpeg2000_bits, jpeg_frame
from tltool.data.decoding.unreadable import (
    STORED_SIGNATURES,
    not_decoded,
    unreadable,
    unsupported,
)
from tltool.errors import DataError

MAX_PIXELS = 178_956_970
"""Pillow's limit: the pixels of an RGB buffer of 512 MiB."""

# Pillow's name -> ours. MPO, which many phones write, is a JPEG followed by a second one.
FORMATS = {"JPEG": "jpeg", "MPO": "jpeg", "PNG": "png", "GIF": "gif", "WEBP": "webp"}
# The formats Pillow may open; none that starts another program, as PostScript does.
_OPENED = (
    "JPEG", "PNG", "GIF", "WEBP", "BMP", "DIB", "TIFF", "JPEG2000", "ICO", "PPM",
)  # fmt: skip
_LOADED_FROM_THE_START = frozenset({b"\xff\xd8", b"\x89P", b"GI", b"BM"})
_PNG_MODES = ("1", "L", "LA", "RGB", "RGBA")
_PREMULTIPLIED = {"La": "LA", "RGBa": "RGBA"}  # with colours multiplied by alpha

# tltool checks the number of pixels and reports damage itself, so Pillow's warnings are redundant.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
logging.getLogger("PIL").addHandler(logging.NullHandler())  # else it prints errors about rare files


def read_image_bytes(path: Path, *, sha256: str = "") -> bytes:
    """Read an image file as bytes that ``tltool.data.decoding.decode`` decodes.

    The size in its header is checked, see ``prepare``; JPEG, PNG, GIF, WebP and uncompressed BMP
    are not decoded here.

    Args:
        path: of the file.
        sha256: digest (hex) of its bytes in the audit; empty if there was none.

    Raises:
        ChangedImageError: the file is missing or has other bytes, and there was an audit.
        DamagedError: the file is truncated or corrupted.
        UnsupportedError: it is intact, but of a type that cannot be decoded correctly.
        NotAnImageError: it is of another type.
        UnreadableError: it cannot be read, or is no regular file.
        DataError: it has more than ``MAX_PIXELS``, or too many scans.
    """
    return prepare(read_image_file(path, sha256=sha256), name=str(path))


def prepare(data: bytes, *, name: str, max_pixels: int = MAX_PIXELS) -> bytes:
    """Return the bytes of an image as ``tltool.data.decoding.decode`` decodes them, within bounds.

    JPEG, PNG, GIF, WebP and uncompressed BMP stay as they are, without further frames and
    compressed texts. BMP with compression or a small palette, lossless JPEG, TIFF, JPEG 2000, AVIF,
    HEIC, ICO and PPM are converted to an upright PNG.

    Args:
        data: the bytes of a file.
        name: its name, for the error.
        max_pixels: a larger image is not decoded.

    Returns:
        ``data`` itself if nothing needs to be changed.

    Raises:
        DataError: it has too many pixels or scans, or it cannot be decoded, see ``transcode``.
    """
    check_size(data, name=name, max_pixels=max_pixels)
    return without_unused_parts(data) if decodes_as_stored(data) else transcode(data, name=name)


def open_image(file: BinaryIO) -> Image.Image:
    """Open an image with Pillow; safe in several threads.

    Pillow loads the plugins of rare formats on first use; while one thread does so, another may
    wrongly get the error that its file is not an image.

    Raises:
        Exception: as ``PIL.Image.open``.
    """
    start = file.read(12)
    file.seek(0)
    if start[:2] not in _LOADED_FROM_THE_START:
        Image.init()
    formats = [*_OPENED]
    if start[4:8] == b"ftyp":
        formats += [heif.AVIF] * heif.can_open_avif() + [heif.FORMAT] * heif.register()
    return Image.open(file, formats=formats)


def open_as_decoded(data: bytes) -> Image.Image:
    """Open an image whose pixels Pillow shows as the decoder does; not yet upright.

    Raises:
        Exception: as ``PIL.Image.open``, and as ``transcode``.
    """
    if decodes_as_stored(data):
        return open_image(io.BytesIO(data))
    return _converted(data, "the image")


def on_white(image: Image.Image) -> Image.Image:
    """Return an image with 8 bits per channel and transparency blended over white: L or RGB."""
    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.has_transparency_data:
        colours = image if image.mode == "RGBA" else image.convert("RGBA")
        image = Image.new("RGB", colours.size, "white")
        image.paste(colours, mask=colours.getchannel("A"))
    return image if image.mode in ("L", "RGB") else image.convert("RGB")


def decodes_as_stored(data: bytes) -> bool:
    """Return whether the TensorFlow decoder reads these bytes without transcoding."""
    if data[:2] == b"BM":
        return _is_uncompressed_bmp(data)
    if data[:3] == b"\xff\xd8\xff":
        frame = jpeg_frame(data)
        return frame is None or frame.is_common
    return data.startswith(STORED_SIGNATURES) or (data[:4] == b"RIFF" and data[8:12] == b"WEBP")


def _is_uncompressed_bmp(data: bytes) -> bool:
    """Return whether a BMP has the common header and 8, 24 or 32 uncompressed bits per pixel."""
    if len(data) < 54:
        return False
    (header,) = struct.unpack_from("<I", data, 14)
    bits, compression = struct.unpack_from("<HI", data, 28)
    return header >= 40 and compression == 0 and bits in (8, 24, 32)


def transcode(data: bytes, *, name: str) -> bytes:
    """Convert an image that Pillow reads to PNG bytes, upright; keeps alpha and 16 bits of grey.

    Args:
        data: the bytes of an image file.
        name: the file's name, for the error.

    Raises:
        DamagedError: it is truncated or corrupted.
        UnsupportedError: it is intact, but cannot be decoded correctly.
        NotAnImageError: it is of another type.
        DataError: too many pixels.
    """
    output = io.BytesIO()
    _converted(data, name).save(output, "PNG", compress_level=1)
    return output.getvalue()


def _converted(data: bytes, name: str) -> Image.Image:
    """Return the upright image in a mode that PNG stores."""
    try:
        if tiff.is_tiff(data):
            return _for_png(ImageOps.exif_transpose(_load_tiff(data, name)), name)
        with open_image(io.BytesIO(data)) as image:
            _check_pixels(image.size, name)
            if image.format == "JPEG2000":
                image = _full_range_jpeg2000(image, data, name)
            if image.format == "PPM":
                image = read_netpbm(data)
            return _for_png(ImageOps.exif_transpose(image), name)
    except Image.DecompressionBombError:
        raise DataError(f"{name} has too many pixels to be decoded safely") from None
    except UnidentifiedImageError:
        raise unreadable(io.BytesIO(data), name) from None
    except (MemoryError, DataError):
        raise
    except Exception as error:  # Pillow's parsers raise many kinds of error on damaged files
        raise not_decoded(io.BytesIO(data), name, error) from None


def _load_tiff(data: bytes, name: str) -> Image.Image:
    """Return the first page of a TIFF, loaded, not yet upright."""
    tags = tiff.first_tags(io.BytesIO(data))
    if reason := tiff.unsupported_tiff(io.BytesIO(data)):
        raise unsupported(name, reason)
    if tiff.has_raw_planes(tags):
        _check_pixels(tiff.size(tags), name)
        return tiff.join_planes(data, tags)
    inverted = tiff.is_inverted(tags)
    with open_image(io.BytesIO(tiff.black_is_zero(data) if inverted else data)) as image:
        _check_pixels(image.size, name)
        image.load()
        if image.mode.startswith("I;16"):
            return tiff.full_range(image, tags)
        return image


def _full_range_jpeg2000(image: Image.Image, data: bytes, name: str) -> Image.Image:
    """Return a JPEG 2000 image whose values use the full range of its mode.

    Pillow turns the brightest values of colour images of more than 8 bits black, and does not use
    the full range below 8 bits.
    """
    bits = jpeg2000_bits(data)
    if len(bits) > 1 and max(bits) > 8:
        raise unsupported(name, f"{max(bits)} bits per channel in colour JPEG 2000 compression")
    factor = full_range_factor(bits)
    if factor == 1 or image.mode == "P":
        return image
    return image.point(lambda value: round(value * factor))


def _check_pixels(size: tuple[int, int], name: str) -> None:
    if size[0] * size[1] > MAX_PIXELS:
        raise DataError(f"{name} has too many pixels to decode: {size[0]} x {size[1]}")


def _for_png(image: Image.Image, name: str) -> Image.Image:
    """Return the image in a mode that PNG stores, without loss where possible."""
    image.load()
    if image.mode in _PNG_MODES or image.mode.startswith("I;16"):
        return image
    if image.mode in ("F", "I"):
        kind = "floating-point pixels" if image.mode == "F" else "32 bits per channel"
        raise unsupported(name, f"{kind}, {tiff.UNDEFINED_RANGE}")
    if image.mode in _PREMULTIPLIED:
        return image.convert(_PREMULTIPLIED[image.mode])
    if image.mode == "LAB":
        return _from_lab(image)
    return image.convert("RGBA" if image.has_transparency_data else "RGB")


def _from_lab(image: Image.Image) -> Image.Image:
    """Convert CIE L*a*b* (D50) to sRGB, which ``Image.convert`` cannot."""
    lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    converted = ImageCms.profileToProfile(image, lab, srgb, outputMode="RGB")
    if converted is None:
        raise ValueError("its colours cannot be converted")
    return converted
