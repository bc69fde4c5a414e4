"""Reads the header of an image file, without decoding the image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import BinaryIO

from PIL import Image, UnidentifiedImageError

from tltool.data.decoding import transcode

_ORIENTATION, _MAKE, _MODEL = 0x0112, 0x010F, 0x0110
# Annex K.1 of the JPEG standard: the luminance table of quality 50, summed over its 64 entries.
_STANDARD_TABLE_SUM = 3689


class BadFileError(Exception):
    """A file cannot be used; has the kind and the detail of its issue."""

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(kind, detail)
        self.kind = kind
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Header:
    """The header of an image file.

    Attributes:
        format: lower-case name such as ``"jpeg"``.
        frames: images in the file; more than 1 is an animation.
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
    start = file.read(64)
    file.seek(0)
    try:
        with transcode.open_image(file) as image:
            _check_pixels(image.size, max_pixels)
            return _header(image)
    except Image.DecompressionBombError:
        raise BadFileError("too many pixels", f"more than {2 * _pillow_limit():,}") from None
    except UnidentifiedImageError:
        raise _unidentified(start) from None
    except (MemoryError, BadFileError):
        raise
    except Exception as error:  # Pillow's parsers raise many kinds of error on damaged files
        if isinstance(error, OSError) and error.errno is not None:
            raise  # of the operating system, not of the content
        raise BadFileError("damaged", f"corrupted header: {error}") from None


def _header(image: Image.Image) -> Header:
    name = image.format or "image"
    exif = _exif(image)
    return Header(
        format=transcode.FORMATS.get(name, name.lower()),
        frames=getattr(image, "n_frames", 1) if name in ("GIF", "PNG", "WEBP") else 1,
        width=image.width,
        height=image.height,
        orientation=_orientation(exif),
        mode=image.mode,
        deep=_is_deep(image),
        transparent=image.has_transparency_data,
        quality=_quality(getattr(image, "quantization", None)),
        camera=_camera(exif),
    )


def _is_deep(image: Image.Image) -> bool:
    # a 16-bit colour PNG opens as RGB; only its raw mode shows the depth
    raw_modes = [str(tile[3]) for tile in getattr(image, "tile", ())]
    return image.mode.startswith("I;16") or any(";16" in mode for mode in raw_modes)


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


def _unidentified(start: bytes) -> BadFileError:
    error = transcode.not_an_image(start, "the file")
    if isinstance(error, transcode.DamagedError):
        return BadFileError("damaged", error.message)
    if error.hint:
        return BadFileError("unsupported", f"{error.message}; {error.hint}")
    return BadFileError("not an image", "unknown image format")
