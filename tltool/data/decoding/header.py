"""What the header of an image file tells; nothing is decoded for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import BinaryIO

from PIL import Image, UnidentifiedImageError

from tltool.data.decoding import transcode

_ORIENTATION, _MAKER, _MODEL = 0x0112, 0x010F, 0x0110
# Annex K.1 of the JPEG standard: the luminance table of quality 50, summed over its 64 entries.
_STANDARD_TABLE_SUM = 3689


class BadFileError(Exception):
    """A file that cannot be used: kind and detail of its issue."""

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(kind, detail)
        self.kind = kind
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Header:
    """Facts about a file.

    Attributes:
        format: lower-case name such as ``"jpeg"``.
        frames: images in the file; more than 1 is an animation.
        width: as stored, in pixels.
        height: as stored.
        orientation: EXIF value, 1 to 8; that of a PNG may stand behind the pixels, unread here.
        mode: Pillow's name of the pixel type, such as ``"CMYK"``.
        deep: 16 bits a channel.
        transparent: it has an alpha channel or a transparent colour.
        quality: estimate of the JPEG quality, 1 to 100; 0 for other formats.
        camera: maker and model from EXIF, ``""`` without them.
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
    """Return what the header tells.

    Raises:
        BadFileError: it is broken, of no known format, or claims more than ``max_pixels``.
        OSError: the disk's own error.
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
    except Exception as error:  # Pillow's parsers raise whatever they like on damage
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk's error, not Pillow's about the content
        raise BadFileError("damaged", f"its header is broken: {error}") from None


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
    # a PNG of 16 bits a colour opens as RGB; only how it is to be unpacked tells
    unpacked = [str(tile[3]) for tile in getattr(image, "tile", ())]
    return image.mode.startswith("I;16") or any(";16" in how for how in unpacked)


def _exif(image: Image.Image) -> Mapping[int, object]:
    """Return the EXIF entries, none if they are broken: the image is whole without them."""
    # without a known block Pillow decodes a whole PNG in search of one behind the pixels
    if image.format in ("JPEG", "MPO", "PNG", "WEBP") and "exif" not in image.info:
        return {}
    try:
        return dict(image.getexif())
    except Exception:  # Pillow lets any error of its parser through
        return {}


def _orientation(exif: Mapping[int, object]) -> int:
    found = exif.get(_ORIENTATION, 1)
    return found if isinstance(found, int) and 1 <= found <= 8 else 1


def _camera(exif: Mapping[int, object]) -> str:
    found = [str(exif.get(tag, "")).strip("\0 ") for tag in (_MAKER, _MODEL)]
    return " ".join(filter(None, found))


def _quality(tables: Mapping[int, Sequence[int]] | None) -> float:
    """Return the quality whose scaled standard table sums up like the file's first table.

    The scaling is that of libjpeg (``jpeg_quality_scaling``), which most software follows.
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
            "too many pixels", f"{width} x {height}, over the limit of {max_pixels:,} pixels"
        )


def _unidentified(start: bytes) -> BadFileError:
    error = transcode.not_an_image(start, "it")
    if isinstance(error, transcode.DamagedError):
        return BadFileError("damaged", error.message)
    if error.hint:
        return BadFileError("unsupported", f"{error.message}; {error.hint}")
    return BadFileError("not an image", "its content is of no known image format")
