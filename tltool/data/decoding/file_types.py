"""Names the true type of a file that cannot be decoded, by its first bytes."""

from __future__ import annotations

import re
from typing import NamedTuple

START = 1024
"""Bytes of a file that are enough to recognise its type."""

_AS_JPEG = "save it as JPEG or PNG"
_DOWNLOAD = "the download failed: download the image again"
_EXPORT = "export it as 8-bit JPEG or PNG"


class FileType(NamedTuple):
    """The type of a file.

    Attributes:
        name: with its article, such as ``"a PDF document"``.
        mend: what to do about it.
        is_image: whether it is an image, in a format that is not supported.
    """

    name: str
    mend: str
    is_image: bool


def _image(name: str, mend: str = _AS_JPEG) -> FileType:
    return FileType(name, mend, is_image=True)


def _other(name: str, mend: str) -> FileType:
    return FileType(name, mend, is_image=False)


_RAW = _image("a camera raw file", "develop it, and export it as JPEG")
HEIC = _image(
    "a HEIC image",
    "pip install pillow-heif, or export it as JPEG; phones have the setting 'Most Compatible'",
)
AVIF = _image("an AVIF image", f"pip install --upgrade pillow, or {_AS_JPEG}")
CAMERA_RAW = _RAW
"""Also TIFF files whose first picture is only a preview of the raw data."""

_PAGE = _other("a web page (HTML)", _DOWNLOAD)
_ARCHIVE_MEND = "extract it, and remove the archive"

# The first pattern that matches the start of the file names its type.
_TYPES: tuple[tuple[re.Pattern[bytes], FileType], ...] = tuple(
    (re.compile(pattern, re.DOTALL), kind)
    for pattern, kind in (
        (
            rb"version https://(?:git-lfs\.github\.com|hawser\.github\.com)/",
            _other("a Git LFS pointer", "fetch the image with: git lfs pull"),
        ),
        (
            rb"(?:\.\./)*\.git/annex/objects/|/annex/objects/",
            _other("a git-annex pointer", "fetch the image with: git annex get"),
        ),
        (rb"outs:\s*\n-\s+md5:", _other("a DVC pointer", "fetch the image with: dvc pull")),
        (rb"....ftyp(?:hei[cxms]|hev[cxms]|mif1|msf1)", HEIC),
        (rb"....ftypavi[fs]", AVIF),
        (rb"....ftypcrx ", _RAW),
        (rb"....ftypjxl |\x00\x00\x00\x0cJXL \r\n\x87\n|\xff\x0a", _image("a JPEG XL image")),
        (
            rb"....ftyp|....(?:moov|mdat|wide|free)",
            _other("a video (MP4 or QuickTime)", "save single frames as images"),
        ),
        (
            rb"RIFF....AVI |\x1aE\xdf\xa3|FLV\x01|\x00\x00\x01\xba|\x30\x26\xb2\x75\x8e\x66",
            _other("a video", "save single frames as images"),
        ),
        (rb"RIFF....WAVE|ID3|OggS|fLaC", _other("a sound file", "remove it")),
        (rb"%PDF-", _other("a PDF document", "export its pages as images")),
        (rb"%!PS|\xc5\xd0\xd3\xc6", _image("a PostScript drawing (EPS)", _EXPORT)),
        (rb"8BPS", _image("a Photoshop document (PSD)", _EXPORT)),
        (rb"gimp xcf", _image("a GIMP document (XCF)", _EXPORT)),
        (rb".{128}DICM", _image("a DICOM image", "export it as 8-bit PNG with its window applied")),
        (rb"SIMPLE  =", _image("a FITS image", _EXPORT)),
        (rb"\x93NUMPY", _image("a NumPy array", "save it as PNG, for example with Pillow")),
        (rb"\x89HDF\r\n\x1a\n", _other("an HDF5 file", "save its arrays as PNG files")),
        (rb"CDF[\x01\x02\x05]", _other("a NetCDF file", "save its arrays as PNG files")),
        (rb"MATLAB 5\.0 MAT-file", _other("a MATLAB file", "save its arrays as PNG files")),
        (rb"PAR1", _other("a Parquet table", "give the table itself as data source")),
        (rb"v/1\x01", _image("an OpenEXR image", _EXPORT)),
        (rb"#\?(?:RADIANCE|RGBE)", _image("a Radiance HDR image", _EXPORT)),
        (rb"DDS |\xabKTX ", _image("a texture (DDS or KTX)", _EXPORT)),
        (rb"qoif", _image("a QOI image")),
        (rb"BPG\xfb|FLIF", _image("a BPG or FLIF image")),
        (
            rb".\x00[\x02\x03\x0a\x0b]\x00{5}.{8}[\x08\x10\x18\x20]"
            rb"|.\x01[\x01\x09]..[\x00\x01]\x01[\x10\x18\x20]",
            _image("a TGA image"),
        ),
        (rb"\x0a[\x00\x02-\x05][\x00\x01][\x01\x02\x04\x08]", _image("a PCX image")),
        (rb"\x01\xda[\x00\x01][\x01\x02]", _image("an SGI image")),
        (rb"/\* XPM \*/|#define \w+_width ", _image("an XPM or XBM image")),
        (
            rb"\xd7\xcd\xc6\x9a|\x01\x00\x00\x00.{36} EMF",
            _image("a Windows metafile (WMF or EMF)", _EXPORT),
        ),
        (rb"AT&TFORM", _image("a DjVu document", _EXPORT)),
        (rb"P7\n", _image("a PAM image")),
        (rb"P[Ff]\n", _image("a PFM image of floating-point pixels", _EXPORT)),
        (rb"II\xbc\x01", _image("a JPEG XR image")),
        (rb"FUJIFILMCCD-RAW|\x46OVb|\x00MRM|II\x55\x00|IIR[OS]|MMOR", _RAW),
        (rb"II\*\x00.{4}CR", _RAW),
        (rb"PK\x03\x04|PK\x05\x06", _other("a zip archive or an Office document", _ARCHIVE_MEND)),
        (rb"\x1f\x8b", _other("a gzip file", _ARCHIVE_MEND)),
        (
            rb"Rar!\x1a\x07|7z\xbc\xaf\x27\x1c|BZh|\xfd7zXZ|\x28\xb5\x2f\xfd|.{257}ustar",
            _other("an archive", _ARCHIVE_MEND),
        ),
        (rb"MZ.\x00|\x7fELF", _other("a program", "remove it")),
        (rb"bplist00", _other("a property list", "remove it")),
        (rb"\x00\x05\x16\x07", _other("AppleDouble metadata of macOS", "remove it")),
        (
            rb"\[InternetShortcut\]|\x4c\x00\x00\x00\x01\x14\x02\x00",
            _other("a shortcut to a file", "copy the file itself"),
        ),
    )
)

_SPACE = b"\xef\xbb\xbf \t\r\n"


def recognise(start: bytes) -> FileType | None:
    """Return the type of a file that is no supported image; None if it is unknown.

    Args:
        start: its first ``START`` bytes, or all of them.

    Examples:
        >>> recognise(b"%PDF-1.7").name
        'a PDF document'
    """
    for pattern, kind in _TYPES:
        if pattern.match(start):
            return kind
    return _text_type(start.lstrip(_SPACE))


def _text_type(text: bytes) -> FileType | None:
    """Return the type of a text by its first characters, which are not white space."""
    lower = text[:START].lower()
    if lower.startswith((b"<!doctype html", b"<html", b"<head", b"<body", b"<script")):
        return _PAGE
    if lower.startswith((b"<svg", b"<?xml", b"<!doctype svg", b"<!--")):
        return _markup_type(lower)
    if lower.startswith((b"http/1.", b"http/2")):
        return _other("an HTTP response", _DOWNLOAD)
    if lower.startswith((b"data:image/",)):
        return _other("a data: URI", "decode its Base64 text to a file")
    if lower.startswith((b"/9j/4", b"ivborw0kggo", b"r0lgod")):
        return _other("an image in Base64", "decode its text to a file")
    if lower.startswith((b"{", b"[")) and _is_text(text):
        return _other("a JSON text", _DOWNLOAD)
    if lower.startswith((b"http://", b"https://")):
        return _other("a text with a web address", "download the image from that address")
    return None


def _markup_type(lower: bytes) -> FileType:
    if b"<svg" in lower:
        return _image("an SVG drawing", "render it to PNG")
    if b"<html" in lower:
        return _PAGE
    if b"<error>" in lower or b"<code>" in lower:
        return _other("an XML error message of a server", _DOWNLOAD)
    return _other("an XML text", "remove it, or replace it with the image")


def _is_text(data: bytes) -> bool:
    return not re.search(rb"[\x00-\x08\x0e-\x1f]", data)
