"""Files that are no supported image: their true type is named, with what to do."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.data.odd_tiffs import write_tiff
from tests.data.samples import good_files, other_formats
from tltool.data.audit.inspect_file import image_decoder, inspect_file
from tltool.data.catalog import Item
from tltool.data.decoding import heif
from tltool.data.decoding.file_types import START, recognise
from tltool.data.decoding.image_errors import BadFileError, ImageError
from tltool.data.decoding.transcode import read_image_bytes
from tltool.data.decoding.unreadable import unreadable


def npy() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.zeros((4, 4)))
    return buffer.getvalue()


def dng() -> bytes:
    """Return a TIFF whose first picture is a preview of raw data."""
    preview = np.zeros((8, 8, 3), np.uint8)
    return write_tiff(preview, photometric="rgb", extratags=[(50706, 1, 4, (1, 4, 0, 0), True)])


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 12345\n"
TYPES: dict[str, tuple[bytes, str, str, str]] = {
    "Git LFS": (LFS, "not an image", "Git LFS pointer", "git lfs pull"),
    "git-annex": (b"../../.git/annex/objects/aa/bb", "not an image", "git-annex", "git annex get"),
    "DVC": (b"outs:\n- md5: 0123\n  path: a.jpg\n", "not an image", "DVC", "dvc pull"),
    "page": (b"\n<!DOCTYPE html><html><body>403", "not an image", "web page", "download"),
    "page in upper case": (b"<HTML><HEAD>", "not an image", "web page", "download"),
    "XML page": (b"<?xml version='1.0'?><html xmlns=''>", "not an image", "web page", "download"),
    "storage error": (
        b'<?xml version="1.0"?>\n<Error><Code>AccessDenied</Code></Error>',
        "not an image",
        "XML error",
        "download",
    ),
    "JSON error": (b'{"error": "rate limit"}', "not an image", "JSON", "download"),
    "address": (b"https://example.org/1.jpg\n", "not an image", "web address", "download"),
    "Base64": (b"/9j/4AAQSkZJRgABAQAAAQ", "not an image", "Base64", "decode"),
    "SVG": (b'<svg xmlns="http://www.w3.org/2000/svg"/>', "unsupported", "SVG", "PNG"),
    "SVG with a prolog": (b"\xef\xbb\xbf<?xml?><!-- a --><svg>", "unsupported", "SVG", "PNG"),
    "PDF": (b"%PDF-1.7\n", "not an image", "PDF", "pages"),
    "EPS": (b"%!PS-Adobe-3.0 EPSF", "unsupported", "PostScript", "export"),
    "JPEG XL": (b"\xff\x0a\xfa\x7f\x01", "unsupported", "JPEG XL", "JPEG"),
    "JPEG XL box": (b"\0\0\0\x0cJXL \r\n\x87\n", "unsupported", "JPEG XL", "JPEG"),
    "Photoshop": (b"8BPS\0\1" + bytes(20), "unsupported", "Photoshop", "export"),
    "MP4": (b"\0\0\0\x20ftypisom\0\0\2\0", "not an image", "video", "frames"),
    "QuickTime": (b"\0\0\0\x14ftypqt  ", "not an image", "video", "frames"),
    "AVI": (b"RIFF\0\0\0\0AVI LIST", "not an image", "video", "frames"),
    "zip": (b"PK\x03\x04" + bytes(30), "not an image", "zip", "extract"),
    "gzip": (b"\x1f\x8b\x08" + bytes(30), "not an image", "gzip", "extract"),
    "tar": (b"a.jpg" + bytes(252) + b"ustar" + bytes(200), "not an image", "archive", "extract"),
    "DICOM": (bytes(128) + b"DICM" + bytes(40), "unsupported", "DICOM", "window"),
    "FITS": (b"SIMPLE  =                    T", "unsupported", "FITS", "export"),
    "NumPy": (npy(), "unsupported", "NumPy", "PNG"),
    "HDF5": (b"\x89HDF\r\n\x1a\n" + bytes(20), "not an image", "HDF5", "PNG"),
    "OpenEXR": (b"v/1\x01\2\0\0\0", "unsupported", "OpenEXR", "export"),
    "Canon raw": (b"II*\0\x10\0\0\0CR\2\0" + bytes(50), "unsupported", "camera raw", "develop"),
    "Canon raw 3": (b"\0\0\0\x18ftypcrx \0\0\0\1", "unsupported", "camera raw", "develop"),
    "Fuji raw": (b"FUJIFILMCCD-RAW 0201", "unsupported", "camera raw", "develop"),
    "DNG": (dng(), "unsupported", "camera raw", "develop"),
    "TGA": (bytes(2) + b"\2" + bytes(9) + b"\x40\0\x40\0\x18\0", "unsupported", "TGA", "JPEG"),
    "PCX": (b"\n\5\1\x08" + bytes(60), "unsupported", "PCX", "JPEG"),
    "SGI": (b"\x01\xda\1\1\0\3" + bytes(60), "unsupported", "SGI", "JPEG"),
    "XPM": (b'/* XPM */\nstatic char *a[] = {"', "unsupported", "XPM", "JPEG"),
    "EMF": (b"\1\0\0\0" + bytes(36) + b" EMF" + bytes(60), "unsupported", "metafile", "export"),
    "HEIC": (b"\0\0\0\x18ftypheic\0\0\0\0", "unsupported", "HEIC", "pip install pillow-heif"),
    "text": (b"no image at all", "not an image", "not an image", "replace"),
}
"""First bytes, kind, and parts of the name and of the mend."""


@pytest.mark.parametrize("name", TYPES)
def test_the_true_type_of_a_file_is_named_with_the_mend(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heif, "register", lambda: False)
    data, kind, named, mend = TYPES[name]
    path = tmp_path / "x.jpg"
    path.write_bytes(data)
    decode = None if name == "DNG" else image_decoder()
    with pytest.raises(BadFileError) as bad:
        inspect_file(Item(path, "a"), max_pixels=10**6, decode=decode)
    assert bad.value.kind == kind
    assert named in bad.value.detail
    assert mend in bad.value.mend or name == "text"
    with pytest.raises(ImageError, match=named):
        read_image_bytes(path)


def test_a_supported_image_is_of_no_other_type() -> None:
    for name, data in (good_files() | other_formats()).items():
        kind = recognise(data[:START])
        assert kind is None or "AVIF" in kind.name, name


@given(st.binary(max_size=400), st.sampled_from([b"", b"<", b"<?xml", b"RIFF", b"\0\0\0\x18ftyp"]))
def test_any_bytes_get_an_error_of_one_kind(junk: bytes, start: bytes) -> None:
    error = unreadable(io.BytesIO(start + junk), "the file")
    assert error.kind in ("damaged", "unsupported", "not an image")
    assert error.message.startswith("the file is ")
