"""Bytes to pixels: formats, headers, EXIF orientation."""
