"""Thumbnails, embedded in an HTML page as ``data:`` URIs."""

from __future__ import annotations

import base64
import io
from pathlib import Path

from PIL import Image, ImageOps

from tltool.data.decoding.transcode import open_image


def thumbnail(path: Path, side: int) -> Image.Image | None:
    """Return an upright thumbnail on white of at most ``side`` pixels per side.

    None if Pillow cannot read the file.
    """
    try:
        with path.open("rb") as file, open_image(file) as image:
            image.draft("RGB", (side, side))
            upright = ImageOps.exif_transpose(image)
            upright.thumbnail((side, side))
            rgba = upright.convert("RGBA")
            white = Image.new("RGBA", rgba.size, "white")
            return Image.alpha_composite(white, rgba).convert("RGB")
    except Exception:  # Pillow raises many kinds of errors on a damaged EXIF block
        return None


def data_uri(image: Image.Image, *, quality: int = 80) -> str:
    """Return the image as a ``data:`` URI of a JPEG."""
    output = io.BytesIO()
    image.save(output, "JPEG", quality=quality)
    return f"data:image/jpeg;base64,{base64.b64encode(output.getvalue()).decode()}"
