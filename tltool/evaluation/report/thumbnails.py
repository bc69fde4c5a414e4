"""Small pictures inside of an HTML page."""

from __future__ import annotations

import base64
import io
from pathlib import Path

from PIL import Image, ImageOps

from tltool.data.decoding.transcode import open_image


def small_copy(path: Path, side: int) -> Image.Image | None:
    """Return an upright copy over white of at most ``side`` pixels a side.

    None where Pillow cannot read the file.
    """
    try:
        with path.open("rb") as file, open_image(file) as image:
            image.draft("RGB", (side, side))
            upright = ImageOps.exif_transpose(image)
            upright.thumbnail((side, side))
            colours = upright.convert("RGBA")
            white = Image.new("RGBA", colours.size, "white")
            return Image.alpha_composite(white, colours).convert("RGB")
    except Exception:  # Pillow raises whatever it likes on a damaged EXIF block
        return None


def as_uri(image: Image.Image, *, quality: int = 80) -> str:
    """Return a picture as a ``data:`` address of a JPEG."""
    output = io.BytesIO()
    image.save(output, "JPEG", quality=quality)
    return f"data:image/jpeg;base64,{base64.b64encode(output.getvalue()).decode()}"
