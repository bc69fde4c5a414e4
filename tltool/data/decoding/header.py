"""Reads the header of an image file, without decoding the image."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import BinaryIO

from PIL import Image, UnidentifiedImageError

from tltool.data.decoding import heif, tiff, transcode
from tltool.data.decoding.image_errors import BadFileError
from tltool.data.decoding.unreadable import not_decoded, unreadable

_ORIENTATION, _MAKE, _MODEL = 0x0112, 0x010F, 0x0110
# Annex K.1 of the JPEG standard: the luminance table of quality 50, summed over its 64 entries.
_STANDARD_TABLE_SUM = 3689
_FORMAT_NAMES = {**transcode.FORMATS, "DIB": "bmp"}
_WITH_FRAMES = ("GIF", "PNG", "WEBP", "AVIF", heif.FORMAT)


@dataclass(frozen=True, slots=True)
class Header:
    """The header of an image file.

    Attributes:
        format: lower-case name such as ``"jpeg"``.
        frames: images in the file, without previews; more than 1 is an animation or a stack of
            pages.
        channels: number of channels in the file.
        unused_channels: how many of them are not used.
        width: as stored, in pixels.
        height: as stored.
        orientation: EXIF value, 1 to 8; not read for a PNG that stores it after the pixels.
        mode: Pillow's name of the pixel type, such as ``"CMYK"``.
        deep: 16 bits per channel.
        transparent: it has an alpha channel or a transparent colour.
        quality: estimated JPEG quality, 1 to 100; 0 for other formats.
        camera: make and model from EXIF, ``""`` if missing.
    """

    format: str
    frames: int
    channels: int
    unused_channels: int
    width: int
    height: int
    orientation: int
    mode: str
    deep: bool
    transparent: bool
    quality: float
    camera: str


def read_header(file: BinaryIO, max_pixels: int) -> Header:
    """Return the header of a file.

    Raises:
        BadFileError: it is corrupted, of an unknown format, or has more than ``max_pixels``.
        OSError: the file cannot be read.
    """
    try:
        return _read(file, max_pixels)
    except Image.DecompressionBombError:
        raise BadFileError("too many pixels", f"more than {2 * _pillow_limit():,}") from None
    except UnidentifiedImageError:
        raise unreadable(file, "the file").as_bad_file() from None
    except (MemoryError, BadFileError):
        raise
    except Exception as error:  # Pillow's parsers raise many kinds of error on damaged files
        if isinstance(error, OSError) and error.errno is not None:
            raise  # of the operating system, not of the content
        raise not_decoded(file, "the file", error).as_bad_file() from None


def _read(file: BinaryIO, max_pixels: int) -> Header:
    start = file.read(4)
    tags = tiff.first_tags(file) if tiff.is_tiff(start) else {}
    file.seek(0)
    if tags:
        _check_pixels(tiff.size(tags), max_pixels)
        return _header(_open_tiff(file, tags), file, tags)
    with transcode.open_image(file) as image:
        _check_pixels(image.size, max_pixels)
        return _header(image, file, tags)


def _open_tiff(file: BinaryIO, tags: tiff.Tags) -> Image.Image:
    """Return the first page, of which nothing needs to be loaded."""
    if tiff.has_raw_planes(tags):
        return tiff.join_planes(file.read(), tags)
    if tiff.is_inverted(tags):
        file = io.BytesIO(tiff.black_is_zero(file.read()))
    return transcode.open_image(file)


def _header(image: Image.Image, file: BinaryIO, tags: tiff.Tags) -> Header:
    name = "TIFF" if tags else image.format or "image"
    exif = _exif(image)
    channels = tiff.channels(tags) if tags else len(image.getbands())
    return Header(
        format=_FORMAT_NAMES.get(name, name.lower()),
        frames=tiff.count_pages(file) if tags else _frames(image, name),
        channels=channels,
        unused_channels=max(channels - len(image.getbands()), 0),
        width=image.width,
        height=image.height,
        orientation=_orientation(exif),
        mode=image.mode,
        deep=tiff.bits(tags) > 8 if tags else _is_deep(image),
        transparent=image.has_transparency_data,
        quality=_quality(getattr(image, "quantization", None)),
        camera=_camera(exif),
    )


def _frames(image: Image.Image, name: str) -> int:
    return getattr(image, "n_frames", 1) if name in _WITH_FRAMES else 1


def _is_deep(image: Image.Image) -> bool:
    # a 16-bit colour PNG opens as RGB; only its raw mode shows the depth
    raw_modes = [str(tile[3]) for tile in getattr(image, "tile", ())]
    return image.mode.startswith("I") or any(";16" in mode for mode in raw_modes)


def _exif(image: Image.Image) -> Mapping[int, object]:
    """Return the EXIF entries; empty if they are corrupted, which does not affect the image."""
    # without a known block, Pillow would decode a whole PNG to search for one after the pixels
    if image.format in ("JPEG", "MPO", "PNG", "WEBP") and "exif" not in image.info:
        return {}
    try:
        return dict(image.getexif())
    except Exception:  # Pillow does not catch errors of its parser
        return {}


def _orientation(exif: Mapping[int, object]) -> int:
    value = exif.get(_ORIENTATION, 1)
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _camera(exif: Mapping[int, object]) -> str:
    names = [str(exif.get(tag, "")).strip("\0 ") for tag in (_MAKE, _MODEL)]
    return " ".join(filter(None, names))


def _quality(tables: Mapping[int, Sequence[int]] | None) -> float:
    """Return the JPEG quality whose scaled standard table has the sum of the file's first table.

    The scaling is that of libjpeg (``jpeg_quality_scaling``), which most software uses.
    """
    if not tables:
        return 0.0
    scale = 100 * sum(next(iter(tables.values()))) / _STANDARD_TABLE_SUM
    quality = (200 - scale) / 2 if scale <= 100 else 5000 / scale
    return round(min(max(quality, 1.0), 100.0), 1)


def _pillow_limit() -> int:
    return Image.MAX_IMAGE_PIXELS or transcode.MAX_PIXELS


def _check_pixels(size: tuple[int, int], max_pixels: int) -> None:
    width, height = size
    if width * height > max_pixels:
        raise BadFileError(
            "too many pixels", f"{width} x {height} pixels, more than the limit of {max_pixels:,}"
        )
