"""The extensions of the image formats that can be decoded."""

from __future__ import annotations

EXTENSIONS = {
    "jpeg": {".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".jfi", ".pjpeg", ".pjp", ".mpo"},
    "png": {".png", ".apng"},
    "gif": {".gif"},
    "bmp": {".bmp", ".dib"},
    "webp": {".webp"},
    "tiff": {".tif", ".tiff", ".btf"},
    "jpeg2000": {".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx"},
    "ico": {".ico"},
    "ppm": {".ppm", ".pgm", ".pbm", ".pnm"},
    "avif": {".avif", ".avifs"},
    "heif": {".heic", ".heif", ".hif", ".heics", ".heifs"},
}
"""Of each format, by its lower-case name in ``Item.format``."""

IMAGE_EXTENSIONS = frozenset(name for names in EXTENSIONS.values() for name in names)
"""Of files that a listing treats as images, in lower case."""
