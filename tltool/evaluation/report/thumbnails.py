"""Thumbnails, embedded in an HTML page as ``data:`` URIs."""

from __future__ import annotations

import base64
import io
from pathlib import Path

from PIL import Image, ImageOps

from tltool.data.decoding.image_file import read_image_file
from tltool.data.decoding.transcode import on_white, open_as_decoded


def thumbnail(path: Path, side: int) -> Image.Image | None:
    """Return an upright thumbnail on white of at most ``side`` pixels per side.

    None if Pillow cannot read the file.
    """
    try:
        with open_as_decoded(read_image_file(path)) as image:
            image.draft("RGB", (side, side))
            upright = on_white(ImageOps.exif_transpose(image))
            upright.thumbnail((side, side))
            return upright.convert("RGB")
    except Exception:  # Pillow raises many kinds of errors on a damaged EXIF block
        return None


def data_uri(image: Image.Image, *, quality: int = 80) -> str:
    """Return the image as a ``data:`` URI of a JPEG."""
    output = io.BytesIO()
    image.save(output, "JPEG", quality=quality)
    return f"data:image/jpeg;base64,{base64.b64encode(output.getvalue()).decode()}"
