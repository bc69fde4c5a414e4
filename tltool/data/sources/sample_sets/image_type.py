"""The extension of an image whose name is unknown, from its first bytes."""

from __future__ import annotations

_SIGNATURES = {
    b"\x89PNG": "png",
    b"\xff\xd8\xff": "jpg",
    b"GIF8": "gif",
    b"BM": "bmp",
    b"II*\0": "tif",
    b"MM\0*": "tif",
    b"\0\0\0\x0cjP": "jp2",
}


def image_extension(data: bytes) -> str:
    """Return the extension without a dot; ``img`` for an unknown type."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "webp"
    return next((kind for start, kind in _SIGNATURES.items() if data.startswith(start)), "img")
