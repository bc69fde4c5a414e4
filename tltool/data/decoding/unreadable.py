"""Says why a file cannot be decoded: damaged, of a rare variant, or of another type."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import BinaryIO

from tltool.data.decoding import heif, tiff
from tltool.data.decoding.file_types import AVIF, CAMERA_RAW, HEIC, START, FileType, recognise
from tltool.data.decoding.image_errors import (
    DamagedError,
    ImageError,
    NotAnImageError,
    UnsupportedError,
)
from tltool.data.decoding.rare_formats import unsupported_variant

STORED_SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF8")
"""Of formats that the decoder reads without transcoding, besides WebP and BMP."""

_SCANNED = 2**20  # bytes in which the header of a JPEG is searched
# Signatures of formats that can be opened; if such a file cannot be opened, it is damaged.
_KNOWN_STARTS = re.compile(
    rb"(II[*+]\x00|MM\x00[*+]|\x00{3}\x0cjP  |\xff\x4f\xff\x51|\x00\x00\x01\x00|P[1-6]\s"
    rb"|BM.{4}\x00{4}|RIFF....WEBP)",
    re.DOTALL,
)
_SAYS_UNSUPPORTED = re.compile(
    "unsupported|not supported|cannot handle|not available|unknown (raw|pixel) mode", re.IGNORECASE
)
_AS_8_BIT = "save it as an 8-bit RGB image, such as PNG or JPEG"


def unreadable(file: BinaryIO, name: str) -> ImageError:
    """Return the error for a file that Pillow cannot open.

    Args:
        file: the file, which is read where necessary.
        name: the file's name, for the error.
    """
    file.seek(0)
    start = file.read(_SCANNED)
    reason = unsupported_reason(file)
    if reason is None and tiff.is_tiff(start):
        reason = _of_tiff(tiff.rare_layout, file)
    if reason is not None:
        return unsupported(name, reason)
    if start.startswith(STORED_SIGNATURES) or _KNOWN_STARTS.match(start):
        return _damaged(name, "its header is corrupted or not supported")
    kind = recognise(start[:START])
    if kind is None:
        return NotAnImageError(f"{name} is not an image")
    if kind is HEIC and heif.register():
        return _damaged(
            name, "the HEIC data cannot be decoded", mend="copy it again, or export it as JPEG"
        )
    if kind is AVIF and heif.can_open_avif():
        return _damaged(name, "the AVIF data cannot be decoded")
    return _other_type(name, kind)


def not_decoded(file: BinaryIO, name: str, error: Exception) -> ImageError:
    """Return the error for a file on which Pillow failed with ``error``.

    Args:
        file: the file.
        name: the file's name, for the error.
        error: damage, or Pillow's own word that it does not support the file.
    """
    reason = unsupported_reason(file)
    if reason is None and _SAYS_UNSUPPORTED.search(str(error)):
        reason = f"a rare variant of its format ({error})"
    return _damaged(name, str(error)) if reason is None else unsupported(name, reason)


def unsupported(name: str, reason: str) -> UnsupportedError:
    """Return the error for an intact image that has ``reason``, or is ``tiff.RAW_DATA``."""
    if reason == tiff.RAW_DATA:
        return UnsupportedError(
            f"{name} is {CAMERA_RAW.name}, which is not supported", hint=CAMERA_RAW.mend
        )
    return UnsupportedError(f"{name} is not supported: it has {reason}", hint=_AS_8_BIT)


def unsupported_reason(file: BinaryIO) -> str | None:
    """Return why an intact file of a known format cannot be decoded; None if no reason is known."""
    file.seek(0)
    start = file.read(_SCANNED)
    if tiff.is_tiff(start):
        return _of_tiff(tiff.unsupported_tiff, file)
    return unsupported_variant(start)


def _of_tiff(reason: Callable[[BinaryIO], str | None], file: BinaryIO) -> str | None:
    try:
        return reason(file)
    except Exception:  # damaged tags have values of any type
        return None


def _damaged(name: str, detail: str, *, mend: str | None = None) -> DamagedError:
    return DamagedError(f"{name} is damaged or truncated: {detail}", hint=mend)


def _other_type(name: str, kind: FileType) -> ImageError:
    if kind.is_image:
        return UnsupportedError(f"{name} is {kind.name}, which is not supported", hint=kind.mend)
    return NotAnImageError(f"{name} is not an image, but {kind.name}", hint=kind.mend)
