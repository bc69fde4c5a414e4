"""Decodes image files: formats, headers, EXIF orientation."""
